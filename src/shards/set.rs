//! The set of the shards of a hub: the calls of publishers and sessions.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::{Instant, sleep_until};

use super::alive::{AliveGuard, AliveShards};
use super::clock::HubClock;
use super::driver::Driver;
use super::room_state::{Emptied, EmptiedReporter, OrderedHooks, RoomHooks};
use super::sampler::Sampler;
use super::threads::{ThreadError, Threads};
use crate::engine::{
    Action, ActionError, Address, Budgets, Congestion, ConnKey, Counter, Frames, InboxLimits,
    JoinError, Link, Overloaded, Pace, Port, Publish, RoomLimits, RoomWatch, Shard,
    ShardCompression, ShardConfig, act_at, publish_at,
};
use crate::net::{WriteHalf, batch_writer};
use crate::runtime::bell::Bell;
use crate::runtime::notify::Notify;

/// The shards of a hub, as publishers and sessions see them.
pub(crate) struct Shards {
    ports: Arc<[Arc<Port<WriteHalf>>]>,
    /// The state beside the rooms, if the application keeps any.
    ordered_hooks: Option<Arc<OrderedHooks>>,
    clock: HubClock,
    space: Arc<Bell>,
    /// The congestion of all inboxes.
    congestion: Arc<Congestion>,
    /// The shards that are alive, shared with their tasks.
    alive: Arc<AliveShards>,
    sampler: Sampler,
    /// Counts the rooms that another node named and whose names are too long on this node.
    refused_names: Counter,
}

/// The number of shards, and their limits.
pub(crate) struct Layout {
    pub(crate) count: usize,
    pub(crate) shard: ShardConfig,
    /// How each shard compresses; `None` if it does not.
    pub(crate) compression: Option<ShardCompression>,
    /// Whether the shards may write with io_uring.
    pub(crate) may_use_io_uring: bool,
    /// Whether each shard has a thread of its own.
    pub(crate) has_threads: bool,
    pub(crate) inbox: InboxLimits,
    pub(crate) rooms: RoomLimits,
    pub(crate) budgets: Budgets,
}

impl Shards {
    /// Starts shards, each in a task or a thread of its own. `runtime` must be the current runtime.
    ///
    /// # Errors
    /// A thread could not be started. Then nothing runs.
    pub(crate) fn start(
        layout: Layout,
        room_watch: Option<Arc<dyn RoomWatch>>,
        room_hooks: Option<Box<dyn RoomHooks>>,
        runtime: &Handle,
    ) -> Result<Self, ThreadError> {
        let Layout {
            count,
            shard,
            compression,
            may_use_io_uring,
            has_threads,
            inbox,
            rooms,
            budgets,
        } = layout;
        let threads = has_threads.then(|| Threads::start(count, runtime)).transpose()?;
        let hooks = room_hooks.map(|hooks| (hooks, Arc::new(Emptied::over(room_watch.clone()))));
        let room_watch = hooks.as_ref().map_or(room_watch, |(_, emptied)| Some(emptied.clone()));
        let congestion = Arc::new(Congestion::new());
        let port = |index| {
            let port = Port::new(index, inbox, rooms);
            let port = port.with_congestion(congestion.clone()).with_budgets(budgets.clone());
            Arc::new(match &room_watch {
                Some(watch) => port.with_room_watch(watch.clone()),
                None => port,
            })
        };
        let ports: Arc<[_]> = (0..count).map(port).collect();
        let ordered_hooks = hooks
            .map(|(hooks, emptied)| Arc::new(OrderedHooks::new(hooks, ports.clone(), emptied)));
        let space = Arc::new(Bell::default());
        let alive = Arc::new(AliveShards::of(count));
        let clock = HubClock::new(threads.as_ref().map(|threads| threads.beat().clone()));
        let driver = |(index, port): (usize, &Arc<Port<WriteHalf>>)| Driver {
            alive: AliveGuard {
                index,
                space: space.clone(),
                shards: alive.clone(),
                is_end_expected: false,
            },
            shard: Shard::new(shard, port.clone())
                .with_compression(compression.clone())
                .with_batches(batch_writer(port, may_use_io_uring)),
            emptied: EmptiedReporter(ordered_hooks.clone()),
            port: port.clone(),
            clock: clock.clone(),
            // Made here, so that the caller panics if the runtime has no timer.
            timer: Box::pin(sleep_until(Instant::now())),
            runtime: threads.as_ref().map(|threads| threads.link(index)),
            queue: threads.is_none().then(|| runtime.metrics()),
        };
        let drivers: Vec<_> = ports.iter().enumerate().map(driver).collect();
        match threads {
            // The driver yields by itself. With tokio's budget used up, ready sockets would look
            // blocked.
            None => drivers.into_iter().for_each(|driver| {
                runtime.spawn(coop::unconstrained(driver.run()));
            }),
            Some(threads) => threads.run(drivers, alive.clone(), runtime),
        }
        Ok(Self {
            ports,
            ordered_hooks,
            clock,
            space,
            congestion,
            alive,
            sampler: Sampler::default(),
            refused_names: Counter::default(),
        })
    }

