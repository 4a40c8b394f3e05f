//! The HTTP pages that start and watch a flood, as both processes use them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Result;

/// Starts a flood with the number of tasks in the query. The new tasks replace the earlier tasks.
pub const FLOOD_PAGE: &str = "/flood";

/// The timeout of a page. A flood or a busy machine may delay a page.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The interval between two reads of the counts.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The counts, which the server returns on all other paths.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Counts {
    pub connections: u64,
    /// Members of the flooded room.
    pub members: usize,
    /// Members of the quiet room.
    pub quiet: usize,
    /// Deliveries that were dropped because a member was too slow for them.
    pub dropped: u64,
}

/// Makes the server flood with this many tasks from now on. The new tasks replace the earlier tasks.
pub fn flood(server: SocketAddr, tasks: usize) -> Result<()> {
    get(server, &format!("{FLOOD_PAGE}?{tasks}")).map(drop)
}

pub fn counts(server: SocketAddr) -> Result<Counts> {
    Ok(serde_json::from_str(&get(server, "/counts")?)?)
}

/// Waits until the counts satisfy the condition.
pub fn counts_where(server: SocketAddr, holds: impl Fn(&Counts) -> bool) -> Result<Counts> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = counts(server)?;
        if holds(&counts) {
            return Ok(counts);
        }
        if Instant::now() > deadline {
            return Err(format!("not in time: {counts:?}").into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn get(server: SocketAddr, target: &str) -> Result<String> {
    ask(server, target).map_err(|error| format!("asking for {target}: {error}").into())
}

fn ask(server: SocketAddr, target: &str) -> Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    match response.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(format!("answered with {response:?}").into()),
    }
}
