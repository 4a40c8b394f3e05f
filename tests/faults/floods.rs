//! A flood of one room delays nobody in another by more than milliseconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as BlockingStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::flooded::{FLOOD, MESSAGE_BYTES, flood, start};
use crate::oracle::Line;
use crate::raise_descriptor_limit;
use crate::server::{DEADLINE, Server};
use crate::wire::{TEXT, enter, frame, upgrade_request};

/// Members of the room that is flooded.
const MEMBERS: usize = 200;

/// The room of those who are not to notice.
const QUIET: &str = "quiet";

/// From one message of the quiet room to the next.
const PACE: Duration = Duration::from_millis(50);

/// Before a flood is measured: buffers that were empty are full then.
const WARM_UP: Duration = Duration::from_millis(500);

/// A message with a header of four bytes.
const FRAME_BYTES: u64 = MESSAGE_BYTES as u64 + 4;

/// Of one member, before it is the next one's turn.
const READ_BYTES_MAX: usize = 1 << 20;

/// Has Linux throw away what is read, and count it (tcp(7)).
const MSG_TRUNC: i32 = 0x20;

/// What a flood did.
#[derive(Debug, Clone)]
struct Measured {
    tasks: usize,
    deliveries_per_second: f64,
    deliveries_per_cpu_second: f64,
    /// Of all echoes, in order.
    latencies: Vec<Duration>,
    /// Echoes that never came.
    missing: usize,
    /// Messages of the flood that members were too slow for.
    dropped: u64,
}

impl Measured {
    fn median(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }

    fn worst(&self) -> Duration {
        *self.latencies.last().expect("there are some")
    }

    fn print(&self) {
        println!(
            "{:2} tasks: echo in {:.1?} in the median, {:.1?} at the worst of {}, {} missing; {:.2} M \
             deliveries/s, {:.2} M per second of the server's processor, {} dropped",
            self.tasks,
            self.median(),
            self.worst(),
            self.latencies.len(),
            self.missing,
            self.deliveries_per_second / 1e6,
            self.deliveries_per_cpu_second / 1e6,
            self.dropped,
        );
    }
}

/// Members who read and throw away, on a thread of their own; and the bytes that they have read.
fn read_along(members: Vec<TcpStream>) -> Arc<AtomicU64> {
    let bytes = Arc::new(AtomicU64::new(0));
    let members: Vec<_> =
        members.into_iter().map(|member| member.into_std().expect("a socket")).collect();
    let count = bytes.clone();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let mut readers = JoinSet::new();
            for member in members {
                let member = TcpStream::from_std(member).expect("a socket");
                readers.spawn(read_away(member, count.clone()));
            }
            while readers.join_next().await.is_some() {}
        });
    });
    bytes
}

