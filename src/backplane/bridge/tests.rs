//! A flush ends when all messages that were published before it have left. The driver of these
//! tests holds messages back until it is told to acknowledge them.

use std::collections::HashSet;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;
use crate::backplane::contract::Lost;
use crate::backplane::contract::Parcel;
use crate::backplane::contract::Publisher;
use crate::backplane::contract::Subscriber;
use crate::backplane::contract::Unpublished;
use crate::backplane::envelope::count;
use crate::engine::{Action, ConnKey, FrameKind, Frames, Overloaded, frame};

/// A driver that acknowledges messages only when a test tells it to. Clones share their state.
#[derive(Clone)]
struct HoldingDriver {
    state: Arc<DriverState>,
}

struct DriverState {
    /// The number of messages that the driver holds.
    in_hands: watch::Sender<u32>,
    /// One permit for each publish of messages that the driver may acknowledge.
    permits: Semaphore,
    /// The driver connects only while this is set.
    is_there: watch::Sender<bool>,
    /// The channels whose parcels the driver refuses.
    refused: Mutex<HashSet<Arc<str>>>,
}

impl HoldingDriver {
    fn new(is_there: bool) -> Self {
        let state = DriverState {
            in_hands: watch::Sender::new(0),
            permits: Semaphore::new(0),
            is_there: watch::Sender::new(is_there),
            refused: Mutex::default(),
        };
        Self { state: Arc::new(state) }
    }

    /// Acknowledges one publish of messages.
    fn acknowledge(&self) {
        self.state.permits.add_permits(1);
    }

    /// Waits until the driver holds this number of messages.
    async fn has_in_hands(&self, messages: u32) {
        let mut in_hands = self.state.in_hands.subscribe();
        let has = in_hands.wait_for(|in_hands| *in_hands == messages);
        within("the driver gets the messages", has).await.expect("the driver is there");
    }
}

impl Backplane for HoldingDriver {
    type Publisher = Self;
    type Subscriber = Silence;

    async fn connect_publisher(&self) -> Result<Self, BackplaneError> {
        let mut is_there = self.state.is_there.subscribe();
        is_there.wait_for(|is_there| *is_there).await.expect("the sender is here");
        Ok(self.clone())
    }

    async fn connect_subscriber(&self, _: Inbound) -> Result<Silence, BackplaneError> {
        Ok(Silence)
    }
}

impl Publisher for HoldingDriver {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        let DriverState { in_hands, permits, refused, .. } = &*self.state;
        let messages = parcels.iter().map(|parcel| count(&parcel.payload)).sum();
        if messages > 0 {
            in_hands.send_replace(messages);
            permits.acquire().await.expect("the semaphore is open").forget();
            in_hands.send_replace(0);
        }
        let refused = refused.lock().unwrap();
        parcels.retain(|parcel| refused.contains(&parcel.channel));
        let error = || BackplaneError::Refused("the test told it to refuse".to_owned());
        if parcels.is_empty() { Ok(()) } else { Err(Unpublished::Channels(error())) }
    }
}

/// A subscriber that never receives anything.
struct Silence;

impl Subscriber for Silence {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        channels.clear();
        Ok(())
    }

    async fn unsubscribe(&mut self, _: &[Arc<str>]) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn lost(&mut self) -> Lost {
        std::future::pending().await
    }
}

/// A node without members.
struct EmptyNode;

impl ThisNode for EmptyNode {
    fn deliver(&self, _: Address<'_>, _: &[ConnKey], _: &Frames) -> Result<(), Overloaded> {
        Ok(())
    }

    fn deliver_later<'a>(
        &'a self,
        _: Address<'a>,
        _: &'a [ConnKey],
        _: &'a Frames,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn act(&self, _: Address<'_>, _: &[ConnKey], _: Action<'_>) -> Result<(), Overloaded> {
        Ok(())
    }

    fn act_later<'a>(
        &'a self,
        _: Address<'a>,
        _: &'a [ConnKey],
        _: Action<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn connections(&self) -> u64 {
        0
    }

    fn members_of(&self, _: &str) -> u64 {
        0
    }

    fn for_each_room(&self, _: &mut dyn FnMut(&str, usize)) {}
}

/// A bridge over the driver. Its outbox holds two messages.
fn bridge(driver: &HoldingDriver, spread: u16) -> Bridge {
    let config = BridgeConfig {
        channel: "test".to_owned(),
        spread,
        outbox: InboxLimits { messages: 2, bytes: 1_000 },
        signing: Signing::default(),
        rejoin_wait: Duration::from_secs(20),
        queue_bytes: 1_000,
        #[cfg(feature = "json")]
        plain: None,
    };
    let here: Arc<dyn ThisNode> = Arc::new(EmptyNode);
    let node = NodeId::from_bytes([1; 16]);
    BridgePlan::new(config).start(driver.clone(), node, Arc::downgrade(&here), &Handle::current())
}

