//! Ports that stay reserved while their server is down.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port of servers. The system takes ports of outgoing connections from 32,768 on. It could take the port of
/// a server that a test is about to restart.
const FIRST: u16 = 10_000;

/// The number of ports.
const COUNT: u16 = 10_000;

/// The offset of the second port of each server: the bus port of cluster members (the default of Redis), or the TLS
/// port.
pub(crate) const PAIR_OFFSET: u16 = 10_000;

/// The number of ports that this process has tried or returned.
static SERIAL: AtomicU16 = AtomicU16::new(0);

/// Returns a port that no process uses, and that no other call in this process returns. The same holds for the port
/// that is [`PAIR_OFFSET`] higher.
pub fn free_port() -> u16 {
    // Processes that run in parallel start at different ports.
    let begin = (process::id() % u32::from(COUNT)) as u16;
    loop {
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(number) % COUNT;
        if is_free(port) && is_free(port + PAIR_OFFSET) {
            return port;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
