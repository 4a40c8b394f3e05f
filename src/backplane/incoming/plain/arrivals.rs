//! The queue of the plain channel: payloads that have passed the checks of size and signature, and
//! wait for delivery.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::events;
use super::{PlainConfig, PlainError};
use crate::backplane::channels::Channel;
use crate::backplane::envelope::Signing;
use crate::backplane::health::Health;
use crate::backplane::identity::NodeId;
use crate::engine::{Inbox, InboxLimits};
use crate::telemetry::Throttle;

/// The capacity: more than a program publishes by accident while this node pauses for a moment, and
/// little next to the 128 MiB that a hub has for envelopes.
const LIMITS: InboxLimits = InboxLimits { messages: 8_192, bytes: PAYLOAD_BYTES_LIMIT };

/// The upper limit for the setting of the longest payload: one such payload fits into the queue.
pub(crate) const PAYLOAD_BYTES_LIMIT: usize = 16 << 20;

/// The queue between the driver and the delivering task, and the counters of dropped payloads.
pub(crate) struct Arrivals {
    node: NodeId,
    channel: Channel,
    plain: PlainConfig,
    signing: Signing,
    health: Arc<Health>,
    queue: Inbox<Bytes>,
    /// For each reason, the dropped payloads that were not reported yet.
    rejected: Mutex<[Throttle; PlainError::COUNT]>,
}

impl Arrivals {
    pub(crate) fn new(
        node: NodeId,
        channel: Channel,
        plain: PlainConfig,
        signing: Signing,
        health: Arc<Health>,
    ) -> Self {
        let (queue, rejected) = (Inbox::new(LIMITS), Mutex::default());
        Self { node, channel, plain, signing, health, queue, rejected }
    }

    pub(crate) fn is_of(&self, channel: Channel) -> bool {
        channel == self.channel
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn plain(&self) -> &PlainConfig {
        &self.plain
    }

    /// Queues a payload, or drops and counts it. Never waits.
    pub(crate) fn receive(&self, payload: Bytes) {
        if let Err(error) = self.check_and_queue(payload) {
            self.reject(error);
        }
    }

    fn check_and_queue(&self, payload: Bytes) -> Result<(), PlainError> {
        // The size is checked first: a long payload costs neither the time of a hash nor space in
        // the queue.
        if payload.len() > self.plain.payload_bytes_max {
            return Err(PlainError::TooLarge);
        }
        let opened = self.signing.open_plain(&self.plain.channel, payload);
        let payload = opened.ok_or(PlainError::Unauthenticated)?;
        self.queue.reserve(payload.len()).map_err(|_| PlainError::Overrun)?;
        self.queue.push(payload);
        Ok(())
    }

    /// Counts a dropped payload. Reports each reason at most once a second.
    pub(crate) fn reject(&self, error: PlainError) {
        let counters = &self.health.counters;
        let counter = match error {
            PlainError::TooLarge => &counters.plain_too_large,
            PlainError::Unauthenticated => &counters.plain_unauthenticated,
            PlainError::Overrun => &counters.plain_overrun,
            PlainError::Undecodable | PlainError::Unencodable | PlainError::Panicked => {
                &counters.plain_undecodable
            }
            _ => &counters.plain_malformed,
        };
        counter.add(1);
        let due = {
            let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            rejected[error as usize].add(1)
        };
        if let Some(count) = due {
            events::plain_rejected(self.node, &self.plain.channel, error, count);
        }
    }

    /// Counts a message that was handed to the shards.
    pub(crate) fn delivered(&self) {
        self.health.counters.plain_received.add(1);
    }

    /// Waits for the next payload. For the delivering task alone.
    ///
    /// # Cancel safety
    /// No payload is lost when the future is dropped.
    pub(crate) async fn next(&self) -> Bytes {
        let payload = poll_fn(|cx| self.queue.poll_pop(cx)).await;
        self.queue.release(1, payload.len());
        payload
    }
}
