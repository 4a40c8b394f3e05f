//! An echo server: each message goes back to its sender only, text as text and bytes as bytes.
//!
//! Run `cargo run --release -p extra-examples --example echo`, and point a conformance suite at the address that the
//! server prints, as `bash tests/autobahn.sh` does.

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use extra_examples::CompressionMode;
use roomcast::{BuildError, Close, Conn, Handler, Hub, Raw, RawMessage, Server, shutdown_signal};

/// The largest message that the performance cases of Autobahn send.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The most fragments of a message in Autobahn: 4 MiB in fragments of 64 bytes, and an empty fragment.
const FRAGMENTS_MAX: u32 = 65_537;

/// The time limit for one message, long enough for a slow suite on a busy machine.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(100);

/// The time that clients have to disconnect when the server shuts down.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A WebSocket echo server on roomcast.
#[derive(Parser)]
struct Options {
    /// The address to listen on; with port 0 the system chooses a port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// How messages are compressed, for clients that ask for it.
    #[arg(long, value_enum, default_value = "off")]
    compression: CompressionMode,
}

struct Echo;

impl Handler<RawMessage> for Echo {
    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        // Waits while the hub is overloaded, and fails only when the client has gone.
        conn.send(&message).await?;
        Ok(())
    }
}

/// A hub whose queue for a client holds up to 1,024 messages and up to four of the largest messages. If it compresses,
/// it compresses every message.
fn hub(compression: CompressionMode) -> Result<Hub<RawMessage>, BuildError> {
    let compression = compression.setting().map(|all| all.direct(true).min_message_bytes(0));
    Hub::with_codec(Raw)
        .compression(compression)
        .max_message_bytes(MESSAGE_BYTES_MAX)
        .max_fragments(FRAGMENTS_MAX)
        .message_timeout(MESSAGE_TIMEOUT)
        .send_buffer(1_024)
        .send_buffer_bytes(4 * MESSAGE_BYTES_MAX)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = shutdown_signal();
    let options = Options::parse();
    let server =
        Server::bind(&options.listen).await?.route("/", hub(options.compression)?.handle(Echo))?;
    println!("listening on ws://{}", server.local_addr()?);
    println!("{}", server.run_until(stop, SHUTDOWN).await);
    Ok(())
}