    /// Returns all ports, in the order of the shards.
    pub(crate) fn ports(&self) -> &[Arc<Port<WriteHalf>>] {
        &self.ports
    }

    /// Returns the port of the shard that owns a connection.
    pub(crate) fn port(&self, id: ConnKey) -> Option<&Arc<Port<WriteHalf>>> {
        self.ports.get(id.shard())
    }

    /// Returns the index of the shard for the connection of this number. The shards take turns. The
    /// turns of shards that are gone are spread over the others. `None` if no shard is alive.
    pub(crate) fn place(&self, serial: u64) -> Option<usize> {
        let shards = self.ports.len() as u64;
        let index = (serial % shards) as usize;
        if !self.ports[index].is_gone() {
            return Some(index);
        }
        let left = || (0..self.ports.len()).filter(|&index| !self.ports[index].is_gone());
        // The numbers of one shard that is gone are `shards` apart, so divide before the remainder
        // is taken.
        let turn = (serial / shards).checked_rem(left().count() as u64)?;
        left().nth(turn as usize)
    }

    /// Whether no shard is alive.
    pub(crate) fn are_gone(&self) -> bool {
        self.alive.are_all_gone()
    }

    /// Whether one or more shards are gone.
    pub(crate) fn is_any_gone(&self) -> bool {
        self.ports.iter().any(|port| port.is_gone())
    }

    /// Notified each time that a shard is gone.
    pub(crate) fn shard_gone(&self) -> &Notify {
        self.alive.shard_gone()
    }

    /// Returns the total time by which the shard of a connection has run late: of each delay, the
    /// part above 100 ms (`LATENESS_MIN`). The time in which the runtime was blocked is added if
    /// shards have threads. No client is to blame for that time.
    pub(crate) fn lateness(&self, id: ConnKey) -> Duration {
        let late = |port: &Arc<Port<_>>| port.lateness(self.clock.now()) + self.clock.blocked();
        self.port(id).map_or(Duration::ZERO, late)
    }

    /// Counts a room that another node named and whose name is too long on this node.
    pub(crate) fn note_refused_name(&self) {
        self.refused_names.add(1);
    }

    /// Returns the number of rooms that [`note_refused_name`](Self::note_refused_name) has counted.
    pub(crate) fn refused_names(&self) -> u64 {
        self.refused_names.get()
    }

