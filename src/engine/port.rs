//! The public side of a shard: its inbox, its rooms and its counters.
//!
//! All methods may be called from any thread, and none waits.
//!
//! # Invariants
//!
//! 1. All or nothing: a publish or an action reserves space in the inbox of every shard that it
//!    concerns before it pushes anything. If one reservation fails, the others are given back and
//!    nothing was sent.
//! 2. Each reservation is followed by exactly one push or one `give_back`. The shard releases the
//!    space of each command with [`Command::takes_space`] that it pops.
//! 3. A waiting publish or action ([`Pace::Patient`]) checks for congestion before it reserves
//!    anything. A reservation that is given back wakes the waiting callers; if these reserved in
//!    turn, they would wake each other for ever.
//! 4. A room is claimed before the join enters the inbox, and so is the room of an action that
//!    joins.
//! 5. A shard may go at any moment. A method that pushes a command which changes the count of
//!    connections or the room index looks afterwards whether the inbox is closed, and then undoes
//!    the change: the shard may have cleaned up before it.

mod acting;
mod asking;
mod membership;
mod publishing;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::budget::{Budget, Budgets};
use super::clock::LATENESS_MIN;
use super::close::DisconnectReason;
use super::closing::{Closing, Shedding};
use super::command::{Audience, Command, CountedIn, Delivery, Except, Follow, Reply};
use super::congestion::Congestion;
use super::counters::Counters;
use super::frame;
use super::frames::Frames;
use super::inbox::{Inbox, InboxLimits, Overloaded};
use super::link::{ConnKey, Link, Newcomer};
use super::pending::Pending;
use super::room_index::{RoomIndex, RoomWatch};

pub use self::acting::{Action, ActionError, act_at};
pub use self::membership::{JoinError, LeaveError};
pub use self::publishing::{Pace, Publish, publish, publish_at};

/// The bounds on rooms.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// The most bytes of a name.
    pub name_bytes: usize,
    /// The most rooms of one connection.
    pub rooms_per_conn: u32,
}

/// The recipients of a publish or an action, with names of rooms that were not looked up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a, Id = ConnKey, Names = &'a [Cow<'a, str>]> {
    /// All connections.
    Everyone,
    /// The members of a room.
    Room(&'a str),
    /// The members of any of these rooms, each once.
    Rooms(Names),
    /// One connection.
    Conn(Id),
}

/// The public side of one shard.
pub struct Port<S> {
    index: usize,
    inbox: Inbox<Command<S>>,
    rooms: RoomIndex,
    room_limits: RoomLimits,
    queued_bytes: Arc<Budget>,
    /// The bytes on their way to everyone, or to several rooms.
    to_everyone: Arc<Pending>,
    counters: Counters,
    /// The shard's clock in milliseconds: sessions stamp received bytes with it. The shard writes.
    now_ms: AtomicU64,
    /// The time by which the shard asked to run next, in milliseconds of its caller's clock, and
    /// the total time by which it ran late. The shard writes.
    next_run_ms: AtomicU64,
    late_ms: AtomicU64,
}

impl<S> Port<S> {
    /// The port of shard number `index`.
    pub fn new(index: usize, inbox: InboxLimits, room_limits: RoomLimits) -> Self {
        Self {
            index,
            inbox: Inbox::new(inbox),
            rooms: RoomIndex::new(),
            room_limits,
            queued_bytes: Budgets::default().queued_bytes,
            to_everyone: Arc::default(),
            counters: Counters::default(),
            now_ms: AtomicU64::new(0),
            next_run_ms: AtomicU64::new(u64::MAX),
            late_ms: AtomicU64::new(0),
        }
    }

    /// Sets the observer of the rooms. The port must not have rooms yet.
    pub fn with_room_watch(mut self, watch: Arc<dyn RoomWatch>) -> Self {
        self.rooms = self.rooms.with_watch(watch);
        self
    }

    /// Has the inbox count in `congestion`, together with those of other ports. The port must not
    /// have connections yet.
    pub fn with_congestion(mut self, congestion: Arc<Congestion>) -> Self {
        self.inbox = self.inbox.with_congestion(congestion);
        self
    }

