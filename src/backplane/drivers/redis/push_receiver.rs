//! What a connection hears: messages for the hub, and the end of subscriptions.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;

/// The end of a connection.
pub(super) struct ConnectionLoss {
    /// The number of the connection.
    pub(super) number: u64,
    /// Why it ended.
    pub(super) error: BackplaneError,
}

/// The channels that a connection is to be subscribed to. Clones are the same set.
///
/// The half writes it before it asks the server, and the listener reads it when the server says that
/// a subscription has ended: where the channel is still in it, nobody has asked for that.
#[derive(Clone, Default)]
pub(super) struct WantedChannels(Arc<Mutex<HashSet<Arc<str>>>>);

impl WantedChannels {
    pub(super) fn add(&self, channels: &[Arc<str>]) {
        self.lock().extend(channels.iter().cloned());
    }

    pub(super) fn remove<'a>(&self, channels: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut wanted = self.lock();
        for channel in channels {
            wanted.remove(channel);
        }
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        self.lock().contains(channel)
    }

    pub(super) fn all(&self) -> Vec<Arc<str>> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what a server sends unasked, on the task of the connection, and never waits.
pub(super) struct PushReceiver {
    pub(super) number: u64,
    pub(super) inbound: Inbound,
    pub(super) wanted: WantedChannels,
    pub(super) losses: mpsc::UnboundedSender<ConnectionLoss>,
    /// Whether the loss has been told, which is done once. Only the task of the connection uses it.
    pub(super) is_reported: AtomicBool,
    /// Set whenever something arrives.
    pub(super) has_arrived: Arc<AtomicBool>,
}

impl PushReceiver {
    pub(super) fn receive_push(&self, push: PushInfo) {
        self.has_arrived.store(true, Ordering::Relaxed);
        match push.kind {
            PushKind::Message | PushKind::SMessage => self.receive_message(push.data),
            PushKind::Unsubscribe | PushKind::SUnsubscribe => self.check_ended(&push.data),
            PushKind::Disconnection => self.report_closed(),
            _ => {}
        }
    }

    fn receive_message(&self, data: Vec<Value>) {
        let mut data = data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (data.next(), data.next())
        else {
            return;
        };
        if let Ok(channel) = std::str::from_utf8(&channel) {
            self.inbound.receive(channel, Bytes::from(payload));
        }
    }

    /// Takes the connection for lost when a subscription ends that nobody has ended, as when a slot
    /// moves to another node. The crate takes that for the answer to some request, and is out of
    /// step from then on.
    fn check_ended(&self, data: &[Value]) {
        let Some(Value::BulkString(channel)) = data.first() else {
            return;
        };
        let channel = String::from_utf8_lossy(channel);
        if self.wanted.contains(&channel) {
            let text = format!("the server ended the subscription to {channel}");
            self.report(BackplaneError::SubscriptionLost(text));
        }
    }

    fn report_closed(&self) {
        self.report(BackplaneError::Connection("the subscribed connection was closed".to_owned()));
    }

    fn report(&self, error: BackplaneError) {
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            // There is no receiver when the half is being dropped, and nobody to tell.
            let _ = self.losses.send(ConnectionLoss { number: self.number, error });
        }
    }
}

/// Dropped with the connection: some of its failures are told in no other way.
impl Drop for PushReceiver {
    fn drop(&mut self) {
        self.report_closed();
    }
}