    /// Returns the number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.ports.iter().map(|port| port.counters().connections.get() as usize).sum()
    }

    /// Returns the number of members of a room.
    pub(crate) fn members(&self, room: &str) -> usize {
        self.ports.iter().map(|port| port.rooms().members(room)).sum()
    }

    /// Hands one or more whole frames to every shard that has recipients.
    // Inlined, because the call would cost each publish 20 instructions.
    #[inline]
    pub(crate) fn publish(
        &self,
        pace: Pace,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Frames,
    ) -> Result<(), Overloaded> {
        let publish = Publish { pace, address, except, frames, follow: None };
        match &self.ordered_hooks {
            None => self.publish_to_shards(publish),
            Some(hooks) => self.publish_and_report(hooks, publish),
        }
    }

    /// Publishes, and reports the message to the state beside the rooms.
    // Not inlined: it would make the usual path longer.
    #[inline(never)]
    fn publish_and_report(
        &self,
        hooks: &OrderedHooks,
        publish: Publish<'_>,
    ) -> Result<(), Overloaded> {
        hooks.publish(publish.address, publish.frames, || self.publish_to_shards(publish))
    }

    #[inline]
    fn publish_to_shards(&self, publish: Publish<'_>) -> Result<(), Overloaded> {
        self.sampler.sample(|follow| publish_at(&self.ports, &Publish { follow, ..publish }))
    }

    /// Makes a connection enter a room.
    pub(crate) fn join(&self, link: &Link, room: &str) -> Result<(), JoinError> {
        self.enter(room, || self.ports[link.id().shard()].join(link, room))
    }

    /// Makes a connection enter a room, and sends it the frames of `first` before any message of
    /// the room. With `bytes_max`, the join is also refused if more bytes would then wait for the
    /// client, unless nothing else waits.
    pub(crate) fn join_with(
        &self,
        link: &Arc<Link>,
        room: &str,
        first: impl FnOnce() -> Frames,
        bytes_max: Option<usize>,
    ) -> Result<(), JoinError> {
        let port = &self.ports[link.id().shard()];
        self.enter(room, || port.join_with(link, room, first(), bytes_max))
    }

    fn enter<E>(&self, room: &str, enter: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        match &self.ordered_hooks {
            None => enter(),
            Some(hooks) => hooks.enter(room, enter),
        }
    }

    /// Applies an action to connections, in every shard that has some of them.
    pub(crate) fn act(
        &self,
        pace: Pace,
        address: Address<'_>,
        except: &[ConnKey],
        action: Action<'_>,
    ) -> Result<(), ActionError> {
        let act = || act_at(pace, &self.ports, address, except, action);
        match action {
            Action::Join(room) => self.enter(room, act),
            Action::Close { .. } | Action::Leave(_) => act(),
        }
    }

    /// Hands frames to the shard of one connection. With `bytes_max`, only if at most so many bytes
    /// then wait for the client, or if nothing else waits.
    pub(crate) fn send(
        &self,
        link: &Arc<Link>,
        frames: &Frames,
        bytes_max: Option<usize>,
    ) -> Result<(), Overloaded> {
        let port = &self.ports[link.id().shard()];
        self.sampler.sample(|follow| port.send(link, frames.clone(), bytes_max, follow))
    }

    /// Returns the sampler, which follows a publish now and then.
    #[cfg(feature = "metrics")]
    pub(crate) fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Returns the messages and bytes that are reserved in all inboxes.
    #[cfg(feature = "metrics")]
    pub(crate) fn reserved(&self) -> crate::engine::Amount {
        // The reservations of a shard that is gone are never given back, so leave that shard out.
        let left = self.ports.iter().filter(|port| !port.is_gone());
        left.map(|port| port.inbox().reserved()).sum()
    }

    /// Returns the bytes of data in all send queues.
    #[cfg(feature = "metrics")]
    pub(crate) fn queued_bytes(&self) -> usize {
        // All shards share one budget, so any port knows it.
        self.ports[0].queued_bytes().used()
    }

    /// Waits until no inbox is congested.
    ///
    /// # Cancel safety
    /// Cancel safe: the wait holds and reserves nothing.
    pub(crate) async fn uncongested(&self) {
        self.space.until(|| !self.is_congested()).await;
    }

    /// Calls `attempt` now, and each time that a shard has made space, until it returns a result.
    ///
    /// # Cancel safety
    /// Cancel safe: the wait holds and reserves nothing.
    pub(crate) async fn until<R>(&self, attempt: impl FnMut() -> Option<R>) -> R {
        self.space.until_some(attempt).await
    }

    /// Whether any inbox is congested. Reads only one number while none is.
    pub(crate) fn is_congested(&self) -> bool {
        self.congestion.is_likely() && self.ports.iter().any(|port| port.inbox().is_congested())
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.alive.expect_ends();
        self.ports.iter().for_each(|port| port.stop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Amount, FrameKind, Overflow, QueueLimits, frame};

    fn shards(count: usize, has_threads: bool) -> Shards {
        let layout = Layout {
            count,
            shard: ShardConfig {
                queue: QueueLimits { slots: 16, bytes: 1_024, overflow: Overflow::Evict },
                ping_interval: None,
                write_timeout: Duration::from_secs(1),
                large_audience: 1_024,
            },
            compression: None,
            may_use_io_uring: true,
            has_threads,
            inbox: InboxLimits { messages: 16, bytes: 1_024 },
            rooms: RoomLimits { name_bytes: 16, rooms_per_conn: 16 },
            budgets: Budgets::default(),
        };
        Shards::start(layout, None, None, &Handle::current()).expect("threads may start")
    }

    async fn end(shards: &Shards, index: usize) {
        let mut ended = std::pin::pin!(shards.shard_gone().notified());
        ended.as_mut().enable();
        shards.ports()[index].stop();
        ended.await;
        assert!(shards.ports()[index].is_gone());
    }

    /// Returns how many of the next connections each shard gets.
    fn places(shards: &Shards, connections: u64) -> Vec<usize> {
        let mut places = vec![0; shards.ports().len()];
        let found = (0..connections).filter_map(|serial| shards.place(serial));
        found.for_each(|index| places[index] += 1);
        places
    }

    #[tokio::test]
    async fn connections_of_shards_that_are_gone_are_spread_over_the_others() {
        let shards = shards(4, false);
        assert_eq!(places(&shards, 120), [30, 30, 30, 30]);
        end(&shards, 1).await;
        assert_eq!(places(&shards, 120), [40, 0, 40, 40]);
        end(&shards, 0).await;
        assert_eq!(places(&shards, 120), [0, 0, 60, 60]);
        assert!(!shards.are_gone());
        end(&shards, 3).await;
        end(&shards, 2).await;
        assert_eq!(places(&shards, 120), [0, 0, 0, 0]);
        assert!(shards.are_gone());
    }

    #[tokio::test]
    async fn publish_skips_shards_that_are_gone_however_often() {
        let shards = shards(2, false);
        end(&shards, 0).await;
        let frames = frame::encode(FrameKind::Text, b"a message").into();
        for _ in 0..100 {
            let published = shards.publish(Pace::Urgent, Address::Everyone, &[], &frames);
            assert_eq!(published, Ok(()));
            // The message is in the inbox of the other shard, which has space for 16.
            tokio::task::yield_now().await;
        }
        assert_eq!(shards.ports()[0].inbox().reserved(), Amount::default());
        assert_eq!(shards.ports()[1].counters().shard_messages.get(), 100);
    }

    #[tokio::test]
    async fn shard_that_panics_takes_no_other_shard_down() {
        for has_threads in [false, true] {
            let shards = shards(2, has_threads);
            let mut ended = std::pin::pin!(shards.shard_gone().notified());
            ended.as_mut().enable();
            // Half a frame: no caller can make one.
            let half = vec![0x81, 100].into();
            let port = &shards.ports()[..1];
            let published = crate::engine::publish(port, Address::Everyone, &[], &half);
            assert_eq!(published, Ok(()));
            ended.await;
            assert_eq!(shards.ports()[0].counters().shards_gone.get(), 1);
            assert_eq!(places(&shards, 10), [0, 10]);
            let frames = frame::encode(FrameKind::Text, b"a message").into();
            let published = shards.publish(Pace::Urgent, Address::Everyone, &[], &frames);
            assert_eq!(published, Ok(()));
        }
    }
}
