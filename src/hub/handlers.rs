//! [`Handlers`]: a handler made of closures.

use std::fmt;
use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Conn, Handler, Outcome, Reject, UpgradeRequest};
use crate::codec::DecodeError;
use crate::engine::{Close, DisconnectReason};

type OnUpgrade =
    dyn Fn(UpgradeRequest) -> BoxFuture<'static, Result<UpgradeRequest, Reject>> + Send + Sync;
type OnConnect<Out, In> =
    dyn Fn(Conn<Out, In>) -> BoxFuture<'static, Result<(), Close>> + Send + Sync;
type OnEvent<Out, In, E> =
    dyn Fn(Conn<Out, In>, E) -> BoxFuture<'static, Result<(), Close>> + Send + Sync;

/// A [`Handler`] made of closures, for short programs. [`Hub::handlers`](super::Hub::handlers)
/// makes one.
///
/// Pass async closures, or closures that return a future. A closure gets the connection by value,
/// and returns nothing or a `Result` whose error
/// [closes the connection](Handler#errors-of-callbacks). The future is boxed, so each message costs
/// one more allocation than with an implementation of [`Handler`].
///
/// An async closure cannot capture variables here, because it is called many times. The compiler
/// then says *async closure does not implement `Fn` because it captures state from its
/// environment*. Pass the variables by [`with_state`](Self::with_state).
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
///     .on_connect(async |conn| {
///         conn.join(conn.param("room")).await?;
///         Ok(())
///     })
///     .on_message(async |conn, text| {
///         conn.hub().to_room(conn.param("room"), &text).await?;
///         Ok(())
///     })
///     .on_disconnect(async |conn, reason| println!("{} has gone: {reason}", conn.id()));
/// let endpoint = hub.handle(chat);
/// # drop(endpoint);
/// # }
/// ```
#[must_use = "handlers do nothing until `Hub::handle`"]
pub struct Handlers<Out, In = Out, S = Stateless> {
    state: S,
    callbacks: Callbacks<Out, In>,
}

/// The type of the state of [`Handlers`] before [`with_state`](Handlers::with_state): no state.
#[derive(Debug, Clone, Copy)]
pub struct Stateless(());

/// The type of the state of [`Handlers`] after [`with_state`](Handlers::with_state).
#[derive(Debug, Clone, Copy)]
pub struct State<S>(S);

struct Callbacks<Out, In> {
    upgrade: Option<Box<OnUpgrade>>,
    connect: Option<Box<OnConnect<Out, In>>>,
    message: Option<Box<OnEvent<Out, In, In>>>,
    decode_error: Option<Box<OnEvent<Out, In, DecodeError>>>,
    disconnect: Option<Box<OnEvent<Out, In, DisconnectReason>>>,
}

impl<Out: 'static, In: Send + 'static> Handlers<Out, In> {
    pub(super) fn new() -> Self {
        Self { state: Stateless(()), callbacks: Callbacks::default() }
    }

    /// Passes `state` to the closures that are set after this call, as their first argument.
    /// Closures that were set before get no state. This method can be called once.
    ///
    /// Each call of a closure gets a clone of the state. Put large or shared values into an
    /// [`Arc`](std::sync::Arc).
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Arc;
    /// use roomcast::{Hub, StatusCode};
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// /// The user of each token.
    /// type Users = Arc<HashMap<String, User>>;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let users = Users::default();
    /// let hub = Hub::<String>::new();
    /// let chat = hub
    ///     .handlers()
    ///     .with_state(users)
    ///     .on_upgrade(async |users, mut request| {
    ///         let token = request.query("token").unwrap_or_default();
    ///         let user = users.get(&*token).ok_or(StatusCode::UNAUTHORIZED)?.clone();
    ///         request.insert(user);
    ///         Ok(request)
    ///     })
    ///     .on_message(async |_, conn, text| {
    ///         let User(name) = conn.get();
    ///         conn.hub().broadcast(&format!("{name}: {text}")).await?;
    ///         Ok(())
    ///     });
    /// let endpoint = hub.handle(chat);
    /// # drop(endpoint);
    /// # }
    /// ```
    pub fn with_state<S: Clone + Send + Sync + 'static>(
        self,
        state: S,
    ) -> Handlers<Out, In, State<S>> {
        Handlers { state: State(state), callbacks: self.callbacks }
    }

    /// Sets the closure that accepts or refuses a request, before the handshake. To accept, it
    /// returns the request, with the values that it [has inserted](UpgradeRequest::insert). To
    /// refuse, it returns an error. See [`Handler::on_upgrade`].
    pub fn on_upgrade<F, R>(mut self, f: F) -> Self
    where
        F: Fn(UpgradeRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<UpgradeRequest, Reject>> + Send + 'static,
    {
        self.callbacks.upgrade = upgrade(f);
        self
    }

    /// Sets the closure that is called when a connection is open. See [`Handler::on_connect`].
    pub fn on_connect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.callbacks.connect = connect(f);
        self
    }

    /// Sets the closure that is called for each message of a client. See [`Handler::on_message`].
    pub fn on_message<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, In) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.callbacks.message = event(f);
        self
    }

    /// Sets the closure that is called for each message that cannot be decoded. See
    /// [`Handler::on_decode_error`].
    pub fn on_decode_error<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, DecodeError) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.callbacks.decode_error = event(f);
        self
    }

    /// Sets the closure that is called when a connection has ended. See [`Handler::on_disconnect`].
    pub fn on_disconnect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Conn<Out, In>, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.callbacks.disconnect = event(f);
        self
    }
}

