//! A handler made of closures.

use std::fmt;
use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Conn, Handler, Reject, UpgradeRequest};
use crate::codec::DecodeError;
use crate::engine::{Close, DisconnectReason};

type OnUpgrade = dyn Fn(&mut UpgradeRequest) -> Result<(), Reject> + Send + Sync;
type OnConnect<Out, In> =
    dyn Fn(Conn<Out, In>) -> BoxFuture<'static, Result<(), Close>> + Send + Sync;
type OnEvent<Out, In, E> =
    dyn Fn(Conn<Out, In>, E) -> BoxFuture<'static, Result<(), Close>> + Send + Sync;

/// What a closure of [`Handlers`] may return: nothing, or a `Result` whose error closes the connection.
#[diagnostic::on_unimplemented(
    message = "a callback returns `()` or `Result<(), Close>`, not `{Self}`",
    label = "this closure returns something else",
    note = "`?` turns each error of roomcast into a `Close`; end the closure with `Ok(())`"
)]
pub trait Outcome: sealed::Sealed {
    /// The result.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Close>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), Close> {
        Ok(())
    }
}

impl Outcome for Result<(), Close> {
    fn into_result(self) -> Self {
        self
    }
}

mod sealed {
    use super::Close;

    pub trait Sealed {}

    impl Sealed for () {}
    impl Sealed for Result<(), Close> {}
}

/// A [`Handler`] made of closures, for programs that fit on a page. From
/// [`Hub::handlers`](super::Hub::handlers).
///
/// A closure gets the connection by value and returns a future, which is boxed: an allocation a
/// message that an implementation of [`Handler`] does not have. The future gives nothing, or a `Result` whose error
/// [closes the connection](Handler#errors-of-callbacks).
///
/// # Examples
/// ```
/// use roomcast::Hub;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::<String>::new();
/// let chat = hub
///     .handlers()
///     .on_connect(|conn| async move {
///         conn.join(conn.param("room").unwrap_or("lobby")).await?;
///         Ok(())
///     })
///     .on_message(|conn, text| async move {
///         let room = conn.param("room").unwrap_or("lobby");
///         conn.hub().to_room(room, &text).await?;
///         Ok(())
///     })
///     .on_disconnect(|conn, reason| async move {
///         println!("{} has gone: {reason}", conn.id());
///     });
/// let endpoint = hub.handle(chat);
/// # drop(endpoint);
/// # }
/// ```
#[must_use = "handlers do nothing until `Hub::handle`"]
pub struct Handlers<Out, In = Out> {
    upgrade: Option<Box<OnUpgrade>>,
    connect: Option<Box<OnConnect<Out, In>>>,
    message: Option<Box<OnEvent<Out, In, In>>>,
    decode_error: Option<Box<OnEvent<Out, In, DecodeError>>>,
    disconnect: Option<Box<OnEvent<Out, In, DisconnectReason>>>,
}

impl<Out: 'static, In: Send + 'static> Handlers<Out, In> {
    pub(super) fn new() -> Self {
        Self { upgrade: None, connect: None, message: None, decode_error: None, disconnect: None }
    }

    /// Called with the request before the handshake. Not a future: implement [`Handler`] to wait.
    pub fn on_upgrade<F>(mut self, f: F) -> Self
    where
        F: Fn(&mut UpgradeRequest) -> Result<(), Reject> + Send + Sync + 'static,
    {
        self.upgrade = Some(Box::new(f));
        self
    }

    /// Called when a connection is open.
    pub fn on_connect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.connect = Some(Box::new(move |conn| Box::pin(f(conn).map(Outcome::into_result))));
        self
    }

    /// Called for each message of a client.
    pub fn on_message<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, In) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.message = Some(Box::new(move |conn, message| {
            Box::pin(f(conn, message).map(Outcome::into_result))
        }));
        self
    }

    /// Called for each message that cannot be decoded.
    pub fn on_decode_error<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, DecodeError) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.decode_error =
            Some(Box::new(move |conn, error| Box::pin(f(conn, error).map(Outcome::into_result))));
        self
    }

    /// Called when a connection has ended.
    pub fn on_disconnect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.disconnect =
            Some(Box::new(move |conn, reason| Box::pin(f(conn, reason).map(Outcome::into_result))));
        self
    }
}

impl<Out: 'static, In: Send + 'static> Handler<Out, In> for Handlers<Out, In> {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        self.upgrade.as_ref().map_or(Ok(()), |f| f(request))
    }

    async fn on_connect(&self, conn: &Conn<Out, In>) -> Result<(), Close> {
        match &self.connect {
            Some(f) => f(conn.clone()).await,
            None => Ok(()),
        }
    }

    async fn on_message(&self, conn: &Conn<Out, In>, message: In) -> Result<(), Close> {
        match &self.message {
            Some(f) => f(conn.clone(), message).await,
            None => Ok(()),
        }
    }

    async fn on_decode_error(&self, conn: &Conn<Out, In>, error: DecodeError) -> Result<(), Close> {
        match &self.decode_error {
            Some(f) => f(conn.clone(), error).await,
            None => Ok(()),
        }
    }

    async fn on_disconnect(
        &self,
        conn: &Conn<Out, In>,
        reason: &DisconnectReason,
    ) -> Result<(), Close> {
        match &self.disconnect {
            Some(f) => f(conn.clone(), reason.clone()).await,
            None => Ok(()),
        }
    }
}

impl<Out, In> fmt::Debug for Handlers<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}
