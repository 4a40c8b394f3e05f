//! A fake socket, a clock that moves only on command, and shards that run only on command.

use std::io::{self, IoSlice};
use std::sync::Arc;
#[cfg(not(roomcast_loom))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(roomcast_loom)]
use loom::sync::{Mutex, MutexGuard};
use roomcast::engine::{
    Acknowledged, Address, BatchWriter, Budgets, ClientInflater, Close, CloseCode, ConnKey,
    Counter, Counters, DisconnectReason, FrameKind, Frames, InboxLimits, LARGE_AUDIENCE, Link,
    Overflow, Port, QueueLimits, Reply, RoomLimits, RunState, Shard, ShardConfig, Slice, Socket,
    Stage, WriteResult, frame, publish,
};

use super::coding::Coding;

/// A number of writes in one slice that no test uses up.
pub(crate) const PLENTY: usize = 1_000_000;

/// The opcodes that a server sends.
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The far end of a fake socket, as the test sees it.
#[derive(Default)]
pub(crate) struct Wire {
    /// All bytes that the socket accepted.
    pub(crate) written: Vec<u8>,
    /// The bytes and buffers of each call that moved bytes.
    pub(crate) writes: Vec<(usize, usize)>,
    /// The bytes that the socket accepts before it blocks; `None` for no bound.
    pub(crate) window: Option<usize>,
    /// The error of each call from now on, if any.
    pub(crate) error: Option<io::ErrorKind>,
    /// The error of each call when the window is used up, if any.
    pub(crate) late_error: Option<io::ErrorKind>,
    /// Whether a flush blocks.
    pub(crate) holds_flush: bool,
    /// The bytes that the peer has acknowledged, if the socket reports them.
    pub(crate) acknowledged: Option<u64>,
    /// Whether the peer acknowledges, if the socket reports that.
    pub(crate) answers: Option<bool>,
    /// Whether received bytes wait to be read.
    pub(crate) has_unread: bool,
    /// Whether a write or a flush has ever blocked.
    pub(crate) has_blocked: bool,
    /// The waker of the last call that blocked.
    pub(crate) waker: Option<Waker>,
    /// Whether this is the placeholder of a socket that has not arrived yet.
    pub(crate) is_awaited: bool,
    /// Whether the socket takes part in no batch.
    pub(crate) refuses_batches: bool,
    pub(crate) is_shut_down: bool,
    pub(crate) is_aborted: bool,
    pub(crate) is_dropped: bool,
}

impl Wire {
    fn take(&mut self, frames: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        assert!(!self.is_shut_down && !self.is_aborted, "a write after the end");
        let offered: usize = frames.iter().map(|frame| frame.len()).sum();
        assert!(offered > 0, "a write of nothing");
        if let Some(kind) = self.error {
            return Poll::Ready(Err(kind.into()));
        }
        let taken = self.window.map_or(offered, |window| window.min(offered));
        if let (0, Some(kind)) = (taken, self.late_error) {
            return Poll::Ready(Err(kind.into()));
        }
        if taken == 0 {
            self.has_blocked = true;
            return Poll::Pending;
        }
        let mut left = taken;
        for frame in frames {
            let front = &frame[..left.min(frame.len())];
            self.written.extend_from_slice(front);
            left -= front.len();
        }
        self.writes.push((taken, frames.len()));
        self.window = self.window.map(|window| window - taken);
        Poll::Ready(Ok(taken))
    }
}

/// The near end of a fake socket, to which a shard writes.
pub(crate) struct FakeSocket(Arc<Mutex<Wire>>);

impl Socket for FakeSocket {
    fn is_there(&self) -> bool {
        !self.0.lock().unwrap().is_awaited
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        let written = wire.take(frames);
        if written.is_pending() {
            wire.waker = Some(cx.waker().clone());
        }
        written
    }

