//! An echo: each message goes back to its sender alone, text as text and bytes as bytes.
//!
//! `cargo run --release -p extra-examples --example echo`, and point a conformance suite at the address that it prints.
//! `bash tests/autobahn.sh` does so.

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use roomcast::{BuildError, Close, Conn, Handler, Hub, Raw, RawMessage, Server, shutdown_signal};

/// The largest message that the performance cases of Autobahn send.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The most fragments: 4 MiB, 64 bytes each, and an empty one.
const FRAGMENTS_MAX: u32 = 65_537;

/// Time for such a message, also from a slow suite on a busy machine.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(100);

/// How long clients have to go when the server is told to end.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A WebSocket echo server over roomcast.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
}

struct Echo;

impl Handler<RawMessage> for Echo {
    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        // Waits while the hub is overloaded, and fails only when the client has gone.
        conn.send(&message).await?;
        Ok(())
    }
}

/// A hub that keeps what a client has not read yet, up to some of the largest messages.
fn hub() -> Result<Hub<RawMessage>, BuildError> {
    Hub::with_codec(Raw)
        .max_message_bytes(MESSAGE_BYTES_MAX)
        .max_fragments(FRAGMENTS_MAX)
        .message_timeout(MESSAGE_TIMEOUT)
        .send_buffer(1_024)
        .send_buffer_bytes(4 * MESSAGE_BYTES_MAX)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let told_to_end = shutdown_signal();
    let options = Options::parse();
    let server = Server::bind(&options.listen).await?.route("/", hub()?.handle(Echo))?;
    println!("listening on ws://{}", server.local_addr()?);
    println!("{}", server.run_until(told_to_end, SHUTDOWN).await);
    Ok(())
}
