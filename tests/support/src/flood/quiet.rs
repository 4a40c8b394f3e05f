//! The quiet room beside the flood: the latency of its messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::enter;
use super::{Message, QUIET, Result};

/// The interval between two messages.
const PACE: Duration = Duration::from_millis(10);

/// The first byte of a whole message of text.
const TEXT: u8 = 0x81;

/// A mask key that maps ASCII to ASCII. The key does not change the server's cost of unmasking.
const MASK: [u8; 4] = [0x37, 0x5A, 0x21, 0x3D];

/// Two members. One member sends at a fixed pace, without waiting for echoes.
pub(super) struct Quiet {
    stream: TcpStream,
    /// A member that reads nothing: its messages fit into the buffers.
    _other: TcpStream,
}

impl Quiet {
    pub(super) const MEMBERS: usize = 2;

    pub(super) fn enter(server: SocketAddr) -> Result<Self> {
        Ok(Self { stream: enter(server, QUIET)?, _other: enter(server, QUIET)? })
    }

    /// The time from each message to its echo, in order. Fails if an echo does not arrive.
    pub(super) fn echo_for(&self, duration: Duration) -> Result<Vec<Duration>> {
        let messages = duration.div_duration_f64(PACE).ceil().max(1.0) as u32;
        let began = Instant::now();
        let mut echoes = thread::scope(|scope| {
            let reading = scope.spawn(|| self.read_echoes(began, messages));
            self.send_at_pace(began, messages)?;
            reading.join().map_err(|_| "the reader of echoes has panicked")?
        })?;
        echoes.sort_unstable();
        Ok(echoes)
    }

    fn send_at_pace(&self, began: Instant, messages: u32) -> Result<()> {
        for number in 0..messages {
            thread::sleep((PACE * number).saturating_sub(began.elapsed()));
            let message = Message::stamped(began.elapsed().as_micros() as u64);
            let sent = (&self.stream).write_all(&frame(&serde_json::to_vec(&message)?));
            sent.map_err(|error| format!("sending the {number}th message: {error}"))?;
        }
        Ok(())
    }

    fn read_echoes(&self, began: Instant, messages: u32) -> Result<Vec<Duration>> {
        let mut echoes = Vec::new();
        for number in 0..messages {
            let message = read_message(&self.stream)
                .map_err(|error| format!("{number} of {messages} echoes came: {error}"))?;
            echoes.push(began.elapsed().saturating_sub(Duration::from_micros(message.at)));
        }
        Ok(echoes)
    }
}

/// A short text, masked, as a client sends it.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![TEXT, 0x80 | text.len() as u8];
    frame.extend(MASK);
    frame.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn read_message(mut stream: &TcpStream) -> Result<Message> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    if head[0] != TEXT || head[1] >= 126 {
        return Err(format!("not a short message: {head:?}").into());
    }
    let mut text = vec![0; head[1].into()];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
