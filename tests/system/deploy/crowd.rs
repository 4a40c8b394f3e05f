//! Clients that talk all the time, and come back when they are told to.

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

/// From one message of a client to the next.
const PACE: Duration = Duration::from_millis(200);

/// So many of them after its last message, a client waits for nothing more.
const PAUSES_MAX: usize = 10;

/// How long a client waits where it was not told.
const WAIT: Duration = Duration::from_millis(500);

/// What has befallen the clients.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Messages that were sent, and those that their sender did not get back.
    pub(crate) sent: usize,
    pub(crate) missed: usize,
    /// Handshakes that got anything but 101, or nothing.
    pub(crate) refused: usize,
    /// From each close to the next 101, in order.
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

/// What a crowd shares.
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

    /// How many are connected.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Has them stop, and tells what has befallen them.
    pub(crate) async fn end(self) -> Fate {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().fold(Fate::default(), Fate::add)
    }
}

/// One of ten to a room.
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

/// Talks until the connection ends, or all is over. Returns what the client was told at the end.
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
                    // A client that hears nothing more has missed what it has not heard by now.
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
