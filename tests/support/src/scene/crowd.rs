//! Well-behaved clients: members of a room and a publisher, which must miss no message, and movers, which join and
//! leave.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt, stream};
use hdrhistogram::Histogram;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::oracle::{Ledger, Line};
use super::server::{DEADLINE, Server};

/// The number of concurrent handshakes: below the backlog of the listener.
const DIALS: usize = 256;

/// The last message of a publisher.
const END: &str = "end";

pub type Client = WebSocketStream<TcpStream>;

/// A client of `tungstenite` in a room.
pub async fn connect(addr: SocketAddr, room: &str) -> Client {
    try_connect(addr, room).await.expect("the upgrade succeeds")
}

/// The same, for a server that may refuse.
pub async fn try_connect(addr: SocketAddr, room: &str) -> Result<Client, Error> {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    let stream = socket.connect(addr).await.expect("the server accepts");
    stream.set_nodelay(true).expect("a socket takes options");
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let url = format!("ws://{addr}/ws/{room}");
    let handshake = timeout(DEADLINE, client_async_with_config(url, stream, Some(config)));
    Ok(handshake.await.expect("in time")?.0)
}

/// The next line, or `None` at the end.
pub async fn next_line<S>(stream: &mut S) -> Option<Line>
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        match stream.next().await? {
            Ok(Message::Text(text)) => return Some(parse(&text)),
            Ok(Message::Close(_)) => return None,
            Ok(_) => {}
            Err(error) => panic!("a client that behaves lost its connection: {error}"),
        }
    }
}

fn parse(text: &str) -> Line {
    simd_json::from_slice(&mut text.as_bytes().to_vec()).expect("JSON")
}

/// The latencies of deliveries, in microseconds.
pub type Latencies = Histogram<u64>;

pub fn latencies() -> Latencies {
    let longest = DEADLINE.as_micros() as u64;
    Histogram::new_with_bounds(1, longest, 3).expect("a range and three digits")
}

/// The extra latency, at the 99th percentile, that well-behaved clients may have beside misbehaving clients.
pub const SLOWDOWN_MAX: f64 = 2.0;

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The members of a room of the chat. One member publishes.
pub struct Crowd {
    room: String,
    size: usize,
    text: String,
    publisher: SplitSink<Client, Message>,
    seq: u64,
    began: Instant,
    /// A receipt for each line that a member got: the latency of the line.
    receipts: mpsc::UnboundedReceiver<u64>,
    members: JoinSet<u64>,
}

