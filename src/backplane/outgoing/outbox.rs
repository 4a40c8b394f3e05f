//! The outbox: the bounded queue of messages that wait to be published.
//!
//! Publishers push from any thread. If the outbox is full, the oldest messages are dropped, one by
//! one, until there is space: when Redis is down for long, recent messages are worth more. Each
//! drop is counted.
//!
//! Publishers that can wait stop at a lower bound. So their messages are not dropped, and delay the
//! messages of others only by milliseconds. They wait only while messages flow.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::backplane::channels::Channel;
use crate::backplane::envelope::{ENVELOPE_BYTES_MAX, ENVELOPE_MESSAGES_MAX};
use crate::backplane::health::Health;
use crate::backplane::outgoing::progress::Progress;
use crate::engine::sync::{AtomicBool, Ordering};
use crate::engine::{Amount, Inbox, InboxLimits};
use crate::runtime::bell::Bell;

/// The largest message. Redis accepts at most 512 MB at once, and closes the connection over more.
/// A larger message would be tried for ever.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The most bytes of envelopes that are published with one round trip. Large enough that the work
/// takes longer than the round trip. Small enough that little is sent twice after a failure.
pub(super) const PIPELINE_BYTES_MAX: usize = 8 * ENVELOPE_BYTES_MAX;

/// The most messages that are gathered at once. Gathering keeps a worker thread from other tasks,
/// for about 2 ms at this number.
pub(super) const PIPELINE_MESSAGES_MAX: usize = 8 * ENVELOPE_MESSAGES_MAX;

/// The bound for publishers that can wait: enough that the publishing task always has work. The
/// bound is at most half of the outbox.
const PATIENT: InboxLimits =
    InboxLimits { messages: PIPELINE_MESSAGES_MAX, bytes: 2 * PIPELINE_BYTES_MAX };

/// A lock-free, bounded queue of encoded messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Inbox<Outgoing>,
    limits: InboxLimits,
    /// The bound for publishers that can wait.
    patient: InboxLimits,
    /// Whether messages leave at the moment. The publishing task writes; the end of any task of the
    /// bridge clears it. The flag guards no other memory.
    is_flowing: AtomicBool,
    /// Rung when there is space for publishers that wait, and when there is nothing to wait for.
    space: Bell,
    message_bytes_max: usize,
    progress: Progress,
    health: Arc<Health>,
}

/// A message whose publisher waits for space. It is queued in any case, even if the publisher gives
/// up.
struct Unqueued<'a> {
    outbox: &'a Outbox,
    outgoing: Option<Outgoing>,
}

impl Unqueued<'_> {
    /// Returns `true` if the message is queued now.
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

/// A message to other nodes, encoded for an envelope.
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

    /// The bounds of the outbox.
    pub(super) fn limits(&self) -> InboxLimits {
        self.limits
    }

    /// Appends a message, and drops the oldest messages if there is no space. If other threads have
    /// reserved all the space, the new message is dropped instead. A message that is larger than
    /// the outbox, or than 256 MiB, is dropped itself.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        if outgoing.message.len() > self.message_bytes_max {
            self.health.counters.dropped.add(1);
            return;
        }
        while self.queue.reserve(outgoing.message.len()).is_err() {
            let oldest = self.pop();
            self.health.counters.dropped.add(1);
            if oldest.is_none() {
                // Other threads have reserved all the space, and are about to append. So drop this
                // message.
                return;
            }
            self.progress.notify();
        }
        self.append(outgoing);
    }

    /// Appends a message. Its space must be reserved.
    fn append(&self, outgoing: Outgoing) {
        self.progress.queue();
        self.queue.push(outgoing);
    }

    /// Appends a message of a publisher that can wait.
    ///
    /// # Errors
    /// The publisher has to wait: returns the message.
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

    /// Waits until there is space for a message, or until messages stop flowing, and then appends
    /// it.
    ///
    /// # Cancel safety
    /// When the future is dropped, the message is appended at once.
    pub(crate) async fn push_in_time(&self, outgoing: Outgoing) {
        let mut waiting = Unqueued { outbox: self, outgoing: Some(outgoing) };
        self.space.until(|| waiting.try_push()).await;
    }

    /// Notes whether messages leave at the moment. Only the publishing task passes `true`.
    pub(crate) fn set_flowing(&self, is_flowing: bool) {
        if self.is_flowing.swap(is_flowing, Ordering::Relaxed) != is_flowing {
            self.notify_space();
        }
    }

    /// Wakes all publishers that wait, but only if half of their space is free: otherwise each
    /// message that leaves would wake all of them.
    pub(super) fn notify_space(&self) {
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

    /// The number of messages in the outbox.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Ready when there is a message to take. For the publishing task alone.
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
    fn the_oldest_messages_are_dropped_first_and_counted() {
        let (outbox, health) = outbox(2, 100);
        for message in [b"a", b"b", b"c"] {
            outbox.push(outgoing(message));
        }
        assert_eq!(rest(&outbox), [b"b", b"c"]);
        assert_eq!(health.counters.dropped.get(), 1);
    }

    #[test]
    fn as_many_messages_are_dropped_as_a_large_one_needs() {
        let (outbox, health) = outbox(10, 10);
        for message in [&b"1234"[..], b"5678", b"90", b"12345678"] {
            outbox.push(outgoing(message));
        }
        assert_eq!(rest(&outbox), [&b"90"[..], b"12345678"]);
        assert_eq!(health.counters.dropped.get(), 2);
    }

    #[test]
    fn a_message_over_the_bound_is_dropped_alone() {
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
