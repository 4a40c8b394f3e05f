//! A process that holds many idle connections: it answers pings, and counts messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::handshake::read_head;
use crate::stream::Stream;
use crate::wire::{Dialect, client_pong, request, take_frame};
use shared::process;

/// The number of connections that are opened at the same time.
pub(super) const DIALS: usize = 64;

/// The longest time that a client waits for an answer to its handshake, and the longest time without a message while
/// messages are missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time until all clients of a request are connected.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(900);

/// How long the process waits for data until it looks for a request.
const TICK: Duration = Duration::from_millis(20);

/// The bytes that are read at once: much more than a client has to read.
const SCRATCH_BYTES: usize = 16 * 1_024;

/// A request to the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Connects more clients. The answer is [`Connected`].
    Connect(Group),
    /// Waits until each client has one more message. The answer is [`Received`].
    Receive,
    /// Closes all connections. The answer is [`Dropped`].
    Drop,
}

/// Clients that connect.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) server: SocketAddr,
    /// The number of the room that they join.
    pub(super) room: usize,
    /// The number of the first client, among those of all processes.
    pub(super) first: usize,
    pub(super) clients: usize,
    pub(super) sources: Sources,
}

/// The addresses from which clients connect.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sources {
    pub(super) first: Ipv4Addr,
    /// The number of clients that share an address.
    pub(super) clients_each: usize,
}

impl Sources {
    fn of(self, client: usize) -> IpAddr {
        let offset =
            u32::try_from(client / self.clients_each).expect("the plan has fewer addresses");
        IpAddr::V4(Ipv4Addr::from(u32::from(self.first) + offset))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Connected;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Dropped;

/// The messages since the last request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Received {
    /// The latencies in microseconds, and how many messages had each.
    pub(super) latencies: Vec<(u64, u64)>,
}

/// Serves the parent's requests, and the connections meanwhile.
pub(crate) fn run() -> Result<()> {
    process::raise_descriptor_limit()?;
    let requests = process::requests();
    let mut clients = Clients::new()?;
    loop {
        match requests.try_recv() {
            Ok(Request::Connect(group)) => process::answer(clients.connect(group))?,
            Ok(Request::Receive) => process::answer(clients.receive())?,
            Ok(Request::Drop) => {
                clients.conns.clear();
                process::answer(Ok(Dropped))?;
            }
            Err(TryRecvError::Empty) => _ = clients.serve(TICK)?,
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

struct Clients {
    epoll: Epoll,
    conns: Vec<Conn>,
    scratch: Vec<u8>,
    /// The latencies of the messages since the last request, in microseconds.
    latencies: Histogram<u64>,
}

struct Conn {
    stream: Stream,
    /// The first part of an incomplete frame.
    partial: Vec<u8>,
}

impl Clients {
    fn new() -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::empty())?,
            conns: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            latencies: Histogram::new_with_bounds(1, 600_000_000, 3)?,
        })
    }

    fn connect(&mut self, group: Group) -> Result<Connected> {
        let began = Instant::now();
        let clients: Vec<usize> = (group.first..group.first + group.clients).collect();
        for clients in clients.chunks(DIALS) {
            if began.elapsed() > CONNECT_TIME_MAX {
                return Err(format!("only {} clients are connected", self.conns.len()).into());
            }
            let dial = |&client| dial(group, client);
            for stream in clients.iter().map(dial).collect::<Result<Vec<_>>>()? {
                self.enter(stream)?;
            }
            // Those that are connected already may have got pings.
            self.serve(Duration::ZERO)?;
        }
        Ok(Connected)
    }

    fn enter(&mut self, mut stream: Stream) -> Result<()> {
        let (_, partial) = read_head(&mut stream)?;
        stream.tcp().set_nonblocking(true)?;
        let id = self.conns.len() as u64;
        self.epoll.add(stream.tcp(), EpollEvent::new(EpollFlags::EPOLLIN, id))?;
        self.conns.push(Conn { stream, partial });
        Ok(())
    }

    /// Waits until there are as many messages as clients.
    fn receive(&mut self) -> Result<Received> {
        let expected = self.conns.len() as u64;
        let mut last_arrival = Instant::now();
        while self.latencies.len() < expected {
            if self.serve(TICK)? {
                last_arrival = Instant::now();
            } else if last_arrival.elapsed() > PATIENCE {
                return Err(format!("{} of {expected} messages came", self.latencies.len()).into());
            }
        }
        let counted = self.latencies.iter_recorded();
        let counted = counted.map(|step| (step.value_iterated_to(), step.count_at_value()));
        let received = Received { latencies: counted.collect() };
        self.latencies.reset();
        Ok(received)
    }

    /// Waits for data, and handles it. Returns `false` if no data has come in time.
    fn serve(&mut self, patience: Duration) -> Result<bool> {
        let mut events = [EpollEvent::empty(); 1_024];
        let count = match self.epoll.wait(&mut events, u16::try_from(patience.as_millis())?) {
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
        let Self { conns, scratch, latencies, .. } = self;
        let Conn { stream, partial } = &mut conns[id];
        let kept = partial.len();
        scratch[..kept].copy_from_slice(partial);
        let read = match stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        let (now, end) = (process::monotonic_micros()?, kept + read);
        let mut start = 0;
        while let Some((first, payload, bytes)) = take_frame(&mut scratch[start..end]) {
            start += bytes;
            match first & 0x0f {
                0x8 => return Err("the server has closed a connection".into()),
                // A new socket accepts so small a frame at once.
                0x9 => stream.write_all(&client_pong(payload))?,
                _ => {
                    let stamp = Dialect::Plain.stamp(payload).ok_or("not a message of the hub")?;
                    latencies.saturating_record(now.saturating_sub(stamp).max(1));
                }
            }
        }
        match start == end {
            // Gives the memory back.
            true => *partial = Vec::new(),
            false => *partial = scratch[start..end].to_vec(),
        }
        Ok(())
    }
}

fn dial(group: Group, client: usize) -> Result<Stream> {
    let socket = Socket::new(Domain::for_address(group.server), Type::STREAM, None)?;
    let source = SocketAddr::new(group.sources.of(client), 0);
    socket.bind(&source.into()).map_err(|error| format!("a port of {source}: {error}"))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect_timeout(&group.server.into(), PATIENCE)?;
    // For the handshake; afterwards the socket does not block.
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = Stream::new(TcpStream::from(socket), None)?;
    stream.write_all(request(&Dialect::Plain.target(group.room), false).as_bytes())?;
    Ok(stream)
}
