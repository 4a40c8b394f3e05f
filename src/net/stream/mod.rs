//! The two halves of an upgraded stream (RFC 9110, section 7.8): a TCP socket, which is the fast
//! path, TLS over a TCP socket, or any other stream.
//!
//! A session owns the [`ReadHalf`], a shard the [`WriteHalf`]. Small messages are sent at once,
//! without Nagle's algorithm (RFC 9293, section 3.7.4). A connection ends with a FIN after the
//! close frame (RFC 6455, section 7.1.1; with TLS after a `close_notify`, RFC 8446, section 6.1),
//! or with a reset if the client does not read (RFC 9293, section 3.10.5).

mod any;
pub(super) mod halves;
mod tcp;
#[cfg(target_os = "linux")]
mod tcp_info;
#[cfg(feature = "tls")]
mod tls;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use self::any::{AnyReadHalf, AnyWriteHalf};
use self::tcp::TcpWriteHalf;
#[cfg(feature = "tls")]
use self::tls::{TlsReadHalf, TlsWriteHalf};
#[cfg(feature = "server")]
use super::write_timeout::WriteTimeout;
use crate::engine::{Acknowledged, ConnKey, Port, Socket};

/// The halves of a stream, and the bytes that were read before the upgrade was complete.
pub(crate) struct Streams {
    pub(crate) read: ReadHalf,
    pub(crate) write: WriteHalf,
    pub(crate) early: Bytes,
}

/// The connection that owns a stream, and the port that counts panics of the stream.
pub(crate) struct Owner {
    pub(crate) id: ConnKey,
    pub(crate) port: Arc<Port<WriteHalf>>,
}

/// Options of a client's socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// The size of the send buffer in bytes. `None` leaves the default of the system.
    pub(crate) send_buffer: Option<usize>,
    /// Whether messages wait in the hub until the kernel can send them, instead of in the kernel.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has it"))]
    pub(crate) holds_little: bool,
    /// If `true`, a client that takes nothing stays connected. The kernel then probes often whether
    /// the client is alive.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has it"))]
    pub(crate) is_probed: bool,
}

/// With [`SocketOptions::holds_little`], the kernel takes no more bytes while this many wait to be
/// sent: a few segments, so that the kernel has some to send when an acknowledgement arrives.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 4_096;

impl SocketOptions {
    fn set(self, socket: &SockRef<'_>) {
        if let Some(bytes) = self.send_buffer {
            // The kernel accepts any size, and applies its own bounds.
            let _ = socket.set_send_buffer_size(bytes);
        }
        #[cfg(target_os = "linux")]
        if self.holds_little {
            let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        }
        #[cfg(target_os = "linux")]
        if self.is_probed {
            tcp_info::probe_often(socket);
        }
    }
}

/// Splits an upgraded connection into its halves. If the type of the stream is known, sets the
/// options of its socket and `TCP_NODELAY`.
pub(crate) fn into_streams(upgraded: Upgraded, options: SocketOptions, owner: Owner) -> Streams {
    let tune = |socket: SockRef<'_>| {
        // A failure means that the client has already gone.
        let _ = socket.set_tcp_nodelay(true);
        options.set(&socket);
    };
    match Transport::of(upgraded) {
        Transport::Tcp(stream, early) => {
            tune(SockRef::from(&stream));
            let (read, write) = stream.into_split();
            let write = WriteHalf::Tcp(TcpWriteHalf::new(write));
            Streams { read: ReadHalf::Tcp(read), write, early }
        }
        #[cfg(feature = "tls")]
        Transport::Tls(stream, early) => {
            tune(SockRef::from(stream.get_ref().0));
            let (read, write) = tls::split(*stream);
            Streams { read: ReadHalf::Tls(Box::new(read)), write: WriteHalf::Tls(write), early }
        }
        // This stream itself returns first the bytes that hyper had already read.
        Transport::Other(upgraded) => {
            let (read, write) = any::split(upgraded, owner);
            Streams { read: ReadHalf::Any(read), write: WriteHalf::Any(write), early: Bytes::new() }
        }
    }
}

/// The stream of an upgraded connection, with the bytes that hyper had already read.
enum Transport {
    Tcp(TcpStream, Bytes),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>, Bytes),
    Other(Upgraded),
}

impl Transport {
    fn of(upgraded: Upgraded) -> Self {
        let upgraded = match unwrap_stream(upgraded) {
            Ok((stream, early)) => return Self::Tcp(stream, early),
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match unwrap_stream(upgraded) {
            Ok((stream, early)) => return Self::Tls(Box::new(stream), early),
            Err(upgraded) => upgraded,
        };
        Self::Other(upgraded)
    }
}

/// Takes a stream of this type out of the wrappers that servers put around it.
fn unwrap_stream<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    #[cfg(feature = "server")]
    let upgraded = match upgraded.downcast::<TokioIo<WriteTimeout<S>>>() {
        Ok(parts) => return Ok((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "axum")]
    let upgraded = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<S>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// The half from which a session reads.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    #[cfg(feature = "tls")]
    /// Boxed, so that it does not enlarge a session over TCP.
    Tls(Box<TlsReadHalf>),
    Any(AnyReadHalf),
}

impl ReadHalf {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            // After a short read, tokio knows that the socket is drained: the next poll makes no
            // system call.
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.poll_read(cx, buffer),
            Self::Any(half) => half.poll_read(cx, buffer),
        }
    }

    /// Returns what the peer has acknowledged, if the kernel reports it.
    pub(crate) fn acknowledged(&self) -> Option<Acknowledged> {
        #[cfg(target_os = "linux")]
        match self {
            Self::Tcp(half) => return tcp_info::acknowledged(half.as_ref()),
            #[cfg(feature = "tls")]
            Self::Tls(half) => return half.with_socket(|socket| tcp_info::acknowledged(&*socket)),
            Self::Any(_) => {}
        }
        None
    }

    /// Takes the number of bytes that were received and carry no data, such as the overhead of TLS.
    pub(crate) fn take_overhead(&mut self) -> usize {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.take_overhead(),
            _ => 0,
        }
    }
}

