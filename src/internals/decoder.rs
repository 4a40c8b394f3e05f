//! The decoder of client frames.

use crate::engine::{Close, FrameKind};
use crate::ws::{DecodeLimits, Decoder, Event, OnCompressed};

/// The decoder of one client.
#[derive(Debug)]
pub struct FrameDecoder {
    decoder: Decoder,
    limits: DecodeLimits,
}

impl FrameDecoder {
    /// A decoder for messages of up to `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Self::with(message_bytes_max, OnCompressed::Refuse)
    }

    /// A decoder of a client that may compress.
    #[cfg(feature = "deflate")]
    pub fn inflating(message_bytes_max: usize) -> Self {
        Self::with(message_bytes_max, OnCompressed::Inflate)
    }

    fn with(message_bytes_max: usize, on_compressed: OnCompressed) -> Self {
        let limits = DecodeLimits { message_bytes_max, fragments_max: u32::MAX };
        Self { decoder: Decoder::new(on_compressed), limits }
    }

    /// Decodes the bytes of one read, and calls `see` with each message that ends in it. Unmasks in
    /// place, so the same bytes cannot be decoded twice.
    ///
    /// # Errors
    /// The client broke the protocol. The error is the close that the client must get.
    pub fn decode(
        &mut self,
        mut read: &mut [u8],
        mut see: impl FnMut(FrameKind, &mut [u8]),
    ) -> Result<(), Close> {
        let mut take = |event: Event<'_>| {
            if let Event::Message { kind, payload, .. } = event {
                see(kind, payload);
            }
        };
        let Self { decoder, limits } = self;
        while decoder.decode(&mut read, limits, &mut take).map_err(|error| error.close())?.is_some()
        {
        }
        Ok(())
    }
}

/// An event that a decoder has decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A message.
    Message(FrameKind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame; nothing is decoded after it.
    Close(Close),
    /// A breach of the protocol, with the close that answers it; nothing is decoded after it.
    Refused(Close),
}

/// Decodes the reads one after the other. Returns for each read the events that it completed, up to
/// the read at which decoding ends.
pub fn decode<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    message_bytes_max: usize,
    fragments_max: u32,
) -> Vec<Vec<Decoded>> {
    let limits = DecodeLimits { message_bytes_max, fragments_max };
    decode_with(reads, limits, OnCompressed::Refuse)
}

/// Like [`decode`], for a client that may compress.
#[cfg(feature = "deflate")]
pub fn decode_compressed<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    message_bytes_max: usize,
    fragments_max: u32,
) -> Vec<Vec<Decoded>> {
    let limits = DecodeLimits { message_bytes_max, fragments_max };
    decode_with(reads, limits, OnCompressed::Inflate)
}

fn decode_with<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    limits: DecodeLimits,
    on_compressed: OnCompressed,
) -> Vec<Vec<Decoded>> {
    let mut decoder = Decoder::new(on_compressed);
    let mut completed = Vec::new();
    for read in reads {
        let (events, is_over) = decode_read(&mut decoder, &limits, read);
        completed.push(events);
        if is_over {
            break;
        }
    }
    completed
}

fn decode_read(decoder: &mut Decoder, limits: &DecodeLimits, read: &[u8]) -> (Vec<Decoded>, bool) {
    let mut read = read.to_vec();
    let mut input = &mut read[..];
    let mut events = Vec::new();
    loop {
        let event = match decoder.decode(&mut input, limits, owned) {
            Ok(None) => return (events, false),
            Ok(Some(event)) => event,
            Err(error) => Decoded::Refused(error.close()),
        };
        let is_last = matches!(event, Decoded::Close(_) | Decoded::Refused(_));
        events.push(event);
        if is_last {
            return (events, true);
        }
    }
}

fn owned(event: Event<'_>) -> Decoded {
    match event {
        Event::Message { kind, payload, .. } => Decoded::Message(kind, payload.to_vec()),
        Event::Ping(payload) => Decoded::Ping(payload.to_vec()),
        Event::Pong(payload) => Decoded::Pong(payload.to_vec()),
        Event::Close(close) => Decoded::Close(close),
    }
}
