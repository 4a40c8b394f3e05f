//! Builders of client frames, and helpers that run the decoder and collect its events.

use std::ops::{Deref, DerefMut};

use crate::engine::{Close, CloseCode, FrameKind};
use crate::ws::decoder::{DecodeLimits, Decoder, Event, OnCompressed, ProtocolError};

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// A frame that a test sends. `first` is the first byte without FIN: RSV bits and opcode.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) fin: bool,
    pub(super) first: u8,
    pub(super) is_masked: bool,
    pub(super) mask: [u8; 4],
    pub(super) payload: Vec<u8>,
}

/// Makes a whole, masked frame.
pub(super) fn frame(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    Frame { fin: true, first: opcode, is_masked: true, mask, payload: payload.into() }
}

/// Makes a masked frame without FIN.
pub(super) fn fragment(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame { fin: false, ..frame(opcode, payload) }
}

impl Frame {
    /// Encodes the frame, with the length in its shortest form. Masks byte by byte, as the RFC
    /// describes it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.first];
        let mask_bit = u8::from(self.is_masked) << 7;
        let length = self.payload.len();
        match length {
            0..=125 => bytes.push(mask_bit | length as u8),
            126..=0xFFFF => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if self.is_masked {
            bytes.extend(self.mask);
            bytes.extend(self.payload.iter().zip(self.mask.iter().cycle()).map(|(b, m)| b ^ m));
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

/// Encodes the frames, one after the other.
pub(super) fn stream(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// An [`Event`] that owns its payload, or the code of an error.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    Message(FrameKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Close),
    Failed(CloseCode),
}

impl Seen {
    /// Whether this is the last event.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Failed(_))
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind, payload, .. } => Self::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => Self::Close(close),
        }
    }
}

/// A decoder with its limits.
#[derive(Debug)]
pub(super) struct Limited {
    decoder: Decoder,
    limits: DecodeLimits,
}

impl Limited {
    /// Makes a decoder for messages of up to `message_bytes_max`, in any number of fragments.
    pub(super) fn new(message_bytes_max: usize, on_compressed: OnCompressed) -> Self {
        let limits = DecodeLimits { message_bytes_max, fragments_max: u32::MAX };
        Self { decoder: Decoder::new(on_compressed), limits }
    }

    pub(super) fn decode<R>(
        &mut self,
        input: &mut &mut [u8],
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Result<Option<R>, ProtocolError> {
        self.decoder.decode(input, &self.limits, take)
    }
}

impl Deref for Limited {
    type Target = Decoder;

    fn deref(&self) -> &Decoder {
        &self.decoder
    }
}

impl DerefMut for Limited {
    fn deref_mut(&mut self) -> &mut Decoder {
        &mut self.decoder
    }
}

/// Makes a decoder of a client that does not compress.
pub(super) fn with_limit(message_bytes_max: usize) -> Limited {
    Limited::new(message_bytes_max, OnCompressed::Refuse)
}

/// Returns all events of one read.
pub(super) fn feed(decoder: &mut Limited, read: &[u8]) -> Result<Vec<Seen>, ProtocolError> {
    let mut buffer = read.to_vec();
    let mut input = &mut buffer[..];
    let mut seen = Vec::new();
    while let Some(event) = decoder.decode(&mut input, |event| event.into())? {
        seen.push(event);
    }
    assert!(input.is_empty(), "a decoder that needs more has taken all");
    Ok(seen)
}

/// Returns the events of `reads`, up to a close or an error.
pub(super) fn run<'a>(limit: usize, reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    run_with(with_limit(limit), reads)
}

/// Returns the events of `reads`, up to a close or an error.
pub(super) fn run_with<'a>(
    mut decoder: Limited,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for read in reads {
        let mut buffer = read.to_vec();
        let mut input = &mut buffer[..];
        loop {
            match decoder.decode(&mut input, |event| event.into()) {
                Ok(None) => break,
                Ok(Some(event)) => seen.push(event),
                Err(error) => seen.push(Seen::Failed(error.close().code)),
            }
            if seen.last().is_some_and(Seen::is_last) {
                return seen;
            }
        }
    }
    seen
}

/// Returns the error that `bytes` cause.
pub(super) fn refusal(limit: usize, bytes: &[u8]) -> Option<ProtocolError> {
    feed(&mut with_limit(limit), bytes).err()
}
