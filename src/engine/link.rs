//! The state that a connection's shard and its session share: identity, signs of life, and the end.
//!
//! # Invariants
//!
//! 1. The [`Stage`] only moves forward. The shard moves it; before the connection has arrived at
//!    its shard, the drop of the [`Newcomer`] may move it. `end` is set before the stage reaches
//!    [`Ended`](Stage::Ended), so whoever reads `Ended` or a later stage sees `end`.
//! 2. The first reason for the end stays.
//! 3. No wake-up is lost. Whoever waits registers a waker and then looks at the state; the other
//!    side changes the state and then wakes.
//! 4. `rooms` counts the memberships, those of joins on their way included, and the leaves on their
//!    way. While the connection is open, each reserved membership is released once: by the joiner
//!    whose join was refused, or by the shard. After the end the count means nothing.
//! 5. `waiting` counts the bytes that wait for the client in the hub. Each byte that is added is
//!    removed once: when it has left, or when it is lost.
//!
//! The orderings are explained where they are used. Models check them (`tests/models/loom/link.rs`,
//! `memberships.rs`).

use std::any::Any;
use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::close::{Close, DisconnectReason};
use super::compression::ClientInflater;
use super::room::Room;
use super::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicWaker, Mutex, MutexGuard, OnceBox, Ordering,
    fence,
};

/// The identity of a connection: unique in its hub and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey(u64);

impl ConnKey {
    /// The bits of an id that hold the number of the shard.
    const SHARD_BITS: u32 = 10;

    /// The most shards that ids can distinguish.
    pub const SHARDS_MAX: usize = 1 << Self::SHARD_BITS;

    /// The id of the `serial`-th connection of a hub. Its shard is `shard`.
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

    /// The id that [`as_u64`](Self::as_u64) returned. A made-up number is the id of no connection.
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

/// A time that is never reached. While it is set, a connection does not count as silent.
const NOT_LISTENING: u64 = u64::MAX;

/// One leave on its way in [`Link::rooms`]: greater than any number of rooms.
const LEAVE: u64 = 1 << 32;

/// How far the end of a connection has come (invariant 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Messages flow.
    Open,
    /// A write has failed, and the shard ends the connection when the turn is over. The link still
    /// says `Open`.
    Failed,
    /// The connection is in no room and gets no more messages. The shard will notify the session
    /// and send the close frame soon. The link still says `Open`.
    Withdrawn,
    /// The connection has a reason to end. It is in no room, and what was queued before may still
    /// leave.
    Ended,
    /// The close frame has left, and the writing side is shut down.
    Flushed,
    /// The shard has given the socket up; there is nothing to wait for.
    Cut,
}

/// The progress of the last pong, from the session to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum PongState {
    /// The shard has it, or there was none.
    None,
    /// It is on its way to the shard.
    Sent,
    /// It is on its way to the shard, and the session waits until it arrives.
    Awaited,
}

/// How a connection ended.
#[derive(Debug)]
pub struct End {
    /// The reason.
    pub reason: DisconnectReason,
    /// The rooms that the connection was in at that moment. Empty if the shard is gone.
    pub rooms: Vec<Arc<Room>>,
}

/// The state that the two sides of a connection share, its shard and its session.
#[derive(Debug)]
pub struct Link {
    id: ConnKey,
    /// When the last byte was received, in milliseconds of the shard's clock, or [`NOT_LISTENING`].
    /// The session writes, the shard reads; publishes nothing.
    heard_ms: AtomicU64,
    /// The rooms that the connection is in, or is about to join: joiners add, the shard subtracts.
    /// Above them, in units of [`LEAVE`], the leaves that the shard has not seen yet: their senders
    /// add, the shard subtracts. Both are in one word: with two words, a join between two steps
    /// would count one room too few or too many.
    rooms: AtomicU64,
    /// Set by the caller that asks for the close, so that sends fail before the shard handles it.
    /// Also set by the shard when it sets `end`.
    closing: AtomicBool,
    /// The bytes that wait for the client: direct sends on their way to the shard, and the send
    /// queue. Senders and the shard add, the shard subtracts. The number wraps, but what is added
    /// is subtracted again (invariant 5). It fits into the gap that smaller fields leave, so it
    /// adds no memory to an idle connection.
    waiting: AtomicU32,
    /// A [`PongState`]. The session starts and waits, the shard finishes; its orderings protect the
    /// session's waker.
    pong: AtomicU8,
    /// A [`Stage`]. The shard writes with `Release`; readers `Acquire`, and then see `end`
    /// (invariant 1).
    stage: AtomicU8,
    /// `None` if the client takes no compressed messages.
    inflater: Option<ClientInflater>,
    // `end` and `watchers` take one word each. A link that is 16 bytes larger would take 100 bytes
    // more of an allocator that cannot reuse the holes of the old size.
    end: OnceBox<End>,
    session: AtomicWaker,
    /// The wakers of all that wait, besides the session; allocated for the first. Locked to push or
    /// to copy.
    watchers: OnceBox<Mutex<Slab<Waker>>>,
    user_data: UserData,
}

