//! The receiver of what a server sends without a request: messages for the hub, and the ends of
//! subscriptions.

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

/// The channels that a connection is meant to be subscribed to. Clones share the set.
///
/// The half updates the set before it sends a request. When the server reports the end of a
/// subscription whose channel is still in the set, nobody has asked for that end.
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

/// Receives what a server sends without a request. Runs on the task of the connection, and never
/// waits.
pub(super) struct PushReceiver {
    pub(super) number: u64,
    pub(super) inbound: Inbound,
    pub(super) wanted: WantedChannels,
    pub(super) losses: mpsc::UnboundedSender<ConnectionLoss>,
    /// Whether the loss was reported, which happens once. Only the task of the connection uses the
    /// flag.
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

    /// Reports the connection as lost if the server ends a subscription without a request, for
    /// example because a slot moves to another node. The Redis client takes such an end for the
    /// answer to some request, and from then on assigns answers to the wrong requests.
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
            // An error means that the half is being dropped, and needs no report.
            let _ = self.losses.send(ConnectionLoss { number: self.number, error });
        }
    }
}

/// The receiver is dropped with the connection. Some failures of a connection show in no other way.
impl Drop for PushReceiver {
    fn drop(&mut self) {
        self.report_closed();
    }
}