impl Crowd {
    /// Connects this many members, which publish texts of this many bytes, and waits until all have joined.
    pub async fn gather(server: &Server, room: &str, size: usize, text_bytes: usize) -> Self {
        let dials = (0..size).map(|_| connect(server.addr(), room));
        let clients: Vec<Client> = stream::iter(dials).buffer_unordered(DIALS).collect().await;
        let joined = |members: usize| members == size;
        server.eventually(room, "all have joined", |stats| joined(stats.members)).await;
        let mut clients = clients.into_iter();
        let (publisher, heard) = clients.next().expect("a crowd is some").split();
        let (sender, receipts) = mpsc::unbounded_channel();
        let began = Instant::now();
        let mut members = JoinSet::new();
        members.spawn(listen(heard, Ledger::new(room), began, sender.clone()));
        for client in clients {
            members.spawn(take_part(client, Ledger::new(room), began, sender.clone()));
        }
        let text = "x".repeat(text_bytes);
        Self { room: room.to_owned(), size, text, publisher, seq: 0, began, receipts, members }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Publishes this many lines, one each `pace`, and waits until all members have got them.
    pub async fn publish(&mut self, lines: usize, pace: Duration) -> Latencies {
        let mut latencies = latencies();
        let mut due = interval(pace);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..lines {
            due.tick().await;
            self.say(&self.text.clone()).await;
            while let Ok(latency) = self.receipts.try_recv() {
                latencies.saturating_record(latency);
            }
        }
        self.collect(lines, &mut latencies).await;
        latencies
    }

    /// Publishes this many lines, each after all members have got the line before.
    pub async fn publish_in_turn(&mut self, lines: usize) -> Latencies {
        let mut latencies = latencies();
        for line in 1..=lines {
            self.say(&self.text.clone()).await;
            self.collect(line, &mut latencies).await;
        }
        latencies
    }

    /// Publishes the goodbye. All members must get it, and must have missed no line before it.
    pub async fn leave(mut self) {
        self.say(END).await;
        let lines = timeout(DEADLINE, self.members.join_all()).await.expect("all leave in time");
        assert!(lines.iter().all(|&count| count == self.seq), "each has got all: {lines:?}");
        let _ = self.publisher.close().await;
    }

    /// Waits for the receipts of all members for this many lines.
    async fn collect(&mut self, lines: usize, latencies: &mut Latencies) {
        while (latencies.len() as usize) < lines * self.size {
            let receipt = timeout(DEADLINE, self.receipts.recv()).await;
            let (got, all) = (latencies.len(), lines * self.size);
            let receipt = receipt.unwrap_or_else(|_| panic!("{got} of {all} deliveries in time"));
            latencies.saturating_record(receipt.expect("the members are there"));
        }
    }

    async fn say(&mut self, text: &str) {
        let ts = self.began.elapsed().as_micros() as f64;
        let user = format!("{}/publisher", self.room);
        let line = Line { text: text.to_owned(), user, seq: self.seq, ts };
        self.seq += 1;
        let line = simd_json::to_string(&line).expect("encodable");
        self.publisher.send(Message::text(line)).await.expect("the publisher is connected");
    }
}

/// Reads all lines up to the end. Returns the number of lines.
async fn listen(
    mut stream: SplitStream<Client>,
    mut ledger: Ledger,
    began: Instant,
    receipts: mpsc::UnboundedSender<u64>,
) -> u64 {
    hear(&mut stream, &mut ledger, began, &receipts).await
}

/// The same, and then closes the connection properly.
async fn take_part(
    mut client: Client,
    mut ledger: Ledger,
    began: Instant,
    receipts: mpsc::UnboundedSender<u64>,
) -> u64 {
    let lines = hear(&mut client, &mut ledger, began, &receipts).await;
    client.close(None).await.expect("the client sends its close frame");
    while client.next().await.is_some() {}
    lines
}

async fn hear<S>(
    stream: &mut S,
    ledger: &mut Ledger,
    began: Instant,
    receipts: &mpsc::UnboundedSender<u64>,
) -> u64
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let line = next_line(stream).await.expect("a member stays until the end");
        ledger.note(&line);
        if line.text == END {
            return ledger.lines();
        }
        let sent = Duration::from_micros(line.ts as u64);
        let _ = receipts.send(began.elapsed().saturating_sub(sent).as_micros() as u64);
    }
}

/// Clients that move from room to room, and must get no message of the room that they have left.
pub struct Movers {
    tasks: JoinSet<u64>,
    stop: watch::Sender<bool>,
}

impl Movers {
    pub fn start(server: &Server, rooms: [&'static str; 2], movers: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..movers {
            tasks.spawn(move_about(server.addr(), rooms, stopped.clone()));
        }
        Self { tasks, stop }
    }

    /// Ends the movers. Returns the total number of lines that they got.
    pub async fn stop(self) -> u64 {
        self.stop.send_replace(true);
        let heard = timeout(DEADLINE, self.tasks.join_all()).await.expect("all stop in time");
        heard.iter().sum()
    }
}

/// The number of lines that a mover waits for in the first room. In the second room nobody publishes.
const STAY_LINES: u64 = 3;

async fn move_about(
    addr: SocketAddr,
    [busy, quiet]: [&str; 2],
    mut stopped: watch::Receiver<bool>,
) -> u64 {
    let mut ledger = Ledger::new(busy);
    while !*stopped.borrow() {
        let mut client = connect(addr, busy).await;
        ledger.move_to(busy);
        let until = ledger.lines() + STAY_LINES;
        while ledger.lines() < until {
            let line = tokio::select! {
                line = next_line(&mut client) => line.expect("a mover is not closed"),
                _ = stopped.changed() => break,
            };
            ledger.note(&line);
        }
        drop(client);
        let mut client = connect(addr, quiet).await;
        ledger.move_to(quiet);
        // A line before the answer to the mover's own close would be a line of the room that the mover has left.
        client.close(None).await.expect("the client sends its close frame");
        while let Some(line) = next_line(&mut client).await {
            ledger.note(&line);
        }
    }
    ledger.lines()
}