    /// Answers as a kernel does on a direct query: no waker is registered.
    fn try_write(&mut self, frames: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().take(&[IoSlice::new(frames)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        if let Some(kind) = wire.error {
            return Poll::Ready(Err(kind.into()));
        }
        if wire.holds_flush {
            wire.has_blocked = true;
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn shut_down(&mut self) {
        self.0.lock().unwrap().is_shut_down = true;
    }

    fn abort(&mut self) {
        self.0.lock().unwrap().is_aborted = true;
    }

    fn acknowledged(&self) -> Option<Acknowledged> {
        let wire = self.0.lock().unwrap();
        let all = wire.written.len() as u64;
        wire.acknowledged.map(|bytes| Acknowledged { bytes, is_all: bytes == all })
    }

    fn is_answered(&self, _: Duration) -> Option<bool> {
        self.0.lock().unwrap().answers
    }

    fn has_unread(&self) -> bool {
        self.0.lock().unwrap().has_unread
    }
}

/// Writes to fake sockets, and counts the writes of each batch.
#[derive(Clone, Default)]
pub(crate) struct FakeBatches(Arc<Mutex<Batches>>);

#[derive(Default)]
struct Batches {
    sizes: Vec<usize>,
    /// The most writes of a batch, if the writer fails.
    writes_max: Option<usize>,
}

impl FakeBatches {
    /// The number of writes of each batch.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().sizes.clone()
    }

    /// From now on, each batch fails after so many writes.
    pub(crate) fn fail_after(&self, writes: usize) {
        self.0.lock().unwrap().writes_max = Some(writes);
    }
}

impl BatchWriter<FakeSocket> for FakeBatches {
    fn accepts(&self, socket: &FakeSocket) -> bool {
        !socket.0.lock().unwrap().refuses_batches
    }

    fn write(&mut self, writes: &[(&FakeSocket, &[u8])], results: &mut Vec<WriteResult>) {
        let mut batches = self.0.lock().unwrap();
        let writes = &writes[..batches.writes_max.unwrap_or(usize::MAX).min(writes.len())];
        batches.sizes.push(writes.len());
        results.extend(
            writes
                .iter()
                .map(|(socket, frames)| socket.0.lock().unwrap().take(&[IoSlice::new(frames)])),
        );
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        let mut wire = self.0.lock().unwrap();
        wire.is_dropped = true;
        wire.waker = None;
    }
}

/// One frame, as a client parses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) opcode: u8,
    /// Whether the frame is marked as compressed (RSV1).
    pub(crate) is_compressed: bool,
    pub(crate) payload: Vec<u8>,
    /// Header and payload.
    pub(crate) bytes: usize,
}

impl Parsed {
    pub(crate) fn is_data(&self) -> bool {
        self.opcode < 8
    }

    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<CloseCode> {
        let code = self.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
        code.filter(|_| self.opcode == CLOSE).map(CloseCode::from)
    }
}

/// Parses unmasked frames without the code under test. Also returns the number of bytes of an incomplete frame at the
/// end.
pub(crate) fn parse(mut bytes: &[u8]) -> (Vec<Parsed>, usize) {
    let mut parsed = Vec::new();
    while let Some((frame, rest)) = parse_one(bytes) {
        parsed.push(frame);
        bytes = rest;
    }
    (parsed, bytes.len())
}

fn parse_one(bytes: &[u8]) -> Option<(Parsed, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0xB0, 0x80, "neither continued nor with reserved bits");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, rest) = match second {
        126 => rest
            .split_first_chunk::<2>()
            .map(|(n, rest)| (usize::from(u16::from_be_bytes(*n)), rest))?,
        127 => rest
            .split_first_chunk::<8>()
            .map(|(n, rest)| (u64::from_be_bytes(*n) as usize, rest))?,
        _ => (usize::from(*second), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let frame = Parsed {
        opcode: first & 0xF,
        is_compressed: first & 0x40 != 0,
        payload: payload.to_vec(),
        bytes: bytes.len() - rest.len(),
    };
    Some((frame, rest))
}

/// A connection, as its session and its client see it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) link: Arc<Link>,
    pub(crate) port: Arc<Port<FakeSocket>>,
    wire: Arc<Mutex<Wire>>,
}

impl Client {
    pub(crate) fn attach(id: ConnKey, port: &Arc<Port<FakeSocket>>) -> Self {
        Self::attach_link(Link::new(id), port)
    }

