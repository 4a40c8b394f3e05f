//! The clients of one thread of the load generator, with an epoll of their own.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::Result;
use crate::feed::Feed;
use crate::progress::Progress;
use crate::requests::{Crowd, Load};
use crate::room::Room;
use crate::sample::Sample;
use crate::stream::Stream;
use crate::wire::{RSV1, client_frame, take_frame};

const SCRATCH_BYTES: usize = 256 * 1024;

/// The longest time without an arrival while messages are in flight.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a thread waits for data until it looks whether the others have finished.
const TICK: Duration = Duration::from_millis(10);

/// The clients of one thread.
pub(crate) struct Part {
    /// The number of this thread.
    index: usize,
    crowd: Crowd,
    epoll: Epoll,
    conns: Vec<Conn>,
    rooms: Vec<Room>,
    scratch: Vec<u8>,
    feed: Feed,
    /// What the first connection has inflated, if the clients offer to.
    sample: Option<Sample>,
    epoch: Instant,
    pub(crate) latencies: Histogram<u64>,
    /// Rooms in which a message has reached all members: one entry for each message that is not yet handled.
    done: Vec<usize>,
    pub(crate) counts: Counts,
}

/// What a measurement counts.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) deliveries: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) compressed: u64,
}

struct Conn {
    stream: Stream,
    room: usize,
    received: u64,
    /// The first part of an incomplete frame.
    partial: Vec<u8>,
}

impl Part {
    pub(crate) fn new(index: usize, crowd: Crowd, epoch: Instant) -> Result<Self> {
        Ok(Self {
            index,
            crowd,
            epoll: Epoll::new(EpollCreateFlags::empty())?,
            conns: Vec::new(),
            rooms: (0..crowd.rooms).map(|_| Room::default()).collect(),
            scratch: vec![0; SCRATCH_BYTES],
            feed: Feed::new(),
            sample: crowd.offers_deflate.then(Sample::new),
            epoch,
            latencies: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            done: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Adds a client of this room. `partial` is what the client has already read.
    pub(crate) fn add(&mut self, stream: Stream, room: usize, partial: Vec<u8>) -> Result<()> {
        stream.tcp().set_nonblocking(true)?;
        let id = self.conns.len();
        self.epoll.add(stream.tcp(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
        self.conns.push(Conn { stream, room, received: 0, partial });
        self.rooms[room].conns.push(id);
        Ok(())
    }

    /// Whether all messages of a room have reached all its members in this thread.
    pub(crate) fn is_complete(&self, room: usize, progress: &Progress) -> bool {
        self.rooms[room].conns.is_empty() || self.rooms[room].done() == progress.sent(room)
    }

    pub(crate) fn forget_counts(&mut self) {
        self.conns.iter_mut().for_each(|conn| conn.received = 0);
        self.rooms.iter_mut().for_each(Room::reset);
        self.done.clear();
        self.latencies.reset();
        self.counts = Counts::default();
    }

    /// Sends this thread's share of the first messages, and then a message whenever this thread is the last to receive
    /// one, until the time is over and nothing is in flight. Returns when this thread has ended the last message.
    pub(crate) fn measure(
        &mut self,
        progress: &Progress,
        load: Load,
        began: Instant,
    ) -> Result<Instant> {
        let measured = self.try_measure(progress, load, began);
        if measured.is_err() {
            progress.fail();
        }
        measured
    }

    fn try_measure(&mut self, progress: &Progress, load: Load, began: Instant) -> Result<Instant> {
        for room in 0..self.crowd.rooms {
            for number in 0..load.in_flight {
                if progress.split().first_sender(room, number) == self.index {
                    self.send(progress, room, load.bytes)?;
                }
            }
        }
        let (mut last_arrival, mut ended) = (began, began);
        while progress.in_flight() > 0 && !progress.has_failed() {
            if self.receive(progress, TICK)? {
                last_arrival = Instant::now();
            } else if last_arrival.elapsed() > PATIENCE {
                return Err(
                    format!("{} messages have not reached all", progress.in_flight()).into()
                );
            }
            let is_over = began.elapsed() >= load.duration;
            while let Some(room) = self.done.pop() {
                if is_over {
                    progress.end_one();
                    ended = Instant::now();
                } else {
                    self.send(progress, room, load.bytes)?;
                }
            }
        }
        Ok(ended)
    }

    /// Adds what another thread has measured.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.latencies.add(&other.latencies)?;
        let Counts { deliveries, wire_bytes, compressed } = other.counts;
        self.counts.deliveries += deliveries;
        self.counts.wire_bytes += wire_bytes;
        self.counts.compressed += compressed;
        Ok(())
    }

    /// The number of clients that have received more or fewer messages than their rooms were sent.
    pub(crate) fn incomplete(&self, progress: &Progress) -> usize {
        let is_short = |conn: &&Conn| conn.received != progress.sent(conn.room);
        self.conns.iter().filter(is_short).count()
    }

    /// The time since the start, in microseconds.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Lets the next of this thread's members of a room send a message.
    pub(crate) fn send(&mut self, progress: &Progress, room: usize, bytes: usize) -> Result<()> {
        let now = self.now();
        let frame = client_frame(&self.crowd.dialect.message(&mut self.feed, now, bytes));
        progress.count_sent(room);
        let sender = self.rooms[room].send(now);
        // The server reads, so the socket accepts so small a message at once.
        Ok(self.conns[sender].stream.write_all(&frame)?)
    }

    /// Waits for data, and reads it. Returns `false` if no data has come in time.
    pub(crate) fn receive(&mut self, progress: &Progress, patience: Duration) -> Result<bool> {
        let mut events = [EpollEvent::empty(); 256];
        let timeout = u16::try_from(patience.as_millis())?;
        let count = match self.epoll.wait(&mut events, timeout) {
            // A signal interrupted the wait: look again.
            Err(Errno::EINTR) => return Ok(true),
            count => count?,
        };
        for event in &events[..count] {
            self.read(progress, event.data() as usize)?;
        }
        Ok(count > 0)
    }

    fn read(&mut self, progress: &Progress, id: usize) -> Result<()> {
        while self.read_once(progress, id)? > 0 && self.conns[id].stream.holds_back() {}
        Ok(())
    }

    /// Reads once, and handles the frames. Returns the number of bytes.
    fn read_once(&mut self, progress: &Progress, id: usize) -> Result<usize> {
        let conn = &mut self.conns[id];
        let kept = conn.partial.len();
        self.scratch[..kept].copy_from_slice(&conn.partial);
        conn.partial.clear();
        let read = match conn.stream.read(&mut self.scratch[kept..]) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read?,
        };
        let rest = self.take_frames(progress, id, kept + read)?;
        self.conns[id].partial.extend_from_slice(&self.scratch[rest..kept + read]);
        Ok(read)
    }

    /// Handles the frames at the front of the scratch buffer, and returns where they end.
    fn take_frames(&mut self, progress: &Progress, id: usize, end: usize) -> Result<usize> {
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
            if room.receive(conn.received) && progress.report(conn.room, conn.received) {
                done.push(conn.room);
            }
        }
        Ok(start)
    }
}