/// The half to which a shard writes.
pub(crate) enum WriteHalf {
    Tcp(TcpWriteHalf),
    #[cfg(feature = "tls")]
    Tls(TlsWriteHalf),
    Any(AnyWriteHalf),
    /// A placeholder until the stream exists.
    Awaited,
}

impl Socket for WriteHalf {
    fn is_there(&self) -> bool {
        !matches!(self, Self::Awaited)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => half.poll_write(cx, frames),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.poll_write(cx, frames),
            Self::Any(half) => half.poll_write(cx, frames),
            Self::Awaited => Poll::Pending,
        }
    }

    fn try_write(&mut self, frames: &[u8]) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(half) = self {
            return half.try_write(frames);
        }
        self.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(frames)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.poll_flush(cx),
            Self::Any(half) => half.poll_flush(cx),
            Self::Awaited => Poll::Pending,
        }
    }

    fn shut_down(&mut self) {
        // A failure means that the peer has gone, which the reader will notice. All bytes have been
        // written by now, so the socket has space for the few bytes of TLS.
        let mut cx = Context::from_waker(Waker::noop());
        match self {
            Self::Tcp(half) => {
                let _ = SockRef::from(half.socket()).shutdown(Shutdown::Write);
            }
            #[cfg(feature = "tls")]
            Self::Tls(half) => {
                let _ = half.poll_shutdown(&mut cx);
            }
            Self::Any(half) => half.shut_down(&mut cx),
            Self::Awaited => {}
        }
    }

    fn abort(&mut self) {
        if self.with_socket(reset).is_none() {
            self.shut_down();
        }
    }

    #[cfg(target_os = "linux")]
    fn acknowledged(&self) -> Option<Acknowledged> {
        self.with_socket(|socket| tcp_info::acknowledged(&*socket)).flatten()
    }

    #[cfg(target_os = "linux")]
    fn is_answered(&self, patience: Duration) -> Option<bool> {
        self.with_socket(|socket| tcp_info::is_answered(&*socket, patience)).flatten()
    }

    #[cfg(target_os = "linux")]
    fn has_unread(&self) -> bool {
        self.with_socket(|socket| tcp_info::has_unread(&*socket)).unwrap_or_default()
    }
}

impl WriteHalf {
    /// Calls `act` with the TCP socket, if there is one.
    fn with_socket<R>(&self, act: impl FnOnce(SockRef<'_>) -> R) -> Option<R> {
        match self {
            Self::Tcp(half) => Some(act(SockRef::from(half.socket()))),
            #[cfg(feature = "tls")]
            Self::Tls(half) => Some(half.with_socket(act)),
            Self::Any(_) | Self::Awaited => None,
        }
    }
}

/// Prepares a reset: the connection is reset when its last half is dropped. Otherwise the kernel
/// would keep the bytes that the client does not read for minutes. A client that cannot be reached
/// would never get the reset, so the kernel goes on trying to end such a connection.
fn reset(socket: SockRef<'_>) {
    #[cfg(target_os = "linux")]
    if tcp_info::leave_if_unanswered(&socket) {
        return;
    }
    let _ = socket.set_linger(Some(Duration::ZERO));
    let _ = socket.shutdown(Shutdown::Both);
}

#[cfg(all(test, feature = "axum"))]
mod tests {
    use axum::Router;
    use axum::extract::Request;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    const REQUEST: &[u8] =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: any\r\n\r\nearly";

    #[tokio::test]
    async fn tcp_socket_is_found_under_axum_serve_with_the_bytes_that_were_read() {
        let (sender, mut upgrades) = mpsc::unbounded_channel();
        let route = get(|mut request: Request| async move {
            sender.send(hyper::upgrade::on(&mut request)).expect("the test listens");
            let switching = hyper::Response::builder().status(101);
            let switching = switching.header("connection", "upgrade").header("upgrade", "any");
            switching.body(axum::body::Body::empty()).expect("a response")
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let server =
            tokio::spawn(
                async move { axum::serve(listener, Router::new().route("/", route)).await },
            );

        let mut client = TcpStream::connect(addr).await.expect("it listens");
        client.write_all(REQUEST).await.expect("sent");
        let upgraded = upgrades.recv().await.expect("a request").await.expect("an upgrade");
        let Transport::Tcp(mut stream, early) = Transport::of(upgraded) else {
            panic!("not known as TCP")
        };
        client.write_all(b", late").await.expect("sent");
        client.shutdown().await.expect("it is open");
        let mut bytes = early.to_vec();
        stream.read_to_end(&mut bytes).await.expect("an end");
        assert_eq!(bytes, b"early, late");
        server.abort();
    }
}