    pub(crate) fn attach_link(link: Link, port: &Arc<Port<FakeSocket>>) -> Self {
        let (link, wire) = (Arc::new(link), Arc::default());
        port.attach(Arc::clone(&link), FakeSocket(Arc::clone(&wire)));
        Self { link, port: port.clone(), wire }
    }

    /// A connection whose socket has not arrived yet.
    pub(crate) fn attach_early(link: Link, port: &Arc<Port<FakeSocket>>) -> Self {
        let (link, wire) = (Arc::new(link), Arc::default());
        let awaited = Wire { window: Some(0), is_awaited: true, ..Wire::default() };
        port.attach(Arc::clone(&link), FakeSocket(Arc::new(Mutex::new(awaited))));
        link.pause_listening();
        Self { link, port: port.clone(), wire }
    }

    /// Attaches the socket.
    pub(crate) fn arrive(&self) {
        self.port.set_socket(self.id(), FakeSocket(Arc::clone(&self.wire)));
    }

    pub(crate) fn id(&self) -> ConnKey {
        self.link.id()
    }

    pub(crate) fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap()
    }

    pub(crate) fn join(&self, room: &str) {
        self.port.join(&self.link, room).expect("joins");
    }

    pub(crate) fn leave(&self, room: &str) {
        self.port.leave(&self.link, room).expect("leaves");
    }

    /// The socket accepts no more bytes.
    pub(crate) fn block(&self) {
        self.wire().window = Some(0);
    }

    /// The socket accepts `bytes` more, and wakes the shard.
    pub(crate) fn take(&self, bytes: usize) {
        {
            let mut wire = self.wire();
            wire.window = wire.window.map(|window| window + bytes);
        }
        self.wake();
    }

    /// The socket accepts everything, and wakes the shard.
    pub(crate) fn unblock(&self) {
        {
            let mut wire = self.wire();
            wire.window = None;
            wire.holds_flush = false;
        }
        self.wake();
    }

    /// Calls the waker of the socket. The waker stays registered, as in a runtime.
    pub(crate) fn wake(&self) {
        let waker = self.wire().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The whole frames that have arrived.
    pub(crate) fn frames(&self) -> Vec<Parsed> {
        parse(&self.wire().written).0
    }

    /// The texts that have arrived.
    pub(crate) fn texts(&self) -> Vec<String> {
        let data = self.frames().into_iter().filter(Parsed::is_data);
        data.map(|frame| String::from_utf8(frame.payload).expect("text")).collect()
    }

    /// The number of frames with this opcode that have arrived.
    pub(crate) fn count(&self, opcode: u8) -> usize {
        self.frames().iter().filter(|frame| frame.opcode == opcode).count()
    }

    /// The code of the close frame, which is the last frame.
    pub(crate) fn close_code(&self) -> Option<CloseCode> {
        self.frames().last().and_then(Parsed::close_code)
    }

    /// The number of writes that moved bytes.
    pub(crate) fn writes(&self) -> usize {
        self.wire().writes.len()
    }

    pub(crate) fn reason(&self) -> Option<DisconnectReason> {
        self.link.end().map(|end| end.reason.clone())
    }

    pub(crate) fn stage(&self) -> Stage {
        self.link.stage()
    }

    pub(crate) fn close(&self) {
        self.port.close(self.id(), DisconnectReason::ClosedByServer(Close::normal()));
    }
}

/// The settings of a [`Rig`].
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) shards: usize,
    pub(crate) inbox: InboxLimits,
    pub(crate) rooms: RoomLimits,
    pub(crate) rooms_max: usize,
    pub(crate) queued_bytes_max: usize,
    pub(crate) shard: ShardConfig,
    pub(crate) compression: Option<Coding>,
    /// Whether the shards write in batches.
    pub(crate) has_batches: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 1,
            inbox: InboxLimits { messages: 1 << 20, bytes: 1 << 30 },
            rooms: RoomLimits { name_bytes: 64, rooms_per_conn: 1 << 20 },
            rooms_max: usize::MAX,
            queued_bytes_max: usize::MAX,
            shard: ShardConfig {
                queue: QueueLimits { slots: 16, bytes: 1 << 20, overflow: Overflow::Evict },
                ping_interval: None,
                write_timeout: Duration::from_secs(16),
                large_audience: LARGE_AUDIENCE,
            },
            compression: None,
            has_batches: false,
        }
    }
}

