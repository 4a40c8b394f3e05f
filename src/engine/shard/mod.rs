//! The shard engine: a synchronous state machine that owns its connections.
//!
//! [`Shard::run`] takes commands from the inbox and works on them in slices. The shard owns the
//! sockets and the members of its rooms. It shares its [`Port`], and the [`Link`] of each
//! connection, with other threads.
//!
//! # Invariants
//!
//! 1. Commands take effect in the order of the inbox. A command that would change the audience of a
//!    collected delivery is held until that delivery is written or planned
//!    ([`must_wait`](Shard::must_wait)); nothing behind it is taken.
//! 2. Commands are taken only while the direct turn is not being written and no action is ongoing.
//! 3. Connections end only while no direct turn is being written.
//! 4. Writes and long walks are charged to the budget of [`Shard::run`], so a slice lasts about as
//!    long as its writes. Not charged: the plan of a turn, which the bounds of a turn limit, and
//!    the checks of blocked and silent connections.

mod acting;
mod arrival;
mod audience;
mod batch;
mod compressing;
mod conn_slot;
mod draining;
mod ending;
mod eviction;
mod keep_alive;
mod outlet;
mod selection;
mod send_context;
mod sending;
mod sweep;
mod table;
mod turn;
mod wheel;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use self::acting::OngoingAct;
use self::batch::Batch;
use self::compressing::Compressing;
use self::conn_slot::ConnSlot;
use self::draining::Draining;
use self::ending::DueQueue;
use self::keep_alive::KeepAlive;
use self::outlet::{ConnRef, Failure, Outlet};
use self::send_context::{SendContext, Tally};
use self::sweep::Sweep;
use self::table::{Entry, Table};
use self::turn::{Lane, Turn};
use super::batch::BatchWriter;
use super::clock::Clock;
use super::command::{Command, Delivery, Leave, Listing};
use super::compression::ShardCompression;
use super::frame;
use super::link::{ConnKey, Link, Stage};
use super::port::Port;
use super::send_queue::{Amount, QueueLimits};
use super::socket::Socket;

/// The most commands of one slice that neither write nor add to the turn: about 0.1 ms of work.
const COMMANDS_PER_SLICE: usize = 1_024;

/// The settings of a shard.
#[derive(Debug, Clone, Copy)]
pub struct ShardConfig {
    /// The bounds of each connection's send queue.
    pub queue: QueueLimits,
    /// The time between two pings. `None`: no pings, and no check for silent clients.
    pub ping_interval: Option<Duration>,
    /// How long a blocked socket may take nothing before its connection is evicted. Where the
    /// overflow policy keeps slow clients, a client that still answers stays.
    pub write_timeout: Duration,
    /// Fan-outs to this many recipients or more go through the sweep.
    pub large_audience: usize,
}

/// A [`large_audience`](ShardConfig::large_audience) for real sockets: 1,024 writes take about 5
/// ms.
pub const LARGE_AUDIENCE: usize = 1_024;

/// The number of steps without a write, such as listing a member, that count as one write.
const STEPS_PER_WRITE: usize = 64;

/// The bytes to write, summed over all recipients, from which a turn runs beside other deliveries:
/// about 3 ms of writes.
const LONG_TURN_BYTES: usize = 4 * 1024 * 1024;

/// The least number of writes that a sweep gets between two turns, and the least number of
/// farewells.
const SWEEP_WRITES_MIN: usize = 32;

/// The state of a shard after a slice of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// There is more to do. Let others run, and call again.
    Busy,
    /// There is nothing to do until the inbox is filled, or [`Shard::next_tick`] has come.
    Idle,
    /// The shard was stopped. Its sockets are closed when it is dropped.
    Stopped,
}

/// The engine of one shard.
pub struct Shard<S: Socket> {
    config: ShardConfig,
    ctx: SendContext<S>,
    table: Table<S>,
    turn: Turn,
    sweep: Sweep,
    /// `None` if each write leaves alone.
    batch: Option<Batch<S>>,
    /// Writes that the sweep may do before the next turn: as many as the last turn did.
    sweep_credit: usize,
    keep_alive: Option<KeepAlive>,
    /// A command that waits for the deliveries of the turn (invariant 1).
    held: Option<Command<S>>,
    /// An action that has begun. Nothing is taken from the inbox before it is finished.
    ongoing_act: Option<OngoingAct>,
    /// Withdrawn connections that still have to get their farewell.
    withdrawn: VecDeque<ConnKey>,
    /// Farewells that may be sent before the next turn: as many as the last turn did writes.
    farewell_credit: usize,
    /// Connections to end before anything else is taken from the inbox.
    due: DueQueue,
    /// The closing of all connections or of a share. Closing all is never replaced by shedding.
    draining: Option<Draining>,
    is_stopped: bool,
    next_check: Duration,
    clock: Clock,
    /// Whether space was freed since the last call of [`take_made_space`](Self::take_made_space).
    has_made_space: bool,
    /// Deliveries that were looked at to settle connections and are not charged to a budget yet.
    settling_steps: usize,
}

