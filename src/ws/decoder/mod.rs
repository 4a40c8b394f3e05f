//! The decoder of client frames (RFC 6455, section 5): bytes go in, messages come out. No I/O.
//!
//! A [`Decoder`] is the server's side: it refuses frames that are not masked. It takes the bytes of
//! one read, from half a header to ten frames, and returns one [`Event`] a call. It assembles
//! fragments, inflates compressed messages (RFC 7692) and checks that text is UTF-8, so an event is
//! a whole message and not a frame.
//!
//! # Memory
//! Most connections of a hub are silent, so a decoder between messages is two words and owns no
//! memory: the limits, which are those of the hub, come with each call. An unfragmented frame that lies whole in the input is unmasked in place and lent out: no
//! copy, no allocation. The decoder owns bytes only of an incomplete frame or message, in a box
//! that is freed when the message is complete. The box grows with the bytes that have arrived, not
//! with the length that a header declares.
//!
//! # Hostile input
//! Each header byte is checked when it arrives. A message over the limit is refused before any byte
//! of it is kept. Text fails at the first byte that cannot be UTF-8. A peer that sends one byte at
//! a time costs the same for each byte: no byte is scanned twice, except those of a character that
//! was cut.
//!
//! A compressed message is inflated when it is complete, and its text is checked then. The inflated
//! bytes are bounded while they are inflated: a message over the limit costs no more than a message
//! at the limit. The compressed bytes have a bound of their own, `WIRE_OVERHEAD`.

mod error;
mod event;
mod header;
mod message;
mod partial;

use fastwebsockets::unmask;

#[cfg(feature = "deflate")]
use super::deflate;

pub(crate) use error::ProtocolError;
#[cfg(feature = "deflate")]
use event::CompressedBytes;
pub(crate) use event::Event;
use header::{Expected, Header, Opcode};
use partial::{Advance, Partial};

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeLimits {
    /// Bytes of payload over all its fragments, inflated. Control frames have their own limit, 125
    /// bytes.
    pub(crate) message_bytes_max: usize,
    /// Frames of a message, including empty frames.
    pub(crate) fragments_max: u32,
}

/// What a decoder does with a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCompressed {
    /// Refuses it: the client has not negotiated compression.
    Refuse,
    /// Inflates it.
    #[cfg(feature = "deflate")]
    Inflate,
    /// Skips its payload: nobody needs the message.
    #[cfg(feature = "deflate")]
    Skip,
}

impl OnCompressed {
    /// For a client that has, or has not, negotiated compression.
    pub(crate) fn of_client(has_negotiated: bool) -> Self {
        match has_negotiated {
            #[cfg(feature = "deflate")]
            true => Self::Inflate,
            _ => Self::Refuse,
        }
    }

    fn allows_compressed(self) -> bool {
        self != Self::Refuse
    }
}

/// By how much a compressed message may be longer than its inflated payload, beside an eighth of
/// the limit of a message. Deflate makes incompressible bytes longer: the fixed code takes nine bits
/// for most bytes (an eighth more), a stored block takes five bytes (4 % for the shortest blocks of
/// zlib, 127 bytes), and so does a flush at the end of a fragment.
const WIRE_OVERHEAD: usize = 1_024;

impl DecodeLimits {
    /// The most bytes of payload of a message as they come from the client.
    fn wire_bytes_max(&self, is_compressed: bool) -> usize {
        if !is_compressed {
            return self.message_bytes_max;
        }
        self.message_bytes_max.saturating_add(self.message_bytes_max / 8 + WIRE_OVERHEAD)
    }
}

/// Turns the bytes of one client into [`Event`]s.
#[derive(Debug)]
pub(crate) struct Decoder {
    on_compressed: OnCompressed,
    /// The incomplete frame or message, and the payload that the last event borrows.
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// Makes a decoder.
    pub(crate) fn new(on_compressed: OnCompressed) -> Self {
        Self { on_compressed, partial: None }
    }

