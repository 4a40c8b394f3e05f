//! What a connection's shard and its session share: identity, signs of life, and how it ended.
//!
//! # Orderings
//!
//! They are noted where they are used. Models check them (`tests/models/loom/link.rs`,
//! `memberships.rs`).

use std::any::Any;
use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::close::{Close, DisconnectReason};
use super::room::Room;
use super::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicWaker, Mutex, MutexGuard, OnceBox, Ordering,
    fence,
};

/// The identity of a connection, unique in its hub and never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey(u64);

impl ConnKey {
    /// How many bits of an id name the shard.
    const SHARD_BITS: u32 = 10;

    /// The most shards that ids can tell apart.
    pub const SHARDS_MAX: usize = 1 << Self::SHARD_BITS;

    /// The id of the `serial`-th connection of a hub, which lives in `shard`.
    pub fn new(serial: u64, shard: usize) -> Self {
        debug_assert!(shard < Self::SHARDS_MAX);
        Self(serial << Self::SHARD_BITS | shard as u64)
    }

    /// The shard that owns the connection.
    pub fn shard(self) -> usize {
        (self.0 & (Self::SHARDS_MAX as u64 - 1)) as usize
    }

    /// The id as a number, for logs and wire formats.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that [`as_u64`](Self::as_u64) gave. One that was made up belongs to no connection.
    pub fn from_u64(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Debug for ConnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnKey({self})")
    }
}

impl fmt::Display for ConnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time that is never reached: it keeps a connection from counting as silent.
const NOT_LISTENING: u64 = u64::MAX;

/// A leave on its way, where rooms are counted: above any number of those.
const LEAVE: u64 = 1 << 32;

/// How far the end of a connection has come. Only its shard moves it, and only forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Messages flow.
    Open,
    /// A write has failed in this turn, and the shard ends the connection when the turn is over. A link
    /// still says `Open`.
    Failed,
    /// It is in no room, and gets nothing more. Its session and its client are told soon. A link still
    /// says `Open`.
    Withdrawn,
    /// It has a reason to end: it is in no room, and gets nothing but what was queued before.
    Ended,
    /// The close frame has left, and the writing side is shut down.
    Flushed,
    /// The socket is given up; there is nothing to wait for.
    Cut,
}

/// Where the answer to the last ping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum PongState {
    /// The shard has it, or there is none.
    None,
    /// On its way to the shard.
    Sent,
    /// The same, and the session waits for the shard.
    Awaited,
}

/// How a connection ended, and the rooms that it was in then.
#[derive(Debug)]
pub struct End {
    /// The reason.
    pub reason: DisconnectReason,
    /// The rooms that it was in.
    pub rooms: Vec<Arc<Room>>,
}

/// The state that the two sides of a connection share, its shard and its session.
#[derive(Debug)]
pub struct Link {
    id: ConnKey,
    /// When the last byte was received, in milliseconds of the shard's clock, or [`NOT_LISTENING`].
    /// The session writes, the shard reads; publishes nothing.
    heard_ms: AtomicU64,
    /// Rooms that it is in, or is about to be in: joiners reserve, the shard releases. Above them, in
    /// units of [`LEAVE`], the leaves that the shard has not seen yet: whoever leaves adds, the shard
    /// takes off. In one word, for a join between two steps would find one room too few or too many.
    rooms: AtomicU64,
    /// Set by whoever asks for the close, so that sends fail before the shard has heard of it, and by the
    /// shard when it knows the end.
    closing: AtomicBool,
    /// Bytes that wait for the client: on their way to the shard by direct sends, and in the send queue.
    /// Senders and the shard add, the shard takes off; wraps, but what is added is taken off again.
    /// In the gap that smaller fields leave: each idle connection has one.
    waiting: AtomicU32,
    /// A [`PongState`]. The session starts and waits, the shard finishes; orders the session's waker.
    pong: AtomicU8,
    /// A [`Stage`]. The shard writes with `Release`; readers `Acquire` it, and see `end` set.
    stage: AtomicU8,
    // With `watchers`, in a word each: a link of 16 bytes more takes 100 more of an allocator that finds no use for
    // the holes of the old size.
    end: OnceBox<End>,
    session: AtomicWaker,
    /// Who else waits for the end; made for the first of them. Locked to push or to take.
    watchers: OnceBox<Mutex<Slab<Waker>>>,
    user_data: UserData,
}