/// # With state
/// The same methods after [`with_state`](Handlers::with_state): each closure gets a clone of the
/// state as its first argument.
impl<Out, In, S> Handlers<Out, In, State<S>>
where
    Out: 'static,
    In: Send + 'static,
    S: Clone + Send + Sync + 'static,
{
    /// Sets the closure that accepts or refuses a request, before the handshake. To accept, it
    /// returns the request.
    pub fn on_upgrade<F, R>(mut self, f: F) -> Self
    where
        F: Fn(S, UpgradeRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<UpgradeRequest, Reject>> + Send + 'static,
    {
        let state = self.state.0.clone();
        self.callbacks.upgrade = upgrade(move |request| f(state.clone(), request));
        self
    }

    /// Sets the closure that is called when a connection is open.
    pub fn on_connect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(S, Conn<Out, In>) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let state = self.state.0.clone();
        self.callbacks.connect = connect(move |conn| f(state.clone(), conn));
        self
    }

    /// Sets the closure that is called for each message of a client.
    pub fn on_message<F, R>(mut self, f: F) -> Self
    where
        F: Fn(S, Conn<Out, In>, In) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let state = self.state.0.clone();
        self.callbacks.message = event(move |conn, message| f(state.clone(), conn, message));
        self
    }

    /// Sets the closure that is called for each message that cannot be decoded.
    pub fn on_decode_error<F, R>(mut self, f: F) -> Self
    where
        F: Fn(S, Conn<Out, In>, DecodeError) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let state = self.state.0.clone();
        self.callbacks.decode_error = event(move |conn, error| f(state.clone(), conn, error));
        self
    }

    /// Sets the closure that is called when a connection has ended.
    pub fn on_disconnect<F, R>(mut self, f: F) -> Self
    where
        F: Fn(S, Conn<Out, In>, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let state = self.state.0.clone();
        self.callbacks.disconnect = event(move |conn, reason| f(state.clone(), conn, reason));
        self
    }
}

fn upgrade<R>(f: impl Fn(UpgradeRequest) -> R + Send + Sync + 'static) -> Option<Box<OnUpgrade>>
where
    R: Future<Output = Result<UpgradeRequest, Reject>> + Send + 'static,
{
    Some(Box::new(move |request| Box::pin(f(request))))
}

fn connect<Out, In, R>(
    f: impl Fn(Conn<Out, In>) -> R + Send + Sync + 'static,
) -> Option<Box<OnConnect<Out, In>>>
where
    R: Future<Output: Outcome> + Send + 'static,
{
    Some(Box::new(move |conn| Box::pin(f(conn).map(Outcome::into_result))))
}

fn event<Out, In, E, R>(
    f: impl Fn(Conn<Out, In>, E) -> R + Send + Sync + 'static,
) -> Option<Box<OnEvent<Out, In, E>>>
where
    R: Future<Output: Outcome> + Send + 'static,
{
    Some(Box::new(move |conn, event| Box::pin(f(conn, event).map(Outcome::into_result))))
}

impl<Out, In> Default for Callbacks<Out, In> {
    fn default() -> Self {
        Self { upgrade: None, connect: None, message: None, decode_error: None, disconnect: None }
    }
}

impl<Out, In, S> Handler<Out, In> for Handlers<Out, In, S>
where
    Out: 'static,
    In: Send + 'static,
    S: Send + Sync + 'static,
{
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        let Some(f) = &self.callbacks.upgrade else { return Ok(()) };
        *request = f(request.take()).await?;
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<Out, In>) -> Result<(), Close> {
        match &self.callbacks.connect {
            Some(f) => f(conn.clone()).await,
            None => Ok(()),
        }
    }

    async fn on_message(&self, conn: &Conn<Out, In>, message: In) -> Result<(), Close> {
        match &self.callbacks.message {
            Some(f) => f(conn.clone(), message).await,
            None => Ok(()),
        }
    }

    async fn on_decode_error(&self, conn: &Conn<Out, In>, error: DecodeError) -> Result<(), Close> {
        match &self.callbacks.decode_error {
            Some(f) => f(conn.clone(), error).await,
            None => Ok(()),
        }
    }

    async fn on_disconnect(
        &self,
        conn: &Conn<Out, In>,
        reason: &DisconnectReason,
    ) -> Result<(), Close> {
        match &self.callbacks.disconnect {
            Some(f) => f(conn.clone(), reason.clone()).await,
            None => Ok(()),
        }
    }
}

impl<Out, In, S> fmt::Debug for Handlers<Out, In, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}
