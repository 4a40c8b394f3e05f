//! Clients that send messages all the time, and reconnect as the close reason tells them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use roomcast::{Close, CloseCode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The time between two messages of a client.
const PACE: Duration = Duration::from_millis(200);

/// At the end, a client waits at most this many times [`PACE`] for its own messages.
const PAUSES_MAX: usize = 10;

/// The wait before a client reconnects if the close reason gives no time.
const WAIT: Duration = Duration::from_millis(500);

/// The counts of what happened to the clients.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Messages that were sent, and messages that the sender did not get back.
    pub(crate) sent: usize,
    pub(crate) missed: usize,
    /// Handshakes that got no 101.
    pub(crate) refused: usize,
    /// The times from each close to the next 101, sorted.
    pub(crate) away: Vec<Duration>,
    /// Ends without a close frame.
    pub(crate) cut: usize,
}

impl Fate {
    fn add(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.missed += other.missed;
        self.refused += other.refused;
        self.cut += other.cut;
        self.away.extend(other.away);
        self.away.sort_unstable();
        self
    }
}

/// The state that the clients of a crowd share.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    open: AtomicUsize,
}

/// Clients of one address, each in a task.
pub(crate) struct Crowd {
    clients: JoinSet<Fate>,
    shared: Arc<Shared>,
}

impl Crowd {
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let talk = |number| talk(addr, number, shared.clone());
        Self { clients: (0..clients).map(talk).collect(), shared }
    }

    /// The number of connected clients.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Stops the clients, and returns their counts.
    pub(crate) async fn end(self) -> Fate {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().fold(Fate::default(), Fate::add)
    }
}

/// Runs one client. Ten clients share a room.
async fn talk(addr: SocketAddr, number: usize, shared: Arc<Shared>) -> Fate {
    let mut fate = Fate::default();
    let mut closed: Option<Instant> = None;
    while !shared.is_over.load(Ordering::Relaxed) {
        let Some(mut stream) = knock(addr, &format!("/ws/{}", number / 10)).await else {
            fate.refused += 1;
            tokio::time::sleep(WAIT).await;
            continue;
        };
        fate.away.extend(closed.map(|closed| closed.elapsed()));
        shared.open.fetch_add(1, Ordering::Relaxed);
        let close = converse(&mut stream, number, &shared, &mut fate).await;
        shared.open.fetch_sub(1, Ordering::Relaxed);
        closed = Some(Instant::now());
        if !shared.is_over.load(Ordering::Relaxed) {
            fate.cut += usize::from(close.is_none());
            let wait = close.and_then(|close| close.retry_after()).unwrap_or(WAIT);
            tokio::time::sleep(wait).await;
        }
    }
    fate
}

async fn knock(addr: SocketAddr, path: &str) -> Option<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await.ok()?;
    let (client, _) = client_async(format!("ws://{addr}{path}"), stream).await.ok()?;
    Some(client)
}

/// Sends and receives until the connection or the test ends. Returns the close frame; `None` without one.
async fn converse(
    stream: &mut WebSocketStream<TcpStream>,
    number: usize,
    shared: &Shared,
    fate: &mut Fate,
) -> Option<Close> {
    let user = format!("client {number}");
    let mut ticks = tokio::time::interval(PACE);
    let (mut sent, mut heard, mut pauses) = (0_usize, 0, 0);
    let close = loop {
        tokio::select! {
            _ = ticks.tick() => {
                if shared.is_over.load(Ordering::Relaxed) {
                    // After these pauses, messages that have not come back count as missed.
                    pauses += 1;
                    if sent == heard || pauses == PAUSES_MAX {
                        break Some(Close::new(CloseCode::NORMAL, ""));
                    }
                    continue;
                }
                let text = format!(r#"{{"text":"","user":"{user}","seq":{sent}}}"#);
                if stream.send(Message::text(text)).await.is_err() {
                    break None;
                }
                sent += 1;
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => heard += usize::from(text.contains(&user)),
                Some(Ok(Message::Close(Some(frame)))) => {
                    break Some(Close::new(u16::from(frame.code).into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            }
        }
    };
    // Answers the close, as browsers do.
    let _ = stream.close(None).await;
    fate.sent += sent;
    fate.missed += sent - heard.min(sent);
    close
}