fn publish(bridge: &Bridge, room: &str) {
    let message = frame::encode(FrameKind::Text, b"m").into();
    bridge.send(
        bridge
            .message(Address::Room(room), &[], &message)
            .expect("a room may have members elsewhere"),
    );
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(Duration::from_secs(10), future).await;
    output.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn flushed(bridge: &Bridge) {
    within("a flush", bridge.flush()).await;
}

#[tokio::test]
async fn flush_returns_at_once_without_messages() {
    let away = bridge(&HoldingDriver::new(false), 1);
    assert!(away.flush().now_or_never().is_some(), "even without a connection");
    let driver = HoldingDriver::new(true);
    let bridge = bridge(&driver, 1);
    publish(&bridge, "r");
    driver.acknowledge();
    flushed(&bridge).await;
    assert!(bridge.flush().now_or_never().is_some(), "every message has left");
}

#[tokio::test]
async fn flush_waits_for_the_acknowledgement_and_not_for_later_messages() {
    let driver = HoldingDriver::new(true);
    let bridge = bridge(&driver, 1);
    publish(&bridge, "r");
    driver.has_in_hands(1).await;
    let mut flush = pin!(bridge.flush());
    assert!(flush.as_mut().now_or_never().is_none(), "the message is not acknowledged");
    publish(&bridge, "r");
    publish(&bridge, "r");
    assert_eq!(bridge.unsent(), 3);
    driver.acknowledge();
    within("the first is acknowledged", flush).await;
    driver.has_in_hands(2).await;
    assert_eq!((bridge.health().published, bridge.unsent()), (1, 2));
    assert!(bridge.flush().now_or_never().is_none());
    driver.acknowledge();
    flushed(&bridge).await;
    assert_eq!((bridge.health().published, bridge.unsent()), (3, 0));
}

#[tokio::test]
async fn flush_waits_while_the_backplane_is_away() {
    let driver = HoldingDriver::new(false);
    let bridge = bridge(&driver, 1);
    publish(&bridge, "r");
    let mut flush = pin!(bridge.flush());
    assert!(flush.as_mut().now_or_never().is_none());
    assert_eq!(bridge.unsent(), 1, "a caller who gives up gets this number");
    driver.state.is_there.send_replace(true);
    driver.acknowledge();
    within("the backplane is there", flush).await;
    assert_eq!(bridge.unsent(), 0);
}

#[tokio::test]
async fn flush_does_not_wait_for_dropped_messages() {
    let bridge = bridge(&HoldingDriver::new(false), 1);
    publish(&bridge, "r");
    publish(&bridge, "r");
    let mut flush = pin!(bridge.flush());
    publish(&bridge, "r");
    assert!(flush.as_mut().now_or_never().is_none(), "one message is left");
    publish(&bridge, "r");
    assert_eq!(bridge.health().dropped, 2);
    assert!(flush.as_mut().now_or_never().is_some());
}

#[tokio::test]
async fn flush_that_was_given_up_changes_nothing() {
    let driver = HoldingDriver::new(true);
    let bridge = bridge(&driver, 1);
    publish(&bridge, "r");
    driver.has_in_hands(1).await;
    assert!(bridge.flush().now_or_never().is_none());
    driver.acknowledge();
    flushed(&bridge).await;
    assert_eq!(bridge.health().published, 1);
}

#[tokio::test]
async fn flush_waits_for_channels_that_are_stalled() {
    let driver = HoldingDriver::new(true);
    let bridge = bridge(&driver, 8);
    let stalled = bridge.channels.of_room("r");
    let name = bridge.channels.name(stalled).clone();
    driver.state.refused.lock().unwrap().insert(name);
    publish(&bridge, "r");
    driver.has_in_hands(1).await;
    let mut flush = pin!(bridge.flush());
    assert!(flush.as_mut().now_or_never().is_none());
    driver.acknowledge();
    driver.has_in_hands(0).await;
    driver.has_in_hands(1).await;
    assert!(flush.as_mut().now_or_never().is_none(), "the message was refused, and is tried again");
    driver.state.refused.lock().unwrap().clear();
    driver.acknowledge();
    within("the message is acknowledged", flush).await;
    assert_eq!((bridge.health().published, bridge.unsent()), (1, 0));
}

#[tokio::test]
async fn several_flushes_end_together() {
    let driver = HoldingDriver::new(true);
    let bridge = bridge(&driver, 1);
    publish(&bridge, "r");
    driver.has_in_hands(1).await;
    let mut one = pin!(bridge.flush());
    assert!(one.as_mut().now_or_never().is_none());
    driver.acknowledge();
    within("both flushes", async { tokio::join!(one, bridge.flush()) }).await;
}
