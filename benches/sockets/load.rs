//! The load generator: all clients of one server, in one thread with one epoll.
//!
//! The load is a closed loop with a fixed number of messages in flight in each room: when a message has
//! reached all members, the next member in turn sends another. A measurement begins and ends with
//! nothing in flight, so the CPU time that the server spends meanwhile belongs to exactly the
//! deliveries that are counted.
//!
//! Of compressed messages the clients read only the headers of the frames, so that inflating does not slow them. One
//! client inflates everything, as a check.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::feed::Feed;
use crate::handshake::{accepts_deflate, read_greeting, read_head};
use crate::requests::{Answer, Crowd, Load, Measured, Request};
use crate::room::Room;
use crate::sample::Sample;
use crate::stream::{Stream, client_config};
use crate::wire::{RSV1, client_frame, request, take_frame};
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
    feed: Feed,
    /// What the first connection has inflated, if the clients offer to.
    sample: Option<Sample>,
    epoch: Instant,
    latencies: Histogram<u64>,
    /// Rooms in which a message has reached all members: one entry for each message that is not yet handled.
    done: Vec<usize>,
    counts: Counts,
}

/// What a measurement counts.
#[derive(Default)]
struct Counts {
    deliveries: u64,
    wire_bytes: u64,
    compressed: u64,
}

struct Conn {
    stream: Stream,
    room: usize,
    received: u64,
    /// The first part of an incomplete frame.
    partial: Vec<u8>,
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
            feed: Feed::new(),
            sample: crowd.offers_deflate.then(Sample::new),
            epoch: Instant::now(),
            latencies: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            done: Vec::new(),
            counts: Counts::default(),
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
        stream.write_all(request(&target, self.crowd.offers_deflate).as_bytes())?;
        Ok(stream)
    }

    fn enter(&mut self, seat: usize, mut stream: Stream) -> Result<()> {
        let (head, mut partial) = read_head(&mut stream)?;
        if self.crowd.offers_deflate && !accepts_deflate(&head) {
            return Err("the server does not compress".into());
        }
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
        for probe in 0..PROBES_MAX {
            self.forget_counts();
            for &room in &unsettled {
                self.send(room, 128)?;
            }
            while self.receive(PROBE_PATIENCE)? {
                unsettled.retain(|&room| !self.rooms[room].is_complete());
                if unsettled.is_empty() {
                    // The probes before may still be on their way.
                    while probe > 0 && self.receive(PROBE_PATIENCE)? {}
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

    fn forget_counts(&mut self) {
        self.conns.iter_mut().for_each(|conn| conn.received = 0);
        self.rooms.iter_mut().for_each(Room::reset);
        self.done.clear();
    }

    fn measure(&mut self, load: Load) -> Result<Measured> {
        self.latencies.reset();
        self.counts = Counts::default();
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
        let Counts { deliveries, wire_bytes, compressed } = self.counts;
        Ok(Measured {
            deliveries,
            wire_bytes,
            compressed,
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

    /// The time since the start, in microseconds.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Lets the next member of a room send a message.
    fn send(&mut self, room: usize, bytes: usize) -> Result<()> {
        let now = self.now();
        let frame = client_frame(&self.crowd.dialect.message(&mut self.feed, now, bytes));
        let sender = self.rooms[room].send(now);
        let sender = &mut self.conns[sender];
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
        let conn = &mut self.conns[id];
        let kept = conn.partial.len();
        self.scratch[..kept].copy_from_slice(&conn.partial);
        conn.partial.clear();
        let read = match conn.stream.read(&mut self.scratch[kept..]) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read?,
        };
        let rest = self.take_frames(id, kept + read)?;
        self.conns[id].partial.extend_from_slice(&self.scratch[rest..kept + read]);
        Ok(read)
    }

    /// Handles the frames at the front of the scratch buffer, and returns where they end.
    fn take_frames(&mut self, id: usize, end: usize) -> Result<usize> {
        let now = self.now();
        let Self { crowd, conns, rooms, scratch, sample, latencies, done, counts, .. } = self;
        let conn = &mut conns[id];
        let room = &mut rooms[conn.room];
        let mut start = 0;
        while let Some((first, payload, bytes)) = take_frame(&mut scratch[start..end]) {
            start += bytes;
            if first & 0x0f == 0x8 {
                return Err("the server has closed a connection".into());
            }
            let is_compressed = first & RSV1 != 0;
            if let Some(sample) = sample.as_mut().filter(|_| is_compressed && id == 0) {
                sample.check(payload)?;
            }
            let stamp = match is_compressed {
                true => Some(room.sent_at(conn.received + 1).unwrap_or(now)),
                false => crowd.dialect.stamp(payload),
            };
            let Some(stamp) = stamp else { continue };
            conn.received += 1;
            counts.deliveries += 1;
            counts.wire_bytes += bytes as u64;
            counts.compressed += u64::from(is_compressed);
            latencies.saturating_record(now.saturating_sub(stamp) * 1_000);
            if room.receive(conn.received) {
                done.push(conn.room);
            }
        }
        Ok(start)
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