/// An object that the caller keeps for a connection, and finds again by the link. The object holds the link,
/// so the link must not hold the object.
pub type UserData = Weak<dyn Any + Send + Sync>;

impl Link {
    /// The link of a connection that has not been attached yet, without user data.
    pub fn new(id: ConnKey) -> Self {
        Self::with_user_data(id, Weak::<()>::new())
    }

    /// The link of a connection that has not been attached yet.
    pub fn with_user_data(id: ConnKey, user_data: UserData) -> Self {
        Self {
            id,
            heard_ms: AtomicU64::new(0),
            rooms: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            pong: AtomicU8::new(PongState::None as u8),
            stage: AtomicU8::new(Stage::Open as u8),
            end: OnceBox::new(),
            session: AtomicWaker::new(),
            watchers: OnceBox::new(),
            user_data,
        }
    }

    /// The object that the caller keeps for the connection, while it exists.
    pub fn user_data(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.user_data.upgrade()
    }

    /// The identity.
    pub fn id(&self) -> ConnKey {
        self.id
    }

    /// Notes that bytes were received at `now`.
    pub fn hear(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Notes that nobody listens to the client for now, so that its silence says nothing.
    pub fn pause_listening(&self) {
        self.heard_ms.store(NOT_LISTENING, Ordering::Relaxed);
    }

    /// When bytes were received last; far in the future while nobody listens.
    pub fn heard(&self) -> Duration {
        Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether it was told to close, or has ended.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.stage() > Stage::Open
    }

    /// Notes that a close was asked for; `false` where one had been before.
    pub fn start_closing(&self) -> bool {
        !self.closing.swap(true, Ordering::AcqRel)
    }

    /// How it ended, once it has, or is about to.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// How far its end has come.
    pub fn stage(&self) -> Stage {
        const OPEN: u8 = Stage::Open as u8;
        const ENDED: u8 = Stage::Ended as u8;
        const FLUSHED: u8 = Stage::Flushed as u8;
        match self.stage.load(Ordering::Acquire) {
            OPEN => Stage::Open,
            ENDED => Stage::Ended,
            FLUSHED => Stage::Flushed,
            _ => Stage::Cut,
        }
    }

    /// Has `waker` woken when the stage moves, in place of the one before: for the session alone.
    /// Read the stage after this call, not before.
    pub fn watch_stage(&self, waker: &Waker) {
        self.session.register(waker);
    }

    /// Notes that a pong is about to be sent to the shard: for the session alone.
    pub fn start_pong(&self) {
        self.pong.store(PongState::Sent as u8, Ordering::Relaxed);
    }

    /// Whether the shard has yet to see the last pong; then `waker` is woken when it has, or when the
    /// stage moves. For the session alone.
    pub fn awaits_pong(&self, waker: &Waker) -> bool {
        if self.pong.load(Ordering::Relaxed) == PongState::None as u8 {
            return false;
        }
        self.session.register(waker);
        // Pairs with the swap in `finish_pong`, which sees the waker, or this one that there is none.
        let await_it = |pong| (pong != PongState::None as u8).then_some(PongState::Awaited as u8);
        self.pong.fetch_update(Ordering::AcqRel, Ordering::Acquire, await_it).is_ok()
    }

    /// The shard has seen the pong.
    pub(super) fn finish_pong(&self) {
        let pong = self.pong.swap(PongState::None as u8, Ordering::AcqRel);
        if pong == PongState::Awaited as u8 {
            self.session.wake();
        }
    }

    /// Has `waker` woken whenever the stage moves or less waits for the client, beside all others, until
    /// the place that it gets is given back with [`stop_watching`](Self::stop_watching). Look at the
    /// link after this call, not before.
    pub fn watch(&self, waker: &Waker) -> usize {
        let place = lock(self.watchers.get_or_init(Box::default)).insert(waker.clone());
        // Pairs with the fence in `wake_watchers`: the shard sees the waker, or the caller the change.
        fence(Ordering::SeqCst);
        place
    }

    /// Gives back a place that [`watch`](Self::watch) gave.
    pub fn stop_watching(&self, place: usize) {
        if let Some(watchers) = self.watchers.get() {
            lock(watchers).try_remove(place);
        }
    }

    /// Reserves one of `rooms_max` memberships. Leaves on their way to the shard make space already, but
    /// no more than there can be: one may be of a room that the connection is not in.
    pub(super) fn reserve_membership(&self, rooms_max: u32) -> bool {
        self.rooms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (rooms, leaving) = (word % LEAVE, word / LEAVE);
                let rooms_max = u64::from(rooms_max);
                (rooms < rooms_max + leaving.min(rooms_max)).then_some(word + 1)
            })
            .is_ok()
    }

    /// Notes a leave on its way to the shard. Whether there is a membership for it, besides those that
    /// the leaves before it may end.
    pub(super) fn start_leaving(&self) -> bool {
        let word = self.rooms.fetch_add(LEAVE, Ordering::Relaxed);
        word % LEAVE > word / LEAVE
    }

    /// The shard has seen a leave of a room that it was not in.
    pub(super) fn finish_leaving(&self) {
        self.rooms.fetch_sub(LEAVE, Ordering::Relaxed);
    }

    /// The shard has seen a leave, and gives the membership back.
    pub(super) fn release_left_membership(&self) {
        self.rooms.fetch_sub(LEAVE + 1, Ordering::Relaxed);
    }

    /// Gives a membership back.
    pub(super) fn release_membership(&self) {
        self.rooms.fetch_sub(1, Ordering::Relaxed);
    }

    /// The shard says why the connection ends.
    pub(super) fn finish(&self, end: End) {
        self.set_end(end);
        self.advance(Stage::Ended);
    }

    /// The shard knows why the connection ends, and tells the session a little later, when it takes leave of
    /// the client. Nobody can send to it or have it join any more.
    pub(super) fn set_end(&self, end: End) {
        // The first reason counts: what was ended before its shard went is abandoned all the same.
        let _ = self.end.set(Box::new(end));
        self.closing.store(true, Ordering::Release);
    }

    /// The shard is gone, and its sockets with it.
    pub(super) fn abandon(&self) {
        self.finish(End {
            reason: DisconnectReason::HubClosed(Close::hub_closed()),
            rooms: Vec::new(),
        });
        self.advance(Stage::Cut);
    }

    /// The shard moves the stage forward, and the session hears of it.
    pub(super) fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.session.wake();
        self.wake_watchers();
    }

    /// Bytes that wait for the client in the hub.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) as usize
    }

    /// Whether `bytes` more may wait where `bytes_max` are allowed. If nothing waits, any number may.
    pub fn has_space(&self, bytes: usize, bytes_max: usize) -> bool {
        has_space(self.waiting.load(Ordering::Relaxed), bytes, bytes_max)
    }

    /// Has `bytes` more wait; with `bytes_max`, only if there [is space](Self::has_space).
    pub(super) fn reserve_waiting(&self, bytes: usize, bytes_max: Option<usize>) -> bool {
        let Some(bytes_max) = bytes_max else {
            self.add_waiting(bytes);
            return true;
        };
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                has_space(waiting, bytes, bytes_max).then(|| waiting.wrapping_add(bytes as u32))
            })
            .is_ok()
    }

    pub(super) fn add_waiting(&self, bytes: usize) {
        self.waiting.fetch_add(bytes as u32, Ordering::Relaxed);
    }

    pub(super) fn remove_waiting(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes as u32, Ordering::Relaxed);
        self.wake_watchers();
    }

    fn wake_watchers(&self) {
        // Pairs with the fence in `watch`.
        fence(Ordering::SeqCst);
        if let Some(watchers) = self.watchers.get() {
            let watchers: Vec<Waker> =
                lock(watchers).iter().map(|(_, waker)| waker.clone()).collect();
            watchers.into_iter().for_each(Waker::wake);
        }
    }
}

fn has_space(waiting: u32, bytes: usize, bytes_max: usize) -> bool {
    waiting == 0 || (waiting as usize).saturating_add(bytes) <= bytes_max
}

/// A connection on its way to its shard: abandoned where it does not arrive, whoever drops it.
pub struct Newcomer {
    link: Arc<Link>,
    has_arrived: bool,
}

impl Newcomer {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, has_arrived: false }
    }

    /// The link, for the shard.
    pub(super) fn arrive(mut self) -> Arc<Link> {
        self.has_arrived = true;
        self.link.clone()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.link.abandon();
        }
    }
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.id.fmt(f)
    }
}

fn lock(wakers: &Mutex<Slab<Waker>>) -> MutexGuard<'_, Slab<Waker>> {
    // A waker that panics does so without the lock.
    wakers.lock().unwrap_or_else(PoisonError::into_inner)
}
