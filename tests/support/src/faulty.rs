//! A bus with every fault that a backplane may have: it loses payloads, carries payloads twice, fails after it has
//! carried a payload, refuses connections and loses subscriptions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use roomcast::{
    Backplane, BackplaneError, Inbound, Local, LocalPublisher, LocalSubscriber, Lost, Parcel,
    Publisher, Subscriber, Unpublished,
};
use tokio::sync::broadcast;

/// A [`Local`] with faults. Clones share the faults.
#[derive(Clone)]
pub struct Faulty {
    bus: Local,
    faults: Arc<Faults>,
    losses: broadcast::Sender<Lost>,
    invitations: broadcast::Sender<()>,
}

#[derive(Default)]
pub struct Faults {
    /// Every payload is carried twice.
    pub doubles: AtomicBool,
    /// The bus acknowledges payloads and does not carry them.
    pub swallows: AtomicBool,
    /// Every n-th publish fails after the bus has carried it; zero for no failures.
    pub fails_every: AtomicU64,
    /// No driver can connect, and connected drivers fail.
    pub is_away: AtomicBool,
    /// Requests are not answered.
    pub is_silent: AtomicBool,
    /// The bus carries payloads and does not answer the publish.
    pub is_mute: AtomicBool,
    /// Subscriptions cannot be ended.
    pub keeps: AtomicBool,
    /// Drivers panic.
    pub panics: AtomicBool,
    /// A channel that the bus refuses.
    pub refused: Mutex<Option<String>>,
    publishes: AtomicU64,
}

impl Faulty {
    pub fn new() -> Self {
        let (losses, invitations) = (broadcast::Sender::new(8), broadcast::Sender::new(8));
        Self { bus: Local::new(), faults: Arc::default(), losses, invitations }
    }

    pub fn doubling_and_failing() -> Self {
        let faulty = Self::new();
        faulty.set(|faults| &faults.doubles, true);
        faulty.faults.fails_every.store(3, Ordering::SeqCst);
        faulty
    }

    pub fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, is_on: bool) {
        fault(&self.faults).store(is_on, Ordering::SeqCst);
    }

    /// The same bus, for a node whose driver has no faults.
    pub fn sound(&self) -> Local {
        self.bus.clone()
    }

    /// Makes all subscribers lose their subscriptions.
    pub fn lose(&self, lost: Lost) {
        self.losses.send(lost).expect("a subscriber is connected");
    }

    /// Makes all waiting drivers connect at once.
    pub fn invite(&self) {
        self.invitations.send(()).expect("a driver waits");
    }

    /// Refuses a channel, or none.
    pub fn refuse(&self, channel: Option<&str>) {
        *self.faults.refused.lock().unwrap() = channel.map(str::to_owned);
    }

    fn refusal() -> BackplaneError {
        BackplaneError::Refused("as it was told to".to_owned())
    }

    fn error() -> BackplaneError {
        BackplaneError::Connection("as it was told to".to_owned())
    }
}

impl Faults {
    fn is(&self, fault: impl Fn(&Self) -> &AtomicBool) -> bool {
        fault(self).load(Ordering::SeqCst)
    }

    /// Removes the items of the refused channel.
    fn take_refused<V>(&self, list: &mut Vec<V>, channel: impl Fn(&V) -> &str) -> Vec<V> {
        let refused = self.refused.lock().unwrap().clone();
        let is_refused = |item: &mut V| refused.as_deref() == Some(channel(item));
        list.extract_if(.., is_refused).collect()
    }

    async fn answer(&self) -> Result<(), BackplaneError> {
        assert!(!self.is(|faults| &faults.panics), "a driver with a bug");
        if self.is(|faults| &faults.is_silent) {
            std::future::pending::<()>().await;
        }
        if self.is(|faults| &faults.is_away) { Err(Faulty::error()) } else { Ok(()) }
    }
}

impl Backplane for Faulty {
    type Publisher = FaultyPublisher;
    type Subscriber = FaultySubscriber;

    async fn connect_publisher(&self) -> Result<Self::Publisher, BackplaneError> {
        self.faults.answer().await?;
        let half = self.bus.connect_publisher().await?;
        Ok(FaultyPublisher { half, faults: self.faults.clone() })
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<Self::Subscriber, BackplaneError> {
        self.faults.answer().await?;
        let half = self.bus.connect_subscriber(inbound).await?;
        let losses = self.losses.subscribe();
        Ok(FaultySubscriber { half, faults: self.faults.clone(), losses })
    }

    fn invites(&self) -> impl Future<Output = ()> + Send {
        let mut invitations = self.invitations.subscribe();
        async move { invitations.recv().await.expect("the bus is there") }
    }
}

pub struct FaultyPublisher {
    half: LocalPublisher,
    faults: Arc<Faults>,
}

impl Publisher for FaultyPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        self.faults.answer().await.map_err(Unpublished::Everything)?;
        let fails_every = self.faults.fails_every.load(Ordering::SeqCst);
        let publishes = self.faults.publishes.fetch_add(1, Ordering::SeqCst) + 1;
        let unacknowledged = parcels.clone();
        if self.faults.is(|faults| &faults.swallows) {
            parcels.clear();
        } else if self.faults.is(|faults| &faults.doubles) {
            *parcels = parcels.iter().flat_map(|parcel| [parcel.clone(), parcel.clone()]).collect();
        }
        let refused = self.faults.take_refused(parcels, |parcel| &parcel.channel);
        self.half.publish(parcels).await?;
        if self.faults.is(|faults| &faults.is_mute) {
            std::future::pending::<()>().await;
        }
        if !refused.is_empty() {
            *parcels = refused;
            return Err(Unpublished::Channels(Faulty::refusal()));
        }
        if fails_every > 0 && publishes.is_multiple_of(fails_every) {
            *parcels = unacknowledged;
            return Err(Unpublished::Everything(Faulty::error()));
        }
        Ok(())
    }
}

pub struct FaultySubscriber {
    half: LocalSubscriber,
    faults: Arc<Faults>,
    losses: broadcast::Receiver<Lost>,
}

impl Subscriber for FaultySubscriber {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        self.faults.answer().await?;
        let refused = self.faults.take_refused(channels, |channel| channel);
        self.half.subscribe(channels).await?;
        *channels = refused;
        if channels.is_empty() { Ok(()) } else { Err(Faulty::refusal()) }
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        self.faults.answer().await?;
        if self.faults.is(|faults| &faults.keeps) {
            return Err(Faulty::error());
        }
        self.half.unsubscribe(channels).await
    }

    async fn ping(&mut self) -> Result<(), BackplaneError> {
        self.faults.answer().await?;
        self.half.ping().await
    }

    async fn lost(&mut self) -> Lost {
        let lost = self.losses.recv().await.expect("the bus is there");
        assert!(!self.faults.is(|faults| &faults.panics), "a driver with a bug");
        if let Lost::Channels(channels, _) = &lost {
            self.half.unsubscribe(channels).await.expect("the bus takes it");
        }
        lost
    }
}
