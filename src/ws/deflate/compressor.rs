//! The compressor of messages that leave, over zlib-rs.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use crate::engine::{Compressor, frame};

/// What a sync flush ends with, and a message leaves out (RFC 7692, section 7.2.1).
const FLUSH_TAIL: usize = 4;

/// A compressor with a window of its own.
pub(crate) struct Deflater {
    deflate: Deflate,
    message_bytes_min: usize,
    payload: Vec<u8>,
}

impl Deflater {
    /// Makes a compressor. Smaller messages than `message_bytes_min` are copied.
    pub(crate) fn new(level: u8, window_bits: u8, message_bytes_min: usize) -> Self {
        let config = DeflateConfig {
            level: level.into(),
            window_bits: -i32::from(window_bits),
            // The level 1 does not use the buffer that this makes larger.
            mem_level: if level == 1 { 1 } else { 8 },
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), message_bytes_min, payload: Vec::new() }
    }

    /// The memory of a compressor, in bytes.
    pub(crate) fn memory(level: u8, window_bits: u8) -> usize {
        let window = 1 << window_bits;
        let table_bytes = 128 * 1024;
        let buffers = if level == 1 { 8 * 1024 } else { 128 * 1024 };
        4 * window + table_bytes + buffers
    }

    fn deflate(&mut self, payload: &[u8]) {
        self.payload.clear();
        let (start_in, start_out) = (self.deflate.total_in(), self.deflate.total_out());
        let mut space = payload.len() + payload.len() / 8 + 64;
        loop {
            self.payload.resize(space, 0);
            let taken = (self.deflate.total_in() - start_in) as usize;
            let made = (self.deflate.total_out() - start_out) as usize;
            let input = &payload[taken..];
            let output = &mut self.payload[made..];
            let result = self.deflate.compress(input, output, DeflateFlush::SyncFlush);
            debug_assert!(result.is_ok(), "{result:?}");
            let made = (self.deflate.total_out() - start_out) as usize;
            if made < space {
                self.payload.truncate(made - FLUSH_TAIL);
                return;
            }
            space *= 2;
        }
    }
}

impl Compressor for Deflater {
    fn reset(&mut self) {
        self.deflate.reset();
    }

    fn compress(&mut self, frames: &[u8], coded: &mut Vec<u8>) {
        for frame in frame::each(frames) {
            let payload = frame::payload(frame);
            if payload.len() < self.message_bytes_min {
                coded.extend_from_slice(frame);
                continue;
            }
            self.deflate(payload);
            frame::append_compressed(coded, frame::kind(frame), &self.payload);
        }
    }
}
