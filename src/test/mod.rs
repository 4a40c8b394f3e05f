//! Tests of an application's handlers: clients in memory, without a port (feature `test-util`).
//!
//! A [`TestServer`] serves endpoints as [`Server`](crate::Server) does: the same routes, limits and handshake, and the
//! same shards and callbacks behind them. Its clients are at the other end of a pipe in memory. They send masked frames
//! as RFC 6455 demands, answer pings and answer a close, as browsers do.
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
//! Nothing here sleeps. `connect` returns when `on_connect` has returned, so a client is in the rooms that it joins
//! there. In a test with paused time (`#[tokio::test(start_paused = true)]`), tokio jumps to the next timeout when
//! nothing else can happen. If `tokio::time::timeout(Duration::from_secs(1), client.recv())` expires there, no message
//! will come.
//!
//! # Slow clients
//! A client reads on by itself until [`inbox_messages`](Connecting::inbox_messages) wait for `recv`. From then on, and
//! after [`pause`](TestClient::pause), it reads nothing. Then the pipe holds
//! [`pipe_bytes`](Connecting::pipe_bytes): it replaces the buffers of the kernel. The rest waits in the hub.
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
