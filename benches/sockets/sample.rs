//! A client that inflates all that it gets, as a check of what the server compresses.

use zlib_rs::{Inflate, InflateFlush};

use crate::{Result, feed};

/// What a compressor ends each message with, and the server leaves out.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The longest message.
const MESSAGE_BYTES_MAX: usize = 64 * 1_024;

/// The base-2 logarithm of the window, in bytes: the largest one.
const WINDOW_BITS: u8 = 15;

pub(crate) struct Sample {
    inflate: Inflate,
    text: Vec<u8>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(false, WINDOW_BITS), text: vec![0; MESSAGE_BYTES_MAX] }
    }

    /// Inflates a message, and checks that it is one that a client has sent.
    pub(crate) fn check(&mut self, payload: &[u8]) -> Result<()> {
        let before = self.inflate.total_out();
        for part in [payload, &TAIL] {
            let filled = (self.inflate.total_out() - before) as usize;
            let output = &mut self.text[filled..];
            self.inflate
                .decompress(part, output, InflateFlush::SyncFlush)
                .map_err(|error| format!("a message cannot be inflated: {}", error.as_str()))?;
        }
        let text = &self.text[..(self.inflate.total_out() - before) as usize];
        match feed::stamp(text).is_some() && text.ends_with(b"]}") {
            true => Ok(()),
            false => Err("a message is not what was sent after it was inflated".into()),
        }
    }
}
