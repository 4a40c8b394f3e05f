//! The two halves of an upgraded stream: a TCP socket, which is the fast path, or anything else.

mod tcp;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::engine::Socket;

type AnyStream = TokioIo<Upgraded>;

/// The halves of a stream, and what was read from it before the upgrade was over.
pub(crate) struct Streams {
    pub(crate) read: ReadHalf,
    pub(crate) write: WriteHalf,
    pub(crate) early: Bytes,
}

/// Takes an upgraded connection apart, down to the TCP socket where there is one, whose send buffer
/// gets this size.
pub(crate) fn into_streams(upgraded: Upgraded, send_buffer: Option<usize>) -> Streams {
    match into_tcp(upgraded) {
        Ok((stream, early)) => {
            if let Some(bytes) = send_buffer {
                // The kernel takes any size, and makes of it what it allows.
                let _ = SockRef::from(&stream).set_send_buffer_size(bytes);
            }
            let (read, write) = stream.into_split();
            Streams { read: ReadHalf::Tcp(read), write: WriteHalf::Tcp(write), early }
        }
        // What hyper had read already comes first out of this one by itself.
        Err(upgraded) => {
            let (read, write) = tokio::io::split(TokioIo::new(upgraded));
            Streams {
                read: ReadHalf::Any(Box::new(read)),
                write: WriteHalf::Any(Box::new(write)),
                early: Bytes::new(),
            }
        }
    }
}

/// The TCP socket, where there is one, and what was read from it before.
fn into_tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    #[cfg(feature = "server")]
    let upgraded = match upgraded.downcast::<TokioIo<super::server::Patient>>() {
        Ok(parts) => return Ok((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// Where a session reads from.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Any(Box<tokio::io::ReadHalf<AnyStream>>),
}

impl ReadHalf {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            // A short read tells tokio that the socket is drained: the next poll does not ask the
            // kernel again.
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Any(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

/// Where a shard writes to.
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Any(Box<tokio::io::WriteHalf<AnyStream>>),
}

impl Socket for WriteHalf {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => tcp::poll_write(half, cx, frames),
            Self::Any(half) => Pin::new(half).poll_write_vectored(cx, frames),
        }
    }

    fn try_write(&mut self, frames: &[u8]) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(half) = self {
            return tcp::try_write(half, frames);
        }
        self.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(frames)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Any(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn shut_down(&mut self) {
        // A failure means that the peer is gone, which its reader will notice.
        match self {
            Self::Tcp(half) => {
                let _ = SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Write);
            }
            Self::Any(half) => {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(half).poll_shutdown(&mut cx);
            }
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Tcp(half) => {
                let socket = SockRef::from(half.as_ref());
                // The last half to be dropped resets the connection, instead of leaving what the
                // client does not read with the kernel for minutes.
                let _ = socket.set_linger(Some(std::time::Duration::ZERO));
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
            Self::Any(_) => self.shut_down(),
        }
    }
}
