//! What a client sends (RFC 6455, section 5), without any I/O: bytes go in, messages come out.
//!
//! A [`Decoder`] is a server's: it wants masked frames. It takes whatever a read has brought, be it
//! half a header or ten frames, and gives one [`Event`] a call. Fragments are put together and text
//! is checked here, so that what comes out is a message and not a frame.
//!
//! # Memory
//! A hub holds many connections that are silent, so a decoder between messages is two words and
//! owns nothing. An unfragmented frame that lies whole in the input is unmasked where it lies and
//! lent out: no copy, no allocation. Only a frame or a message that is not yet complete is owned,
//! in a box that goes when it is done; it grows with what has arrived and not with what a header
//! promises.
//!
//! # Hostile input
//! Each header byte is judged when it is there, a message over the limit is refused before any of
//! it is kept, and text fails at the first byte that cannot be UTF-8. A peer that sends one byte at
//! a time costs the same for each of them: nothing is scanned twice but a character that was cut.

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

/// What a message may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeLimits {
    /// Bytes of payload over all its fragments. Control frames have a limit of their own, 125 bytes.
    pub(crate) message_bytes_max: usize,
    /// Frames, empty ones too.
    pub(crate) fragments_max: u32,
}

/// Turns the bytes of one client into [`Event`]s.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: DecodeLimits,
    /// What a call has left unfinished, and what the last event borrows.
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// A decoder that refuses messages over the limits, before anything of what is over is kept.
    pub(crate) fn new(limits: DecodeLimits) -> Self {
        Self { limits, partial: None }
    }

    /// Takes bytes from the front of `input`, up to the end of the next event.
    ///
    /// `None` says that all of `input` was taken and that more is needed. The payload of an event is
    /// borrowed from `input` where it could be unmasked in place, and from the decoder otherwise;
    /// the next call frees what was borrowed, so call until `None`. Bytes of `input` are overwritten.
    ///
    /// Cost: no allocation for an unfragmented frame that is whole in `input`. A call looks at each
    /// byte that it takes once, whatever was buffered before.
    ///
    /// # Errors
    /// The connection is to be closed with the code of the [`ProtocolError`]. After an error or an
    /// [`Event::Close`] the decoder is of no more use, and what it then gives has no meaning.
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

    /// Whether the decoder owns nothing: no part of a frame, no part of a message.
    ///
    /// What the last event borrows still counts, until a call of [`decode`](Self::decode) frees it.
    pub(crate) fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// The next event, if it is an unfragmented frame that lies whole in `input`.
    ///
    /// `input` is left alone otherwise. The event does not borrow the decoder.
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

    /// Takes the frame of `header` from `input` and unmasks its payload, if all of it is there.
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

    /// The payload that [`Partial::advance`] has just completed.
    fn delivered(&mut self) -> &mut [u8] {
        self.partial.as_mut().map_or(&mut [], |partial| partial.delivered())
    }

    /// Frees what the last event has borrowed.
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
