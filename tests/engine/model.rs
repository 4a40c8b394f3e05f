//! The model test of the shards: random operations, against an oracle of maps of sets and lists of frames.
//!
//! The oracle applies an operation at once. The shard takes the operation from its inbox some time later, in slices
//! of a few writes. The frames that a client received must be the same for both. The oracle cannot foresee one
//! thing: a connection that its shard ends (its socket fails, it is evicted, it is silent). The oracle records such
//! an end when the shards are idle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomcast::engine::{
    Action, Address, Close, CloseCode, Closing, ConnKey, DisconnectReason, FrameKind, Frames,
    JoinError, Overflow, Pace, Publish, Reply, Shedding, Stage, act_at, frame, publish_at,
};

use super::coding::{Coding, Inflating};
use super::dice::Dice;
use super::fake::{CLOSE, Client, PONG, Parsed, Rig, Settings, assert_nothing_reserved, parse};
use super::operation::{Change, Kind, Operation, ROOMS, To};

/// Runs `operations` random operations, or fewer if `dice` is used up. Passes each operation to `see` before the
/// model applies it.
pub(crate) fn run(dice: impl Dice, kind: Kind, operations: usize, mut see: impl FnMut(&Operation)) {
    let mut model = Model::new(dice, kind);
    for _ in 0..operations {
        if model.dice.is_used_up() {
            break;
        }
        let Some(operation) = model.draw() else { continue };
        see(&operation);
        model.apply(operation);
    }
    model.finish();
}

/// The state of a connection in the oracle.
struct Known {
    client: Client,
    /// Numbers of the frames that the connection must get, in order.
    expected: Vec<usize>,
    /// Payloads of the pongs that the connection must get.
    pongs: Vec<[u8; 4]>,
    has_socket: bool,
    is_open: bool,
    is_detached: bool,
}

struct Model<D> {
    dice: D,
    kind: Kind,
    settings: Settings,
    rig: Rig,
    port_references: usize,
    known: Vec<Known>,
    rooms: BTreeMap<usize, BTreeSet<usize>>,
    frames: Vec<Frames>,
    /// The number of messages sent to connections after their end.
    too_late: usize,
    /// The number of shards asked for an answer to a sampled publish, and the number of answers.
    followed: usize,
    answers: Arc<AtomicUsize>,
    /// Shards that were asked to shed, those that are done, and how many connections they say.
    sheddings: usize,
    shed: Arc<[AtomicUsize; 2]>,
}

impl<D: Dice> Model<D> {
    fn new(mut dice: D, kind: Kind) -> Self {
        let settings = settings(&mut dice, kind);
        let rig = settings.build();
        let port_references = Arc::strong_count(&rig.ports[0]);
        let (known, rooms, frames, too_late, followed, answers) = Default::default();
        let (sheddings, shed) = Default::default();
        Self {
            dice,
            kind,
            settings,
            rig,
            port_references,
            known,
            rooms,
            frames,
            too_late,
            followed,
            answers,
            sheddings,
            shed,
        }
    }

