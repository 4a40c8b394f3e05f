//! Many connections to one server: what they take, and what a broadcast, pings and a mass disconnect cost.
//!
//! The clients are in processes of their own, and connect from several addresses of loopback: one address has fewer
//! ports than there are connections. All sizes and times are bounded.

pub(crate) mod clients;
mod limits;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use hdrhistogram::Histogram;
use serde::de::DeserializeOwned;

use self::clients::{Connected, DIALS, Dropped, Group, Received, Request, Sources};
use self::limits::{Limits, kernel_memory};
use crate::Result;
use crate::contest::machine;
use crate::figures::Writes;
use crate::handshake::read_head;
use crate::layout::Layout;
use crate::pair::start_on;
use crate::requests::{HubCounts, HubRequest};
use crate::stream::Stream;
use crate::wire::{Dialect, request};
use shared::process::{self, Peer};

/// The most connections.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// The connections that are there before memory is measured, so that one-time allocations are not counted.
const FIRST: usize = 100;

/// The most connections of one process of clients, if there are descriptors for them.
const CLIENTS_MAX: usize = 50_000;

/// The fewest processes of clients.
const PROCESSES_MIN: usize = 2;

/// The number of broadcasts, and the bytes of each message.
const BROADCASTS: usize = 3;
const BROADCAST_BYTES: usize = 128;

/// The longest time until the server has counted all newcomers or all departures.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time between two looks at the server's counters.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Args)]
pub(crate) struct Options {
    /// The number of connections, at most 1,000,000 [default: as many as the limits allow].
    #[arg(long, value_parser = value_parser!(u64).range(1_000..=CONNECTIONS_MAX))]
    connections: Option<u64>,
    /// The number of shards and threads of the server [default: half as many as there are cores].
    #[arg(long, value_parser = value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
    /// The seconds between two pings to a client. Pings are measured for this time.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(5..=600))]
    ping_seconds: u64,
    /// Shows the limits, and measures nothing.
    #[arg(long)]
    check: bool,
}

/// Checks the limits, measures, and prints each result as soon as it is there.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shards = options.shards.map_or(process::cores()?.len() / 2, usize::from).max(1);
    let layout = Layout::with_threads(shards)?;
    let asked = options.connections.unwrap_or(CONNECTIONS_MAX);
    let processes_max = (asked as usize).div_ceil(CLIENTS_MAX).max(layout.client_threads);
    let limits = Limits::read(asked, (processes_max.max(PROCESSES_MIN) * DIALS) as u64)?;
    println!("{}\n{}", machine(), limits.table());
    let (connections, bound) = limits.allowed();
    match (bound, options.connections) {
        (Some(bound), Some(_)) => {
            return Err(format!("{bound} allows {connections} connections at most").into());
        }
        (Some(bound), None) => println!("{connections} connections, because of {bound}"),
        (None, _) => println!("{connections} connections"),
    }
    if options.check {
        return Ok(());
    }
    let mut stage = Stage::start(connections, &limits, &layout, options)?;
    stage.connect()?;
    for _ in 0..BROADCASTS {
        stage.broadcast()?;
    }
    stage.wait_for_pings(Duration::from_secs(options.ping_seconds))?;
    println!("writes: {}", Writes::of(stage.count()?));
    stage.drop_all()
}

/// The server, and the processes of its clients.
struct Stage {
    connections: usize,
    server: Peer,
    addr: SocketAddr,
    /// Each with its clients.
    crowds: Vec<(Peer, Group)>,
}

