//! [`TestClient`]: a client in memory.

use std::fmt;
use std::sync::Arc;

use super::RecvError;
use super::pipe::{Pipe, Received};
use crate::{
    AsMessage, Close, CloseCode, Codec, DecodeError, FrameKind, RawMessage, Response, SendError,
};

/// An open connection to a [`TestServer`](super::TestServer), from the client's side.
///
/// It receives `Out` and sends `In`. While it reads, it answers pings and a close by itself. After
/// [`pause`](Self::pause) it does not. Dropping it ends the connection without a close frame, and
/// the handler gets [`DisconnectReason::Io`](crate::DisconnectReason::Io).
pub struct TestClient<Out, In = Out> {
    pipe: Pipe,
    codec: Arc<dyn Codec<In, Out>>,
    response: Response<()>,
    /// The close of the connection, after it was received.
    close: Option<Close>,
}

impl<Out: 'static, In: 'static> TestClient<Out, In> {
    pub(super) fn new(pipe: Pipe, codec: Arc<dyn Codec<In, Out>>, response: Response<()>) -> Self {
        Self { pipe, codec, response, close: None }
    }

    /// The response that accepted the handshake. Its headers have the subprotocol and cookies.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a message. Returns when the message is in the pipe to the server; the server may not
    /// have read it yet. Waits while the pipe is full, such as when the server slows this client
    /// down.
    ///
    /// # Errors
    /// [`SendError::Encode`]: the message cannot be encoded, and nothing was sent.
    /// [`SendError::Closed`]: the connection has ended.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, either the whole message is sent or nothing.
    pub async fn send<M: AsMessage<In> + ?Sized>(&self, message: &M) -> Result<(), SendError> {
        let mut payload = Vec::new();
        let kind = message.with_message(|message| self.codec.encode(message, &mut payload))?;
        self.write(kind, payload).await
    }

    /// Sends a text message without the codec. An empty text is a heartbeat
    /// ([`Builder::heartbeats`](crate::Builder::heartbeats)).
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection has ended.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), SendError> {
        self.write(FrameKind::Text, text.into()).await
    }

    /// Sends a binary message without the codec.
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection has ended.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.write(FrameKind::Binary, bytes.into()).await
    }

    async fn write(&self, kind: FrameKind, payload: Vec<u8>) -> Result<(), SendError> {
        if self.pipe.send(kind, payload).await { Ok(()) } else { Err(SendError::Closed) }
    }

    /// Waits for the next message, and decodes it.
    ///
    /// # Errors
    /// [`RecvError::Closed`]: the connection has ended, and all messages before the end have been
    /// received. Each later call returns the same error. [`RecvError::Decode`]: the codec cannot
    /// decode the message. The next call returns the next message.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
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

    /// Waits for the next message, and returns it without the codec. It may be the empty text that
    /// answers a heartbeat.
    ///
    /// # Errors
    /// [`RecvError::Closed`], as for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn recv_raw(&mut self) -> Result<RawMessage, RecvError> {
        if self.close.is_none() {
            match self.pipe.recv().await {
                Some(Received::Message(message)) => return Ok(message),
                Some(Received::Ended(close)) => self.close = Some(close),
                None => {}
            }
        }
        // There is no close if the runtime of the client has ended.
        let close = self.close.get_or_insert_with(|| CloseCode::ABNORMAL.into());
        Err(RecvError::Closed(close.clone()))
    }

    /// Waits for the end of the connection, and returns its close: code 1006 if it ended without a
    /// close frame, 1005 if the frame has no code. Messages that arrive before the end are dropped.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the messages that it has dropped are lost.
    pub async fn closed(&mut self) -> Close {
        loop {
            if let Err(RecvError::Closed(close)) = self.recv_raw().await {
                return close;
            }
        }
    }

    /// Closes the connection, and returns the close with which the server answers. Messages that
    /// arrive before the answer are dropped. If the server had closed first, returns the server's
    /// close.
    ///
    /// For the code and the reason that are sent, see [`Close`]. `on_disconnect` may not have run
    /// when this returns.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the close may or may not have been sent.
    pub async fn close(&mut self, close: impl Into<Close>) -> Close {
        // This fails if the connection has ended. `closed` returns the close.
        self.pipe.close(&close.into()).await;
        self.closed().await
    }

    /// Stops reading, as a client that hangs does. Messages to it fill the pipe, and then its queue
    /// in the hub. Pings are not answered. Messages that the client has already read can still be
    /// received.
    pub fn pause(&self) {
        self.pipe.pause();
    }

    /// Reads again after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.pipe.resume();
    }
}

impl<Out, In> fmt::Debug for TestClient<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("close", &self.close).finish_non_exhaustive()
    }
}