/// An object that the caller keeps for a connection and finds again through the link. The object
/// holds the link, so the link holds the object weakly.
pub type UserData = Weak<dyn Any + Send + Sync>;

impl Link {
    /// The link of a connection that is not attached yet, without user data.
    pub fn new(id: ConnKey) -> Self {
        Self::with_user_data(id, Weak::<()>::new())
    }

    /// The link of a connection that is not attached yet.
    pub fn with_user_data(id: ConnKey, user_data: UserData) -> Self {
        Self {
            id,
            heard_ms: AtomicU64::new(0),
            rooms: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            pong: AtomicU8::new(PongState::None as u8),
            stage: AtomicU8::new(Stage::Open as u8),
            inflater: None,
            end: OnceBox::new(),
            session: AtomicWaker::new(),
            watchers: OnceBox::new(),
            user_data,
        }
    }

    /// The link of a connection whose client has this inflater.
    pub fn with_inflater(self, inflater: Option<ClientInflater>) -> Self {
        Self { inflater, ..self }
    }

    /// The inflater of the client; `None` if the client takes no compressed messages.
    pub fn inflater(&self) -> Option<ClientInflater> {
        self.inflater
    }

    /// The object that the caller keeps for the connection; `None` once it is dropped.
    pub fn user_data(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.user_data.upgrade()
    }

    /// The identity.
    pub fn id(&self) -> ConnKey {
        self.id
    }

