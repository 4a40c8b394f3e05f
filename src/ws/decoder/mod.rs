//! The decoder of client frames (RFC 6455, section 5): bytes go in, messages come out. No I/O.
//!
//! A [`Decoder`] is the server's side: it refuses frames that are not masked. It takes the bytes of
//! one read, from half a header to ten frames, and returns one [`Event`] a call. It assembles
//! fragments and checks that text is UTF-8, so an event is a whole message and not a frame.
//!
//! # Memory
//! Most connections of a hub are silent, so a decoder between messages is three words and owns no
//! memory. An unfragmented frame that lies whole in the input is unmasked in place and lent out: no
//! copy, no allocation. The decoder owns bytes only of an incomplete frame or message, in a box
//! that is freed when the message is complete. The box grows with the bytes that have arrived, not
//! with the length that a header declares.
//!
//! # Hostile input
//! Each header byte is checked when it arrives. A message over the limit is refused before any byte
//! of it is kept. Text fails at the first byte that cannot be UTF-8. A peer that sends one byte at
//! a time costs the same for each byte: no byte is scanned twice, except those of a character that
//! was cut.

mod error;
mod event;
mod header;
mod message;
mod partial;

use fastwebsockets::unmask;

pub(crate) use error::ProtocolError;
pub(crate) use event::Event;
use header::{Header, Opcode};
use partial::{Advance, Partial};

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeLimits {
    /// Bytes of payload over all its fragments. Control frames have their own limit, 125 bytes.
    pub(crate) message_bytes_max: usize,
    /// Frames of a message, including empty frames.
    pub(crate) fragments_max: u32,
}

/// Turns the bytes of one client into [`Event`]s.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: DecodeLimits,
    /// The incomplete frame or message, and the payload that the last event borrows.
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// Makes a decoder. It refuses a message over the limits before it keeps any byte that is over.
    pub(crate) fn new(limits: DecodeLimits) -> Self {
        Self { limits, partial: None }
    }

    /// Takes bytes from the front of `input`, up to the end of the next event.
    ///
    /// Returns `None` if all of `input` was taken and more bytes are needed. The payload of an
    /// event is borrowed from `input` if it was unmasked in place, else from the decoder. The next
    /// call frees the payload, so call until `None`. Bytes of `input` are overwritten.
    ///
    /// Cost: no allocation for an unfragmented frame that is whole in `input`. A call looks once at
    /// each byte that it takes, however many bytes were buffered before.
    ///
    /// # Errors
    /// The caller must close the connection with the code of the [`ProtocolError`]. After an error
    /// or an [`Event::Close`], further results have no meaning.
    pub(crate) fn decode<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        self.release();
        while !input.is_empty() {
            if let Some(event) = self.decode_in_place(input)? {
                return Ok(Some(event));
            }
            let partial = self.partial.get_or_insert_default();
            match partial.advance(input, self.limits)? {
                Advance::NeedsInput => return Ok(None),
                Advance::Fragment => {}
                Advance::Message(kind) => {
                    return Ok(Some(Event::Message { kind, payload: self.delivered() }));
                }
                Advance::Control(control) => {
                    return Event::control(control, self.delivered()).map(Some);
                }
            }
        }
        Ok(None)
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
    #[inline]
    fn decode_in_place<'i>(
        &self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Event<'i>>, ProtocolError> {
        let message_is_open = match &self.partial {
            None => false,
            Some(partial) if partial.is_between_frames() => partial.message_is_open(),
            Some(_) => return Ok(None),
        };
        let Some(header) = Header::parse(input, message_is_open)? else { return Ok(None) };
        match header.opcode {
            Opcode::Data(kind) if header.fin => {
                let Some(payload) = self.take_payload(input, &header)? else { return Ok(None) };
                Event::message(kind, payload).map(Some)
            }
            Opcode::Control(control) => {
                let Some(payload) = self.take_payload(input, &header)? else { return Ok(None) };
                Event::control(control, payload).map(Some)
            }
            Opcode::Data(_) | Opcode::Continuation => Ok(None),
        }
    }

    /// Takes the frame of `header` from `input` and unmasks its payload, if the whole frame is
    /// there.
    #[inline]
    fn take_payload<'i>(
        &self,
        input: &mut &'i mut [u8],
        header: &Header,
    ) -> Result<Option<&'i mut [u8]>, ProtocolError> {
        let payload_bytes = header.payload_within(self.limits.message_bytes_max)?;
        if input.len() - header.header_bytes < payload_bytes {
            return Ok(None);
        }
        let frame = input.split_off_mut(..header.header_bytes + payload_bytes);
        let payload = frame.map_or(&mut [][..], |frame| &mut frame[header.header_bytes..]);
        unmask(payload, header.mask);
        Ok(Some(payload))
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

#[cfg(test)]
mod tests;
