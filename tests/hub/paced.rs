//! Test clients that read at a set pace and count the bytes that they receive.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{MissedTickBehavior, interval};

use support::{CLOSE, PING, RawClient, frame};

/// The interval between two reads of a paced client.
const TICK: Duration = Duration::from_millis(20);
const TICKS_PER_SECOND: usize = 50;

/// A ping every half a second.
const TICKS_PER_PING: usize = 25;

/// A client with a small receive buffer in the kernel.
pub(crate) async fn connect(addr: SocketAddr, receive_buffer: u32) -> RawClient {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(receive_buffer).expect("before connecting");
    RawClient::shake_hands(socket.connect(addr).await.expect("the server listens")).await
}

/// The bytes and messages that a client received.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Messages, by the bytes of their payload.
    pub(crate) sizes: BTreeMap<usize, usize>,
    /// The code of the close frame, if one came.
    pub(crate) code: Option<u16>,
    /// The error that ended the stream, if the stream did not end cleanly.
    pub(crate) failure: Option<io::ErrorKind>,
    head: Vec<u8>,
    payload_bytes: usize,
    left: usize,
    close: Vec<u8>,
}

impl Found {
    /// The number of messages.
    pub(crate) fn messages(&self) -> usize {
        self.sizes.values().sum()
    }

    /// Parses the bytes of one read, which may end inside a frame.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                let Some(payload_bytes) = payload_bytes(&self.head) else { continue };
                (self.payload_bytes, self.left) = (payload_bytes, payload_bytes);
            } else {
                let (taken, rest) = bytes.split_at(self.left.min(bytes.len()));
                if self.head[0] == CLOSE {
                    self.close.extend(taken);
                }
                self.left -= taken.len();
                bytes = rest;
            }
            if self.left == 0 {
                self.finish_frame();
            }
        }
    }

    fn finish_frame(&mut self) {
        let first = self.head[0];
        if first == CLOSE {
            self.code =
                Some(self.close.first_chunk().map_or(1_005, |code| u16::from_be_bytes(*code)));
        } else if first & 8 == 0 {
            *self.sizes.entry(self.payload_bytes).or_default() += 1;
        }
        self.head.clear();
    }
}

/// The bytes of the payload, once the head of the frame is whole.
fn payload_bytes(head: &[u8]) -> Option<usize> {
    match *head.get(1)? {
        126 => Some(u16::from_be_bytes(*head.get(2..)?.first_chunk()?).into()),
        127 => Some(u64::from_be_bytes(*head.get(2..)?.first_chunk()?) as usize),
        length => Some(length.into()),
    }
}

/// Reads to the end of the stream at this many bytes a second, and sends a ping every half a second.
pub(crate) async fn read_at(client: RawClient, bytes_per_second: usize) -> Found {
    let mut found = Found::default();
    let mut buffer = vec![0; bytes_per_second / TICKS_PER_SECOND];
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1.. {
        ticks.tick().await;
        if tick % TICKS_PER_PING == 0 {
            // If the write fails, the next read fails with the same cause.
            let _ = client.stream.try_write(&frame(PING, b"still here"));
        }
        let mut budget = buffer.len();
        while budget > 0 {
            match client.stream.try_read(&mut buffer[..budget]) {
                Ok(0) => return found,
                Ok(read) => {
                    found.take(&buffer[..read]);
                    budget -= read;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Found { failure: Some(error.kind()), ..found },
            }
        }
    }
    unreachable!("the stream ends at some time")
}

/// Reads without a pause until this many messages have come, or to the end of the stream.
pub(crate) async fn read_fast(client: &mut RawClient, messages: usize) -> Found {
    let mut found = Found::default();
    let mut buffer = vec![0; 256 << 10];
    while found.messages() < messages {
        client.stream.readable().await.expect("a socket can be waited for");
        match client.stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => found.take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Found { failure: Some(error.kind()), ..found },
        }
    }
    found
}