impl Settings {
    pub(crate) fn queue(mut self, slots: usize, bytes: usize, overflow: Overflow) -> Self {
        self.shard.queue = QueueLimits { slots, bytes, overflow };
        self
    }

    pub(crate) fn inbox(mut self, messages: usize, bytes: usize) -> Self {
        self.inbox = InboxLimits { messages, bytes };
        self
    }

    pub(crate) fn rooms(mut self, name_bytes: usize, rooms_per_conn: u32) -> Self {
        self.rooms = RoomLimits { name_bytes, rooms_per_conn };
        self
    }

    pub(crate) fn max_rooms(mut self, rooms: usize) -> Self {
        self.rooms_max = rooms;
        self
    }

    pub(crate) fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.queued_bytes_max = bytes;
        self
    }

    pub(crate) fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    pub(crate) fn ping_interval(mut self, interval: Duration) -> Self {
        self.shard.ping_interval = Some(interval);
        self
    }

    pub(crate) fn large_audience(mut self, members: usize) -> Self {
        self.shard.large_audience = members;
        self
    }

    pub(crate) fn compression(mut self, coding: Coding) -> Self {
        self.compression = Some(coding);
        self
    }

    pub(crate) fn batches(mut self) -> Self {
        self.has_batches = true;
        self
    }

    pub(crate) fn build(self) -> Rig {
        Rig::new(self)
    }
}

/// Shards, their ports, and the time.
pub(crate) struct Rig {
    pub(crate) ports: Vec<Arc<Port<FakeSocket>>>,
    pub(crate) shards: Vec<Shard<FakeSocket>>,
    pub(crate) now: Duration,
    pub(crate) budgets: Budgets,
    pub(crate) batches: FakeBatches,
    serial: u64,
}

impl Rig {
    pub(crate) fn new(settings: Settings) -> Self {
        let budgets = Budgets::new(settings.rooms_max, settings.queued_bytes_max, settings.shards);
        let port = |index| {
            let port = Port::new(index, settings.inbox, settings.rooms);
            Arc::new(port.with_budgets(budgets.clone()))
        };
        let ports: Vec<_> = (0..settings.shards).map(port).collect();
        let compression = || settings.compression.map(Coding::build);
        let batches = FakeBatches::default();
        let batch_writer = || Box::new(batches.clone()) as Box<dyn BatchWriter<FakeSocket>>;
        let shard = |port: &Arc<_>| {
            let shard = Shard::new(settings.shard, Arc::clone(port));
            let batch_writer = settings.has_batches.then(batch_writer);
            shard.with_compression(compression()).with_batches(batch_writer)
        };
        let shards = ports.iter().map(shard).collect();
        Self { ports, shards, now: Duration::ZERO, budgets, batches, serial: 0 }
    }

    /// Attaches a new connection, to the shards in turn.
    pub(crate) fn attach(&mut self) -> Client {
        let id = self.next_id();
        Client::attach(id, &self.ports[id.shard()])
    }

    /// Attaches a new connection whose client has this inflater.
    pub(crate) fn attach_inflating(&mut self, inflater: Option<ClientInflater>) -> Client {
        let id = self.next_id();
        Client::attach_link(Link::new(id).with_inflater(inflater), &self.ports[id.shard()])
    }

    /// Attaches a new connection whose socket has not arrived yet.
    pub(crate) fn attach_early(&mut self, inflater: Option<ClientInflater>) -> Client {
        let id = self.next_id();
        Client::attach_early(Link::new(id).with_inflater(inflater), &self.ports[id.shard()])
    }

    fn next_id(&mut self) -> ConnKey {
        let shard = self.serial as usize % self.ports.len();
        let id = ConnKey::new(self.serial, shard);
        self.serial += 1;
        id
    }

    /// New connections, all in `room`.
    pub(crate) fn attach_to(&mut self, room: &str, members: usize) -> Vec<Client> {
        let clients: Vec<Client> = (0..members).map(|_| self.attach()).collect();
        clients.iter().for_each(|client| client.join(room));
        clients
    }

