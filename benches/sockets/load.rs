//! The load generator: all clients of one server, in one thread with one epoll.
//!
//! The load is a closed loop with a fixed number of messages in flight in each room: when a message has
//! reached all members, the next member in turn sends another. A measurement begins and ends with
//! nothing in flight, so the CPU time that the server spends meanwhile belongs to exactly the
//! deliveries that are counted.

use std::collections::{HashSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::stream::{Stream, client_config};
use crate::wire::{Dialect, client_frame, request, take_frame};
use shared::process;
use support::network::relay::client_addr;

const SCRATCH_BYTES: usize = 256 * 1024;

/// The number of connections that are opened at the same time.
const DIALS: usize = 64;

/// The longest time without an arrival while messages are in flight.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time to wait for the deliveries of a probe while some members are still joining.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// The most probes that are sent until all clients have joined.
const PROBES_MAX: usize = 100;

/// The receive buffer of a paused client: small, so that its connection blocks soon.
const PAUSED_BUFFER_BYTES: usize = 4_096;

/// The load that fills the buffers of the paused clients.
const FILLING: Load = Load { in_flight: 4, bytes: 32 * 1_024, duration: Duration::ZERO };

/// The most bytes that a server may queue for a client in addition to the socket's buffer.
const SERVER_QUEUE_BYTES: usize = 2 * 1_024 * 1_024;

/// A request to the load generator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Connects all clients, and waits until all have joined.
    Connect(Crowd),
    /// Sends messages for a while, and measures.
    Measure(Load),
    /// Closes all connections at once, and measures how long new connections take meanwhile.
    Drop { watch_for: Duration },
}

/// The clients of a scene, and their server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Crowd {
    pub(crate) server: SocketAddr,
    pub(crate) server_pid: u32,
    pub(crate) dialect: Dialect,
    pub(crate) is_tls: bool,
    /// The number of the first room.
    pub(crate) first_room: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    /// One member of this many does not read.
    pub(crate) paused_one_in: Option<usize>,
    /// Whether each member has a link of its own, and connects from the address at the end of the link.
    pub(crate) is_away: bool,
}

/// The load of a measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Messages in flight in each room.
    pub(crate) in_flight: usize,
    /// Bytes of a message.
    pub(crate) bytes: usize,
    pub(crate) duration: Duration,
}

/// An answer of the load generator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Connected,
    Measured(Measured),
    Dropped { served: usize, slowest: Duration },
}

/// The result of a measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
    /// The CPU time of the server, and of the load generator.
    pub(crate) server_cpu: Duration,
    pub(crate) load_cpu: Duration,
    /// Quantiles of the latency, from before a message is sent until a member has read it, in nanoseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
}

/// Serves the parent's requests.
pub(crate) fn run() -> Result<()> {
    process::raise_descriptor_limit()?;
    let mut clients = None;
    process::answer_all(|request| match (request, &mut clients) {
        (Request::Connect(crowd), _) => {
            let clients = clients.insert(Clients::connect(crowd)?);
            clients.settle()?;
            clients.fill_paused()?;
            Ok(Answer::Connected)
        }
        (Request::Measure(load), Some(clients)) => clients.measure(load).map(Answer::Measured),
        (Request::Drop { watch_for }, clients) => match clients.take() {
            Some(clients) => clients.drop_all(watch_for),
            None => Err("nobody is connected".into()),
        },
        (_, None) => Err("nobody is connected".into()),
    })
}

struct Clients {
    crowd: Crowd,
    tls: Option<Arc<ClientConfig>>,
    epoll: Epoll,
    conns: Vec<Conn>,
    rooms: Vec<Room>,
    /// The connections of clients that do not read.
    paused: Vec<Stream>,
    scratch: Vec<u8>,
    epoch: Instant,
    latencies: Histogram<u64>,
    /// Rooms in which a message has reached all members: one entry for each message that is not yet handled.
    done: Vec<usize>,
    deliveries: u64,
}

struct Conn {
    stream: Stream,
    room: usize,
    received: u64,
    /// The first part of an incomplete frame.
    partial: Vec<u8>,
}

/// A room: its reading members, and the progress of its messages.
#[derive(Default)]
struct Room {
    conns: Vec<usize>,
    next_sender: usize,
    sent: u64,
    /// The number of messages that have reached all members.
    done: u64,
    /// `ahead[n]` is the number of members that have received `done + n` messages.
    ahead: VecDeque<usize>,
}

impl Room {
    /// Records that a member has received its message of this number, counted from 1. Returns `true` if
    /// this member was the last to receive the message.
    fn receive(&mut self, number: u64) -> bool {
        let ahead = (number - self.done) as usize;
        if self.ahead.len() <= ahead {
            self.ahead.resize(ahead + 1, 0);
        }
        self.ahead[ahead - 1] -= 1;
        self.ahead[ahead] += 1;
        let is_last = self.ahead[0] == 0;
        if is_last {
            self.ahead.pop_front();
            self.done += 1;
        }
        is_last
    }
}

