//! Messages of one size, and their frames as a client reads them.

use roomcast::RawMessage;

use support::RawClient;

pub(crate) const MESSAGE_BYTES: usize = 128;

/// A message's frame: a header of four bytes comes with lengths from 126 on.
const FRAME_BYTES: usize = 4 + MESSAGE_BYTES;

/// A number of twenty digits, and filling. Made by hand: it is not what is to be measured.
pub(crate) fn message(number: u64) -> RawMessage {
    let mut text = vec![b'.'; MESSAGE_BYTES];
    let mut rest = number;
    for digit in text[..20].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    RawMessage::Text(String::from_utf8(text).expect("digits and dots"))
}

/// Frames of one size, read many at a time.
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
        self.try_next().await.expect("the server is there")
    }

    /// The next frame; `None` when the server is gone.
    pub(crate) async fn try_next(&mut self) -> Option<&[u8]> {
        use tokio::io::AsyncReadExt;
        while self.buffer.len() - self.at < FRAME_BYTES {
            self.buffer.drain(..self.at);
            self.at = 0;
            let read = self.client.stream.read_buf(&mut self.buffer).await;
            read.ok().filter(|&bytes| bytes > 0)?;
        }
        let frame = &self.buffer[self.at..self.at + FRAME_BYTES];
        assert_eq!(frame[..4], [0x81, 126, 0, MESSAGE_BYTES as u8], "one message a frame");
        self.at += FRAME_BYTES;
        Some(frame)
    }
}

/// The number of the message in a frame.
pub(crate) fn number_of(frame: &[u8]) -> u64 {
    let text = std::str::from_utf8(&frame[4..24]).expect("digits");
    text.parse().expect("digits")
}
