//! The parser of frame headers (RFC 6455, section 5.2), with the rules for frames that a client
//! sends.
//!
//! ```text
//! byte 0     FIN, RSV1 to RSV3, opcode (4 bits)
//! byte 1     MASK, length (7 bits): up to 125 the length itself, 126 or 127 if it follows
//! 0, 2 or 8  the length, big-endian, if it does not fit
//! 4          the mask
//! ```
//!
//! The checks run in the order of the bytes, and each check looks only at bytes up to its own. So a
//! header is refused for the same reason however it was cut into reads.

use std::mem;

use super::error::ProtocolError;
use crate::engine::frame::CONTROL_BYTES_MAX;
use crate::engine::{FrameKind, Limit};

/// The longest header of a client frame: 2 bytes, a 64-bit length, the mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
/// The reserved bit that marks a compressed message (RFC 7692, section 6).
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0F;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// The 7-bit length that says that 16 bits follow.
const LENGTH_16: u8 = 126;
/// The 7-bit length that says that 64 bits follow.
const LENGTH_64: u8 = 127;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// The next fragment of the open message.
    Continuation,
    /// A message, or the first fragment of one.
    Data(FrameKind),
    /// A control frame: never fragmented, and allowed between the fragments of a message.
    Control(Control),
}

/// The kind of a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Close,
    Ping,
    Pong,
}

/// The frames that are valid now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Whether a fragmented message is open: a continuation is valid, and a new message is not.
    pub(super) message_is_open: bool,
    /// Whether a message may be compressed.
    pub(super) allows_compressed: bool,
}

/// A header that is complete and valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Whether the frame ends its message.
    pub(super) fin: bool,
    /// Whether the frame begins a compressed message.
    pub(super) is_compressed: bool,
    pub(super) mask: [u8; 4],
    /// The length of the header itself.
    pub(super) header_bytes: usize,
    payload_bytes: u64,
}

impl Header {
    /// Parses the header at the front of `bytes`. Returns `None` if more bytes are needed.
    ///
    #[inline]
    pub(super) fn parse(bytes: &[u8], expected: Expected) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = parse_first(first, expected)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        check_second(second, opcode)?;
        let Some((payload_bytes, length_end)) = parse_length(bytes, second & LENGTH)? else {
            return Ok(None);
        };
        let Some(&mask) = bytes[length_end..].first_chunk() else { return Ok(None) };
        let header_bytes = length_end + size_of_val(&mask);
        let (fin, is_compressed) = (first & FIN != 0, first & RSV1 != 0);
        Ok(Some(Self { opcode, fin, is_compressed, mask, header_bytes, payload_bytes }))
    }

    /// Returns the length of the payload, if a message that has space for `space` more bytes can
    /// take it.
    #[inline]
    pub(super) fn payload_within(&self, space: usize) -> Result<usize, ProtocolError> {
        match (self.opcode, usize::try_from(self.payload_bytes)) {
            (Opcode::Control(_), Ok(bytes)) => Ok(bytes),
            (_, Ok(bytes)) if bytes <= space => Ok(bytes),
            _ => Err(ProtocolError::Over(Limit::MessageBytes)),
        }
    }
}

#[inline]
fn parse_first(first: u8, expected: Expected) -> Result<Opcode, ProtocolError> {
    if first & RSV != 0 {
        check_reserved(first, expected)?;
    }
    let opcode = match first & OPCODE {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Data(FrameKind::Text),
        0x2 => Opcode::Data(FrameKind::Binary),
        0x8 => Opcode::Control(Control::Close),
        0x9 => Opcode::Control(Control::Ping),
        0xA => Opcode::Control(Control::Pong),
        _ => return Err(ProtocolError::framing("reserved opcode")),
    };
    match opcode {
        Opcode::Control(_) if first & FIN == 0 => {
            Err(ProtocolError::framing("fragmented control frame"))
        }
        Opcode::Continuation if !expected.message_is_open => {
            Err(ProtocolError::framing("continuation without a message"))
        }
        Opcode::Data(_) if expected.message_is_open => {
            Err(ProtocolError::framing("new message before the end of the last"))
        }
        _ => Ok(opcode),
    }
}

/// Checks the reserved bits. RSV1 is allowed on the first frame of a message, if compression was
/// negotiated.
#[cold]
fn check_reserved(first: u8, expected: Expected) -> Result<(), ProtocolError> {
    if first & RSV != RSV1 || !expected.allows_compressed {
        return Err(ProtocolError::framing("reserved bit set without an extension"));
    }
    match first & OPCODE {
        0x1 | 0x2 => Ok(()),
        _ => Err(ProtocolError::framing("compressed frame is not the first of a message")),
    }
}

#[inline]
fn check_second(second: u8, opcode: Opcode) -> Result<(), ProtocolError> {
    if second & MASK == 0 {
        return Err(ProtocolError::framing("frame is not masked"));
    }
    let is_control = matches!(opcode, Opcode::Control(_));
    if is_control && usize::from(second & LENGTH) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::framing("control frame of more than 125 bytes"));
    }
    Ok(())
}

/// Returns the length of the payload, and the offset in the header at which the length field ends.
#[inline]
fn parse_length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, ProtocolError> {
    let extended = &bytes[2..];
    let (length, length_end, least) = match short {
        LENGTH_16 => {
            let Some(&length) = extended.first_chunk() else { return Ok(None) };
            (u16::from_be_bytes(length).into(), 4, u64::from(LENGTH_16))
        }
        LENGTH_64 => {
            if extended.first().is_some_and(|&byte| byte >= 0x80) {
                return Err(ProtocolError::framing("length of more than 63 bits"));
            }
            let Some(&length) = extended.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(length), 10, 1 << 16)
        }
        _ => return Ok(Some((short.into(), 2))),
    };
    if length < least {
        return Err(ProtocolError::framing("length not in its shortest form"));
    }
    Ok(Some((length, length_end)))
}

/// The front of a header that has not arrived completely.
#[derive(Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    filled: usize,
}

impl PartialHeader {
    /// Whether no byte of the next header has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes the bytes of the header from `input`. When the header is complete, returns it and is
    /// empty again.
    pub(super) fn fill(
        &mut self,
        input: &mut &mut [u8],
        expected: Expected,
    ) -> Result<Option<Header>, ProtocolError> {
        // Only the header's own bytes say how long it is. So copy as many bytes as a header can
        // have, and leave those in the input that turn out to be payload.
        let copied = input.len().min(HEADER_BYTES_MAX - self.filled);
        let end = self.filled + copied;
        self.bytes[self.filled..end].copy_from_slice(&input[..copied]);
        let header = Header::parse(&self.bytes[..end], expected)?;
        let taken = header.map_or(copied, |header| header.header_bytes - self.filled);
        self.filled = if header.is_some() { 0 } else { end };
        *input = &mut mem::take(input)[taken..];
        Ok(header)
    }
}
