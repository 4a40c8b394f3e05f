//! Members of the flooded room: they read and discard the messages.

use std::io::ErrorKind;
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::{MESSAGE_BYTES, Result};

/// A message with a header of four bytes.
const FRAME_BYTES: u64 = MESSAGE_BYTES as u64 + 4;

/// The bytes to read from one member before the next member's turn.
const READ_BYTES_MAX: usize = 1 << 20;

/// Makes Linux discard the received bytes, and count them (tcp(7)).
const MSG_TRUNC: i32 = 0x20;

/// All members, on their own thread.
pub(super) struct Members {
    bytes: Arc<AtomicU64>,
}

impl Members {
    /// Reads from this member from now on.
    pub(super) fn read_along(streams: Vec<BlockingStream>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let bytes = Arc::<AtomicU64>::default();
        let readers = readers(&runtime, streams, &bytes)?;
        thread::spawn(move || {
            runtime.block_on(readers.join_all());
        });
        Ok(Self { bytes })
    }

    /// The messages that the members have read so far.
    pub(super) fn deliveries(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) / FRAME_BYTES
    }
}

fn readers(
    runtime: &Runtime,
    streams: Vec<BlockingStream>,
    bytes: &Arc<AtomicU64>,
) -> Result<JoinSet<()>> {
    let _inside = runtime.enter();
    let mut readers = JoinSet::new();
    for stream in streams {
        stream.set_nonblocking(true)?;
        readers.spawn(read_away(TcpStream::from_std(stream)?, bytes.clone()));
    }
    Ok(readers)
}

/// Reads without a copy, so that the clients take little processor time from the server.
async fn read_away(member: TcpStream, bytes: Arc<AtomicU64>) {
    let mut nothing = Vec::<u8>::with_capacity(READ_BYTES_MAX);
    while member.readable().await.is_ok() {
        let read = member.try_io(Interest::READABLE, || {
            SockRef::from(&member).recv_with_flags(nothing.spare_capacity_mut(), MSG_TRUNC)
        });
        match read {
            Ok(0) => return,
            Ok(read) => drop(bytes.fetch_add(read as u64, Ordering::Relaxed)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
