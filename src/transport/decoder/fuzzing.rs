//! The decoder for a fuzz target, which sees only what is public.

use super::{Decoder, Event};
use crate::engine::{Close, FrameKind};

/// What a decoder made of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A message.
    Message(FrameKind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame; nothing is decoded after it.
    Close(Close),
    /// A breach of the protocol, and the close that it is answered with; nothing is decoded after it.
    Refused(Close),
}

/// Decodes `bytes` as they come in reads of `read_bytes`, with a decoder for messages of up to
/// `message_bytes_max`.
pub fn decode(bytes: &[u8], read_bytes: usize, message_bytes_max: usize) -> Vec<Decoded> {
    let mut decoder = Decoder::new(message_bytes_max);
    let mut events = Vec::new();
    for read in bytes.chunks(read_bytes.max(1)) {
        let mut read = read.to_vec();
        let mut input = &mut read[..];
        loop {
            let event = match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(event)) => owned(event),
                Err(error) => Decoded::Refused(error.close()),
            };
            let is_last = matches!(event, Decoded::Close(_) | Decoded::Refused(_));
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
    events
}

fn owned(event: Event<'_>) -> Decoded {
    match event {
        Event::Message { kind, payload } => Decoded::Message(kind, payload.to_vec()),
        Event::Ping(payload) => Decoded::Ping(payload.to_vec()),
        Event::Pong(payload) => Decoded::Pong(payload.to_vec()),
        Event::Close(close) => Decoded::Close(close),
    }
}
