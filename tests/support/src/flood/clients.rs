//! The clients of both rooms, and their measurements.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::pages::{self, PATIENCE};
use super::quiet::Quiet;
use super::{FLOOD, Result};

/// The number of members of the flooded room.
pub const MEMBERS: usize = 200;

/// The warm-up before the measurement: empty buffers fill up in this time.
const WARM_UP: Duration = Duration::from_millis(500);

/// The measurements of a flood.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    pub echoes: usize,
    pub echo_median: Duration,
    pub echo_worst: Duration,
    /// The messages that members of the flooded room have read.
    pub deliveries: u64,
    /// The messages that the server dropped because members were too slow, including the warm-up.
    pub dropped: u64,
    pub elapsed: Duration,
    /// Processor time of the server.
    pub server_cpu: Duration,
}

impl Measured {
    /// Processor time of the server for one delivery, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }

    /// Deliveries a second.
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    /// The share of the flood that was dropped.
    pub fn dropped_part(&self) -> f64 {
        self.dropped as f64 / (self.deliveries + self.dropped).max(1) as f64
    }
}

/// The clients of a server, for several floods.
pub struct Clients {
    server: SocketAddr,
    members: Members,
    quiet: Quiet,
}

impl Clients {
    /// Connects all clients, and waits until all are in their rooms.
    pub fn enter(server: SocketAddr) -> Result<Self> {
        let members = (0..MEMBERS).map(|_| enter(server, FLOOD)).collect::<Result<_>>()?;
        let members = Members::read_along(members)?;
        let quiet = Quiet::enter(server)?;
        pages::counts_where(server, |counts| {
            (counts.members, counts.quiet) == (MEMBERS, Quiet::MEMBERS)
        })?;
        Ok(Self { server, members, quiet })
    }

    /// Makes the server flood with this many tasks, and measures for this time. `server_cpu` returns the processor
    /// time that the server has used so far.
    ///
    /// Fails if an echo does not arrive, or a member is lost.
    pub fn measure(
        &self,
        tasks: usize,
        duration: Duration,
        server_cpu: impl Fn() -> Result<Duration>,
    ) -> Result<Measured> {
        let dropped_before = pages::counts(self.server)?.dropped;
        pages::flood(self.server, tasks)?;
        thread::sleep(WARM_UP);
        let look = || Ok::<_, super::Error>((server_cpu()?, self.members.deliveries()));
        let (began, before) = (Instant::now(), look()?);
        let echoes = self.quiet.echo_for(duration)?;
        let (elapsed, after) = (began.elapsed(), look()?);
        pages::flood(self.server, 0)?;
        let counts = pages::counts(self.server)?;
        if counts.members != MEMBERS {
            return Err(format!("{} of {MEMBERS} members are left", counts.members).into());
        }
        Ok(Measured {
            echoes: echoes.len(),
            echo_median: echoes[echoes.len() / 2],
            echo_worst: echoes[echoes.len() - 1],
            deliveries: after.1 - before.1,
            dropped: counts.dropped - dropped_before,
            elapsed,
            server_cpu: after.0 - before.0,
        })
    }
}

/// A connection after its handshake.
pub fn enter(server: SocketAddr, room: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET /ws/{room} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    // Read exactly the head, and no byte after it.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(format!("refused: {}", String::from_utf8_lossy(&head)).into()),
    }
}