impl Stage {
    fn start(
        connections: usize,
        limits: &Limits,
        layout: &Layout,
        options: &Options,
    ) -> Result<Self> {
        let threads = layout.server_threads.to_string();
        let ping_seconds = options.ping_seconds.to_string();
        // Newcomers during the mass disconnect count, too.
        let connections_max = (connections + DIALS).to_string();
        let arguments = [
            ["serve", "roomcast", "127.0.0.1"],
            ["--threads", &threads, "--connections"],
            [&connections_max, "--ping-seconds", &ping_seconds],
        ];
        let mut server = start_on(None, &layout.server_cores, &arguments.concat())?;
        let addr = server.answer()?;
        let sources = Sources { first: first_source(), clients_each: limits.clients_per_source };
        let processes = connections
            .div_ceil(CLIENTS_MAX.min(limits.descriptors))
            .max(layout.client_threads)
            .max(PROCESSES_MIN);
        let share = connections.div_ceil(processes);
        let mut crowds = Vec::new();
        for room in 0..processes {
            let first = (room * share).min(connections);
            let clients = share.min(connections - first);
            let group = Group { server: addr, room, first, clients, sources };
            crowds.push((start_on(None, &layout.client_cores, &["hold"])?, group));
        }
        println!(
            "{threads} shards and threads on cores {:?}, {processes} processes of clients on cores {:?}\n",
            layout.server_cores, layout.client_cores
        );
        Ok(Self { connections, server, addr, crowds })
    }

    /// Connects all, and measures the time and the memory.
    fn connect(&mut self) -> Result<()> {
        let (crowd, group) = &mut self.crowds[0];
        let first = Group { clients: FIRST.min(group.clients), ..*group };
        let Connected = crowd.ask(&Request::Connect(first))?;
        (group.first, group.clients) = (group.first + first.clients, group.clients - first.clients);
        let before = (process::resident(self.server.pid())?, kernel_memory()?);
        let watch = Watch::start(&self.server)?;
        for (crowd, group) in &mut self.crowds {
            crowd.send(&Request::Connect(*group))?;
        }
        self.answers::<Connected>()?;
        self.wait_for(self.connections as u64)?;
        let (added, lap) = (self.connections - first.clients, watch.stop(&self.server)?);
        println!(
            "connect: {added} in {:.1} s, {:.0} a second, {:.1} µs of server CPU each",
            lap.elapsed.as_secs_f64(),
            added as f64 / lap.elapsed.as_secs_f64(),
            lap.cpu_micros(added)
        );
        let after = (process::resident(self.server.pid())?, kernel_memory()?);
        let kibibytes_each =
            |before: u64, after: u64| after.saturating_sub(before) as f64 / added as f64 / 1_024.0;
        println!(
            "memory of an idle connection: {:.2} KiB resident in the server, {:.1} KiB in the kernel for both ends \
             together",
            kibibytes_each(before.0, after.0),
            kibibytes_each(before.1, after.1)
        );
        Ok(())
    }

