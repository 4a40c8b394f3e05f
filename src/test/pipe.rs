//! The client's end of a connection: a task that reads frames, and one that writes them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket, WebSocketError};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{Close, CloseCode, FrameKind, RawMessage};

type Stream = TokioIo<Upgraded>;

/// A client's connection. Dropping the `Pipe` cuts the connection.
pub(super) struct Pipe {
    outgoing: mpsc::Sender<Outgoing>,
    incoming: mpsc::Receiver<Received>,
    gate: Arc<Gate>,
    tasks: [JoinHandle<()>; 2],
}

/// An item that a client receives.
pub(super) enum Received {
    Message(RawMessage),
    /// The end of the connection: the last item.
    Ended(Close),
}

enum Outgoing {
    /// A frame, and the sender that reports when the frame is written.
    Frame(Frame<'static>, Option<oneshot::Sender<()>>),
    /// The stream has ended.
    End,
}

impl Pipe {
    /// Starts the tasks for an upgraded stream. At most `messages_max` messages that have been read
    /// wait for `recv`.
    pub(super) fn new(stream: Upgraded, messages_max: usize) -> Self {
        let (read, write) = io::split(TokioIo::new(stream));
        let (outgoing, to_write) = mpsc::channel(1);
        let (has_read, incoming) = mpsc::channel(messages_max);
        let gate = Arc::new(Gate::default());
        let reader = Gated { stream: read, gate: gate.clone() };
        let reading = tokio::spawn(read_all(reader, has_read, outgoing.clone()));
        let writing = tokio::spawn(write_all(write, to_write));
        Self { outgoing, incoming, gate, tasks: [reading, writing] }
    }

    /// Writes a message. `false` if the connection has ended.
    pub(super) async fn send(&self, kind: FrameKind, payload: Vec<u8>) -> bool {
        let payload = Payload::Owned(payload);
        self.write(match kind {
            FrameKind::Text => Frame::text(payload),
            FrameKind::Binary => Frame::binary(payload),
        })
        .await
    }

    /// Writes a close frame. `false` if the connection has ended.
    pub(super) async fn close(&self, close: &Close) -> bool {
        let (code, reason) = close.as_sent();
        self.write(match code {
            CloseCode::NO_STATUS => Frame::close_raw(Vec::new().into()),
            code => Frame::close(code.into(), reason.as_bytes()),
        })
        .await
    }

    async fn write(&self, frame: Frame<'static>) -> bool {
        let (done, is_done) = oneshot::channel();
        self.outgoing.send(Outgoing::Frame(frame, Some(done))).await.is_ok()
            && is_done.await.is_ok()
    }

    /// Waits for the next item. `None` after the end.
    pub(super) async fn recv(&mut self) -> Option<Received> {
        self.incoming.recv().await
    }

    pub(super) fn pause(&self) {
        self.gate.is_shut.store(true, Ordering::Release);
    }

    pub(super) fn resume(&self) {
        self.gate.is_shut.store(false, Ordering::Release);
        self.gate.reader.wake();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Whether the stream may be read. The release of `is_shut` is the partner of the acquire in
/// [`Gated`].
#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    reader: AtomicWaker,
}

/// A stream from which nothing comes while its gate is shut.
struct Gated {
    stream: ReadHalf<Stream>,
    gate: Arc<Gate>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Register before the check: a gate that opens after the check wakes this task.
        self.gate.reader.register(cx.waker());
        if self.gate.is_shut.load(Ordering::Acquire) {
            Poll::Pending
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }
}

/// Reads frames to the end of the stream. Pings and a close are answered at once.
async fn read_all(
    stream: Gated,
    incoming: mpsc::Sender<Received>,
    outgoing: mpsc::Sender<Outgoing>,
) {
    let mut socket = halved(io::join(stream, io::sink()));
    let close = loop {
        let frame = match socket.read_frame().await {
            Ok(frame) => frame,
            Err(error) => break cut(&error),
        };
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                if incoming.send(Received::Message(message(&frame))).await.is_err() {
                    return;
                }
            }
            OpCode::Ping => answer(&outgoing, Frame::pong(frame.payload.to_vec().into())).await,
            OpCode::Close => {
                answer(&outgoing, Frame::close_raw(frame.payload.to_vec().into())).await;
                break parse(&frame.payload);
            }
            OpCode::Pong | OpCode::Continuation => {}
        }
    };
    // This fails if the client has been dropped.
    let is_received = incoming.send(Received::Ended(close)).await.is_ok();
    while is_received && socket.read_frame().await.is_ok() {}
    drop(outgoing.send(Outgoing::End).await);
}

/// Writes frames until the stream or the client has ended.
async fn write_all(stream: WriteHalf<Stream>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut socket = halved(io::join(io::empty(), stream));
    while let Some(Outgoing::Frame(frame, done)) = outgoing.recv().await {
        let written = socket.write_frame(frame).await;
        // On failure, dropping `done` reports the failure to the waiting call.
        if let (Ok(()), Some(done)) = (written, done) {
            // The waiting call may have been cancelled.
            let _ = done.send(());
        }
    }
}

/// A WebSocket of which only one direction is used. It sends no automatic answers.
fn halved<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocket<S> {
    let mut socket = WebSocket::after_handshake(stream, Role::Client);
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    socket
}

/// Queues an answer. This fails if the stream has ended; the reader then notices the end by itself.
async fn answer(outgoing: &mpsc::Sender<Outgoing>, frame: Frame<'static>) {
    drop(outgoing.send(Outgoing::Frame(frame, None)).await);
}

fn message(frame: &Frame<'_>) -> RawMessage {
    match frame.opcode {
        OpCode::Text => RawMessage::Text(String::from_utf8_lossy(&frame.payload).into_owned()),
        _ => RawMessage::Binary(frame.payload.to_vec().into()),
    }
}

/// Reads the close from the payload of a close frame.
fn parse(payload: &[u8]) -> Close {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let code = CloseCode::from(u16::from_be_bytes(*code));
            Close::new(code, String::from_utf8_lossy(reason).into_owned())
        }
        None => Close::from(CloseCode::NO_STATUS),
    }
}

/// The close of a connection that ended without a close frame.
fn cut(error: &WebSocketError) -> Close {
    let reason = match error {
        WebSocketError::UnexpectedEOF | WebSocketError::IoError(_) => String::new(),
        error => error.to_string(),
    };
    Close::new(CloseCode::ABNORMAL, reason)
}
