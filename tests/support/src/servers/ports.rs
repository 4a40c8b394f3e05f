//! Ports that stay reserved while their server is down.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where the ports of servers begin. The system takes the ports of outgoing connections from 32,768
/// on, and would now and then take that of a server which is about to be started again.
const FIRST: u16 = 10_000;

/// How many there are.
const COUNT: u16 = 10_000;

/// How much higher the second port is that comes with each: the one that the members of a cluster
/// talk by (it is theirs by default), or that of TLS.
pub(crate) const PAIR_OFFSET: u16 = 10_000;

/// Ports that were handed out by this process, and tried.
static SERIAL: AtomicU16 = AtomicU16::new(0);

/// A port that nobody uses, and that no other call in this process returns; so is the one that is
/// [`PAIR_OFFSET`] higher.
pub fn free_port() -> u16 {
    // Processes that run side by side begin at different ones.
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
