//! Messages of one size, and a reader of their frames for clients.

use roomcast::RawMessage;

use support::RawClient;

pub(crate) const MESSAGE_BYTES: usize = 128;

/// The size of a message's frame: payloads from 126 bytes have a header of four bytes.
const FRAME_BYTES: usize = 4 + MESSAGE_BYTES;

/// A message that consists of a number of twenty digits and padding. Formats by hand, to cost little: the benchmark
/// does not measure this.
pub(crate) fn message(number: u64) -> RawMessage {
    let mut text = vec![b'.'; MESSAGE_BYTES];
    let mut rest = number;
    for digit in text[..20].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    RawMessage::Text(String::from_utf8(text).expect("digits and dots"))
}

/// Reads frames of one size, many with each call of the system.
pub(crate) struct FrameReader<'a> {
    client: &'a mut RawClient,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> FrameReader<'a> {
    pub(crate) fn new(client: &'a mut RawClient) -> Self {
        Self { client, buffer: Vec::with_capacity(1 << 18), at: 0 }
    }

    pub(crate) async fn next(&mut self) -> &[u8] {
        self.try_next().await.expect("the server is up")
    }

    /// Returns the next frame; `None` when the connection has ended.
    pub(crate) async fn try_next(&mut self) -> Option<&[u8]> {
        use tokio::io::AsyncReadExt;
        while self.buffer.len() - self.at < FRAME_BYTES {
            self.buffer.drain(..self.at);
            self.at = 0;
            let read = self.client.stream.read_buf(&mut self.buffer).await;
            read.ok().filter(|&bytes| bytes > 0)?;
        }
        let frame = &self.buffer[self.at..self.at + FRAME_BYTES];
        assert_eq!(frame[..4], [0x81, 126, 0, MESSAGE_BYTES as u8], "each frame is one message");
        self.at += FRAME_BYTES;
        Some(frame)
    }
}

/// Returns the number of the message in a frame.
pub(crate) fn number_of(frame: &[u8]) -> u64 {
    let text = std::str::from_utf8(&frame[4..24]).expect("digits");
    text.parse().expect("digits")
}
