//! [`TestServer`]: a server in memory.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "json")]
use serde::Serialize;
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;

use super::Connecting;
#[cfg(feature = "json")]
use crate::Json;
use crate::server::InMemory;
use crate::{Codec, Endpoint, Handler, Server};

/// A [`Server`] without a port, for clients in the same process.
///
/// Its clients receive `Out` and send `In`, the types of the hub. The clients encode `In` and
/// decode `Out`. So with JSON, `In` needs `serde::Serialize`, and `Out` needs `serde::Deserialize`.
/// If the types of the hub do not implement these, use other types:
/// `TestServer::<Value, Value>::of(server)`, with `serde_json::Value`.
///
/// Clones are the same server. See the [module](crate::test) for an example.
pub struct TestServer<Out, In = Out> {
    pub(super) server: InMemory,
    pub(super) codec: Arc<dyn Codec<In, Out>>,
}

#[cfg(feature = "json")]
impl<Out, In> TestServer<Out, In>
where
    Out: DeserializeOwned + Send + 'static,
    In: Serialize + Send + 'static,
{
    /// Serves a hub that speaks JSON at a path. The path may have parameters, as for
    /// [`Server::route`].
    ///
    /// # Panics
    /// If the path is malformed.
    pub fn new<H: Handler<Out, In>>(path: &str, endpoint: Endpoint<H, Out, In>) -> Self {
        Self::with_codec(Json::new(), path, endpoint)
    }

    /// Serves the routes of a [`Server`] to clients that speak JSON, with all its limits and
    /// trusted proxies, but without TLS. The listeners of the server are closed.
    /// [`Server::in_memory`] makes a server without listeners.
    ///
    /// # Examples
    /// A function of the application adds its routes, both to the real server and in tests:
    /// ```
    /// use roomcast::test::TestServer;
    /// use roomcast::{Hub, Server, ServerError};
    ///
    /// fn routes(server: Server, hub: &Hub<String>) -> Result<Server, ServerError> {
    ///     server.route("/ws/{room}", hub.handle(hub.handlers()))?.health("/healthz")
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::new();
    /// let server = TestServer::<String>::of(routes(Server::in_memory(), &hub)?);
    /// let client = server.connect("/ws/tea").await?;
    /// assert_eq!(hub.count(), 1);
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(server: Server) -> Self {
        Self::of_codec(Json::new(), server)
    }
}

impl<Out: Send + 'static, In: Send + 'static> TestServer<Out, In> {
    /// As `new`, for a hub with another codec. The clients encode `In` and decode `Out`.
    ///
    /// # Panics
    /// If the path is malformed.
    ///
    /// # Examples
    /// ```
    /// use roomcast::test::TestServer;
    /// use roomcast::{Hub, Raw, RawMessage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::with_codec(Raw).build()?;
    /// let echo = hub.handlers().on_message(async |conn, message| Ok(conn.send(&message).await?));
    /// let server = TestServer::with_codec(Raw, "/", hub.handle(echo));
    /// let mut client = server.connect("/").await?;
    /// client.send(&RawMessage::Text("hello".to_owned())).await?;
    /// assert_eq!(client.recv().await?, RawMessage::Text("hello".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_codec<H: Handler<Out, In>>(
        codec: impl Codec<In, Out>,
        path: &str,
        endpoint: Endpoint<H, Out, In>,
    ) -> Self {
        let server = Server::in_memory().route(path, endpoint);
        Self::of_codec(codec, server.unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// As `of`, for clients with another codec.
    pub fn of_codec(codec: impl Codec<In, Out>, server: Server) -> Self {
        Self { server: server.into_memory(), codec: Arc::new(codec) }
    }

    /// Prepares a client for this path, which may have a query. The client connects when the result
    /// is awaited.
    pub fn connect(&self, path: &str) -> Connecting<Out, In> {
        Connecting::new(self.clone(), path)
    }
}

impl<Out, In> Clone for TestServer<Out, In> {
    fn clone(&self) -> Self {
        Self { server: self.server.clone(), codec: self.codec.clone() }
    }
}

impl<Out, In> fmt::Debug for TestServer<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").finish_non_exhaustive()
    }
}
