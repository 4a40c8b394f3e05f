//! An incomplete frame or message, which the decoder owns until it is complete.

use std::mem;

use fastwebsockets::unmask;

use super::error::ProtocolError;
use super::header::{Control, Expected, Header, Opcode, PartialHeader};
use super::message::{self, Message};
use super::{DecodeLimits, OnCompressed};
use crate::engine::FrameKind;

/// A frame or a message that has not arrived completely.
///
/// Both can be incomplete at the same time: a message stays open while headers and control frames
/// arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: PartialHeader,
    /// The frame whose payload is arriving. Between calls at least one byte of the payload is
    /// missing.
    frame: Option<Frame>,
    /// The data message, from the header of its first frame to the end of its last.
    pub(super) message: Option<Message>,
    /// The payload of the control frame that is arriving.
    control: Vec<u8>,
    /// The payload that the last event borrows, or the compressed payload of its message.
    delivered: Vec<u8>,
    /// The kind of the message in `delivered`, if it is compressed.
    compressed: Option<FrameKind>,
}

/// A frame whose header is complete.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// The mask, rotated so that its first byte belongs to the next byte of the payload.
    mask: [u8; 4],
    remaining: usize,
    /// The upper bound of the buffer. In the last frame of a message: the length of the whole
    /// message. In earlier frames: the limit of the message. In a control frame: its declared length.
    buffer_bytes_max: usize,
}

/// The result of [`Partial::advance`].
pub(super) enum Advance {
    /// The input is used up and the frame is incomplete.
    NeedsInput,
    /// A frame is complete, and its message is not.
    Fragment,
    /// A message is complete, in [`Partial::delivered`].
    Message(FrameKind),
    /// A compressed message is complete, in [`Partial::compressed`].
    Compressed,
    /// A control frame is complete, its payload in [`Partial::delivered`].
    Control(Control),
}

impl Partial {
    /// Whether the next byte begins a header.
    pub(super) fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.header.is_empty()
    }

    /// Whether a fragmented message has begun and not ended.
    pub(super) fn message_is_open(&self) -> bool {
        self.message.is_some()
    }

    /// Returns the frames that are valid at the next header.
    pub(super) fn expected(&self, on_compressed: OnCompressed) -> Expected {
        Expected {
            message_is_open: self.message_is_open(),
            allows_compressed: on_compressed.allows_compressed(),
        }
    }

    /// Returns the payload that the last [`Advance`] has completed.
    pub(super) fn delivered(&mut self) -> &mut [u8] {
        &mut self.delivered
    }

    /// Returns the compressed message that the last [`Advance`] has completed.
    #[cfg(feature = "deflate")]
    pub(super) fn compressed(&self) -> Option<(FrameKind, &[u8])> {
        self.compressed.map(|kind| (kind, &*self.delivered))
    }

    /// Frees the payload that was delivered. Returns `true` if nothing else is left.
    pub(super) fn release(&mut self) -> bool {
        self.delivered = Vec::new();
        self.compressed = None;
        self.is_between_frames() && !self.message_is_open()
    }

    /// Takes bytes from `input`, up to the end of the frame at its front.
    pub(super) fn advance(
        &mut self,
        input: &mut &mut [u8],
        limits: &DecodeLimits,
        on_compressed: OnCompressed,
    ) -> Result<Advance, ProtocolError> {
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => match self.header.fill(input, self.expected(on_compressed))? {
                Some(header) => self.begin(&header, limits)?,
                None => return Ok(Advance::NeedsInput),
            },
        };
        self.receive(&mut frame, input)?;
        if frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(Advance::NeedsInput);
        }
        self.finish(&frame)
    }

    fn begin(&mut self, header: &Header, limits: &DecodeLimits) -> Result<Frame, ProtocolError> {
        let is_compressed = match &self.message {
            Some(message) => message.is_compressed,
            None => header.is_compressed,
        };
        let bytes_max = limits.wire_bytes_max(is_compressed);
        let buffered = self.message.as_ref().map_or(0, Message::bytes);
        let payload_bytes = header.payload_within(bytes_max - buffered)?;
        let buffer_bytes_max = match header.opcode {
            Opcode::Control(_) => payload_bytes,
            _ if header.fin => buffered + payload_bytes,
            _ => bytes_max,
        };
        let message = match header.opcode {
            Opcode::Control(_) => None,
            Opcode::Data(kind) => Some(self.message.insert(Message::new(kind, is_compressed))),
            Opcode::Continuation => self.message.as_mut(),
        };
        if let Some(message) = message {
            message.begin_fragment(limits.fragments_max)?;
        }
        Ok(Frame {
            opcode: header.opcode,
            fin: header.fin,
            mask: header.mask,
            remaining: payload_bytes,
            buffer_bytes_max,
        })
    }

    /// Takes the bytes of the payload of `frame` that `input` has.
    fn receive(&mut self, frame: &mut Frame, input: &mut &mut [u8]) -> Result<(), ProtocolError> {
        let taken = frame.remaining.min(input.len());
        let piece = input.split_off_mut(..taken).unwrap_or_default();
        unmask(piece, frame.mask);
        frame.mask.rotate_left(taken % 4);
        frame.remaining -= taken;
        match (frame.opcode, &mut self.message) {
            (Opcode::Data(_) | Opcode::Continuation, Some(message)) => {
                message.append(piece, frame.buffer_bytes_max)?;
            }
            _ => message::extend(&mut self.control, piece, frame.buffer_bytes_max),
        }
        Ok(())
    }

    fn finish(&mut self, frame: &Frame) -> Result<Advance, ProtocolError> {
        if let Opcode::Control(control) = frame.opcode {
            self.delivered = mem::take(&mut self.control);
            return Ok(Advance::Control(control));
        }
        if !frame.fin {
            return Ok(Advance::Fragment);
        }
        let message = self.message.take().expect("a data frame belongs to a message");
        let Message { kind, is_compressed, .. } = message;
        self.delivered = message.finish()?;
        if is_compressed {
            self.compressed = Some(kind);
            return Ok(Advance::Compressed);
        }
        Ok(Advance::Message(kind))
    }
}
