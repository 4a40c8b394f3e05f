//! The subscribing task: subscribes to the channels that this node needs, and probes the
//! connection.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::backplane::channels::{Channel, Channels};
use crate::backplane::contract::{
    Backplane, BackplaneError, BackplaneRequest, Inbound, Lost, Subscriber,
};
use crate::backplane::health::half::Half;
use crate::backplane::nodes::fleet::Fleet;
use crate::backplane::reconnecting::backoff::Backoff;
use crate::backplane::reconnecting::halves::ConnectionHalves;
use crate::backplane::reconnecting::supervise::{Attempt, connect, supervise, within};
use crate::backplane::subscriptions::echoes::{Echoes, ExpectedEcho};
use crate::backplane::subscriptions::interest::Interest;

/// The time between two probes. A network that has gone silent is noticed within seven seconds,
/// with half a second to spare for a busy machine.
const PROBE_INTERVAL: Duration = Duration::from_millis(4_500);

/// How long a server may take to answer while nothing else arrives.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// How often the deadline is extended while messages go on arriving: the answer may be behind them.
const ANSWER_DEADLINES_MAX: u32 = 4;

/// The most channels of one request.
const SUBSCRIBE_BATCH: usize = 512;

/// How long an unneeded channel is kept. Rooms often come back soon after they have emptied.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// The time between two searches for unneeded channels.
const RELEASE_INTERVAL: Duration = Duration::from_millis(250);

/// The parts of the bridge that the subscribing task uses.
pub(crate) struct Deps {
    pub(crate) channels: Arc<Channels>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) echoes: Arc<Echoes>,
    pub(crate) inbound: Inbound,
    pub(crate) halves: Arc<ConnectionHalves>,
    pub(crate) fleet: Arc<Fleet>,
}

/// The state of the subscribing task.
pub(crate) struct Subscribing<B> {
    backplane: Arc<B>,
    deps: Deps,
    /// The channels that are not needed, with the time since when.
    unneeded: HashMap<Channel, Instant>,
    /// Released channels that the receiving task must be notified of, once nothing more can arrive
    /// by them.
    released: Vec<Channel>,
}

impl<B: Backplane> Subscribing<B> {
    pub(crate) fn new(backplane: Arc<B>, deps: Deps) -> Self {
        Self { backplane, deps, unneeded: HashMap::new(), released: Vec::new() }
    }

    pub(crate) async fn run(self) {
        let (backplane, halves) = (self.backplane.clone(), self.deps.halves.clone());
        supervise(self, &*backplane, &halves).await;
    }

    async fn serve(
        &mut self,
        subscriber: &mut B::Subscriber,
        backoff: &mut Backoff,
    ) -> Result<(), BackplaneError> {
        let interest = self.deps.interest.clone();
        let mut probe = interval_at(Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut release = interval_at(Instant::now() + RELEASE_INTERVAL, RELEASE_INTERVAL);
        release.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The time of the next attempt to subscribe, if one is due.
        let mut retry = Some(Instant::now());
        loop {
            tokio::select! {
                biased;
                lost = subscriber.lost() => {
                    self.lose(lost)?;
                    retry.get_or_insert_with(|| Instant::now() + backoff.wait());
                }
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    retry = self.follow(subscriber, backoff).await?;
                }
                () = interest.changed() => {
                    retry = self.follow(subscriber, backoff).await?;
                }
                _ = probe.tick() => self.probe(subscriber).await?,
                _ = release.tick() => self.release(subscriber).await?,
            }
        }
    }

    /// Subscribes to all wanted channels. If the server refuses some, returns the time of the next
    /// attempt.
    async fn follow(
        &mut self,
        subscriber: &mut B::Subscriber,
        backoff: &mut Backoff,
    ) -> Result<Option<Instant>, BackplaneError> {
        match self.subscribe_wanted(subscriber).await {
            Ok(()) => {
                backoff.reset();
                if self.deps.halves.up(Half::Subscriber) {
                    self.deps.fleet.greet();
                }
                Ok(None)
            }
            Err(error @ BackplaneError::Silent { .. }) => Err(error),
            // Other channels may work. A broken connection is reported by `lost`.
            Err(error) => {
                backoff.curb();
                self.deps.halves.down(Half::Subscriber, error);
                Ok(Some(Instant::now() + backoff.wait()))
            }
        }
    }

    async fn subscribe_wanted(&self, subscriber: &mut B::Subscriber) -> Result<(), BackplaneError> {
        let channels = &self.deps.channels;
        let mut result = Ok(());
        for batch in self.deps.interest.wanted().chunks(SUBSCRIBE_BATCH) {
            let mut names: Vec<_> =
                batch.iter().map(|&channel| channels.name(channel).clone()).collect();
            let subscribing = subscriber.subscribe(&mut names);
            let subscribed = self.answer(BackplaneRequest::Subscribe, subscribing).await;
            if let Err(BackplaneError::Silent { .. }) = subscribed {
                return subscribed;
            }
            let refused: HashSet<&Arc<str>> = names.iter().collect();
            for &channel in
                batch.iter().filter(|&&channel| !refused.contains(channels.name(channel)))
            {
                self.deps.echoes.subscribed(channel);
                self.deps.interest.acknowledge(channel);
            }
            self.deps.interest.notify_subscribed();
            result = result.and(subscribed);
        }
        self.count_subscriptions();
        result
    }

