//! A stream that repeats the same reads, for decoders that read from a stream.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Script;

/// A stream that repeats the reads of a script without end. One call returns bytes of at most one of the reads.
pub(crate) struct Feed<'a> {
    script: &'a Script,
    read: usize,
    offset: usize,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(script: &'a Script) -> Self {
        Self { script, read: 0, offset: 0 }
    }

    /// Takes the next bytes, at most `bytes_max`.
    fn next(&mut self, bytes_max: usize) -> &'a [u8] {
        let rest = &self.script.reads[self.read][self.offset..];
        let taken = rest.len().min(bytes_max);
        self.offset += taken;
        if taken == rest.len() {
            self.read = (self.read + 1) % self.script.reads.len();
            self.offset = 0;
        }
        &rest[..taken]
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Feed<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(self.next(buffer.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Feed<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