    /// Draws the next operation; `None` if the drawn operation is impossible now.
    fn draw(&mut self) -> Option<Operation> {
        let attached = self.known.iter().filter(|known| !known.is_detached).count();
        Operation::draw(&mut self.dice, self.kind, self.known.len(), attached)
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Attach { is_early, inflater } => {
                let inflater = inflater.filter(|_| self.settings.compression.is_some());
                let client = if is_early {
                    self.rig.attach_early(inflater)
                } else {
                    self.rig.attach_inflating(inflater)
                };
                client.wire().has_blocked = is_early;
                self.known.push(Known {
                    client,
                    expected: Vec::new(),
                    pongs: Vec::new(),
                    has_socket: !is_early,
                    is_open: true,
                    is_detached: false,
                });
            }
            Operation::Arrive { conn } => self.arrive(conn),
            Operation::Join { conn, room } => self.join(conn, room),
            Operation::Leave { conn, room } => {
                self.known[conn].client.leave(ROOMS[room]);
                self.remove_member(conn, room);
            }
            Operation::Publish { to, except, payload_bytes, is_compressible, is_followed } => {
                let frame = self.frame(payload_bytes, is_compressible);
                self.publish(&to, &except, frame, is_followed);
            }
            Operation::Act { to, except, change } => self.act(&to, &except, change),
            Operation::Pong { conn } => self.pong(conn),
            Operation::Block { conn } => self.known[conn].client.block(),
            Operation::Take { conn, bytes } => self.known[conn].client.take(bytes),
            Operation::Unblock { conn } => self.known[conn].client.unblock(),
            Operation::HoldFlush { conn } => self.known[conn].client.wire().holds_flush = true,
            Operation::Wake { conn } => self.known[conn].client.wake(),
            Operation::Fail { conn } => {
                self.known[conn].client.wire().error = Some(io::ErrorKind::ConnectionReset);
                self.known[conn].client.wake();
            }
            Operation::Hear { conn } => {
                let Client { link, port, .. } = &self.known[conn].client;
                port.hear(link);
            }
            Operation::Close { conn, by_client } => self.close(conn, by_client),
            Operation::Detach { conn } => self.detach(conn),
            Operation::Shed { percent, window } => self.shed(percent, window),
            Operation::Pass { time } => self.rig.elapse(time),
            Operation::Run { writes } => {
                for shard in &mut self.rig.shards {
                    shard.run(self.rig.now, writes);
                }
            }
            Operation::Settle => self.settle(),
        }
    }

    fn arrive(&mut self, conn: usize) {
        let known = &mut self.known[conn];
        if !known.has_socket && !known.is_detached {
            known.has_socket = true;
            known.client.arrive();
        }
    }

    fn join(&mut self, conn: usize, room: usize) {
        let known = &self.known[conn];
        let had_ended = known.client.link.end().is_some();
        let joined = known.client.port.join(&known.client.link, ROOMS[room]);
        let expected = if had_ended { Err(JoinError::Closed) } else { Ok(()) };
        assert_eq!(joined, expected);
        if known.is_open && joined.is_ok() {
            self.rooms.entry(room).or_default().insert(conn);
        }
    }

    /// The next message to publish.
    fn frame(&self, payload_bytes: usize, is_compressible: bool) -> Frames {
        let number = self.frames.len();
        let mut payload = vec![number as u8; payload_bytes];
        payload[..4].copy_from_slice(&(number as u32).to_be_bytes());
        let frame = Frames::from(frame::encode(FrameKind::Binary, &payload));
        if is_compressible { frame } else { frame.uncompressed() }
    }

    fn publish(&mut self, to: &To, except: &[usize], frame: Frames, is_followed: bool) {
        let number = self.frames.len();
        let excepted: Vec<ConnKey> = except.iter().map(|&at| self.known[at].client.id()).collect();
        for conn in self.audience(to) {
            if except.contains(&conn) {
                continue;
            }
            if self.known[conn].is_open {
                self.known[conn].expected.push(number);
            } else if matches!(to, To::Conn(_)) {
                self.too_late += 1;
            }
        }
        let (asked, follow) = (Arc::default(), self.follow(to));
        let follow = || follow(&asked);
        let publish = |address: Address<'_>| {
            let (pace, except, frames) = (Pace::Urgent, &excepted[..], &frame);
            let follow = is_followed.then_some(&follow as _);
            publish_at(&self.rig.ports, &Publish { pace, address, except, frames, follow })
        };
        self.with_address(to, publish).expect("the inbox has space");
        self.followed += asked.load(Ordering::Relaxed);
        self.frames.push(frame);
    }

    /// Makes replies that count themselves in `asked`. The last reply that is called asserts that the connections
    /// of a target have got all frames that they must have got so far.
    fn follow(&self, to: &To) -> impl Fn(&Arc<AtomicUsize>) -> Reply<usize> + use<D> {
        let open = self.audience(to).into_iter().map(|conn| &self.known[conn]);
        let expected: Arc<[(Client, usize)]> = open
            .filter(|known| known.is_open)
            .map(|known| (known.client.clone(), known.expected.len()))
            .collect();
        let answers = self.answers.clone();
        move |asked| {
            asked.fetch_add(1, Ordering::Relaxed);
            let (asked, expected, answers) = (asked.clone(), expected.clone(), answers.clone());
            Box::new(move |_| {
                answers.fetch_add(1, Ordering::Relaxed);
                if asked.fetch_sub(1, Ordering::Relaxed) == 1 {
                    expected.iter().for_each(|(client, messages)| check_served(client, *messages));
                }
            })
        }
    }

    fn act(&mut self, to: &To, except: &[usize], change: Change) {
        let excepted: Vec<ConnKey> = except.iter().map(|&at| self.known[at].client.id()).collect();
        let action = match change {
            Change::Close => Action::Close { code: CloseCode::from(4_001), reason: "" },
            Change::Join(room) => Action::Join(ROOMS[room]),
            Change::Leave(room) => Action::Leave(ROOMS[room]),
        };
        let act = |address: Address<'_>| {
            act_at(Pace::Urgent, &self.rig.ports, address, &excepted, action)
        };
        self.with_address(to, act).expect("the inbox has space");
        let meant = self.audience(to).into_iter();
        for conn in meant.filter(|conn| !except.contains(conn)).collect::<Vec<_>>() {
            match change {
                Change::Join(room) if self.known[conn].is_open => {
                    self.rooms.entry(room).or_default().insert(conn);
                }
                Change::Join(_) => {}
                Change::Leave(room) => self.remove_member(conn, room),
                Change::Close => self.note_end(conn),
            }
        }
    }

    fn with_address<V>(&self, to: &To, action: impl FnOnce(Address<'_>) -> V) -> V {
        match to {
            To::Everyone => action(Address::Everyone),
            To::Room(room) => action(Address::Room(ROOMS[*room])),
            To::Rooms(rooms) => {
                let names: Vec<_> = rooms.iter().map(|&room| ROOMS[room].into()).collect();
                action(Address::Rooms(&names))
            }
            To::Conn(conn) => action(Address::Conn(self.known[*conn].client.id())),
        }
    }

    fn audience(&self, to: &To) -> BTreeSet<usize> {
        let members = |room: &usize| self.rooms.get(room).into_iter().flatten().copied();
        match to {
            To::Everyone => (0..self.known.len()).collect(),
            To::Room(room) => members(room).collect(),
            To::Rooms(rooms) => rooms.iter().flat_map(members).collect(),
            To::Conn(conn) => BTreeSet::from([*conn]),
        }
    }

    fn pong(&mut self, conn: usize) {
        let known = &mut self.known[conn];
        let payload = (known.pongs.len() as u32).to_be_bytes();
        if known.is_open {
            known.client.port.pong(known.client.id(), &payload);
            known.pongs.push(payload);
        }
    }

    fn close(&mut self, conn: usize, by_client: bool) {
        let client = &self.known[conn].client;
        let reason = match by_client {
            true => DisconnectReason::ClosedByClient(Close::new(CloseCode::GOING_AWAY, "")),
            false => DisconnectReason::ClosedByServer(Close::normal()),
        };
        client.port.close(client.id(), reason);
        self.note_end(conn);
    }

    fn detach(&mut self, conn: usize) {
        let known = &mut self.known[conn];
        known.client.port.detach(known.client.id());
        known.is_detached = true;
        self.note_end(conn);
    }

    fn shed(&mut self, percent: usize, window: Duration) {
        let closing = Arc::new(Closing { window, ..Closing::now() }.elsewhere());
        for port in &self.rig.ports {
            let shed = self.shed.clone();
            let reply = move |asked| {
                shed[0].fetch_add(1, Ordering::Relaxed);
                shed[1].fetch_add(asked, Ordering::Relaxed);
            };
            let (closing, seed) = (closing.clone(), self.sheddings as u64);
            let shedding = Shedding { closing, share: percent as f64 / 100.0, seed };
            port.shed(shedding, Box::new(reply));
            self.sheddings += 1;
        }
    }

    fn remove_member(&mut self, conn: usize, room: usize) {
        if let Some(members) = self.rooms.get_mut(&room) {
            members.remove(&conn);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    fn note_end(&mut self, conn: usize) {
        self.known[conn].is_open = false;
        (0..ROOMS.len()).for_each(|room| self.remove_member(conn, room));
    }

    /// Runs the shards until they are idle, and compares the shards with the oracle.
    fn settle(&mut self) {
        self.rig.run();
        for conn in 0..self.known.len() {
            if self.known[conn].is_open && self.known[conn].client.link.end().is_some() {
                self.note_end(conn);
            }
        }
        assert_eq!(self.answers.load(Ordering::Relaxed), self.followed, "each shard answers");
        self.check_rooms();
        self.check_connections();
        self.known.iter().for_each(|known| self.check_received(known));
        self.check_counters();
    }

    fn check_rooms(&mut self) {
        let mut memberships: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (room, name) in ROOMS.iter().enumerate() {
            let members = self.rooms.get(&room).cloned().unwrap_or_default();
            for &conn in &members {
                memberships.entry(conn).or_default().push(name.to_string());
            }
            for port in &self.rig.ports {
                let is_here = |conn: &&usize| {
                    self.known[**conn].client.id().shard() == index(port, &self.rig)
                };
                let here = members.iter().filter(is_here).count();
                assert_eq!(port.rooms().members(name), here, "members of {name:?}");
                assert_eq!(port.rooms().find(name).is_some(), here > 0, "index of {name:?}");
            }
            let ids: Vec<ConnKey> =
                members.iter().map(|&conn| self.known[conn].client.id()).collect();
            // The order of ids from two shards is not the order of attachment.
            let ids = BTreeSet::from_iter(ids);
            assert!(self.rig.members(name).into_iter().eq(ids), "members of {name:?}");
        }
        let in_index: usize = self.rig.ports.iter().map(|port| port.rooms().len()).sum();
        assert_eq!(self.rig.total(|counters| &counters.rooms), in_index as u64);
        for conn in 0..self.known.len() {
            let mut expected = memberships.remove(&conn).unwrap_or_default();
            expected.sort_unstable();
            let client = self.known[conn].client.clone();
            assert_eq!(self.rig.rooms_of(&client), expected, "rooms of {conn}");
        }
    }

    fn check_connections(&self) {
        let open = self.known.iter().filter(|known| known.is_open).count() as u64;
        assert_eq!(self.rig.total(|counters| &counters.connections), open);
        let connected = self.rig.total(|counters| &counters.connected);
        assert_eq!(connected, self.known.len() as u64);
        assert_eq!(connected - open, self.rig.total(|counters| &counters.disconnected));
        let count = |is: fn(&DisconnectReason) -> bool| {
            self.known.iter().filter_map(|known| known.client.reason()).filter(is).count() as u64
        };
        assert_eq!(
            self.rig.total(|counters| &counters.evicted_full)
                + self.rig.total(|counters| &counters.evicted_stalled),
            count(|reason| matches!(reason, DisconnectReason::SlowClient { .. }))
        );
        assert_eq!(
            self.rig.total(|counters| &counters.closed_idle),
            count(|reason| matches!(reason, DisconnectReason::Idle))
        );
        assert_eq!(
            self.rig.total(|counters| &counters.shed),
            count(|reason| matches!(reason, DisconnectReason::Shed(_)))
        );
        for known in &self.known {
            assert_eq!(known.is_open, known.client.stage() == Stage::Open);
            let is_dropped = known.is_detached && known.has_socket;
            assert_eq!(is_dropped, known.client.wire().is_dropped);
        }
    }

    /// Whether a connection gets all messages that were published to it, unless the connection ends.
    fn is_lossless(&self) -> bool {
        self.settings.shard.queue.overflow == Overflow::Evict
    }

    fn check_received(&self, known: &Known) {
        let (frames, torn) = parse(&known.client.wire().written);
        let frames = self.inflate(known, frames);
        let got: Vec<usize> =
            frames.iter().filter(|frame| frame.is_data()).map(|frame| self.number(frame)).collect();
        if self.is_lossless() {
            assert!(known.expected.starts_with(&got), "{got:?} of {:?}", known.expected);
        } else {
            assert!(is_subsequence(&got, &known.expected), "{got:?} of {:?}", known.expected);
        }
        let pongs: Vec<[u8; 4]> = payloads_of(&frames, PONG);
        assert!(is_subsequence(&pongs, &known.pongs), "{pongs:?} of {:?}", known.pongs);
        let is_blocked = {
            let wire = known.client.wire();
            !known.has_socket || wire.window.is_some() || wire.holds_flush || wire.error.is_some()
        };
        if known.is_open && !is_blocked {
            assert_eq!(torn, 0, "an open connection with an open socket has whole frames");
            assert!(!self.is_lossless() || got == known.expected, "{got:?}");
            assert_eq!(pongs.last(), known.pongs.last(), "the newest pong arrives");
        }
        check_end(known, &frames, torn, (self.is_lossless()).then_some(&got));
    }

    /// The frames as the client reads them.
    fn inflate(&self, known: &Known, frames: Vec<Parsed>) -> Vec<Parsed> {
        let is_deflate = self.settings.compression.is_some_and(|coding| coding.is_deflate);
        let mut inflating = Inflating::new(known.client.link.inflater());
        frames.into_iter().map(|frame| inflating.inflate(frame, is_deflate)).collect()
    }

    /// The number of the message that the frame carries, as it was published.
    fn number(&self, parsed: &Parsed) -> usize {
        let number = parsed.payload.first_chunk::<4>().map(|n| u32::from_be_bytes(*n) as usize);
        let number = number.expect("a number");
        let published = &self.frames[number];
        assert_eq!(frame::payload(published), parsed.payload);
        let is_whole = parsed.is_compressed || published.len() == parsed.bytes;
        assert!(is_whole && (published.is_compressible() || !parsed.is_compressed));
        number
    }

    fn check_counters(&self) {
        let wires = || self.known.iter().map(|known| known.client.wire());
        let written: usize = wires().map(|wire| wire.written.len()).sum();
        let writes: usize = wires().map(|wire| wire.writes.len()).sum();
        assert_eq!(self.rig.total(|counters| &counters.bytes_out), written as u64);
        assert_eq!(self.rig.total(|counters| &counters.writes), writes as u64);
        let overflow = self.settings.shard.queue.overflow;
        let is_told = matches!(overflow, Overflow::DropOldest | Overflow::KeepNewest);
        assert!(is_told || self.rig.total(|counters| &counters.dropped_oldest) == 0);
        assert!(!self.is_lossless() || self.rig.total(|counters| &counters.dropped_newest) == 0);
    }

    /// The data frames that have arrived completely.
    fn arrived(&self) -> u64 {
        let data = |known: &Known| known.client.frames().iter().filter(|f| f.is_data()).count();
        self.known.iter().map(data).sum::<usize>() as u64
    }

    /// Ends the run: all sockets accept everything, then all sessions detach.
    fn finish(mut self) {
        self.known.iter().for_each(|known| known.client.unblock());
        (0..self.known.len()).for_each(|conn| self.arrive(conn));
        self.settle();
        for conn in 0..self.known.len() {
            self.detach(conn);
        }
        self.settle();
        self.check_accounts();
        self.check_nothing_is_left();
    }

    /// Asserts that every lost message was counted.
    fn check_accounts(&self) {
        let oldest = self.rig.total(|counters| &counters.dropped_oldest);
        let newest = self.rig.total(|counters| &counters.dropped_newest);
        let at_end = self.rig.total(|counters| &counters.dropped_at_end);
        let deliveries = self.rig.total(|counters| &counters.deliveries);
        assert_eq!(deliveries, self.arrived() + oldest + at_end, "handed over = arrived + dropped");
        let expected: usize = self.known.iter().map(|known| known.expected.len()).sum();
        let expected = (expected + self.too_late) as u64;
        if self.kind != Kind::Rough {
            assert_eq!(expected, deliveries + newest, "published = handed over + refused");
        } else {
            assert!(expected >= deliveries + newest);
        }
    }

    fn check_nothing_is_left(&self) {
        let [sheddings, shed] = self.shed.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(sheddings, self.sheddings, "each shedding is over");
        assert_eq!(shed as u64, self.rig.total(|counters| &counters.shed));
        assert!(self.frames.iter().all(|frames| frames.is_unique()), "a frame is still held");
        let clients_here = |port: usize| {
            self.known.iter().filter(|known| known.client.id().shard() == port).count()
        };
        for (at, port) in self.rig.ports.iter().enumerate() {
            assert!(port.rooms().is_empty());
            assert!(port.inbox().is_empty());
            assert_nothing_reserved(port, self.settings.inbox);
            let references = self.port_references + clients_here(at);
            assert_eq!(std::sync::Arc::strong_count(port), references, "a waker is still held");
        }
        assert!(self.rig.shards.iter().all(|shard| shard.next_tick().is_none()));
        assert_eq!(self.rig.total(|counters| &counters.blocked), 0);
        assert_eq!(self.rig.budgets.queued_bytes.used(), 0);
        assert!(self.known.iter().all(|known| known.client.link.waiting() == 0));
    }
}

fn index(
    port: &std::sync::Arc<roomcast::engine::Port<super::fake::FakeSocket>>,
    rig: &Rig,
) -> usize {
    rig.ports
        .iter()
        .position(|other| std::sync::Arc::ptr_eq(other, port))
        .expect("the port is a port of the rig")
}

fn settings(dice: &mut impl Dice, kind: Kind) -> Settings {
    let mut settings = Settings::default().shards(dice.draw(1..3));
    settings.inbox.messages = 1_024;
    // Sweeps of audiences of any size, of large audiences only, and no sweeps.
    settings.shard.large_audience = dice.pick([1, 3, 8, usize::MAX]);
    let policies =
        [Overflow::Evict, Overflow::DropOldest, Overflow::DropNewest, Overflow::KeepNewest];
    let overflow = dice.pick(policies);
    let is_unbounded = kind != Kind::Rough && overflow == Overflow::Evict;
    let (slots, bytes) = match (is_unbounded, dice.draw(0..4)) {
        (true, _) => (1 << 20, 1 << 30),
        (_, 0) => (1, 1 << 20),
        (_, 1) => (1 << 20, dice.draw(1..200)),
        _ => (dice.draw(1..8), dice.draw(50..70_000)),
    };
    settings = settings.queue(slots, bytes, overflow);
    settings.has_batches = dice.flip();
    settings.compression = match kind {
        Kind::Steady => Some(Coding::draw(dice)),
        _ => (dice.draw(0..4) > 0).then(|| Coding::draw(dice)),
    };
    match kind {
        Kind::Gentle | Kind::Steady => settings.shard.write_timeout = Duration::from_secs(1 << 30),
        Kind::Rough if dice.flip() => settings = settings.ping_interval(Duration::from_secs(8)),
        Kind::Rough => {}
    }
    settings
}

/// Asserts that a client has got this many messages, unless its connection has ended, or its socket has
/// blocked at some time, so that they may be queued or dropped.
fn check_served(client: &Client, messages: usize) {
    let is_undisturbed = {
        let wire = client.wire();
        !wire.has_blocked && wire.error.is_none()
    };
    if is_undisturbed && client.stage() == Stage::Open {
        let got = client.frames().iter().filter(|frame| frame.is_data()).count();
        assert!(got >= messages, "{got} of {messages} when the shards have answered");
    }
}

fn check_end(known: &Known, frames: &[Parsed], torn: usize, complete: Option<&Vec<usize>>) {
    let closes = frames.iter().filter(|frame| frame.opcode == CLOSE).count();
    assert!(closes <= 1);
    assert!(closes == 0 || frames.last().is_some_and(|frame| frame.opcode == CLOSE));
    let Some(end) = known.client.link.end() else {
        return assert_eq!(closes, 0, "a close frame without an end");
    };
    if known.client.stage() != Stage::Flushed {
        return;
    }
    assert_eq!((torn, closes), (0, 1), "the close frame has left");
    assert!(known.client.wire().is_shut_down);
    let code = match &end.reason {
        DisconnectReason::ClosedByServer(close)
        | DisconnectReason::ClosedByClient(close)
        | DisconnectReason::Shed(close) => close.code,
        DisconnectReason::SlowClient { .. } => CloseCode::POLICY,
        DisconnectReason::Idle => CloseCode::GOING_AWAY,
        other => panic!("{other} has no farewell"),
    };
    assert_eq!(known.client.close_code(), Some(code));
    let is_asked_for = matches!(
        end.reason,
        DisconnectReason::ClosedByServer(_) | DisconnectReason::ClosedByClient(_)
    );
    if let (true, Some(got)) = (is_asked_for, complete) {
        assert_eq!(
            got, &known.expected,
            "frames that were sent before a close arrive before the close"
        );
    }
}

fn payloads_of(frames: &[Parsed], opcode: u8) -> Vec<[u8; 4]> {
    let of_kind = frames.iter().filter(|frame| frame.opcode == opcode);
    of_kind.map(|frame| frame.payload[..].try_into().expect("four bytes")).collect()
}

fn is_subsequence<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|item| whole.any(|other| other == item))
}
