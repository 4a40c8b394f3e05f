//! A log of the reads of a stream, for code that does not read the stream itself.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of reads of one stream, and the last bytes that were read.
///
/// Only the task of the connection writes and reads the fields. They are atomic because the task
/// may move between threads.
#[derive(Debug, Default)]
pub(crate) struct ReadLog {
    /// Reads that brought bytes. Wraps around.
    reads: AtomicU32,
    /// The last four bytes. The latest is the lowest byte.
    last: AtomicU32,
}

impl ReadLog {
    /// Logs the bytes of one read.
    pub(crate) fn note(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let last = self.last.load(Ordering::Relaxed);
        let newest = &bytes[bytes.len().saturating_sub(4)..];
        let last = newest.iter().fold(last, |last, byte| last << 8 | u32::from(*byte));
        self.last.store(last, Ordering::Relaxed);
        self.reads.store(self.reads().wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns how many reads have brought bytes. Wraps around.
    pub(crate) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Whether the last bytes are an empty line, which ends the head of a request.
    pub(crate) fn ends_with_empty_line(&self) -> bool {
        let [_, bytes @ ..] = self.last.load(Ordering::Relaxed).to_be_bytes();
        bytes == *b"\n\r\n" || bytes.ends_with(b"\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_line_is_found_however_the_bytes_come() {
        for (text, ends) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
            ("GET / HTTP/1.1\nHost: h\n\n", true),
            ("GET / HTTP/1.1\r\nHost: h\r\n", false),
            ("\r\n\r\nG", false),
            ("", false),
        ] {
            for piece_bytes in 1..8 {
                let log = ReadLog::default();
                text.as_bytes().chunks(piece_bytes).for_each(|piece| log.note(piece));
                assert_eq!(log.ends_with_empty_line(), ends, "{text:?} by {piece_bytes}");
                assert_eq!(log.reads() as usize, text.len().div_ceil(piece_bytes));
            }
        }
    }
}
