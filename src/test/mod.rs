//! Test tools for applications: a server and clients in memory, without a port (feature
//! `test-util`).
//!
//! A [`TestServer`] serves endpoints as [`Server`](crate::Server) does, with the same routes,
//! limits, handshake, shards and callbacks. A pipe in memory connects each client to it. The
//! clients behave as browsers do: they send masked frames (RFC 6455), and answer pings and a close.
//!
//! # Examples
//! A test of a chat:
//! ```
//! use roomcast::Hub;
//! use roomcast::test::TestServer;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::<String>::new();
//! let chat = hub
//!     .handlers()
//!     .on_connect(async |conn| {
//!         conn.join(conn.param("room")).await?;
//!         Ok(())
//!     })
//!     .on_message(async |conn, text| {
//!         conn.hub().to_room(conn.param("room"), &text).await?;
//!         Ok(())
//!     });
//!
//! let server = TestServer::new("/ws/{room}", hub.handle(chat));
//! let mut ann = server.connect("/ws/tea").await?;
//! let mut bob = server.connect("/ws/tea").header("origin", "http://localhost").await?;
//! ann.send("hello").await?;
//! assert_eq!(bob.recv().await?, "hello");
//! assert_eq!(ann.recv().await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//! Nothing here sleeps. `connect` returns when `on_connect` has returned, so the client is already
//! a member of the rooms that `on_connect` joins. In a test with paused time
//! (`#[tokio::test(start_paused = true)]`), tokio jumps to the next timeout when nothing else can
//! happen. If `tokio::time::timeout(Duration::from_secs(1), client.recv())` expires in such a test,
//! no message will come.
//!
//! # Slow clients
//! A client reads by itself until [`inbox_messages`](Connecting::inbox_messages) wait for `recv`.
//! From then on, and after [`pause`](TestClient::pause), it reads nothing. Then up to
//! [`pipe_bytes`](Connecting::pipe_bytes) wait in the pipe, which replaces the buffers of the
//! kernel, and all further messages wait in the hub.
//!
//! ```
//! use roomcast::test::TestServer;
//! use roomcast::{CloseCode, Hub};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::<String>::builder().send_buffer_bytes(4_096).build()?;
//! let server = TestServer::new("/ws", hub.handle(hub.handlers()));
//! let mut client = server.connect("/ws").pipe_bytes(1_024).await?;
//! client.pause();
//! for _ in 0..10 {
//!     hub.broadcast(&"x".repeat(1_000)).await?;
//! }
//! client.resume();
//! assert_eq!(client.closed().await.code, CloseCode::POLICY);
//! assert_eq!(hub.stats().evictions(), 1);
//! # Ok(())
//! # }
//! ```

mod client;
mod connecting;
mod error;
mod pipe;
mod server;

pub use self::client::TestClient;
pub use self::connecting::Connecting;
pub use self::error::{ConnectError, RecvError};
pub use self::server::TestServer;
