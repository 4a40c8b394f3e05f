//! What waits to be published.
//!
//! Publishers push from any thread. Past a bound the oldest messages go, one by one, until there is
//! space: when Redis is away for long, what is recent is worth more. Each is counted.
//!
//! Publishers that can wait stop at a lower bound, so that what they publish is not dropped, and delays others
//! by milliseconds. They wait only while messages flow.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::backplane::channels::Channel;
use crate::backplane::envelope::{ENVELOPE_BYTES_MAX, ENVELOPE_MESSAGES_MAX};
use crate::backplane::health::Health;
use crate::backplane::outgoing::progress::Progress;
use crate::engine::sync::{AtomicBool, Ordering};
use crate::engine::{Amount, Inbox, InboxLimits};
use crate::runtime::bell::Bell;

/// The largest message. Redis takes no more than 512 MB at once and closes the connection over more,
/// so that a larger one would be tried for ever.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The bytes of envelopes that are published with one round trip: enough that the round trip is
/// hidden by the work, and what is sent twice after a failure stays small.
pub(crate) const PIPELINE_BYTES_MAX: usize = 8 * ENVELOPE_BYTES_MAX;

/// The messages that are gathered at once, which is what holds a worker thread: about 2 ms.
pub(crate) const PIPELINE_MESSAGES_MAX: usize = 8 * ENVELOPE_MESSAGES_MAX;

/// The bound for publishers that can wait: enough that the publishing task always has work, and half of
/// the queue at most.
const PATIENT: InboxLimits =
    InboxLimits { messages: PIPELINE_MESSAGES_MAX, bytes: 2 * PIPELINE_BYTES_MAX };

/// A lock-free, bounded queue of encoded messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Inbox<Outgoing>,
    limits: InboxLimits,
    /// The bound for publishers that can wait.
    patient: InboxLimits,
    /// Whether messages leave at the moment. The publishing task writes; it guards no other memory.
    is_flowing: AtomicBool,
    /// Rung when there is space again for those who wait, or nothing to wait for.
    space: Bell,
    message_bytes_max: usize,
    progress: Progress,
    health: Arc<Health>,
}

/// A message whose publisher waits for space. It is queued in any case.
struct Unqueued<'a> {
    outbox: &'a Outbox,
    outgoing: Option<Outgoing>,
}

impl Unqueued<'_> {
    /// `true` if it is queued now.
    fn try_push(&mut self) -> bool {
        let refused =
            self.outgoing.take().and_then(|outgoing| self.outbox.try_push(outgoing).err());
        self.outgoing = refused;
        self.outgoing.is_none()
    }
}

impl Drop for Unqueued<'_> {
    fn drop(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            self.outbox.push(outgoing);
        }
    }
}

/// A message on its way out, encoded for an envelope.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Channel,
    pub(crate) message: Vec<u8>,
}

impl Outbox {
    pub(crate) fn new(limits: InboxLimits, health: Arc<Health>) -> Self {
        let message_bytes_max = limits.bytes.min(MESSAGE_BYTES_MAX);
        let patient = InboxLimits {
            messages: limits.messages.div_ceil(2).min(PATIENT.messages),
            bytes: limits.bytes.div_ceil(2).min(PATIENT.bytes),
        };
        Self {
            queue: Inbox::new(limits),
            limits,
            patient,
            is_flowing: AtomicBool::new(false),
            space: Bell::default(),
            message_bytes_max,
            progress: Progress::default(),
            health,
        }
    }

    /// What may wait.
    pub(crate) fn limits(&self) -> InboxLimits {
        self.limits
    }