impl<S: Socket> Shard<S> {
    /// A shard without connections behind `port`.
    pub fn new(config: ShardConfig, port: Arc<Port<S>>) -> Self {
        Self {
            table: Table::new(port.clone()),
            turn: Turn::new(Lane::Direct, config.queue.bytes),
            sweep: Sweep::new(config.large_audience, config.queue.bytes),
            batch: None,
            sweep_credit: 0,
            keep_alive: config.ping_interval.map(KeepAlive::new),
            ctx: SendContext {
                port,
                limits: config.queue,
                write_timeout: config.write_timeout,
                now: Duration::ZERO,
                tally: Tally::default(),
                blocked: BTreeSet::new(),
                blocked_reported: 0,
                queued_bytes: 0,
                queued_bytes_reported: 0,
                compressing: None,
            },
            config,
            held: None,
            ongoing_act: None,
            withdrawn: VecDeque::new(),
            farewell_credit: 0,
            due: DueQueue::new(),
            draining: None,
            is_stopped: false,
            next_check: Duration::ZERO,
            clock: Clock::default(),
            has_made_space: false,
            settling_steps: 0,
        }
    }

    /// Compresses messages for clients that can inflate.
    pub fn with_compression(mut self, compression: Option<ShardCompression>) -> Self {
        self.ctx.compressing = compression.map(Compressing::new);
        self
    }

    /// Writes to several connections at once, if they take part.
    pub fn with_batches(mut self, writer: Option<Box<dyn BatchWriter<S>>>) -> Self {
        self.batch = writer.map(Batch::new);
        self
    }

    /// Works for about `writes` small writes, or fewer large ones.
    ///
    /// `now` is the time since an epoch of the caller's choice and never goes back. If `now` is
    /// later than the time that the shard asked for, all deadlines move by the difference: the
    /// process did not run, and no client is late because of it.
    pub fn run(&mut self, now: Duration, writes: usize) -> RunState {
        self.ctx.now = self.clock.read(now);
        self.ctx.port.set_now_ms(self.ctx.now.as_millis() as u64);
        let mut budget = writes;
        let state = self.work(&mut budget);
        self.flush_tally();
        let next = if state == RunState::Busy { Some(now) } else { self.next_tick() };
        let next = next.map(|next| next.max(now));
        self.clock.expect(next);
        self.ctx.port.set_next_run(next, self.clock.behind());
        state
    }

    /// The time at which [`run`](Self::run) is due even if the inbox stays empty; `None` for never.
    pub fn next_tick(&self) -> Option<Duration> {
        let check = (!self.ctx.blocked.is_empty()).then_some(self.next_check);
        let ping = self.keep_alive.as_ref().and_then(|wheel| wheel.next_tick(self.ctx.now));
        let next = [check, ping, self.next_close()].into_iter().flatten().min();
        next.map(|next| self.clock.to_caller(next))
    }

    /// Whether space was freed since the last call, in the inbox or on the way to an address.
    /// Callers that wait for space may then try again.
    pub fn take_made_space(&mut self) -> bool {
        mem::take(&mut self.has_made_space)
    }

    fn work(&mut self, budget: &mut usize) -> RunState {
        while !self.is_stopped {
            if !self.finish_turn(budget) || !self.advance_sweep(budget) || !self.end_due(budget) {
                return RunState::Busy;
            }
            if !self.send_farewells(budget) || !self.drain(budget) {
                return RunState::Busy;
            }
            self.check_blocked();
            self.check_memory();
            if !self.keep_alive(budget) {
                return RunState::Busy;
            }
            self.collect(budget);
            if !self.turn.is_empty() {
                // A turn whose recipients have all gone costs work as well.
                *budget = budget.saturating_sub(1);
                self.begin_turn();
            } else if *budget == 0 {
                return RunState::Busy;
            } else if self.is_idle() {
                return RunState::Idle;
            }
        }
        RunState::Stopped
    }

    fn begin_turn(&mut self) {
        if self.turn.cost() >= LONG_TURN_BYTES && self.sweep.is_idle() {
            self.sweep.adopt(&mut self.turn, &mut self.table, &mut self.ctx);
        } else {
            self.turn.begin(&mut self.table, self.ctx.compressing.as_mut());
        }
    }

