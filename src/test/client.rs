//! A client in memory.

use std::fmt;
use std::sync::Arc;

use super::RecvError;
use super::pipe::{Pipe, Received};
use crate::{
    AsMessage, Close, CloseCode, Codec, DecodeError, FrameKind, RawMessage, Response, SendError,
};

/// A client of a [`TestServer`](super::TestServer): what a browser is to a server.
///
/// It receives `Out` and sends `In`. It answers pings and a close by itself, as long as it reads: see
/// [`pause`](Self::pause). If it is dropped, it vanishes without a close frame, and the handler is told
/// [`DisconnectReason::Io`](crate::DisconnectReason::Io).
pub struct TestClient<Out, In = Out> {
    pipe: Pipe,
    codec: Arc<dyn Codec<In, Out>>,
    response: Response<()>,
    /// How the connection has ended, once that was received.
    close: Option<Close>,
}

impl<Out: 'static, In: 'static> TestClient<Out, In> {
    pub(super) fn new(pipe: Pipe, codec: Arc<dyn Codec<In, Out>>, response: Response<()>) -> Self {
        Self { pipe, codec, response, close: None }
    }

    /// The response that accepted the handshake, with its headers: the subprotocol, cookies.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a message. Returns when it is in the pipe to the server; the server may not have read it. Waits while the
    /// pipe is full, as when the server holds this client back.
    ///
    /// # Errors
    /// [`SendError::Encode`]: the message cannot be encoded, and nothing was sent. [`SendError::Closed`]: the
    /// connection has ended.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the message may be sent, whole, or not at all.
    pub async fn send<M: AsMessage<In> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        let mut payload = Vec::new();
        let kind = message.with_message(|message| self.codec.encode(message, &mut payload))?;
        self.write(kind, payload).await
    }

    /// Sends a text message as it is, past the codec. Empty, it is a heartbeat
    /// ([`Builder::heartbeats`](crate::Builder::heartbeats)).
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection has ended.
    ///
    /// # Cancel safety
    /// As of [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), SendError> {
        self.write(FrameKind::Text, text.into()).await
    }

    /// Sends a binary message as it is, past the codec.
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection has ended.
    ///
    /// # Cancel safety
    /// As of [`send`](Self::send).
    pub async fn send_binary(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.write(FrameKind::Binary, bytes.into()).await
    }

    async fn write(&self, kind: FrameKind, payload: Vec<u8>) -> Result<(), SendError> {
        if self.pipe.send(kind, payload).await { Ok(()) } else { Err(SendError::Closed) }
    }

    /// Receives the next message, and waits for it.
    ///
    /// # Errors
    /// [`RecvError::Closed`]: the connection has ended; all messages before the end have been received. Each later
    /// call says so again. [`RecvError::Decode`]: the codec cannot read the message. The next call goes on.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub async fn recv(&mut self) -> Result<Out, RecvError> {
        let message = self.recv_raw().await?;
        let (kind, mut payload) = match &message {
            RawMessage::Text(text) => (FrameKind::Text, text.clone().into_bytes()),
            RawMessage::Binary(bytes) => (FrameKind::Binary, bytes.to_vec()),
        };
        let decoded = if self.codec.accepts(kind) {
            self.codec.decode(kind, &mut payload)
        } else {
            Err(DecodeError::new("the codec does not accept this kind of message"))
        };
        decoded.map_err(|source| RecvError::Decode { message, source })
    }

    /// Receives the next message as it is, past the codec: also the empty text that answers a heartbeat.
    ///
    /// # Errors
    /// [`RecvError::Closed`], as of [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// No message is lost.
    pub async fn recv_raw(&mut self) -> Result<RawMessage, RecvError> {
        if self.close.is_none() {
            match self.pipe.recv().await {
                Some(Received::Message(message)) => return Ok(message),
                Some(Received::Ended(close)) => self.close = Some(close),
                None => {}
            }
        }
        // Without one if the runtime of the client has ended.
        let close = self.close.get_or_insert_with(|| CloseCode::ABNORMAL.into());
        Err(RecvError::Closed(close.clone()))
    }

    /// Waits for the end, and says how the connection was closed: 1006 if it ended without a close frame, 1005 if the
    /// frame has no code. Messages that come before are thrown away.
    ///
    /// # Cancel safety
    /// Messages that have been thrown away stay so.
    pub async fn closed(&mut self) -> Close {
        loop {
            if let Err(RecvError::Closed(close)) = self.recv_raw().await {
                return close;
            }
        }
    }

    /// Closes the connection, waits for the answer, and returns it. Messages that come before are thrown away. Where
    /// the server has closed already, its close is the answer.
    ///
    /// The code and the reason are sent as [`Close`] says. `on_disconnect` may not have run when this returns.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the close may have been sent.
    pub async fn close(&mut self, close: impl Into<Close>) -> Close {
        // It fails where the connection has ended, and `closed` says how.
        self.pipe.close(&close.into()).await;
        self.closed().await
    }

    /// Stops reading, as a client that hangs: what is sent to it fills the pipe, and then its queue in the hub. Pings
    /// are not answered. Messages that it has read already can still be received.
    pub fn pause(&self) {
        self.pipe.pause();
    }

    /// Goes on reading after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.pipe.resume();
    }
}

impl<Out, In> fmt::Debug for TestClient<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("close", &self.close).finish_non_exhaustive()
    }
}
