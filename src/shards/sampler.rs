//! Samples of latency: now and then a publish is followed until all of it is written.
//!
//! The reader of samples arms the sampler. The next publish takes the request, and each shard
//! answers when it has written its part. The last answer ends the measurement. A publish that is
//! not followed costs only the load of a flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use crate::engine::{Follow, Overloaded};

/// The maximum of samples that wait to be taken; the oldest are dropped first. Enough for one
/// publish to 255 shards. With more shards, the oldest samples are dropped.
const SAMPLES_MAX: usize = 256;

/// The maximum of publishes that are followed at a time: those of one second, in case the shards
/// stall for so long.
const FOLLOWED_MAX: usize = 50;

/// A measurement of a publish that was followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample {
    /// The time until the last shard had written the message to its last recipient.
    Latency(Duration),
    /// The number of messages that a shard has joined into one burst with it, for the same members.
    Burst(usize),
}

/// Measures a publish now and then. Clones share the sampler.
#[derive(Debug, Clone)]
pub(crate) struct Sampler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether a sample is wanted. The reader of samples sets the flag. The publish that clears it
    /// is followed. It orders no other memory.
    is_armed: AtomicBool,
    /// Notified when the flag was cleared.
    disarmed: Notify,
    /// The number of publishes that are followed. Publishers count in, answers count out. It orders
    /// no other memory.
    followed: AtomicUsize,
    samples: ArrayQueue<Sample>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self(Arc::new(Inner {
            is_armed: AtomicBool::new(false),
            disarmed: Notify::new(),
            followed: AtomicUsize::new(0),
            samples: ArrayQueue::new(SAMPLES_MAX),
        }))
    }
}

impl Sampler {
    /// Requests a sample of the next publish.
    pub(crate) fn arm(&self) {
        self.0.is_armed.store(true, Ordering::Relaxed);
    }

    /// Waits until a publish has taken the request.
    ///
    /// # Cancel safety
    /// Cancel safe: no notification is lost.
    pub(crate) async fn disarmed(&self) {
        self.0.disarmed.notified().await;
    }

    /// Takes the oldest sample, if there is one.
    pub(crate) fn pop(&self) -> Option<Sample> {
        self.0.samples.pop()
    }

    /// Publishes. Follows the publish if a sample is wanted.
    #[inline]
    pub(super) fn sample(
        &self,
        publish: impl FnOnce(Option<Follow<'_>>) -> Result<(), Overloaded>,
    ) -> Result<(), Overloaded> {
        let is_armed = self.0.is_armed.load(Ordering::Relaxed);
        if is_armed { self.follow(publish) } else { publish(None) }
    }

    /// Publishes. Follows the publish unless another publish has taken the request.
    // Not inlined: its stack and its code would cost every publish that is not followed.
    #[cold]
    fn follow(
        &self,
        publish: impl FnOnce(Option<Follow<'_>>) -> Result<(), Overloaded>,
    ) -> Result<(), Overloaded> {
        let Some(followed) = self.begin() else { return publish(None) };
        let follow = || {
            followed.unanswered.fetch_add(1, Ordering::Relaxed);
            let followed = followed.clone();
            Box::new(move |messages| followed.answer(messages)) as _
        };
        publish(Some(&follow))?;
        followed.answer(0);
        Ok(())
    }

    /// Begins a sample, unless another publish has taken the request, or too many publishes are
    /// followed.
    fn begin(&self) -> Option<Arc<Followed>> {
        if !self.0.is_armed.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.0.disarmed.notify_one();
        let followed = Followed {
            began: Instant::now(),
            unanswered: AtomicUsize::new(1),
            is_delivered: AtomicBool::new(false),
            sampler: self.0.clone(),
        };
        // `Followed` counts out when it is dropped, also if this publish is not followed.
        let others = self.0.followed.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(followed)).filter(|_| others < FOLLOWED_MAX)
    }
}

/// A publish that is followed. The last shard to answer makes the sample of the latency. If a shard
/// is gone, it does not answer, and there is no such sample.
struct Followed {
    began: Instant,
    /// The number of shards that have not answered, plus one until all shards have been counted in.
    unanswered: AtomicUsize,
    /// Whether a shard had a recipient. Shards set the flag before they answer.
    is_delivered: AtomicBool,
    sampler: Arc<Inner>,
}

impl Followed {
    fn answer(&self, messages: usize) {
        if messages > 0 {
            self.is_delivered.store(true, Ordering::Relaxed);
            self.sampler.samples.force_push(Sample::Burst(messages));
        }
        // The last answer sees the stores before the other answers.
        let is_last = self.unanswered.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && self.is_delivered.load(Ordering::Relaxed) {
            self.sampler.samples.force_push(Sample::Latency(self.began.elapsed()));
        }
    }
}

/// Runs also if a shard ends without an answer.
impl Drop for Followed {
    fn drop(&mut self) {
        self.sampler.followed.fetch_sub(1, Ordering::Relaxed);
    }
}