impl Clients {
    fn connect(crowd: Crowd) -> Result<Self> {
        let mut clients = Self {
            crowd,
            tls: crowd.is_tls.then(|| client_config(crowd.server_pid)).transpose()?,
            epoll: Epoll::new(EpollCreateFlags::empty())?,
            conns: Vec::new(),
            rooms: (0..crowd.rooms).map(|_| Room::default()).collect(),
            paused: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            epoch: Instant::now(),
            latencies: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            done: Vec::new(),
            deliveries: 0,
        };
        let seats: Vec<usize> = (0..crowd.rooms * crowd.members).collect();
        for seats in seats.chunks(DIALS) {
            let dialed =
                seats.iter().map(|&seat| clients.dial(seat)).collect::<Result<Vec<_>>>()?;
            for (&seat, stream) in seats.iter().zip(dialed) {
                clients.enter(seat, stream)?;
            }
        }
        Ok(clients)
    }

    fn is_paused(&self, seat: usize) -> bool {
        self.crowd.paused_one_in.is_some_and(|one_in| seat.is_multiple_of(one_in))
    }

    fn dial(&self, seat: usize) -> Result<Stream> {
        let socket = Socket::new(Domain::for_address(self.crowd.server), Type::STREAM, None)?;
        if self.is_paused(seat) {
            socket.set_recv_buffer_size(PAUSED_BUFFER_BYTES)?;
        }
        if self.crowd.is_away {
            socket.bind(&SocketAddr::from((client_addr(seat), 0)).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect(&self.crowd.server.into())?;
        // For the handshake; afterwards the socket does not block.
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Stream::new(TcpStream::from(socket), self.tls.as_ref())?;
        let room = self.crowd.first_room + seat % self.crowd.rooms;
        let target = self.crowd.dialect.target(room);
        stream.write_all(request(&target).as_bytes())?;
        Ok(stream)
    }

    fn enter(&mut self, seat: usize, mut stream: Stream) -> Result<()> {
        let mut partial = read_head(&mut stream)?;
        if let Some(greeting) = self.crowd.dialect.greeting() {
            stream.write_all(&client_frame(greeting))?;
            read_greeting(&mut stream, &mut partial, greeting)?;
        }
        if self.is_paused(seat) {
            self.paused.push(stream);
            return Ok(());
        }
        stream.tcp().set_nonblocking(true)?;
        let (id, room) = (self.conns.len(), seat % self.crowd.rooms);
        self.epoll.add(stream.tcp(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
        self.conns.push(Conn { stream, room, received: 0, partial });
        self.rooms[room].conns.push(id);
        Ok(())
    }

    /// Sends probes until, in each room, a probe reaches all members: until all clients have joined.
    fn settle(&mut self) -> Result<()> {
        let mut unsettled: HashSet<usize> = (0..self.rooms.len()).collect();
        for _ in 0..PROBES_MAX {
            self.forget_counts();
            for &room in &unsettled {
                self.send(room, 128)?;
            }
            while self.receive(PROBE_PATIENCE)? {
                unsettled.retain(|&room| !self.is_complete(room));
                if unsettled.is_empty() {
                    self.forget_counts();
                    return Ok(());
                }
            }
        }
        Err(format!("in {} rooms, not all have joined", unsettled.len()).into())
    }

    /// Sends until the buffers of all paused clients are full.
    fn fill_paused(&mut self) -> Result<()> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let sizes = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem")?;
        let largest: usize = sizes.split_whitespace().last().ok_or("no sizes")?.parse()?;
        let batch = FILLING.in_flight * FILLING.bytes;
        for _ in 0..(largest + SERVER_QUEUE_BYTES).div_ceil(batch) {
            self.measure(FILLING)?;
        }
        Ok(())
    }

    fn is_complete(&self, room: usize) -> bool {
        self.rooms[room].done == self.rooms[room].sent
    }

    fn forget_counts(&mut self) {
        self.conns.iter_mut().for_each(|conn| conn.received = 0);
        for room in &mut self.rooms {
            (room.sent, room.done, room.ahead) = (0, 0, [room.conns.len()].into());
        }
        self.done.clear();
    }

    fn measure(&mut self, load: Load) -> Result<Measured> {
        self.latencies.reset();
        self.deliveries = 0;
        let server = self.crowd.server_pid;
        let before = (process::cpu_time(server)?, process::cpu_time(std::process::id())?);
        let began = Instant::now();
        for room in 0..self.rooms.len() {
            for _ in 0..load.in_flight {
                self.send(room, load.bytes)?;
            }
        }
        let mut in_flight = self.rooms.len() * load.in_flight;
        while in_flight > 0 {
            if !self.receive(PATIENCE)? {
                return Err(format!("{in_flight} messages have not reached all").into());
            }
            let is_over = began.elapsed() >= load.duration;
            while let Some(room) = self.done.pop() {
                match is_over {
                    true => in_flight -= 1,
                    false => self.send(room, load.bytes)?,
                }
            }
        }
        let elapsed = began.elapsed();
        let after = (process::cpu_time(server)?, process::cpu_time(std::process::id())?);
        self.check_complete()?;
        Ok(Measured {
            deliveries: self.deliveries,
            elapsed,
            server_cpu: after.0 - before.0,
            load_cpu: after.1 - before.1,
            p50: self.latencies.value_at_quantile(0.5),
            p99: self.latencies.value_at_quantile(0.99),
            p999: self.latencies.value_at_quantile(0.999),
        })
    }

    /// Checks that each client has received as many messages as its room was sent.
    fn check_complete(&self) -> Result<()> {
        let is_short = |conn: &&Conn| conn.received != self.rooms[conn.room].sent;
        match self.conns.iter().filter(is_short).count() {
            0 => Ok(()),
            short => Err(format!("{short} clients have received too few or too many").into()),
        }
    }

    /// Lets the next member of a room send a message.
    fn send(&mut self, room: usize, bytes: usize) -> Result<()> {
        let stamp = self.epoch.elapsed().as_nanos() as u64;
        let frame = client_frame(&self.crowd.dialect.message(stamp, bytes));
        let room = &mut self.rooms[room];
        room.sent += 1;
        room.next_sender = (room.next_sender + 1) % room.conns.len();
        let sender = &mut self.conns[room.conns[room.next_sender]];
        // The server reads, so the socket accepts so small a message at once.
        Ok(sender.stream.write_all(&frame)?)
    }

    /// Waits for data, and reads it. Returns `false` if no data has come in time.
    fn receive(&mut self, patience: Duration) -> Result<bool> {
        let mut events = [EpollEvent::empty(); 256];
        let timeout = u16::try_from(patience.as_millis())?;
        let count = match self.epoll.wait(&mut events, timeout) {
            // A signal interrupted the wait: look again.
            Err(Errno::EINTR) => return Ok(true),
            count => count?,
        };
        for event in &events[..count] {
            self.read(event.data() as usize)?;
        }
        Ok(count > 0)
    }

    fn read(&mut self, id: usize) -> Result<()> {
        while self.read_once(id)? > 0 && self.conns[id].stream.holds_back() {}
        Ok(())
    }

    /// Reads once, and handles the frames. Returns the number of bytes.
    fn read_once(&mut self, id: usize) -> Result<usize> {
        let Self { crowd, conns, rooms, scratch, epoch, latencies, done, deliveries, .. } = self;
        let conn = &mut conns[id];
        let kept = conn.partial.len();
        scratch[..kept].copy_from_slice(&conn.partial);
        conn.partial.clear();
        let read = match conn.stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read?,
        };
        let now = epoch.elapsed().as_nanos() as u64;
        let mut input = &mut scratch[..kept + read];
        let room = &mut rooms[conn.room];
        while let Some((first, payload, bytes)) = take_frame(input) {
            if first & 0x0f == 0x8 {
                return Err("the server has closed a connection".into());
            }
            if let Some(stamp) = crowd.dialect.stamp(payload) {
                conn.received += 1;
                *deliveries += 1;
                latencies.saturating_record(now - stamp);
                if room.receive(conn.received) {
                    done.push(conn.room);
                }
            }
            input = &mut input[bytes..];
        }
        conn.partial.extend_from_slice(input);
        Ok(read)
    }

    /// Closes all connections in another thread, while this thread opens new connections one after another.
    fn drop_all(self, watch_for: Duration) -> Result<Answer> {
        let Self { crowd, conns, paused, .. } = self;
        let dropping = std::thread::spawn(move || drop((conns, paused)));
        let began = Instant::now();
        let (mut served, mut slowest) = (0, Duration::ZERO);
        while began.elapsed() < watch_for {
            let dialed = Instant::now();
            // The client joins a room of its own, and waits for its own message.
            let first_room = crowd.rooms + served;
            let alone = Crowd { first_room, rooms: 1, members: 1, paused_one_in: None, ..crowd };
            Self::connect(alone)?.settle()?;
            slowest = slowest.max(dialed.elapsed());
            served += 1;
        }
        dropping.join().map_err(|_| "the thread that closes connections has panicked")?;
        Ok(Answer::Dropped { served, slowest })
    }
}

/// Reads the response to an upgrade request, and returns the bytes after it.
fn read_head(stream: &mut Stream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut piece = [0; 1_024];
    loop {
        let read = stream.read(&mut piece)?;
        head.extend_from_slice(&piece[..read]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            if !head.starts_with(b"HTTP/1.1 101") {
                return Err(format!("refused: {}", String::from_utf8_lossy(&head)).into());
            }
            return Ok(head.split_off(end + 4));
        }
        if read == 0 {
            return Err("the server has closed a connection in its handshake".into());
        }
    }
}

/// Reads until the server returns the greeting, perhaps with more text, and leaves the frames after it in `input`.
fn read_greeting(stream: &mut Stream, input: &mut Vec<u8>, greeting: &str) -> Result<()> {
    let mut piece = [0; 1_024];
    loop {
        while let Some((_, payload, bytes)) = take_frame(input) {
            let is_returned = payload.starts_with(greeting.as_bytes());
            input.drain(..bytes);
            if is_returned {
                return Ok(());
            }
        }
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err("the server has closed a connection in its greeting".into());
        }
        input.extend_from_slice(&piece[..read]);
    }
}