    /// Continues the fan-out of the turn; `false` if the budget is used up first.
    fn finish_turn(&mut self, budget: &mut usize) -> bool {
        let Self { turn, table, ctx, batch, due, .. } = self;
        if turn.is_empty() {
            return true;
        }
        let before = *budget;
        let is_over = turn.fan_out(table, ctx, batch.as_mut(), due, budget);
        self.sweep_credit += before - *budget;
        self.farewell_credit += before - *budget;
        self.has_made_space |= is_over;
        is_over
    }

    /// Continues the sweep with as many writes as the last turn did; `false` if the budget is used
    /// up first.
    fn advance_sweep(&mut self, budget: &mut usize) -> bool {
        if self.sweep.is_idle() {
            self.sweep_credit = 0;
            return true;
        }
        let credit = self.sweep_credit.max(SWEEP_WRITES_MIN);
        let allowed = credit.min(*budget);
        let mut left = allowed;
        let Self { sweep, table, ctx, batch, due, .. } = self;
        self.has_made_space |= sweep.advance(table, ctx, batch.as_mut(), due, &mut left);
        let Amount { messages, bytes } = sweep.take_begun();
        ctx.port.inbox().release(messages, bytes);
        self.has_made_space |= messages > 0;
        *budget -= allowed - left;
        self.sweep_credit = if left > 0 { 0 } else { credit - allowed };
        self.sweep_credit == 0
    }

    fn is_idle(&self) -> bool {
        !self.is_stopped
            && self.held.is_none()
            && self.ongoing_act.is_none()
            && self.withdrawn.is_empty()
            && self.sweep.is_idle()
            && self.due.is_empty()
            && !self.is_close_due()
            && self.ctx.port.inbox().is_empty()
    }

    /// Takes commands until the turn is full, the inbox is empty or the slice is used up.
    fn collect(&mut self, budget: &mut usize) {
        if !self.continue_act(budget) {
            return;
        }
        let (mut messages, mut bytes) = (0, 0);
        let mut commands = COMMANDS_PER_SLICE;
        while *budget > 0 && !self.turn.is_full() && !self.is_stopped {
            let Some(command) = self.held.take().or_else(|| self.ctx.port.inbox().pop()) else {
                break;
            };
            // Invariant 1.
            if self.must_wait(&command) {
                self.held = Some(command);
                break;
            }
            let collected = self.turn.len();
            match command {
                Command::Deliver(delivery) => {
                    let frame_bytes = delivery.frames.len();
                    // A delivery in the sweep keeps its space until a round takes it.
                    if self.deliver(delivery) {
                        messages += 1;
                        bytes += frame_bytes;
                    }
                }
                command => {
                    messages += usize::from(command.takes_space());
                    self.apply(command, budget);
                    self.charge_settling(budget);
                }
            }
            // Commands that add to the turn do not count: the turn has a bound of its own, and a
            // smaller turn joins less.
            commands -= usize::from(self.turn.len() == collected);
            if commands == 0 {
                *budget = 0;
            }
        }
        self.ctx.port.inbox().release(messages, bytes);
        self.has_made_space |= messages > 0;
    }

    /// Whether the command must wait for the deliveries of the turn (invariant 1), or for its
    /// writes because the turn would get too large.
    fn must_wait(&self, command: &Command<S>) -> bool {
        match command {
            Command::Join(_, room) | Command::Leave(Leave { room, .. }) => {
                self.turn.touches(room, &self.table) || self.sweep.touches(room, &self.table)
            }
            Command::Act(act) => self.must_act_wait(act),
            Command::Attach { .. } => self.turn.touches_everyone() || self.sweep.touches_everyone(),
            Command::Deliver(delivery) => {
                !self.sweep.takes(delivery, &self.table)
                    && self.turn.would_overfill(delivery, &self.table)
            }
            Command::CloseAll(_) | Command::CutAll(_) | Command::Stop => {
                !self.turn.is_empty() || !self.sweep.is_idle()
            }
            _ => false,
        }
    }

    /// Adds a delivery to the turn (`true`) or to the sweep (`false`).
    fn deliver(&mut self, delivery: Delivery) -> bool {
        self.ctx.port.counters().shard_messages.add(frame::count(&delivery.frames) as u64);
        if self.sweep.takes(&delivery, &self.table) {
            self.sweep.add(delivery, &mut self.table);
            return false;
        }
        if let Err(delivery) = self.turn.add(delivery, &mut self.table) {
            self.ctx.count_unreachable(&delivery);
        }
        true
    }