    /// Appends a message; one that is too large to be carried is dropped.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        if outgoing.message.len() > self.message_bytes_max {
            self.health.counters.dropped.add(1);
            return;
        }
        while self.queue.reserve(outgoing.message.len()).is_err() {
            let oldest = self.pop();
            self.health.counters.dropped.add(1);
            if oldest.is_none() {
                // All the space belongs to messages that others are about to append.
                return;
            }
            self.progress.tell();
        }
        self.append(outgoing);
    }

    /// Appends a message for which space is reserved.
    fn append(&self, outgoing: Outgoing) {
        self.progress.queue();
        self.queue.push(outgoing);
    }

    /// [`push`](Self::push) for publishers that can wait. If the publisher has to wait, the message is given back.
    pub(crate) fn try_push(&self, outgoing: Outgoing) -> Result<(), Outgoing> {
        let bytes = outgoing.message.len();
        if !self.is_flowing.load(Ordering::Relaxed) || bytes > self.message_bytes_max {
            self.push(outgoing);
        } else if self.queue.reserve_within(self.patient, bytes).is_ok() {
            self.append(outgoing);
        } else {
            return Err(outgoing);
        }
        Ok(())
    }

    /// Waits until there is space for a message, or until messages do not leave any more, and appends it.
    ///
    /// # Cancel safety
    /// When the future is dropped, the message is appended at once.
    pub(crate) async fn push_in_time(&self, outgoing: Outgoing) {
        let mut waiting = Unqueued { outbox: self, outgoing: Some(outgoing) };
        self.space.until(|| waiting.try_push()).await;
    }

    /// Notes whether messages leave at the moment. For the publishing task alone.
    pub(crate) fn set_flowing(&self, is_flowing: bool) {
        if self.is_flowing.swap(is_flowing, Ordering::Relaxed) != is_flowing {
            self.notify_space();
        }
    }

    /// Tells those who wait when half of what they may fill is free: each time, all of them look.
    pub(crate) fn notify_space(&self) {
        let Amount { messages, bytes } = self.queue.reserved();
        let is_half_free = messages <= self.patient.messages / 2 && bytes <= self.patient.bytes / 2;
        if is_half_free || !self.is_flowing.load(Ordering::Relaxed) {
            self.space.ring();
        }
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&self) -> Option<Outgoing> {
        let outgoing = self.queue.pop()?;
        self.progress.take();
        self.queue.release(1, outgoing.message.len());
        Some(outgoing)
    }

    /// How far the messages have come.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Ready when there is something to take. For the publishing task alone.
    pub(crate) fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_filled(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;

    fn outbox(messages: usize, bytes: usize) -> (Outbox, Arc<Health>) {
        let health = Arc::new(Health::new(crate::backplane::NodeId::from_bytes([0; 16])));
        (Outbox::new(InboxLimits { messages, bytes }, health.clone()), health)
    }

    fn outgoing(message: &[u8]) -> Outgoing {
        Outgoing { channel: Channel::COMMON, message: message.to_vec() }
    }

    fn rest(outbox: &Outbox) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| outbox.pop()).map(|outgoing| outgoing.message).collect()
    }

    #[test]
    fn the_oldest_messages_go_first_and_are_counted() {
        let (outbox, health) = outbox(2, 100);
        for message in [b"a", b"b", b"c"] {
            outbox.push(outgoing(message));
        }
        assert_eq!(rest(&outbox), [b"b", b"c"]);
        assert_eq!(health.counters.dropped.get(), 1);
    }

    #[test]
    fn as_many_go_as_a_large_one_needs() {
        let (outbox, health) = outbox(10, 10);
        for message in [&b"1234"[..], b"5678", b"90", b"12345678"] {
            outbox.push(outgoing(message));
        }
        assert_eq!(rest(&outbox), [&b"90"[..], b"12345678"]);
        assert_eq!(health.counters.dropped.get(), 2);
    }

    #[test]
    fn a_message_over_the_bound_is_dropped_and_no_other_for_it() {
        let (outbox, health) = outbox(10, 10);
        for message in [&b"1234"[..], b"this is larger than all of it"] {
            outbox.push(outgoing(message));
        }
        assert_eq!(rest(&outbox), [b"1234"]);
        assert_eq!(health.counters.dropped.get(), 1);
    }

    #[test]
    fn each_message_of_racing_publishers_is_taken_once_or_counted_as_dropped() {
        let (outbox, health) = outbox(64, 1_000_000);
        let mut taken = 0;
        std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| (0..10_000).for_each(|_| outbox.push(outgoing(b"m")))))
                .collect();
            while !publishers.iter().all(|publisher| publisher.is_finished()) {
                taken += usize::from(outbox.pop().is_some());
            }
        });
        taken += rest(&outbox).len();
        assert_eq!(taken as u64 + health.counters.dropped.get(), 30_000);
    }

    #[test]
    fn racing_publishers_that_wait_for_their_message_find_it_settled() {
        // Each has one message under way, so none is dropped.
        let (outbox, health) = outbox(3, 1_000_000);
        let acknowledged = Mutex::new(HashSet::new());
        let publish_as = |name: u8| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for number in 0..2_000_u64 {
                let message = [&[name][..], &number.to_le_bytes()].concat();
                outbox.push(outgoing(&message));
                runtime.block_on(outbox.progress().all_settled());
                assert!(acknowledged.lock().unwrap().contains(&message));
            }
        };
        std::thread::scope(|scope| {
            let publish_as = &publish_as;
            let publishers = [1, 2, 3].map(|name| scope.spawn(move || publish_as(name)));
            while !publishers.iter().all(|publisher| publisher.is_finished()) {
                outbox.progress().carry();
                let carried = rest(&outbox);
                std::thread::yield_now();
                acknowledged.lock().unwrap().extend(carried);
                outbox.progress().settle();
            }
        });
        assert_eq!(health.counters.dropped.get(), 0);
    }
}
