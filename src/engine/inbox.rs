//! The inbox of a shard: one lock-free FIFO for all that is asked of it.
//!
//! Membership commands and deliveries share one queue, so they take effect in the order in which a
//! thread issued them: that is what makes a publish after a join reach the joiner. Any thread
//! pushes, the shard alone pops. Pushing never waits and takes no lock (the queue's push retries a
//! compare-and-swap while other producers win).
//!
//! Deliveries, joins and leaves reserve room first and are refused when there is none. Pongs and
//! questions take room without asking, so that a flood of them is seen as congestion. Commands that
//! begin or end something take none: of those, a connection has at most a handful in flight.
//!
//! # Orderings
//!
//! Sleep and push are a store-load race on two variables: the consumer announces sleep and then
//! looks at the queue, a producer pushes and then looks for a sleeper. A `SeqCst` fence between the
//! two steps on each side makes sure that at least one of them sees the other. A model checks that
//! (`tests/models/loom/inbox.rs`).

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crossbeam_utils::CachePadded;

use super::congestion::Congestion;
use super::send_queue::Amount;
use super::sync::{AtomicBool, AtomicUsize, AtomicWaker, Ordering, SegQueue, fence};

/// The bounds of an inbox.
#[derive(Debug, Clone, Copy)]
pub struct InboxLimits {
    /// Deliveries and joins that may wait.
    pub messages: usize,
    /// Bytes of the frames that may wait.
    pub bytes: usize,
}

/// There was no space in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

/// A lock-free FIFO with many producers, one consumer, and bounds on what is reserved.
#[derive(Debug)]
pub struct Inbox<C> {
    queue: SegQueue<C>,
    limits: InboxLimits,
    congestion: Arc<Congestion>,
    /// What is reserved. Producers add, the consumer takes off; they guard no other memory.
    messages: CachePadded<AtomicUsize>,
    bytes: AtomicUsize,
    /// The consumer sets it before it sleeps; the producer that clears it owes the wake-up.
    asleep: CachePadded<AtomicBool>,
    consumer: AtomicWaker,
    /// Set once, by the consumer that goes.
    closed: AtomicBool,
}