    /// Publishes texts as one batch of frames.
    pub(crate) fn publish_run(&self, address: Address<'_>, texts: &[String]) {
        let frames: Vec<u8> = texts.iter().flat_map(|text| text_frame(text).to_vec()).collect();
        publish(&self.ports, address, &[], &frames.into()).expect("the inbox has space");
    }

    pub(crate) fn publish(&self, address: Address<'_>, text: &str) {
        let frame = text_frame(text);
        publish(&self.ports, address, &[], &frame).expect("the inbox has space");
    }

    pub(crate) fn publish_except(&self, address: Address<'_>, except: &[ConnKey], text: &str) {
        publish(&self.ports, address, except, &text_frame(text)).expect("the inbox has space");
    }

    /// Runs the shards until all are idle.
    pub(crate) fn run(&mut self) {
        for shard in &mut self.shards {
            while shard.run(self.now, PLENTY) == RunState::Busy {}
        }
    }

    /// Advances the time in steps, as a driver would, and runs the shards whenever one is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let due = self.shards.iter().filter_map(Shard::next_tick).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            // A check that is due already needs another run, but the clock must move first.
            self.now = due.max(self.now + Duration::from_millis(1));
        }
        self.now = end;
        self.run();
    }

    /// Advances the time while the shards are awake, with slices of no writes.
    pub(crate) fn elapse(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(10));
            for shard in &mut self.shards {
                shard.run(self.now, 0);
            }
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.ports[0].counters()
    }

    /// A counter, over all shards.
    pub(crate) fn total(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.ports.iter().map(|port| counter(port.counters()).get()).sum()
    }

    /// The members of a room, as the shards answer.
    pub(crate) fn members(&mut self, room: &str) -> Vec<ConnKey> {
        let mut ids: Vec<ConnKey> = Vec::new();
        for port in self.ports.clone() {
            let mut before = usize::MAX;
            while before > 0 {
                let slice = self.slice(|reply| port.ask_members(room, before, reply));
                ids.extend(slice.links.iter().map(|link| link.id()));
                before = slice.begin;
            }
        }
        ids.sort_unstable();
        ids
    }

    /// A slice of a list, as its shard answers.
    pub(crate) fn slice(&mut self, ask: impl FnOnce(Reply<Slice>)) -> Slice {
        let answer = Arc::new(Mutex::new(None));
        let reply = answer.clone();
        ask(Box::new(move |slice| *reply.lock().unwrap() = Some(slice)));
        self.run();
        let slice = answer.lock().unwrap().take();
        slice.expect("an answer")
    }

    /// The rooms of a connection, as its shard answers.
    pub(crate) fn rooms_of(&mut self, client: &Client) -> Vec<String> {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let reply = answer.clone();
        let names = move |rooms: Vec<Arc<roomcast::engine::Room>>| {
            *reply.lock().unwrap() = rooms.iter().map(|room| room.name().to_owned()).collect();
        };
        client.port.ask_rooms(client.id(), Box::new(names));
        self.run();
        let mut rooms = std::mem::take(&mut *answer.lock().unwrap());
        rooms.sort_unstable();
        rooms
    }
}

pub(crate) fn text_frame(text: &str) -> Frames {
    frame::encode(FrameKind::Text, text.as_bytes()).into()
}

/// Asserts that nothing is reserved in the inbox.
pub(crate) fn assert_nothing_reserved(port: &Port<FakeSocket>, limits: InboxLimits) {
    let inbox = port.inbox();
    assert!(inbox.reserve(1).is_ok(), "a message is still reserved");
    assert!(inbox.reserve(limits.bytes - 1).is_ok(), "bytes are still reserved");
    assert!(inbox.reserve(1).is_err(), "bytes were given back twice");
    inbox.release(2, limits.bytes);
    for _ in 0..limits.messages {
        assert!(inbox.reserve(0).is_ok(), "a message is still reserved");
    }
    assert!(inbox.reserve(0).is_err(), "a message was given back twice");
    inbox.release(limits.messages, 0);
}