/// Without a copy: what the clients cost is not the server's.
async fn read_away(member: TcpStream, bytes: Arc<AtomicU64>) {
    let mut nothing = Vec::<u8>::with_capacity(READ_BYTES_MAX);
    while member.readable().await.is_ok() {
        let read = member.try_io(Interest::READABLE, || {
            SockRef::from(&member).recv_with_flags(nothing.spare_capacity_mut(), MSG_TRUNC)
        });
        match read {
            Ok(0) => return,
            Ok(read) => drop(bytes.fetch_add(read as u64, Ordering::Relaxed)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Two members of the quiet room. One of them sends at its pace, and waits for nothing meanwhile.
struct Quiet {
    stream: BlockingStream,
    /// Is in the room, and reads nothing: what comes fits into buffers.
    _other: BlockingStream,
}

impl Quiet {
    fn enter(addr: SocketAddr) -> Self {
        Self { stream: enter_blocking(addr), _other: enter_blocking(addr) }
    }

    /// The time from each message to its echo, in order; and how many never came.
    fn echo_for(&self, duration: Duration) -> (Vec<Duration>, usize) {
        let messages = (duration.as_micros() / PACE.as_micros()) as u64;
        let began = Instant::now();
        let mut reader = self.stream.try_clone().expect("a descriptor");
        let reading = thread::spawn(move || {
            let mut latencies = Vec::new();
            while latencies.len() < messages as usize
                && let Some(line) = read_line(&mut reader)
            {
                latencies.push(began.elapsed() - Duration::from_micros(line.ts as u64));
            }
            latencies
        });
        self.send_at_pace(began, messages);
        let mut latencies = reading.join().expect("the server sends JSON");
        latencies.sort_unstable();
        let missing = messages as usize - latencies.len();
        (latencies, missing)
    }

    fn send_at_pace(&self, began: Instant, messages: u64) {
        let mut writer = &self.stream;
        for seq in 0..messages {
            let due = PACE * seq as u32;
            thread::sleep(due.saturating_sub(began.elapsed()));
            let ts = began.elapsed().as_micros() as f64;
            let line = Line { text: String::new(), user: format!("{QUIET}/one"), seq, ts };
            let line = serde_json::to_vec(&line).expect("JSON");
            writer.write_all(&frame(TEXT, &line)).expect("the server reads");
        }
    }
}

fn enter_blocking(addr: SocketAddr) -> BlockingStream {
    let mut stream = BlockingStream::connect(addr).expect("the server accepts");
    stream.set_nodelay(true).expect("a socket takes options");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes options");
    stream.write_all(upgrade_request(QUIET).as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// The next line of a few bytes; `None` where it does not come.
fn read_line(stream: &mut BlockingStream) -> Option<Line> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert!(head[0] == TEXT && head[1] < 126, "a short message: {head:?}");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload).ok()?;
    Some(serde_json::from_slice(&payload).expect("JSON"))
}

/// A server with its clients, to be flooded again and again.
struct Scene {
    server: Server,
    bytes: Arc<AtomicU64>,
    quiet: Arc<Quiet>,
}

impl Scene {
    async fn begin() -> Self {
        raise_descriptor_limit();
        let server = start().await;
        let mut members = Vec::new();
        for _ in 0..MEMBERS {
            members.push(enter(server.addr(), FLOOD, None).await);
        }
        let bytes = read_along(members);
        let quiet = Arc::new(Quiet::enter(server.addr()));
        server.eventually(FLOOD, "all are in", |stats| stats.members == MEMBERS).await;
        Self { server, bytes, quiet }
    }

    async fn measure(&self, tasks: usize, duration: Duration) -> Measured {
        let dropped_before = self.server.stats(FLOOD).await.dropped;
        flood(&self.server, tasks).await;
        tokio::time::sleep(WARM_UP).await;
        let before = (Instant::now(), self.bytes.load(Ordering::Relaxed), self.server.cpu());
        let quiet = self.quiet.clone();
        let echoes = tokio::task::spawn_blocking(move || quiet.echo_for(duration));
        tokio::time::sleep(duration).await;
        let took = before.0.elapsed().as_secs_f64();
        let deliveries =
            (self.bytes.load(Ordering::Relaxed) - before.1) as f64 / FRAME_BYTES as f64;
        let cpu = (self.server.cpu() - before.2).as_secs_f64();
        let (latencies, missing) = echoes.await.expect("the clients of the quiet room");
        flood(&self.server, 0).await;
        let stats = self.server.stats(FLOOD).await;
        assert_eq!(stats.members, MEMBERS, "nobody is lost");
        let (deliveries_per_second, deliveries_per_cpu_second) =
            (deliveries / took, deliveries / cpu);
        let dropped = stats.dropped - dropped_before;
        Measured {
            tasks,
            deliveries_per_second,
            deliveries_per_cpu_second,
            latencies,
            missing,
            dropped,
        }
    }
}

async fn flood_in_turns(rounds: usize, duration: Duration, median: Duration, worst: Duration) {
    let scene = Scene::begin().await;
    let mut all = Vec::new();
    for _ in 0..rounds {
        for tasks in [0, 1, 4, 16] {
            all.push(scene.measure(tasks, duration).await);
            all.last().expect("pushed").print();
        }
    }
    for measured in all {
        let tasks = measured.tasks;
        assert_eq!(measured.missing, 0, "{tasks} tasks");
        assert!(measured.median() <= median, "{tasks} tasks: median {:?}", measured.median());
        assert!(measured.worst() <= worst, "{tasks} tasks: worst {:?}", measured.worst());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_a_room_does_not_delay_another_room() {
    let millis = Duration::from_millis;
    flood_in_turns(1, millis(1_500), millis(100), millis(1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute, with bounds that want an idle machine"]
async fn floods_of_a_room_delay_another_room_by_milliseconds() {
    let millis = Duration::from_millis;
    flood_in_turns(5, millis(4_000), millis(20), millis(100)).await;
}
