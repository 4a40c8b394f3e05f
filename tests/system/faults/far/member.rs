//! Far members of a room: the lines that each received, and how its connection ended.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use support::network::relay::client_addr;
use support::scene::crowd::Client;
use support::scene::oracle::Line;
use support::scene::server::DEADLINE;

/// Connects over a link, in the network namespace of the clients.
pub(super) async fn connect(
    server: SocketAddr,
    link: usize,
    receive_buffer: Option<u32>,
) -> Client {
    let dial = async {
        let socket = TcpSocket::new_v4().expect("a descriptor is left");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a socket takes options");
        }
        socket.bind((client_addr(link), 0).into()).expect("the link has this address");
        let stream = socket.connect(server).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket takes options");
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
        let url = format!("ws://{server}/ws/room");
        client_async_with_config(url, stream, Some(config)).await.expect("the upgrade succeeds").0
    };
    timeout(DEADLINE, dial).await.expect("in time")
}

/// How a member's connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// All lines arrived.
    Complete,
    /// The server sent a close frame with this code.
    Closed(u16),
    /// The stream ended or was reset, without a close frame.
    Cut,
    /// The connection stayed open, but lines were missing.
    Hanging,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("all"),
            Self::Closed(code) => write!(f, "{code}"),
            Self::Cut => f.write_str("cut"),
            Self::Hanging => f.write_str("hangs"),
        }
    }
}

/// The lines that a member has received.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) lines: u64,
    /// Whether no line came twice and none was missing in between.
    pub(super) in_order: bool,
    pub(super) end: End,
    /// When the last line came, and when the connection ended or all lines had come.
    pub(super) last_at: Instant,
    pub(super) end_at: Instant,
    /// The longest time of a line from its publisher.
    pub(super) longest: Duration,
}

/// How a member reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    /// The number of all lines.
    pub(super) lines: u64,
    /// When the publisher's clock began.
    pub(super) began: Instant,
    /// When the member gives up.
    pub(super) deadline: Instant,
    /// The least time between two lines that the member reads.
    pub(super) pace: Duration,
    /// Whether the member waits for the end of the connection, also after all lines.
    pub(super) until_end: bool,
}

impl Listening {
    /// Reads all lines, as fast as they come.
    pub(super) fn to(lines: usize, began: Instant, deadline: Instant) -> Self {
        let lines = lines as u64;
        Self { lines, began, deadline, pace: Duration::ZERO, until_end: false }
    }

    /// Reads until all lines have come, or the connection ends.
    pub(super) async fn hear<S>(self, client: &mut S) -> Heard
    where
        S: StreamExt<Item = Result<Message, Error>> + Unpin,
    {
        let began = Instant::now();
        let mut heard = Heard {
            lines: 0,
            in_order: true,
            end: End::Hanging,
            last_at: began,
            end_at: began,
            longest: Duration::ZERO,
        };
        let listening = timeout_at(self.deadline, self.listen(client, &mut heard));
        heard.end = listening.await.unwrap_or(End::Hanging);
        heard.end_at = Instant::now();
        heard
    }

    async fn listen<S>(self, client: &mut S, heard: &mut Heard) -> End
    where
        S: StreamExt<Item = Result<Message, Error>> + Unpin,
    {
        while let Some(Ok(message)) = client.next().await {
            match message {
                Message::Text(text) => self.note(&text, heard),
                Message::Close(frame) => {
                    return frame.map_or(End::Cut, |frame| End::Closed(frame.code.into()));
                }
                _ => continue,
            }
            if heard.lines == self.lines && !self.until_end {
                return End::Complete;
            }
            // Skips a zero wait, because even the shortest sleep takes a millisecond.
            if !self.pace.is_zero() {
                sleep_until(heard.last_at + self.pace).await;
            }
        }
        End::Cut
    }

    fn note(self, text: &str, heard: &mut Heard) {
        let line: Line = simd_json::from_slice(&mut text.as_bytes().to_vec()).expect("JSON");
        heard.in_order &= line.seq == heard.lines;
        heard.lines += 1;
        heard.last_at = Instant::now();
        let sent = Duration::from_micros(line.ts as u64);
        heard.longest = heard.longest.max(self.began.elapsed().saturating_sub(sent));
    }
}