    /// Waits for the answer to a request. While messages arrive, the connection is not silent: the
    /// answer is behind them.
    async fn answer<V>(
        &self,
        request: BackplaneRequest,
        answer: impl Future<Output = Result<V, BackplaneError>>,
    ) -> Result<V, BackplaneError> {
        let mut answer = pin!(answer);
        let mut deadlines = 1..=ANSWER_DEADLINES_MAX;
        loop {
            let asked = Instant::now();
            let answer = within(ANSWER_DEADLINE, request, &mut answer).await;
            let is_busy = self.deps.echoes.has_arrived_since(asked) && deadlines.next().is_some();
            match answer {
                Err(BackplaneError::Silent { .. }) if is_busy => {}
                answer => return answer,
            }
        }
    }

    fn count_subscriptions(&self) {
        self.deps.halves.health.subscriptions.set(self.deps.interest.subscribed().count() as u64);
    }

    fn lose(&self, lost: Lost) -> Result<(), BackplaneError> {
        let (names, error) = match lost {
            Lost::Everything(error) => return Err(error),
            Lost::Channels(names, error) => (names, error),
        };
        names
            .iter()
            .filter_map(|name| self.deps.channels.find(name))
            .for_each(|channel| self.deps.interest.lose(channel));
        self.count_subscriptions();
        self.deps.halves.down(Half::Subscriber, error);
        Ok(())
    }

    fn lose_all(&self) {
        let interest = &self.deps.interest;
        interest.subscribed().for_each(|channel| interest.lose(channel));
        self.count_subscriptions();
    }

    /// Checks that the connection works, and that messages still arrive by each channel.
    async fn probe(&self, subscriber: &mut B::Subscriber) -> Result<(), BackplaneError> {
        let interest = &self.deps.interest;
        let expected: Vec<ExpectedEcho> = interest
            .subscribed()
            .filter_map(|channel| self.deps.echoes.expected(channel))
            .collect();
        let began = Instant::now();
        self.answer(BackplaneRequest::Ping, subscriber.ping()).await?;
        self.deps.halves.health.probed(began.elapsed());
        match expected.into_iter().find(|&expected| !self.deps.echoes.has_come(expected)) {
            Some(missing) => {
                let name = self.deps.channels.name(missing.channel);
                let what = format!("a heartbeat on the channel {name:?} did not come back");
                Err(BackplaneError::SubscriptionLost(what))
            }
            None => Ok(()),
        }
    }

    /// Ends the subscriptions that have not been needed for a while.
    async fn release(&mut self, subscriber: &mut B::Subscriber) -> Result<(), BackplaneError> {
        let now = Instant::now();
        let unneeded: HashSet<Channel> = self.deps.interest.unneeded().collect();
        self.unneeded.retain(|channel, _| unneeded.contains(channel));
        for channel in unneeded {
            self.unneeded.entry(channel).or_insert(now);
        }
        let is_over = |since: &Instant| now - *since >= RELEASE_AFTER;
        let interest = &self.deps.interest;
        let over = self.unneeded.extract_if(|_, since| is_over(since));
        self.released.extend(over.map(|(channel, _)| channel).filter(|&c| interest.release(c)));
        if self.released.is_empty() {
            return Ok(());
        }
        let name = |&channel: &Channel| self.deps.channels.name(channel).clone();
        let names: Vec<_> = self.released.iter().map(name).collect();
        self.answer(BackplaneRequest::Subscribe, subscriber.unsubscribe(&names)).await?;
        self.report_released();
        self.count_subscriptions();
        Ok(())
    }

    /// Queues for the receiving task the channels by which nothing more can arrive.
    fn report_released(&mut self) {
        self.released.drain(..).for_each(|channel| self.deps.inbound.unsubscribed(channel));
    }
}

impl<B: Backplane> Attempt for Subscribing<B> {
    const HALF: Half = Half::Subscriber;

    async fn attempt(&mut self, backoff: &mut Backoff) -> BackplaneError {
        // The last subscriber is gone, and its subscriptions with it.
        self.lose_all();
        self.report_released();
        let (backplane, inbound) = (self.backplane.clone(), self.deps.inbound.clone());
        match connect(backplane.connect_subscriber(inbound)).await {
            Ok(mut subscriber) => match self.serve(&mut subscriber, backoff).await {
                Ok(()) => unreachable!("serving ends with an error only"),
                Err(error) => error,
            },
            Err(error) => error,
        }
    }
}
