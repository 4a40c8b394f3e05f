//! The relay: a thread that reads packets from one side, and writes each packet to the other side when the model of
//! its link says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tun_rs::SyncDevice;

use super::link::{OneWay, Profile};

/// The longest wait of the relay, and so the longest time that its end may take.
const IDLE_MAX: Duration = Duration::from_millis(50);

/// The packets that the relay reads from one side at a time, so that packets of the other side do not wait.
const BATCH: usize = 64;

/// The address of the first link's client; the following links have the following addresses.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 0);

/// The address of the client at the end of a link.
pub fn client_addr(link: usize) -> Ipv4Addr {
    let offset = u32::try_from(link).expect("fewer links than addresses");
    Ipv4Addr::from(u32::from(FIRST) + offset)
}

/// The shared state of a link while the relay runs.
#[derive(Debug, Default)]
pub struct Link {
    /// Written by the test, read by the relay: the link drops all packets, in both directions.
    is_dead: AtomicBool,
    /// The packets that the link's model lost, or that were dropped while the link was dead. Written by the relay.
    lost: AtomicU64,
}

impl Link {
    pub fn set_dead(&self, is_dead: bool) {
        self.is_dead.store(is_dead, Ordering::Relaxed);
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// The delay of packets beyond the time of their link's model, in microseconds.
pub type Lateness = Histogram<u64>;

/// The relay thread. The thread ends with this value.
pub struct Relay {
    pub links: Arc<[Link]>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Lateness>>,
}

impl Relay {
    /// Starts to move packets between the devices of the server's side and the clients'.
    pub fn start(devices: [SyncDevice; 2], profiles: &[Profile]) -> io::Result<Self> {
        devices.iter().try_for_each(|device| device.set_nonblocking(true))?;
        let links: Arc<[Link]> = profiles.iter().map(|_| Link::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seeds = (1..).step_by(2);
        let ways = |(&profile, seed)| [OneWay::new(profile, seed), OneWay::new(profile, seed + 1)];
        let mover = Mover {
            devices,
            links: links.clone(),
            ways: profiles.iter().zip(seeds).map(ways).collect(),
            began: Instant::now(),
            on_the_way: BinaryHeap::new(),
            entered: 0,
            lateness: Histogram::new_with_bounds(1, 60_000_000, 3).expect("a range and digits"),
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn({
            let stop = stop.clone();
            move || mover.run(&stop)
        })?;
        Ok(Self { links, stop, thread: Some(thread) })
    }

    /// Ends the relay. Returns how late the relay was.
    pub fn stop(mut self) -> Lateness {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the relay does not panic")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Orders packets by their arrival; packets with the same arrival in the order of their entry.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Duration,
    number: u64,
    /// The destination side: an index of `devices`.
    to: usize,
    link: usize,
    bytes: Vec<u8>,
}

struct Mover {
    devices: [SyncDevice; 2],
    links: Arc<[Link]>,
    /// The two directions of each link: to the server, to the client.
    ways: Vec<[OneWay; 2]>,
    began: Instant,
    on_the_way: BinaryHeap<Reverse<Packet>>,
    entered: u64,
    lateness: Lateness,
}

impl Mover {
    fn run(mut self, stop: &AtomicBool) -> Lateness {
        take_precedence();
        let mut buffer = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            for from in [0, 1] {
                self.take(from, &mut buffer);
            }
            self.deliver();
            self.wait();
        }
        self.lateness
    }

    /// Reads the packets that a side has sent.
    fn take(&mut self, from: usize, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.devices[from].recv(buffer) {
                Ok(length) => self.enter(from, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a device of the network is broken: {error}"),
            }
        }
    }

    fn enter(&mut self, from: usize, bytes: &[u8]) {
        let Some(index) = self.link_of(from, bytes) else { return };
        let (link, to) = (&self.links[index], 1 - from);
        let now = self.began.elapsed();
        match self.ways[index][to].enter(now, bytes.len()) {
            Some(due) if !link.is_dead() => {
                self.entered += 1;
                let bytes = bytes.to_vec();
                let packet = Packet { due, number: self.entered, to, link: index, bytes };
                self.on_the_way.push(Reverse(packet));
            }
            _ => link.lose(),
        }
    }

    /// The link of an IPv4 packet. The system also sends other packets, which have no link.
    fn link_of(&self, from: usize, packet: &[u8]) -> Option<usize> {
        // An IPv4 header: the source is at 12, the destination at 16.
        let client = if from == 0 { packet.get(16..20)? } else { packet.get(12..16)? };
        let client = u32::from_be_bytes(client.try_into().ok()?);
        let link = client.checked_sub(u32::from(FIRST))? as usize;
        (packet[0] >> 4 == 4 && link < self.ways.len()).then_some(link)
    }

    /// Writes each due packet to its destination side.
    fn deliver(&mut self) {
        while let Some(Reverse(next)) = self.on_the_way.peek() {
            let Some(late) = self.began.elapsed().checked_sub(next.due) else { return };
            let Some(Reverse(packet)) = self.on_the_way.pop() else { return };
            self.lateness.saturating_record(late.as_micros() as u64);
            let link = &self.links[packet.link];
            if link.is_dead() || self.devices[packet.to].send(&packet.bytes).is_err() {
                link.lose();
            }
        }
    }

    /// Waits until a packet arrives or is due.
    fn wait(&self) {
        let now = self.began.elapsed();
        let due = self.on_the_way.peek().map(|Reverse(packet)| packet.due.saturating_sub(now));
        let timeout = due.unwrap_or(IDLE_MAX).min(IDLE_MAX);
        let mut ready =
            self.devices.each_ref().map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut ready, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("the relay cannot wait: {error}"),
        }
    }
}

/// Raises the priority of this thread, so that packets leave on time. If the system does not allow that, a busy
/// machine delays the relay.
fn take_precedence() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}