    /// Sends a message to all, and measures until the last has it.
    fn broadcast(&mut self) -> Result<()> {
        for (crowd, _) in &mut self.crowds {
            crowd.send(&Request::Receive)?;
        }
        let watch = Watch::start(&self.server)?;
        let _: HubCounts = self.server.ask(&HubRequest::Broadcast { bytes: BROADCAST_BYTES })?;
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)?;
        for received in self.answers::<Received>()? {
            for (micros, messages) in received.latencies {
                latencies.record_n(micros, messages)?;
            }
        }
        let lap = watch.stop(&self.server)?;
        let millis = |micros: u64| micros as f64 / 1e3;
        println!(
            "broadcast of {BROADCAST_BYTES} bytes to {}: p50 {:.1} ms, p99 {:.1} ms, the last {:.1} ms, {:.2} µs of \
             server CPU a delivery",
            latencies.len(),
            millis(latencies.value_at_quantile(0.5)),
            millis(latencies.value_at_quantile(0.99)),
            millis(latencies.max()),
            lap.cpu_micros(self.connections)
        );
        Ok(())
    }

    /// Measures while only pings and pongs are sent.
    fn wait_for_pings(&mut self, interval: Duration) -> Result<()> {
        let before = self.count()?.pings;
        let watch = Watch::start(&self.server)?;
        std::thread::sleep(interval);
        let lap = watch.stop(&self.server)?;
        let HubCounts { pings, connections, .. } = self.count()?;
        let pings = pings - before;
        println!(
            "pings: {pings} in {:.0} s, {:.2} µs of server CPU for each ping and pong, {:.1} % of a core",
            lap.elapsed.as_secs_f64(),
            lap.cpu_micros(pings as usize),
            lap.cpu.as_secs_f64() / lap.elapsed.as_secs_f64() * 1e2
        );
        match connections == self.connections as u64 {
            true => Ok(()),
            false => {
                Err(format!("{connections} of {} connections are left", self.connections).into())
            }
        }
    }

    /// Closes all connections at once, while newcomers connect one after the other.
    fn drop_all(&mut self) -> Result<()> {
        for (crowd, _) in &mut self.crowds {
            crowd.send(&Request::Drop)?;
        }
        let watch = Watch::start(&self.server)?;
        let (mut served, mut slowest) = (0, Duration::ZERO);
        while served == 0 || self.count()?.connections > 0 {
            if watch.began.elapsed() > PATIENCE {
                return Err(format!("{} connections are left", self.count()?.connections).into());
            }
            slowest = slowest.max(self.connect_newcomer()?);
            served += 1;
            std::thread::sleep(LOOK_INTERVAL);
        }
        let lap = watch.stop(&self.server)?;
        self.answers::<Dropped>()?;
        println!(
            "mass disconnect: gone after {:.2} s, {:.1} µs of server CPU each; meanwhile {served} newcomers were \
             served, the slowest within {:.1} ms",
            lap.elapsed.as_secs_f64(),
            lap.cpu_micros(self.connections),
            slowest.as_secs_f64() * 1e3
        );
        let resident = process::resident(self.server.pid())?;
        println!("the server keeps {:.1} MiB", resident as f64 / f64::from(1 << 20));
        Ok(())
    }

    /// Connects a client, and returns how long its handshake took.
    fn connect_newcomer(&self) -> Result<Duration> {
        let began = Instant::now();
        let tcp = TcpStream::connect_timeout(&self.addr, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Stream::new(tcp, None)?;
        let request = request(&Dialect::Plain.target(self.crowds.len()), false);
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        read_head(&mut stream)?;
        Ok(began.elapsed())
    }

    fn count(&mut self) -> Result<HubCounts> {
        self.server.ask(&HubRequest::Count)
    }

    /// Waits until the hub has this many connections.
    fn wait_for(&mut self, connections: u64) -> Result<()> {
        let began = Instant::now();
        while self.count()?.connections != connections {
            if began.elapsed() > PATIENCE {
                let open = self.count()?.connections;
                return Err(format!("{open} instead of {connections} connections are open").into());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Waits for the answers of all processes of clients.
    fn answers<A: DeserializeOwned>(&mut self) -> Result<Vec<A>> {
        let answer = |(crowd, _): &mut (Peer, Group)| -> Result<A> {
            Ok(crowd.answer::<Result<A, String>>()??)
        };
        self.crowds.iter_mut().map(answer).collect()
    }
}

/// The first address of the clients. Each run has another one, because for a minute the system keeps the ports of
/// connections that a client has closed.
fn first_source() -> Ipv4Addr {
    Ipv4Addr::new(127, 0, (1 + std::process::id() % 250) as u8, 1)
}

/// Measures time, and the CPU time of the server.
struct Watch {
    began: Instant,
    cpu: Duration,
}

/// What a [`Watch`] has measured.
struct Lap {
    elapsed: Duration,
    cpu: Duration,
}

impl Watch {
    fn start(server: &Peer) -> Result<Self> {
        Ok(Self { cpu: process::cpu_time(server.pid())?, began: Instant::now() })
    }

    fn stop(&self, server: &Peer) -> Result<Lap> {
        let elapsed = self.began.elapsed();
        Ok(Lap { elapsed, cpu: process::cpu_time(server.pid())? - self.cpu })
    }
}

impl Lap {
    /// The CPU time of one of this many events, in microseconds.
    fn cpu_micros(&self, events: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / events as f64
    }
}