    /// Takes bytes from the front of `input`, up to the end of the next event. Passes the event to
    /// `take`, and returns its result. A message over `limits` is refused before any byte is kept
    /// that is over; pass the same limits to all calls.
    ///
    /// Returns `None` if all of `input` was taken and more bytes are needed. The payload of an
    /// event is borrowed from `input` if it was unmasked in place, from the thread if it was
    /// inflated, else from the decoder. The next call frees the payload, so call until `None`.
    /// Bytes of `input` are overwritten.
    ///
    /// Cost: no allocation for an unfragmented frame that is whole in `input`. A call looks once at
    /// each byte that it takes, however many bytes were buffered before.
    ///
    /// # Errors
    /// The caller must close the connection with the code of the [`ProtocolError`]. After an error
    /// or an [`Event::Close`], further results have no meaning.
    #[inline]
    pub(crate) fn decode<R>(
        &mut self,
        input: &mut &mut [u8],
        limits: &DecodeLimits,
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Result<Option<R>, ProtocolError> {
        if let Some(event) = self.next(input, limits)? {
            return Ok(Some(take(event)));
        }
        #[cfg(feature = "deflate")]
        if self.partial.is_some() {
            return self.inflate(limits, take);
        }
        Ok(None)
    }

    /// Returns the next event. Returns `None` also when a compressed message is complete: the event
    /// of a plain message need not be asked whether it is compressed.
    fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        self.release();
        while !input.is_empty() {
            if let Some(event) = self.decode_in_place(input, limits)? {
                return Ok(Some(event));
            }
            let partial = self.partial.get_or_insert_default();
            match partial.advance(input, limits, self.on_compressed)? {
                Advance::NeedsInput => return Ok(None),
                Advance::Fragment => {}
                Advance::Message(kind) => {
                    let (payload, compressed_bytes) = (self.delivered(), None);
                    return Ok(Some(Event::Message { kind, payload, compressed_bytes }));
                }
                Advance::Compressed => return Ok(None),
                Advance::Control(control) => {
                    return Event::control(control, self.delivered()).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Inflates the compressed message that has just become complete, if there is one. Checks its
    /// text, and passes its event to `take`.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    fn inflate<R>(
        &mut self,
        limits: &DecodeLimits,
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Result<Option<R>, ProtocolError> {
        let completed = self.partial.as_ref().and_then(|partial| partial.compressed());
        let Some((kind, compressed)) = completed else { return Ok(None) };
        let compressed_bytes = Some(CompressedBytes::of(compressed));
        if self.on_compressed == OnCompressed::Skip {
            let payload = &mut [];
            return Ok(Some(take(Event::Message { kind, payload, compressed_bytes })));
        }
        deflate::inflate(compressed, limits.message_bytes_max, |payload| {
            Event::message(kind, payload, compressed_bytes).map(|event| Some(take(event)))
        })?
    }

    /// From now on, compressed messages are not inflated: their payload is empty.
    #[cfg(feature = "deflate")]
    pub(crate) fn skip_compressed(&mut self) {
        if self.on_compressed.allows_compressed() {
            self.on_compressed = OnCompressed::Skip;
        }
    }

    /// Whether a fragmented message has begun and not ended.
    pub(crate) fn message_is_open(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.message_is_open())
    }

    /// Whether the decoder owns no part of a frame or of a message.
    ///
    /// A payload that the last event borrows counts until a call of [`decode`](Self::decode) frees
    /// it.
    pub(crate) fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Returns the next event if it is an unfragmented frame that lies whole in `input`. Otherwise
    /// `input` does not change. The event does not borrow the decoder.
    ///
    /// A compressed message is copied, as a message in fragments is: the copy is short beside the
    /// inflating, and plain messages pay nothing for another case here.
    #[inline]
    fn decode_in_place<'i>(
        &self,
        input: &mut &'i mut [u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Event<'i>>, ProtocolError> {
        let message_is_open = match &self.partial {
            None => false,
            Some(partial) if partial.is_between_frames() => partial.message_is_open(),
            Some(_) => return Ok(None),
        };
        let allows_compressed = self.on_compressed.allows_compressed();
        let expected = Expected { message_is_open, allows_compressed };
        let Some(header) = Header::parse(input, expected)? else { return Ok(None) };
        match header.opcode {
            Opcode::Data(kind) if header.fin && !header.is_compressed => {
                let Some(payload) = take_payload(input, &header, limits)? else { return Ok(None) };
                Event::message(kind, payload, None).map(Some)
            }
            Opcode::Control(control) => {
                let Some(payload) = take_payload(input, &header, limits)? else { return Ok(None) };
                Event::control(control, payload).map(Some)
            }
            Opcode::Data(_) | Opcode::Continuation => Ok(None),
        }
    }

    /// Returns the payload that [`Partial::advance`] has just completed.
    fn delivered(&mut self) -> &mut [u8] {
        self.partial.as_mut().map_or(&mut [], |partial| partial.delivered())
    }

    /// Frees the payload that the last event has borrowed.
    fn release(&mut self) {
        if let Some(partial) = &mut self.partial
            && partial.release()
        {
            self.partial = None;
        }
    }
}

/// Takes the frame of `header` from `input` and unmasks its payload, if the whole frame is
/// there.
#[inline]
fn take_payload<'i>(
    input: &mut &'i mut [u8],
    header: &Header,
    limits: &DecodeLimits,
) -> Result<Option<&'i mut [u8]>, ProtocolError> {
    let payload_bytes = header.payload_within(limits.message_bytes_max)?;
    if input.len() - header.header_bytes < payload_bytes {
        return Ok(None);
    }
    let frame = input.split_off_mut(..header.header_bytes + payload_bytes);
    let payload = frame.map_or(&mut [][..], |frame| &mut frame[header.header_bytes..]);
    unmask(payload, header.mask);
    Ok(Some(payload))
}

#[cfg(test)]
mod tests;