    /// Sets the budgets that the shard shares with others. The port must not have rooms or a shard
    /// yet.
    pub fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.rooms = self.rooms.with_budget(budgets.rooms);
        self.queued_bytes = budgets.queued_bytes;
        self
    }

    /// The inbox.
    pub fn inbox(&self) -> &Inbox<Command<S>> {
        &self.inbox
    }

    /// The rooms of this shard.
    pub fn rooms(&self) -> &RoomIndex {
        &self.rooms
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The budget for the bytes in send queues, which the shards share.
    pub fn queued_bytes(&self) -> &Arc<Budget> {
        &self.queued_bytes
    }

    /// Notes on `link` that bytes were received just now.
    pub fn hear(&self, link: &Link) {
        link.hear(self.now_ms.load(Ordering::Relaxed));
    }

    /// The total time by which the shard ran late, the current lateness included. `now` is the time
    /// of the shard's caller. The process did not run in that time, so silence of a client in that
    /// time does not count.
    pub fn lateness(&self, now: Duration) -> Duration {
        let next_run = Duration::from_millis(self.next_run_ms.load(Ordering::Relaxed));
        let late_now = now.saturating_sub(next_run).saturating_sub(LATENESS_MIN);
        Duration::from_millis(self.late_ms.load(Ordering::Relaxed)) + late_now
    }

    /// The most rooms of one connection.
    pub(super) fn rooms_per_conn(&self) -> u32 {
        self.room_limits.rooms_per_conn
    }

    pub(super) fn set_next_run(&self, next: Option<Duration>, late: Duration) {
        let next_ms = next.map_or(u64::MAX, |next| next.as_millis() as u64);
        self.next_run_ms.store(next_ms, Ordering::Relaxed);
        self.late_ms.store(late.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn set_now_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Hands a new connection to the shard. From now on it is counted, can join rooms and can be
    /// sent to. If the socket [is not there](super::Socket::is_there) yet,
    /// [`set_socket`](Self::set_socket) follows.
    pub fn attach(&self, link: Arc<Link>, socket: S) {
        self.counters.connections.add(1);
        self.counters.connected.add(1);
        self.hear(&link);
        self.inbox.push(Command::Attach { newcomer: Newcomer::new(link), socket });
        // Invariant 5.
        if self.inbox.is_closed() {
            self.count_all_disconnected();
        }
    }

    /// Hands over the socket of a connection that began without one. The waiting data is
    /// then written.
    pub fn set_socket(&self, conn: ConnKey, socket: S) {
        self.inbox.push(Command::Socket(conn, socket));
    }

    /// Counts all connections as ended: called by a shard that has closed its inbox, and by each
    /// call that finds the inbox closed afterwards (invariant 5). A call may also count out a
    /// connection that another call counted late.
    pub(super) fn count_all_disconnected(&self) {
        let left = self.counters.connections.take();
        self.counters.disconnected.add(left);
    }

    /// Whether the shard is gone. A gone shard reaches nobody.
    pub fn is_gone(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The shard goes: closes the inbox, counts its connections as ended and clears its rooms.
    pub(super) fn retire(&self) {
        self.inbox.close();
        self.count_all_disconnected();
        self.rooms.clear();
        self.counters.rooms.take();
        self.counters.compressors.take();
        self.counters.shards_gone.add(1);
    }

    /// Sends frames to one connection; they count as waiting for the client from now on.
    ///
    /// With `bytes_max`, for callers that wait and try again, the call is also refused if more than
    /// `bytes_max` bytes would wait for the client. If nothing waits, any size is accepted.
    pub fn send(
        &self,
        link: &Arc<Link>,
        frames: Frames,
        bytes_max: Option<usize>,
        follow: Option<Follow<'_>>,
    ) -> Result<(), Overloaded> {
        let bytes = frames.len();
        if !link.reserve_waiting(bytes, bytes_max) {
            return Err(Overloaded);
        }
        // From here on, dropping the delivery takes its bytes off what waits for the client.
        let delivery = Delivery::reserved(frames, link.clone(), follow);
        self.inbox.reserve(bytes).inspect_err(|_| self.counters.inbox_refusals.add(1))?;
        self.inbox.push(Command::Deliver(delivery));
        Ok(())
    }

    /// Ends a connection, after what was sent to it before.
    pub fn close(&self, conn: ConnKey, reason: DisconnectReason) {
        self.inbox.push(Command::Close(conn, reason));
    }

    /// Ends all connections over the window of `closing`, and ends new ones at once. A later call
    /// replaces this one for the connections that remain.
    pub fn close_all(&self, closing: Arc<Closing>) {
        self.inbox.push(Command::CloseAll(closing));
    }

    /// Asks a share of the connections to go, over the window of `shedding`. Replies at the end
    /// with the number of connections that were asked. Connections that are attached later stay.
    ///
    /// A later call, or [`close_all`](Self::close_all), ends this one early and replaces it. After
    /// `close_all`, the call asks nobody and replies 0.
    pub fn shed(&self, shedding: Shedding, reply: Reply<usize>) {
        self.inbox.take_space();
        self.inbox.push(Command::Shed(shedding, reply));
    }

    /// Cuts all remaining connections at once. Replies with the number of those that had not
    /// received all that was sent to them.
    pub fn cut_all(&self, reply: Reply<usize>) {
        self.inbox.push(Command::CutAll(reply));
    }

    /// Reports that the session is over: the shard ends the connection, if it has not ended, and
    /// drops its socket.
    pub fn detach(&self, conn: ConnKey) {
        self.inbox.push(Command::Detach(conn));
    }

    /// Answers a ping.
    pub fn pong(&self, conn: ConnKey, payload: &[u8]) {
        self.pongs(conn, frame::pong(payload));
    }

    /// Answers pings with these frames.
    pub fn pongs(&self, conn: ConnKey, frames: Bytes) {
        self.inbox.take_space();
        self.inbox.push(Command::Pong(conn, frames));
    }

    /// Stops the shard.
    pub fn stop(&self) {
        self.inbox.push(Command::Stop);
    }

    // Inlined for `publish`, which would pay 10 ns a shard for the call; `act_at` calls it too.
    #[inline(always)]
    fn resolve(&self, address: Address<'_>) -> Option<Audience> {
        match address {
            // A gone shard has no rooms, so only the other addresses need the check.
            Address::Everyone | Address::Conn(_) if self.is_gone() => None,
            Address::Everyone => Some(Audience::Everyone),
            Address::Room(name) => self.rooms.find(name).map(Audience::Room),
            Address::Rooms(names) => {
                let rooms: Vec<_> = names.iter().filter_map(|name| self.rooms.find(name)).collect();
                (!rooms.is_empty()).then(|| Audience::Rooms(rooms.into()))
            }
            Address::Conn(id) => (id.shard() == self.index).then_some(Audience::Conn(id)),
        }
    }

    /// Whether a patient caller must wait for this audience.
    fn is_pending(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Room(room) => room.pending().is_high(),
            Audience::Everyone | Audience::Rooms(_) => self.to_everyone.is_high(),
            Audience::Conn(_) => false,
        }
    }

    fn counted_in(&self, audience: &Audience) -> CountedIn {
        match audience {
            Audience::Everyone | Audience::Rooms(_) => {
                CountedIn::Everyone(self.to_everyone.clone())
            }
            Audience::Room(_) | Audience::Conn(_) => CountedIn::Nothing,
        }
    }

    /// The excepted connections that belong to this shard.
    // Inlined for `publish`, which would pay 5 ns a shard for the call.
    #[inline(always)]
    fn resolve_except(&self, except: &[ConnKey]) -> Except {
        let here = || except.iter().copied().filter(|id| id.shard() == self.index);
        match here().take(2).count() {
            0 => Except::Nobody,
            1 => here().next().map_or(Except::Nobody, Except::One),
            _ => {
                let mut ids: Vec<_> = here().collect();
                ids.sort_unstable();
                Except::Many(ids.into())
            }
        }
    }
}

impl<S> fmt::Debug for Port<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("index", &self.index)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}
