//! The side of a shard that the rest of the program sees: its inbox, its rooms, its counters.
//!
//! All methods may be called from any thread, and none waits.

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
use super::inbox::{Inbox, InboxLimits, Overloaded};
use super::link::{ConnKey, Link, Newcomer};
use super::pending::Pending;
use super::room_index::{RoomIndex, RoomWatch};

pub use self::acting::{Action, ActionError, act_at};
pub use self::membership::{JoinError, LeaveError};
pub use self::publishing::{Pace, Publish, publish, publish_at};

/// What bounds the rooms.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Bytes of a name.
    pub name_bytes: usize,
    /// Rooms that a connection may be in.
    pub rooms_per_conn: u32,
}

/// To whom a frame is published, with the names not yet looked up.
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
    /// What is on its way to everyone, or to several rooms.
    to_everyone: Arc<Pending>,
    counters: Counters,
    /// The shard's clock in milliseconds, for sessions to stamp what they hear. The shard writes.
    now_ms: AtomicU64,
    /// When the shard is to run next at the latest, in milliseconds of its caller's clock, and how late
    /// it has run so far, in all. The shard writes.
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

    /// Tells `watch` of the rooms from now on. For a port that has none yet.
    pub fn with_room_watch(mut self, watch: Arc<dyn RoomWatch>) -> Self {
        self.rooms = self.rooms.with_watch(watch);
        self
    }

    /// Has the inbox tell `congestion`, as those of other ports do, when it is congested. For a port that
    /// has no connections yet.
    pub fn with_congestion(mut self, congestion: Arc<Congestion>) -> Self {
        self.inbox = self.inbox.with_congestion(congestion);
        self
    }

    /// Has the shard keep within budgets that it shares with others. For a port that has no rooms and no
    /// shard yet.
    pub fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.rooms = self.rooms.with_budget(budgets.rooms);
        self.queued_bytes = budgets.queued_bytes;
        self
    }

    /// The inbox.
    pub fn inbox(&self) -> &Inbox<Command<S>> {
        &self.inbox
    }

    /// The rooms with members in this shard.
    pub fn rooms(&self) -> &RoomIndex {
        &self.rooms
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the send queues of the shard may hold, with those that share it.
    pub fn queued_bytes(&self) -> &Arc<Budget> {
        &self.queued_bytes
    }

    /// Notes on `link` that bytes have just been received.
    pub fn hear(&self, link: &Link) {
        link.hear(self.now_ms.load(Ordering::Relaxed));
    }

    /// How late the shard has run so far, in all, and is now, when its caller's clock tells `now`. Clients
    /// are not to blame for that time: the process did not run.
    pub fn lateness(&self, now: Duration) -> Duration {
        let next_run = Duration::from_millis(self.next_run_ms.load(Ordering::Relaxed));
        let late_now = now.saturating_sub(next_run).saturating_sub(LATENESS_MIN);
        Duration::from_millis(self.late_ms.load(Ordering::Relaxed)) + late_now
    }

    /// Rooms that a connection may be in.
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

    /// Hands a new connection to the shard. It counts from now on, and can be in rooms and be sent to. A
    /// socket that [is not there](super::Socket::is_there) follows by [`set_socket`](Self::set_socket).
    pub fn attach(&self, link: Arc<Link>, socket: S) {
        self.counters.connections.add(1);
        self.counters.connected.add(1);
        self.hear(&link);
        self.inbox.push(Command::Attach { newcomer: Newcomer::new(link), socket });
        if self.inbox.is_closed() {
            self.count_all_disconnected();
        }
    }

    /// Hands over the socket of a connection that began without one. What waits for the client leaves.
    pub fn set_socket(&self, conn: ConnKey, socket: S) {
        self.inbox.push(Command::Socket(conn, socket));
    }

    /// Counts all connections as ended. For a shard that goes after it has closed the inbox, and for
    /// those that then find it closed: what one of them counted too late for another, it counts out.
    pub(super) fn count_all_disconnected(&self) {
        let left = self.counters.connections.take();
        self.counters.disconnected.add(left);
    }

    /// Whether the shard is gone, and reaches nobody.
    pub fn is_gone(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The shard goes: nothing of it counts or is found from now on.
    pub(super) fn retire(&self) {
        self.inbox.close();
        self.count_all_disconnected();
        self.rooms.clear();
        self.counters.rooms.take();
        self.counters.shards_gone.add(1);
    }

    /// Sends frames to one connection. They count as waiting for it from now on. With `bytes_max`, for
    /// callers that wait and try again, the call is also refused where more than that would wait for the
    /// client, unless nothing else does.
    pub fn send(
        &self,
        link: &Arc<Link>,
        frames: Bytes,
        bytes_max: Option<usize>,
        follow: Option<Follow<'_>>,
    ) -> Result<(), Overloaded> {
        let bytes = frames.len();
        if !link.reserve_waiting(bytes, bytes_max) {
            return Err(Overloaded);
        }
        // Where it is dropped, its bytes wait no longer.
        let delivery = Delivery::reserved(frames, link.clone(), follow);
        self.inbox.reserve(bytes).inspect_err(|_| self.counters.refused.add(1))?;
        self.inbox.push(Command::Deliver(delivery));
        Ok(())
    }

    /// Ends a connection, after what was sent to it before.
    pub fn close(&self, conn: ConnKey, reason: DisconnectReason) {
        self.inbox.push(Command::Close(conn, reason));
    }

    /// Ends all connections over the window of `closing`, and lets no new one begin. A later call counts
    /// for those that are left.
    pub fn close_all(&self, closing: Arc<Closing>) {
        self.inbox.push(Command::CloseAll(closing));
    }

    /// Asks a share of the connections to go, over the window of `shedding`, and tells how many were asked
    /// when that is over. Those that come later stay. A later call, or [`close_all`](Self::close_all), takes
    /// the place of what is left of this one, which is over then. Nobody is asked after `close_all`.
    pub fn shed(&self, shedding: Shedding, reply: Reply<usize>) {
        self.inbox.take_space();
        self.inbox.push(Command::Shed(shedding, reply));
    }

    /// Gives up all connections that are left, and tells how many when that is done.
    pub fn cut_all(&self, reply: Reply<usize>) {
        self.inbox.push(Command::CutAll(reply));
    }

    /// Gives the socket of a connection back.
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

    /// Ends the shard.
    pub fn stop(&self) {
        self.inbox.push(Command::Stop);
    }

    // For `publish`, which pays 10 ns a shard for the call that `act_at` would make of it.
    #[inline(always)]
    fn resolve(&self, address: Address<'_>) -> Option<Audience> {
        match address {
            // A shard that is gone has no rooms.
            Address::Everyone | Address::Conn(_) if self.is_gone() => None,
            Address::Everyone => Some(Audience::Everyone),
            Address::Room(name) => self.rooms.find(name).map(Audience::Room),
            Address::Rooms(names) => {
                let rooms: Arc<[_]> =
                    names.iter().filter_map(|name| self.rooms.find(name)).collect();
                (!rooms.is_empty()).then_some(Audience::Rooms(rooms))
            }
            Address::Conn(id) => (id.shard() == self.index).then_some(Audience::Conn(id)),
        }
    }

    /// Whether much is on its way to an audience.
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

    /// The excepted connections, as far as they concern this shard.
    // For `publish`, which pays 5 ns a shard for the call.
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
