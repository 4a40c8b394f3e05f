//! The inflating of a client's message (RFC 7692, section 7.2.2).
//!
//! The server always answers `client_no_context_takeover`, so each message of a client is inflated
//! alone. So one inflater serves all connections of a thread, and a connection that compresses costs
//! no memory. The inflater takes about 110 KiB: its state and window, and the output of a message of
//! the default limit. A thread that inflates nothing has none.
//!
//! # The end of a message
//!
//! A sender removes the last four bytes, `00 00 FF FF`, of an empty block; the receiver appends them
//! ([`TAIL`]). Zlib cannot tell a message that was cut off from one that goes on. So a final block is
//! appended, too: its end is seen only if the message has ended between two blocks. A message of no
//! bytes is accepted as empty, because zlib writes nothing for a second flush.
//!
//! A final block within a message (sections 7.2.3.4 and 7.2.3.5) ends a deflate stream (RFC 1951,
//! section 3.2.3). The next block begins another stream at the next whole byte, with an empty window.
//!
//! # Cost
//!
//! The output is bounded while it is written, at one byte over the limit, or at the buffer that the
//! thread keeps. The work is bounded by the
//! input and the limit of a message: a block takes ten bits or more, and a block that is final takes
//! a byte or more.

use std::cell::Cell;

use zlib_rs::{Inflate, InflateFlush, Status};

/// The bytes that a sender removes, and an empty final block.
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// The output buffer that a thread keeps: a message of the default limit, and the byte over it.
const KEPT_BYTES: usize = 64 * 1024 + 1;

/// The base-2 logarithm of the window: the largest, so that a client may use any window.
const WINDOW_BITS: u8 = 15;

thread_local! {
    /// `None` before the first message, and while a message is inflated.
    static INFLATER: Cell<Option<Box<Inflater>>> = const { Cell::new(None) };
}

/// The reason why a message could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// The inflated message is larger than the limit.
    TooLarge,
    /// The bytes are not a deflate stream.
    Malformed,
    /// The message ends within a block.
    CutOff,
}

/// Inflates a message of at most `bytes_max` bytes, and passes it to `take`.
///
/// The payload is borrowed from the thread, until `take` returns. `take` may inflate other messages.
///
/// # Errors
/// The message is too large or malformed. `take` was not called.
pub(crate) fn inflate<R>(
    compressed: &[u8],
    bytes_max: usize,
    take: impl FnOnce(&mut [u8]) -> R,
) -> Result<R, InflateError> {
    if compressed.is_empty() {
        return Ok(take(&mut []));
    }
    // Taken out of its place, so that an inner call makes an inflater of its own.
    let mut inflater = INFLATER.take().unwrap_or_default();
    let taken = inflater.inflate(compressed, bytes_max).map(take);
    inflater.shrink();
    INFLATER.set(Some(inflater));
    taken
}

/// An inflater with its output.
struct Inflater {
    stream: Inflate,
    /// All of it may be written to; its first `written` bytes are the message.
    output: Vec<u8>,
    written: usize,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Inflate::new(false, WINDOW_BITS), output: Vec::new(), written: 0 }
    }
}

impl Inflater {
    fn inflate(&mut self, compressed: &[u8], bytes_max: usize) -> Result<&mut [u8], InflateError> {
        self.written = 0;
        self.stream.reset(false);
        let mut rest = compressed;
        loop {
            let is_over = self.advance(&mut rest, bytes_max)?;
            if rest.is_empty() && is_over {
                break;
            }
            if rest.is_empty() {
                self.finish(bytes_max)?;
                break;
            }
            // Another stream follows.
            self.stream.reset(false);
        }
        Ok(&mut self.output[..self.written])
    }

    /// Ends a message that did not end with a final block. If anything goes wrong in the tail, or the
    /// tail brings output, then the message has ended within a block.
    fn finish(&mut self, bytes_max: usize) -> Result<(), InflateError> {
        let (mut tail, written) = (&TAIL[..], self.written);
        match self.advance(&mut tail, bytes_max) {
            Ok(true) if tail.is_empty() && self.written == written => Ok(()),
            _ => Err(InflateError::CutOff),
        }
    }

    /// Inflates `input` up to the end of the stream or of the input. Returns whether the stream has
    /// ended.
    fn advance(&mut self, input: &mut &[u8], bytes_max: usize) -> Result<bool, InflateError> {
        loop {
            self.make_space(bytes_max);
            let (taken, written) = (self.stream.total_in(), self.stream.total_out());
            let output = &mut self.output[self.written..];
            let space = output.len();
            let status = self.stream.decompress(input, output, InflateFlush::NoFlush);
            let taken = (self.stream.total_in() - taken) as usize;
            let written = (self.stream.total_out() - written) as usize;
            *input = &input[taken..];
            self.written += written;
            // Looked at before the status: what follows the limit is not looked at.
            if self.written > bytes_max {
                return Err(InflateError::TooLarge);
            }
            match status.map_err(|_| InflateError::Malformed)? {
                Status::StreamEnd => return Ok(true),
                // All input is taken, and all that it says is written.
                _ if written < space => return Ok(false),
                _ => {}
            }
        }
    }

    /// Makes space for one byte or more. The message has not exceeded the limit yet, so one byte over
    /// the limit is enough to notice that it does.
    fn make_space(&mut self, bytes_max: usize) {
        if self.written < self.output.len() {
            return;
        }
        let doubled = self.output.len().saturating_mul(2).max(KEPT_BYTES);
        let bytes = doubled.min(bytes_max.saturating_add(1));
        self.output.reserve_exact(bytes - self.written);
        self.output.resize(bytes, 0);
    }

    /// Frees the memory of a large message.
    fn shrink(&mut self) {
        if self.output.len() > KEPT_BYTES {
            self.output.truncate(KEPT_BYTES);
            self.output.shrink_to_fit();
        }
    }
}
