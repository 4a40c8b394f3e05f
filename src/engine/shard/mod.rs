//! The shard engine: a synchronous state machine that owns its connections.
//!
//! [`Shard::run`] takes commands from the inbox and works them off in slices. It owns the sockets
//! and the members of its rooms; it shares with others its [`Port`] and the [`Link`] of each
//! connection. Commands apply in the order of the inbox: a change of members that a collected
//! delivery would see waits until that delivery is out.

mod acting;
mod arrival;
mod audience;
mod conn_slot;
mod draining;
mod ending;
mod keep_alive;
mod outlet;
mod selection;
mod send_context;
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
use self::conn_slot::ConnSlot;
use self::draining::Draining;
use self::ending::DueQueue;
use self::keep_alive::KeepAlive;
use self::outlet::{ConnRef, Failure, Outlet};
use self::send_context::{SendContext, Tally};
use self::sweep::Sweep;
use self::table::{Entry, Table};
use self::turn::{Lane, Turn};
use super::clock::Clock;
use super::command::{Command, Delivery, Leave, Listing};
use super::frame;
use super::link::{ConnKey, Link, Stage};
use super::port::Port;
use super::send_queue::{Amount, QueueLimits};
use super::socket::Socket;

/// Commands of one slice that neither write nor add to the turn, before the shard yields: about
/// 0.1 ms of work.
const COMMANDS_PER_SLICE: usize = 1_024;

/// The settings of a shard.
#[derive(Debug, Clone, Copy)]
pub struct ShardConfig {
    /// The bounds of each connection's send queue.
    pub queue: QueueLimits,
    /// The time between two pings; `None` for no pings and no check for silence.
    pub ping_interval: Option<Duration>,
    /// How long a blocked socket may take nothing before its connection is evicted.
    pub write_timeout: Duration,
    /// Recipients from which a fan-out goes on beside those of others, instead of before them.
    pub large_audience: usize,
}

/// A [`large_audience`](ShardConfig::large_audience) for real sockets: about 5 ms of writes.
pub const LARGE_AUDIENCE: usize = 1_024;

/// Steps without a write, as the listing of a member, that count as one write.
const STEPS_PER_WRITE: usize = 64;

/// Bytes to write, over all recipients, from which a turn goes on beside those of others: about 3 ms of
/// writes.
const LONG_TURN_BYTES: usize = 4 * 1024 * 1024;

/// The least that a sweep gets to write between two turns, and the least that part there.
const SWEEP_WRITES_MIN: usize = 32;

/// The state of a shard after a slice of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// There is more to do; let others run, and call again.
    Busy,
    /// Nothing to do until the inbox is filled, or [`Shard::next_tick`] has come.
    Idle,
    /// The shard was stopped. Its sockets go when it is dropped.
    Stopped,
}

/// The engine of one shard.
pub struct Shard<S: Socket> {
    config: ShardConfig,
    ctx: SendContext<S>,
    table: Table<S>,
    turn: Turn,
    sweep: Sweep,
    /// Writes that the sweep may do before the next turn: as many as the last one did.
    sweep_credit: usize,
    keep_alive: Option<KeepAlive>,
    /// A command that must wait for the turn's deliveries.
    held: Option<Command<S>>,
    /// An action that has begun; nothing is taken from the inbox before it is over.
    ongoing_act: Option<OngoingAct>,
    /// Connections that have been withdrawn and are to part.
    withdrawn: VecDeque<ConnKey>,
    /// How many of them may part before the next turn: as many writes as the last one did.
    farewell_credit: usize,
    /// Connections that are to be ended before anything else is taken from the inbox.
    due: DueQueue,
    /// Those that are being closed, all or a share; all of them for good.
    draining: Option<Draining>,
    is_stopped: bool,
    next_check: Duration,
    clock: Clock,
    /// Whether space came back since that was last asked.
    has_freed_space: bool,
    /// Deliveries that were looked at to settle connections, and not charged to a budget yet.
    settling_steps: usize,
}

