//! The inbox of a shard: a lock-free FIFO of commands, with many producers and one consumer.
//!
//! Any thread pushes, and only the shard pops. A push takes no lock. It retries a compare-and-swap
//! while other producers win, and waits for the producer that is just appending a block
//! (crossbeam's `SegQueue`: every 31 entries).
//!
//! # Invariants
//!
//! 1. Membership commands and deliveries share this one queue, so they take effect in the order in
//!    which a thread pushed them. Therefore a publish after a join reaches the joiner.
//! 2. Deliveries, actions, joins and leaves reserve space first, and are refused if there is none.
//!    Pongs, questions and sheddings take space without asking, so that a flood shows as
//!    congestion. All other commands take no space: a connection has at most a handful of them on
//!    their way.
//! 3. All space that was reserved or taken is given back once: by the producer if it pushes nothing
//!    ([`give_back`](Inbox::give_back)), otherwise by the consumer ([`release`](Inbox::release)).
//!    Nobody gives back the space of commands in a closed inbox.
//! 4. No wake-up is lost. The consumer sets `asleep` and then looks at the queue; a producer pushes
//!    and then looks at `asleep`. A `SeqCst` fence between the two steps on each side makes sure
//!    that at least one of them sees the other.
//! 5. No command stays in a closed inbox. The consumer sets `closed` and then empties the queue; a
//!    producer pushes and then looks at `closed`, and empties the queue too. The same fences order
//!    these steps.
//!
//! A model checks the last two (`tests/models/loom/inbox.rs`).

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crossbeam_utils::CachePadded;

use super::congestion::Congestion;
use super::send_queue::Amount;
use super::sync::{AtomicBool, AtomicUsize, AtomicWaker, Ordering, SegQueue, fence};

/// The bounds of an inbox.
#[derive(Debug, Clone, Copy)]
pub struct InboxLimits {
    /// From this many commands on, deliveries, actions, joins and leaves are refused. Pongs,
    /// questions and sheddings count, but are never refused.
    pub messages: usize,
    /// The most bytes of frames in waiting deliveries.
    pub bytes: usize,
}

/// An inbox had no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

/// A lock-free FIFO with many producers and one consumer. The reserved space is bounded.
#[derive(Debug)]
pub struct Inbox<C> {
    queue: SegQueue<C>,
    limits: InboxLimits,
    congestion: Arc<Congestion>,
    /// The reserved space. Producers add, the consumer subtracts; the numbers publish no other
    /// memory.
    messages: CachePadded<AtomicUsize>,
    bytes: AtomicUsize,
    /// Set by the consumer before it sleeps. The producer that clears it must wake the consumer
    /// (invariant 4).
    asleep: CachePadded<AtomicBool>,
    consumer: AtomicWaker,
    /// Set once, by the consumer when it goes.
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

    /// Has the inbox count in `congestion`, which other inboxes share. The inbox must be empty.
    pub fn with_congestion(mut self, congestion: Arc<Congestion>) -> Self {
        self.congestion = congestion;
        self
    }

    /// Reserves space for one message of `bytes`, to be given back once (invariant 3).
    pub fn reserve(&self, bytes: usize) -> Result<(), Overloaded> {
        self.reserve_within(self.limits, bytes)
    }

    /// Like [`reserve`](Self::reserve), within bounds that are narrower than those of the inbox.
    pub fn reserve_within(&self, limits: InboxLimits, bytes: usize) -> Result<(), Overloaded> {
        let messages_before = self.add(&self.messages, 1, self.limits.messages);
        let bytes_before = self.add(&self.bytes, bytes, self.limits.bytes);
        // A message that is larger than the whole bound passes if no other bytes are reserved.
        let fits = messages_before < limits.messages
            && (bytes_before == 0 || bytes_before + bytes <= limits.bytes);
        // A closed inbox takes and drops everything. The space stays reserved (invariant 3).
        if fits || self.is_closed() {
            return Ok(());
        }
        self.give_back(1, bytes);
        Err(Overloaded)
    }

    /// Gives back reserved space for which nothing was pushed. Wakes the consumer, which notifies
    /// those that wait for space.
    pub fn give_back(&self, messages: usize, bytes: usize) {
        self.release(messages, bytes);
        self.wake();
    }

    /// Takes space for one message, beyond the bound if need be; to be given back like reserved
    /// space.
    pub fn take_space(&self) {
        self.add(&self.messages, 1, self.limits.messages);
    }

    /// Gives back the space of popped commands. For the consumer; producers call
    /// [`give_back`](Self::give_back).
    pub fn release(&self, messages: usize, bytes: usize) {
        self.take_off(&self.messages, messages, self.limits.messages);
        self.take_off(&self.bytes, bytes, self.limits.bytes);
    }

    /// Adds to one reserved number, and returns its value before.
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

    /// The reserved space.
    pub fn reserved(&self) -> Amount {
        Amount {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether more than half of either bound is reserved. Readers pause then, while publishers
    /// that are on their way still find space.
    pub fn is_congested(&self) -> bool {
        // Nobody gives back what is still reserved in a closed inbox.
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
            // Invariant 5: the consumer may have emptied the queue before this command was in it.
            self.clear();
        }
    }

    fn wake(&self) {
        // Invariants 4 and 5: pairs with the fences in `poll_filled` and `close`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.consumer.wake();
        }
    }

    /// Whether the consumer is gone. All commands pushed from then on are dropped.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Drops all waiting commands, and each one that is pushed later. Only the consumer calls this,
    /// when it goes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Invariant 5: pairs with the fence in `wake`. Either this call or the producer drops a
        // command.
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

    /// The number of waiting commands.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no command waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Ready with the oldest command. Only the consumer calls this, and gives the space of the
    /// command back.
    pub fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<C> {
        loop {
            if let Some(command) = self.pop() {
                return Poll::Ready(command);
            }
            ready!(self.poll_filled(cx));
        }
    }

    /// Ready when there is a command to pop. Only the consumer calls this.
    pub fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.queue.is_empty() {
            return Poll::Ready(());
        }
        self.consumer.register(cx.waker());
        self.asleep.store(true, Ordering::Relaxed);
        // Invariant 4: pairs with the fence in `wake`.
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
    fn space_is_refused_past_either_bound_and_comes_back() {
        let inbox = inbox(2, 100);
        assert_eq!(inbox.reserve(60), Ok(()));
        assert_eq!(inbox.reserve(41), Err(Overloaded));
        assert_eq!(inbox.reserve(40), Ok(()));
        assert_eq!(inbox.reserve(0), Err(Overloaded));
        inbox.release(2, 100);
        assert_eq!(inbox.reserve(1_000), Ok(()), "an empty inbox takes one of any size");
    }

    #[test]
    fn consumer_is_woken_once_if_it_sleeps_and_never_if_it_is_awake() {
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
    fn space_that_a_producer_gives_back_wakes_a_sleeping_consumer() {
        let inbox = inbox(1, 8);
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert_eq!(inbox.reserve(1), Ok(()));
        assert!(inbox.poll_filled(&mut cx).is_pending());
        assert_eq!(inbox.reserve(1), Err(Overloaded));
        assert_eq!(
            wakes.0.load(Ordering::SeqCst),
            1,
            "the refused reservation took space for a moment"
        );
        assert!(inbox.poll_filled(&mut cx).is_pending());
        inbox.give_back(1, 1);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
    }
}