    /// Notes that bytes were received at `now_ms`, in milliseconds of the shard's clock.
    pub fn hear(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Notes that nobody reads from the client now, so that its silence means nothing.
    pub fn pause_listening(&self) {
        self.heard_ms.store(NOT_LISTENING, Ordering::Relaxed);
    }

    /// When bytes were received last; far in the future while nobody reads.
    pub fn heard(&self) -> Duration {
        Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether a close was asked for, or the connection has ended.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.stage() > Stage::Open
    }

    /// Notes that a close is asked for; `false` if one was asked for before.
    pub fn start_closing(&self) -> bool {
        !self.closing.swap(true, Ordering::AcqRel)
    }

    /// How the connection ended; also set while it is about to end.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// How far the end of the connection has come.
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

    /// Has `waker` woken when the stage moves; it replaces the waker before. Only the session calls
    /// this. Read the stage after this call, not before (invariant 3).
    pub fn watch_stage(&self, waker: &Waker) {
        self.session.register(waker);
    }

    /// Notes that a pong is about to be sent to the shard. Only the session calls this.
    pub fn start_pong(&self) {
        self.pong.store(PongState::Sent as u8, Ordering::Relaxed);
    }

    /// Whether the last pong is still on its way to the shard. Only the session calls this.
    pub fn has_pong(&self) -> bool {
        self.pong.load(Ordering::Relaxed) != PongState::None as u8
    }

    /// Whether the last pong is still on its way to the shard. If so, `waker` is woken when it has
    /// arrived, or when the stage moves. Only the session calls this.
    pub fn awaits_pong(&self, waker: &Waker) -> bool {
        if !self.has_pong() {
            return false;
        }
        self.session.register(waker);
        // Pairs with the swap in `finish_pong`: either that one sees the waker, or this one sees
        // that the pong arrived.
        let await_it = |pong| (pong != PongState::None as u8).then_some(PongState::Awaited as u8);
        self.pong.fetch_update(Ordering::AcqRel, Ordering::Acquire, await_it).is_ok()
    }

    /// Notes that the shard has seen the pong.
    pub(super) fn finish_pong(&self) {
        let pong = self.pong.swap(PongState::None as u8, Ordering::AcqRel);
        if pong == PongState::Awaited as u8 {
            self.session.wake();
        }
    }

    /// Has `waker` woken whenever the stage moves or fewer bytes wait for the client, beside all
    /// other wakers. Returns the place for [`stop_watching`](Self::stop_watching). Look at the link
    /// after this call, not before (invariant 3).
    pub fn watch(&self, waker: &Waker) -> usize {
        let place = lock(self.watchers.get_or_init(Box::default)).insert(waker.clone());
        // Pairs with the fence in `wake_watchers`: either the shard sees the waker, or the caller
        // sees the change.
        fence(Ordering::SeqCst);
        place
    }

    /// Removes the waker at the place that [`watch`](Self::watch) returned.
    pub fn stop_watching(&self, place: usize) {
        if let Some(watchers) = self.watchers.get() {
            lock(watchers).try_remove(place);
        }
    }

    /// Reserves one of `rooms_max` memberships. A leave on its way to the shard frees a membership
    /// already, but at most `rooms_max` of them do: a leave may be of a room that the connection is
    /// not in.
    pub(super) fn reserve_membership(&self, rooms_max: u32) -> bool {
        self.rooms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (rooms, leaving) = (word % LEAVE, word / LEAVE);
                let rooms_max = u64::from(rooms_max);
                (rooms < rooms_max + leaving.min(rooms_max)).then_some(word + 1)
            })
            .is_ok()
    }

    /// Notes a leave on its way to the shard. Returns whether there is a membership for it, besides
    /// those that earlier leaves may end.
    pub(super) fn start_leaving(&self) -> bool {
        let word = self.rooms.fetch_add(LEAVE, Ordering::Relaxed);
        word % LEAVE > word / LEAVE
    }

    /// Notes that the shard has seen a leave of a room that the connection was not in.
    pub(super) fn finish_leaving(&self) {
        self.rooms.fetch_sub(LEAVE, Ordering::Relaxed);
    }

    /// Notes that the shard has seen a leave, and releases the membership.
    pub(super) fn release_left_membership(&self) {
        self.rooms.fetch_sub(LEAVE + 1, Ordering::Relaxed);
    }

    /// Releases a membership.
    pub(super) fn release_membership(&self) {
        self.rooms.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the connection: the shard sets the reason and notifies the session.
    pub(super) fn finish(&self, end: End) {
        // Invariant 1: `end` first.
        self.set_end(end);
        self.advance(Stage::Ended);
    }

    /// Sets the reason of the end. From now on, sends and joins fail. The shard notifies the
    /// session a little later, when it sends the close frame.
    pub(super) fn set_end(&self, end: End) {
        // Invariant 2. Also a connection that ended before its shard went is abandoned.
        let _ = self.end.set(Box::new(end));
        self.closing.store(true, Ordering::Release);
    }

    /// Ends the connection because the shard is gone, and the socket with it.
    pub(super) fn abandon(&self) {
        self.finish(End {
            reason: DisconnectReason::HubClosed(Close::hub_closed()),
            rooms: Vec::new(),
        });
        self.advance(Stage::Cut);
    }

    /// Moves the stage forward and wakes all that wait. Only the shard calls this.
    pub(super) fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.session.wake();
        self.wake_watchers();
    }

    /// The bytes that wait for the client in the hub.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) as usize
    }

    /// Whether `bytes` more may wait, with a bound of `bytes_max`. If nothing waits, any number
    /// may.
    pub fn has_space(&self, bytes: usize, bytes_max: usize) -> bool {
        has_space(self.waiting.load(Ordering::Relaxed), bytes, bytes_max)
    }

    /// Adds `bytes` to those that wait. With `bytes_max`, only if there [is
    /// space](Self::has_space); `false` if not.
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

/// A connection on its way to its shard. If it is dropped on the way, the connection is abandoned.
pub struct Newcomer {
    link: Arc<Link>,
    has_arrived: bool,
}

impl Newcomer {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, has_arrived: false }
    }

    /// The link, for the shard: the connection has arrived.
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
    // Wakers run without the lock, so a waker that panics leaves the list intact.
    wakers.lock().unwrap_or_else(PoisonError::into_inner)
}