impl<S: Socket> Shard<S> {
    /// A shard without connections behind `port`.
    pub fn new(config: ShardConfig, port: Arc<Port<S>>) -> Self {
        Self {
            table: Table::new(port.clone()),
            turn: Turn::new(Lane::Direct, config.queue.bytes),
            sweep: Sweep::new(config.large_audience, config.queue.bytes),
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
            has_freed_space: false,
            settling_steps: 0,
        }
    }

    /// Works for about `writes` small writes, or fewer large ones. `now` is the time since an epoch of the caller's choice, and
    /// never goes back. Where it is later than the shard asked for, all deadlines move by that much: the
    /// process did not run, and nobody is late for that.
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

    /// When [`run`](Self::run) is due even if the inbox stays empty.
    pub fn next_tick(&self) -> Option<Duration> {
        let check = (!self.ctx.blocked.is_empty()).then_some(self.next_check);
        let ping = self.keep_alive.as_ref().and_then(|wheel| wheel.next_tick(self.ctx.now));
        let next = [check, ping, self.next_close()].into_iter().flatten().min();
        next.map(|next| self.clock.to_caller(next))
    }

    /// Whether space came back since the last call, in the inbox or on the way to an address: whoever
    /// waits for some may try again.
    pub fn take_made_space(&mut self) -> bool {
        mem::take(&mut self.has_freed_space)
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
                // A turn that nobody is left to write for is work as well.
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
            self.sweep.adopt(&mut self.turn, &mut self.table);
        } else {
            self.turn.begin(&mut self.table);
        }
    }

    /// Goes on with the fan-out of the turn; `false` if the budget did not reach.
    fn finish_turn(&mut self, budget: &mut usize) -> bool {
        let Self { turn, table, ctx, due, .. } = self;
        if turn.is_empty() {
            return true;
        }
        let before = *budget;
        let is_over = turn.fan_out(table, ctx, due, budget);
        self.sweep_credit += before - *budget;
        self.farewell_credit += before - *budget;
        self.has_freed_space |= is_over;
        is_over
    }

    /// Goes on with the sweep for as long as the last turn took; `false` if the budget did not reach.
    fn advance_sweep(&mut self, budget: &mut usize) -> bool {
        if self.sweep.is_idle() {
            self.sweep_credit = 0;
            return true;
        }
        let credit = self.sweep_credit.max(SWEEP_WRITES_MIN);
        let allowed = credit.min(*budget);
        let mut left = allowed;
        let Self { sweep, table, ctx, due, .. } = self;
        self.has_freed_space |= sweep.advance(table, ctx, due, &mut left);
        let Amount { messages, bytes } = sweep.take_begun();
        ctx.port.inbox().release(messages, bytes);
        self.has_freed_space |= messages > 0;
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

    /// Takes commands until the turn is full, the inbox empty, or the slice used up.
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
            if self.must_wait(&command) {
                self.held = Some(command);
                break;
            }
            let collected = self.turn.len();
            match command {
                Command::Deliver(delivery) => {
                    let frame_bytes = delivery.frames.len();
                    // What the sweep takes keeps its place until a round begins with it.
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
            // The turn has a bound of its own, and cut short it would join less.
            commands -= usize::from(self.turn.len() == collected);
            if commands == 0 {
                *budget = 0;
            }
        }
        self.ctx.port.inbox().release(messages, bytes);
        self.has_freed_space |= messages > 0;
    }

    /// Whether the deliveries of the turn must go first: one would see what the command changes, or
    /// there would be too many of them.
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

    /// Takes a delivery into the turn, or has the sweep take it (`false`).
    fn deliver(&mut self, delivery: Delivery) -> bool {
        self.ctx.port.counters().published.add(frame::count(&delivery.frames) as u64);
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

    /// The slot of a connection that has not ended.
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
        let counters = self.ctx.port.counters();
        for (counter, n) in [
            (&counters.deliveries, tally.deliveries),
            (&counters.writes, tally.writes),
            (&counters.bytes_out, tally.bytes_out),
        ] {
            if n > 0 {
                counter.add(n);
            }
        }
    }
}

/// However the shard goes, with its hub, its runtime or a panic: nobody waits for it in vain.
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