impl<C> Inbox<C> {
    /// An empty inbox.
    pub fn new(limits: InboxLimits) -> Self {
        Self {
            queue: SegQueue::new(),
            limits,
            congestion: Arc::default(),
            messages: CachePadded::new(AtomicUsize::new(0)),
            bytes: AtomicUsize::new(0),
            asleep: CachePadded::new(AtomicBool::new(false)),
            consumer: AtomicWaker::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Has the inbox tell `congestion`, as others do, when it is congested. For an inbox that is empty.
    pub fn with_congestion(mut self, congestion: Arc<Congestion>) -> Self {
        self.congestion = congestion;
        self
    }

    /// Reserves room for one message of `bytes`, to be given back with [`release`](Self::release).
    pub fn reserve(&self, bytes: usize) -> Result<(), Overloaded> {
        self.reserve_within(self.limits, bytes)
    }

    /// [`reserve`](Self::reserve) within narrower bounds than those of the inbox.
    pub fn reserve_within(&self, limits: InboxLimits, bytes: usize) -> Result<(), Overloaded> {
        let messages_before = self.add(&self.messages, 1, self.limits.messages);
        let bytes_before = self.add(&self.bytes, bytes, self.limits.bytes);
        // A message larger than the whole bound still passes through an empty inbox.
        let fits = messages_before < limits.messages
            && (bytes_before == 0 || bytes_before + bytes <= limits.bytes);
        if fits {
            return Ok(());
        }
        self.give_back(1, bytes);
        // What is pushed to a consumer that is gone takes no space.
        if self.is_closed() { Ok(()) } else { Err(Overloaded) }
    }

    /// Gives reserved room back for which nothing was pushed. Others may have waited for it, so the
    /// consumer is woken to tell them.
    pub fn give_back(&self, messages: usize, bytes: usize) {
        self.release(messages, bytes);
        self.wake();
    }

    /// Takes room for one message, be there any or not; to be given back like what is reserved.
    pub fn take_space(&self) {
        self.add(&self.messages, 1, self.limits.messages);
    }

    /// Gives the room of what was popped back. For the consumer alone.
    pub fn release(&self, messages: usize, bytes: usize) {
        self.take_off(&self.messages, messages, self.limits.messages);
        self.take_off(&self.bytes, bytes, self.limits.bytes);
    }

    /// Adds to what is reserved of a bound, and returns what it was before.
    fn add(&self, reserved: &AtomicUsize, amount: usize, max: usize) -> usize {
        let before = reserved.fetch_add(amount, Ordering::Relaxed);
        if !is_past_half(before, max) && is_past_half(before + amount, max) {
            self.congestion.rise();
        }
        before
    }

    fn take_off(&self, reserved: &AtomicUsize, amount: usize, max: usize) {
        let before = reserved.fetch_sub(amount, Ordering::Relaxed);
        if is_past_half(before, max) && !is_past_half(before - amount, max) {
            self.congestion.fall();
        }
    }

    /// What is reserved.
    pub fn reserved(&self) -> Amount {
        Amount {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether half of either bound is taken: the sign for readers to pause, while publishers that
    /// are already on their way still find space.
    pub fn is_congested(&self) -> bool {
        // Nobody will give back what a consumer that is gone had not popped.
        let Amount { messages, bytes } = self.reserved();
        !self.is_closed()
            && (is_past_half(messages, self.limits.messages)
                || is_past_half(bytes, self.limits.bytes))
    }

    /// Appends a command, and wakes the consumer if it sleeps.
    pub fn push(&self, command: C) {
        self.queue.push(command);
        self.wake();
        if self.is_closed() {
            // The consumer may have emptied the queue before this command was in it.
            self.clear();
        }
    }

    fn wake(&self) {
        // Pairs with the fences in `poll_filled` and `close`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.consumer.wake();
        }
    }

    /// Whether the consumer is gone, and what is pushed is dropped.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Drops what waits, and whatever is pushed from now on. For a consumer that goes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`: a command is cleared here, or by whoever pushed it.
        fence(Ordering::SeqCst);
        self.clear();
    }

    fn clear(&self) {
        while self.queue.pop().is_some() {}
    }

    /// Takes the oldest command.
    pub fn pop(&self) -> Option<C> {
        self.queue.pop()
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Ready with the oldest command. For the consumer alone, who gives its space back.
    pub fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<C> {
        loop {
            if let Some(command) = self.pop() {
                return Poll::Ready(command);
            }
            ready!(self.poll_filled(cx));
        }
    }

    /// Ready when there is something to pop. For the consumer alone.
    pub fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.queue.is_empty() {
            return Poll::Ready(());
        }
        self.consumer.register(cx.waker());
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return Poll::Pending;
        }
        self.asleep.store(false, Ordering::Relaxed);
        Poll::Ready(())
    }
}

fn is_past_half(reserved: usize, max: usize) -> bool {
    reserved > max / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct CountWakes(AtomicU32);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn inbox(messages: usize, bytes: usize) -> Inbox<u32> {
        Inbox::new(InboxLimits { messages, bytes })
    }

    #[test]
    fn room_is_refused_past_either_bound_and_comes_back() {
        let inbox = inbox(2, 100);
        assert_eq!(inbox.reserve(60), Ok(()));
        assert_eq!(inbox.reserve(41), Err(Overloaded));
        assert_eq!(inbox.reserve(40), Ok(()));
        assert_eq!(inbox.reserve(0), Err(Overloaded));
        inbox.release(2, 100);
        assert_eq!(inbox.reserve(1_000), Ok(()), "an empty inbox takes one of any size");
    }

    #[test]
    fn a_sleeper_is_woken_once_and_one_awake_never() {
        let inbox = inbox(8, 8);
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(inbox.poll_filled(&mut cx).is_pending());
        inbox.push(1);
        inbox.push(2);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(inbox.poll_filled(&mut cx).is_ready());
        assert_eq!((inbox.pop(), inbox.pop(), inbox.pop()), (Some(1), Some(2), None));
        inbox.push(3);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn room_that_a_producer_gives_back_wakes_a_sleeper() {
        let inbox = inbox(1, 8);
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert_eq!(inbox.reserve(1), Ok(()));
        assert!(inbox.poll_filled(&mut cx).is_pending());
        assert_eq!(inbox.reserve(1), Err(Overloaded));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "what was refused had taken room");
        assert!(inbox.poll_filled(&mut cx).is_pending());
        inbox.give_back(1, 1);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
    }
}