    fn apply(&mut self, command: Command<S>, budget: &mut usize) {
        match command {
            Command::Attach { newcomer, socket } => self.attach(newcomer.arrive(), socket),
            Command::Socket(id, socket) => self.set_socket(id, socket, budget),
            Command::Deliver(delivery) => drop(self.deliver(delivery)),
            Command::Act(act) => self.begin_act(act, budget),
            Command::Join(id, room) => match self.open_slot(id) {
                Some(slot) => self.table.join(slot, room),
                None => self.table.release(&room),
            },
            Command::Leave(Leave { conn, room, is_counted }) => {
                if let Some(slot) = self.table.slot(conn) {
                    self.table.leave(slot, &room);
                }
                if is_counted {
                    room.finish_leaving();
                }
            }
            Command::List(Listing { room, before, reply }) => {
                let slice = self.table.slice(room.as_deref(), before);
                *budget = budget.saturating_sub(slice.links.len() / STEPS_PER_WRITE);
                reply(slice);
            }
            Command::Rooms(id, reply) => {
                reply(self.open_slot(id).map_or_else(Vec::new, |slot| self.table.rooms_of(slot)));
            }
            Command::Link(id, reply) => {
                let entry = self.open_slot(id).and_then(|slot| self.table.get(slot));
                reply(entry.map(|entry| entry.link.clone()));
            }
            Command::Pong(id, frame) => self.pong(id, frame, budget),
            Command::Writable(id) => self.writable(id, budget),
            Command::Close(id, reason) => {
                *budget -= 1;
                self.end(id, reason);
            }
            Command::Detach(id) => self.detach(id),
            Command::CloseAll(closing) => self.close_all(closing, budget),
            Command::Shed(shedding, reply) => self.shed(shedding, reply, budget),
            Command::CutAll(reply) => reply(self.cut_all()),
            Command::Stop => self.is_stopped = true,
        }
    }

    /// The slot of a connection that is open.
    fn open_slot(&mut self, id: ConnKey) -> Option<ConnSlot> {
        let slot = self.table.slot(id)?;
        let is_open = self.table.get_mut(slot)?.stage == Stage::Open;
        is_open.then_some(slot)
    }

    /// Uses the outlet of an open connection, and ends the connection if that fails.
    fn with_outlet<V>(
        &mut self,
        id: ConnKey,
        budget: &mut usize,
        action: impl FnOnce(&mut Outlet<S>, ConnRef<'_>, &mut SendContext<S>) -> Result<V, Failure>,
    ) {
        *budget = budget.saturating_sub(1);
        let Some(slot) = self.open_slot(id) else { return };
        let Some(Entry { outlet, link, .. }) = self.table.get_mut(slot) else { return };
        let done = action(outlet, ConnRef { slot, link, id }, &mut self.ctx);
        self.ctx.charge_bytes(budget);
        if let Err(failure) = done {
            self.fail(id, failure);
        }
    }

    fn writable(&mut self, id: ConnKey, budget: &mut usize) {
        *budget = budget.saturating_sub(1);
        let Some(slot) = self.table.slot(id) else { return };
        let Some(Entry { outlet, link, stage, .. }) = self.table.get_mut(slot) else { return };
        let flushed = outlet.flush(ConnRef { slot, link, id }, &mut self.ctx);
        self.ctx.charge_bytes(budget);
        match (*stage, flushed) {
            (Stage::Open, Err(failure)) => self.fail(id, failure),
            (Stage::Ended, Ok(true)) => self.shut_down(slot),
            (Stage::Ended, Err(_)) => self.cut(slot),
            _ => {}
        }
    }

    fn flush_tally(&mut self) {
        self.ctx.publish_queued();
        self.ctx.publish_blocked();
        let tally = mem::take(&mut self.ctx.tally);
        let compressing = self.ctx.compressing.as_mut();
        let compressors_made = compressing.map_or(0, Compressing::take_made);
        let counters = self.ctx.port.counters();
        for (counter, n) in [
            (&counters.deliveries, tally.deliveries),
            (&counters.writes, tally.writes),
            (&counters.batched_writes, tally.batched_writes),
            (&counters.bytes_out, tally.bytes_out),
            (&counters.compressed_bytes_before, tally.compression.plain_bytes),
            (&counters.compressed_bytes_after, tally.compression.bytes),
            (&counters.key_frames, tally.compression.key_frames),
            (&counters.out_of_step, tally.compression.out_of_step),
            (&counters.compressors, compressors_made),
        ] {
            if n > 0 {
                counter.add(n);
            }
        }
    }
}

/// Ends all connections when the shard is dropped: by its hub, by its runtime or by a panic. So
/// every session is woken.
impl<S: Socket> Drop for Shard<S> {
    fn drop(&mut self) {
        self.ctx.port.retire();
        self.ctx.forget_queued();
        self.table.links().for_each(Link::abandon);
    }
}

impl<S: Socket> fmt::Debug for Shard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("port", &self.ctx.port).finish_non_exhaustive()
    }
}
