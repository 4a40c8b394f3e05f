//! The load generator: all clients of one server, in one thread with one epoll, or in several.
//!
//! The load is a closed loop with a fixed number of messages in flight in each room: when a message has
//! reached all members, the next member in turn sends another. A measurement begins and ends with
//! nothing in flight, so the CPU time that the server spends meanwhile belongs to exactly the
//! deliveries that are counted.
//!
//! Of compressed messages the clients read only the headers of the frames, so that inflating does not slow them. One
//! client inflates everything, as a check.

use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::handshake::{accepts_deflate, read_greeting, read_head};
use crate::part::{PATIENCE, Part};
use crate::progress::{Progress, Split};
use crate::requests::{Answer, Crowd, Load, Measured, Request};
use crate::stream::{Stream, client_config};
use crate::wire::{client_frame, request};
use shared::process;
use support::network::relay::client_addr;

/// The number of connections that are opened at the same time.
const DIALS: usize = 64;

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
    progress: Progress,
    /// The clients of each thread.
    parts: Vec<Part>,
    /// The connections of clients that do not read.
    paused: Vec<Stream>,
}

impl Clients {
    fn connect(crowd: Crowd) -> Result<Self> {
        let Crowd { threads, rooms, members, .. } = crowd;
        if crowd.offers_deflate && threads > 1 {
            return Err("the latency of compressed messages is counted in one thread only".into());
        }
        let epoch = Instant::now();
        let parts = (0..threads).map(|index| Part::new(index, crowd, epoch));
        let mut clients = Self {
            crowd,
            tls: crowd.is_tls.then(|| client_config(crowd.server_pid)).transpose()?,
            progress: Progress::new(Split { threads, rooms, members }),
            parts: parts.collect::<Result<_>>()?,
            paused: Vec::new(),
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
        let thread = self.progress.split().thread_of(seat);
        self.parts[thread].add(stream, seat % self.crowd.rooms, partial)
    }

    /// Sends probes until, in each room, a probe reaches all members: until all clients have joined.
    fn settle(&mut self) -> Result<()> {
        let mut unsettled: HashSet<usize> = (0..self.crowd.rooms).collect();
        for probe in 0..PROBES_MAX {
            self.forget_counts();
            for &room in &unsettled {
                let thread = self.progress.split().first_sender(room, 0);
                self.parts[thread].send(&self.progress, room, 128)?;
            }
            while self.receive(PROBE_PATIENCE)? {
                unsettled.retain(|&room| !self.is_complete(room));
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

    fn is_complete(&self, room: usize) -> bool {
        self.parts.iter().all(|part| part.is_complete(room, &self.progress))
    }

    /// Receives for all threads, in turn. Returns `false` if no data has come in time.
    fn receive(&mut self, patience: Duration) -> Result<bool> {
        let patience = patience / self.parts.len() as u32;
        self.parts.iter_mut().try_fold(false, |has_received, part| {
            Ok(part.receive(&self.progress, patience)? || has_received)
        })
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
        self.parts.iter_mut().for_each(Part::forget_counts);
        self.progress.reset();
    }

    fn measure(&mut self, load: Load) -> Result<Measured> {
        self.forget_counts();
        self.progress.begin(load.in_flight)?;
        let server = self.crowd.server_pid;
        let before = (process::cpu_time(server)?, process::cpu_time(std::process::id())?);
        let began = Instant::now();
        let ended = self.measure_parts(load, began)?;
        let after = (process::cpu_time(server)?, process::cpu_time(std::process::id())?);
        self.check_complete()?;
        let Some((first, others)) = self.parts.split_first_mut() else { unreachable!("a thread") };
        for other in others {
            first.merge(other)?;
        }
        Ok(Measured {
            deliveries: first.counts.deliveries,
            wire_bytes: first.counts.wire_bytes,
            compressed: first.counts.compressed,
            elapsed: ended - began,
            server_cpu: after.0 - before.0,
            load_cpu: after.1 - before.1,
            p50: first.latencies.value_at_quantile(0.5),
            p99: first.latencies.value_at_quantile(0.99),
            p999: first.latencies.value_at_quantile(0.999),
        })
    }

    /// Measures in all threads, of which the first is this one. Returns the time of the last delivery.
    fn measure_parts(&mut self, load: Load, began: Instant) -> Result<Instant> {
        let Self { progress, parts, .. } = self;
        let Some((first, others)) = parts.split_first_mut() else { unreachable!("a thread") };
        let progress = &*progress;
        thread::scope(|scope| {
            let measure = |part: &'_ mut Part| part.measure(progress, load, began);
            let others: Vec<_> =
                others.iter_mut().map(|part| scope.spawn(move || measure(part))).collect();
            let mut ended = measure(first)?;
            for other in others {
                ended = ended.max(other.join().map_err(|_| "a thread has panicked")??);
            }
            Ok(ended)
        })
    }

    /// Checks that each client has received as many messages as its room was sent.
    fn check_complete(&self) -> Result<()> {
        match self.parts.iter().map(|part| part.incomplete(&self.progress)).sum::<usize>() {
            0 => Ok(()),
            short => Err(format!("{short} clients have received too few or too many").into()),
        }
    }

    /// Closes all connections in another thread, while this thread opens new connections one after another.
    fn drop_all(self, watch_for: Duration) -> Result<Answer> {
        let Self { crowd, parts, paused, .. } = self;
        let dropping = std::thread::spawn(move || drop((parts, paused)));
        let began = Instant::now();
        let (mut served, mut slowest) = (0, Duration::ZERO);
        while began.elapsed() < watch_for {
            let dialed = Instant::now();
            // The client joins a room of its own, and waits for its own message.
            let first_room = crowd.rooms + served;
            let alone = Crowd {
                first_room,
                rooms: 1,
                members: 1,
                threads: 1,
                paused_one_in: None,
                ..crowd
            };
            Self::connect(alone)?.settle()?;
            slowest = slowest.max(dialed.elapsed());
            served += 1;
        }
        dropping.join().map_err(|_| "the thread that closes connections has panicked")?;
        Ok(Answer::Dropped { served, slowest })
    }
}
