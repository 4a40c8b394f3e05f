//! The send queue of a connection whose socket has blocked: the data that the kernel would not
//! take.
//!
//! The queue is a ring of slots in the order of the wire. A slot holds data (whole frames in one
//! buffer) or one control frame. A new [`Burst`] gets a slot of its own and shares its bytes with
//! the queues of other connections. When all slots are taken, the burst is copied behind the data
//! of the last slot. So only bytes can fill a queue, never the number of bursts: a client that is
//! far away has many bursts waiting, and is not slow for that.
//!
//! Control frames have slots of their own: at most one pong, one ping and one close frame wait,
//! however much data waits.
//!
//! ```text
//!  front                                                back
//!  ┌──────────────┬──────┬───────┬───────┬─────┬───────┐
//!  │ torn slot    │ pong │ burst │ burst │ ... │ joined│
//!  └──────────────┴──────┴───────┴───────┴─────┴───────┘
//!   ^ `written` bytes of it have left: the torn frame must be finished
//! ```
//!
//! # Invariants
//!
//! 1. `written` is less than the length of the front slot, and 0 if the ring is empty.
//! 2. Each data slot holds whole frames, at least one.
//! 3. Pings and pongs stand before all data slots that have not begun to leave. The close frame
//!    stands last.

mod slot;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::iter::Sum;

use bytes::Bytes;

use self::slot::{Content, Slot, SlotFrames, cut_after_frame};
use super::frame;

/// The policy for a message to a connection whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is evicted: closed with 1008. `on_disconnect` gets
    /// [`DisconnectReason::SlowClient`](super::DisconnectReason::SlowClient).
    #[default]
    Evict,
    /// The oldest queued messages are dropped until the new one fits. For streams where new
    /// messages matter more: set [`send_buffer_bytes`](crate::Builder::send_buffer_bytes) to how
    /// far a client may be behind.
    DropOldest,
    /// The new message is dropped. The client is not notified.
    DropNewest,
    /// The new message replaces all waiting messages, whatever their size: a client that was slow
    /// gets the newest message next. Use it if each message contains the whole state, such as a
    /// game tick, a price or a position. It needs no other setting: roomcast also keeps the
    /// kernel's buffer small (on Linux, for TCP and TLS).
    ///
    /// All messages to a connection count as one stream, including those of other rooms and direct
    /// sends.
    KeepNewest,
}

impl Overflow {
    /// Whether a client that takes nothing stays connected while it answers.
    pub fn keeps_slow_clients(self) -> bool {
        self != Self::Evict
    }
}

/// The bounds of a send queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// The most bursts that wait in slots of their own, besides the one that is being written.
    /// Further bursts are joined to the last of them.
    pub slots: usize,
    /// The most bytes of data frames. An empty queue takes one burst of any size; a message that is
    /// larger than the bound then counts as at most half of it.
    pub bytes: usize,
    /// The policy for a burst that would exceed `bytes`.
    pub overflow: Overflow,
}

/// Whole data frames in one buffer.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    /// The frames, one after the other.
    pub frames: Bytes,
    /// The number of frames.
    pub messages: usize,
}

/// An amount of data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// The number of messages.
    pub messages: usize,
    /// The bytes, headers included.
    pub bytes: usize,
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |sum, amount| Self {
            messages: sum.messages + amount.messages,
            bytes: sum.bytes + amount.bytes,
        })
    }
}

impl From<&Burst> for Amount {
    fn from(burst: &Burst) -> Self {
        Self { messages: burst.messages, bytes: burst.frames.len() }
    }
}

/// The result of pushing a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The burst waits for the socket.
    Queued,
    /// The burst waits, and this amount of older data was dropped for it.
    DroppedOldest(Amount),
    /// The burst was dropped.
    DroppedNewest(Amount),
    /// The queue has no space, and the policy is to evict.
    Full,
}

/// The slots of the first allocation: the default bound of 16, and the three control frames.
const CAPACITY_FIRST: usize = 16 + 3;

/// The most slots that one vectored write takes from a queue. Bursts are joined, so 16 slots are
/// far more than a socket takes at once.
pub const WRITE_SLOTS_MAX: usize = 16;

/// A ring of the data and control frames that wait for one socket.
#[derive(Debug)]
pub struct SendQueue {
    slots: VecDeque<Slot>,
    /// The bytes of the front slot that have left.
    written: usize,
    data_slots: usize,
    data_bytes: usize,
}

impl SendQueue {
    /// An empty queue, with space for [`CAPACITY_FIRST`] slots, or fewer if its bound is lower.
    pub fn new(limits: &QueueLimits) -> Self {
        Self {
            slots: VecDeque::with_capacity(CAPACITY_FIRST.min(limits.slots + 3)),
            written: 0,
            data_slots: 0,
            data_bytes: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The bytes of the data slots. The bytes of a slot are held until the whole slot has left.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// The waiting data: messages that have not left completely, and their remaining bytes.
    pub fn queued(&self) -> Amount {
        let mut queued = Amount::default();
        self.slots.iter().filter(|slot| slot.is_data()).for_each(|slot| queued.add(slot));
        if let Some(torn) = self.torn() {
            queued.messages -= frame::count_within(&torn.frames, self.written);
            queued.bytes -= self.written;
        }
        queued
    }

    /// Appends a burst of which `written` bytes have left to an empty queue, which takes a burst of
    /// any size.
    pub fn start(&mut self, burst: Burst, written: usize, limits: &QueueLimits) -> Pushed {
        debug_assert!(self.is_empty());
        self.append(burst, limits);
        self.advance(written);
        match limits.overflow {
            Overflow::KeepNewest => self.keep_newest(),
            _ => Pushed::Queued,
        }
    }

    /// Appends a burst, or applies the policy if it does not fit.
    pub fn push(&mut self, burst: Burst, limits: &QueueLimits) -> Pushed {
        if limits.overflow == Overflow::KeepNewest {
            self.append_slot(burst);
            return self.keep_newest();
        }
        if self.fits(&burst, limits) {
            self.append(burst, limits);
            return Pushed::Queued;
        }
        match limits.overflow {
            Overflow::Evict => Pushed::Full,
            Overflow::DropNewest => Pushed::DroppedNewest(Amount::from(&burst)),
            Overflow::DropOldest | Overflow::KeepNewest => self.push_over_oldest(burst, limits),
        }
    }

    /// Queues a pong before all frames that have not begun to leave. It replaces a waiting pong,
    /// because only the newest ping must be answered (RFC 6455, section 5.5.3); `true` if it did.
    pub fn push_pong(&mut self, frame: Bytes) -> bool {
        self.put_control(frame, Content::Pong)
    }

    /// Queues a ping before all frames that have not begun to leave. It replaces a waiting ping.
    pub fn push_ping(&mut self, frame: Bytes) {
        self.put_control(frame, Content::Ping);
    }

    /// Queues the close frame behind all else. The caller pushes nothing after it.
    pub fn push_close(&mut self, frame: Bytes) {
        self.slots.push_back(Slot { frames: SlotFrames::Shared(frame), content: Content::Close });
    }

    /// Drops the data, except for the rest of a frame that has begun to leave. Returns the dropped
    /// amount.
    pub fn discard_data(&mut self) -> Amount {
        let mut discarded = Amount::default();
        let written = std::mem::take(&mut self.written);
        let mut is_front = true;
        self.slots.retain_mut(|slot| {
            let is_torn = std::mem::take(&mut is_front) && written > 0;
            let kept = if !slot.is_data() {
                true
            } else if is_torn {
                cut_after_frame(slot, written, &mut discarded)
            } else {
                discarded.add(slot);
                false
            };
            if kept && is_torn {
                self.written = written;
            }
            kept
        });
        self.data_slots = self.slots.iter().filter(|slot| slot.is_data()).count();
        self.data_bytes =
            self.slots.iter().filter(|slot| slot.is_data()).map(|slot| slot.frames.len()).sum();
        discarded
    }

    /// Fills `buffers` with the bytes to write next, and returns how many buffers it filled.
    pub fn fill<'a>(&'a self, buffers: &mut [IoSlice<'a>; WRITE_SLOTS_MAX]) -> usize {
        let mut filled = 0;
        for (buffer, slot) in buffers.iter_mut().zip(&self.slots) {
            let start = if filled == 0 { self.written } else { 0 };
            *buffer = IoSlice::new(&slot.frames[start..]);
            filled += 1;
        }
        filled
    }

    /// Notes that the first `bytes` bytes of those that [`fill`](Self::fill) returned have left.
    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(front) = self.slots.front().filter(|slot| slot.frames.len() <= self.written)
        {
            self.written -= front.frames.len();
            if front.is_data() {
                self.data_slots -= 1;
                self.data_bytes -= front.frames.len();
            }
            self.slots.pop_front();
        }
    }

    fn fits(&self, burst: &Burst, limits: &QueueLimits) -> bool {
        self.data_slots == 0 || self.weight(limits) + burst.frames.len() <= limits.bytes
    }

    /// The bytes that have not left. A message that exceeds the bound by itself counts as at most
    /// half of the bound, so that others find space while it leaves.
    fn weight(&self, limits: &QueueLimits) -> usize {
        let Some(front) = self.slots.iter().find(|slot| slot.is_data()) else { return 0 };
        let written = if self.torn().is_some() { self.written } else { 0 };
        let weight = self.data_bytes - written;
        if front.is_oversize(limits) {
            weight - (front.frames.len() - written).saturating_sub(limits.bytes / 2)
        } else {
            weight
        }
    }

    /// The data slot that has begun to leave.
    fn torn(&self) -> Option<&Slot> {
        self.slots.front().filter(|slot| self.written > 0 && slot.is_data())
    }

    /// The number of data slots that have not begun to leave.
    fn whole_slots(&self) -> usize {
        self.data_slots - usize::from(self.torn().is_some())
    }

    fn append(&mut self, burst: Burst, limits: &QueueLimits) {
        let whole = self.whole_slots();
        // Invariant 3: the last slot is a data slot.
        if whole > 0
            && whole >= limits.slots
            && let Some(last) = self.slots.back_mut().filter(|last| !last.is_oversize(limits))
        {
            self.data_bytes += burst.frames.len();
            return last.join(&burst);
        }
        self.append_slot(burst);
    }

    fn append_slot(&mut self, burst: Burst) {
        self.data_bytes += burst.frames.len();
        self.data_slots += 1;
        let content = Content::Data { messages: burst.messages };
        self.slots.push_back(Slot { frames: SlotFrames::Shared(burst.frames), content });
    }

    fn push_over_oldest(&mut self, burst: Burst, limits: &QueueLimits) -> Pushed {
        self.free_whole_frames();
        let torn_weight = self.torn().map(|torn| match torn.frames.len() - self.written {
            bytes if torn.is_oversize(limits) => bytes.min(limits.bytes / 2),
            bytes => bytes,
        });
        if torn_weight.is_some_and(|weight| weight + burst.frames.len() > limits.bytes) {
            // Even without the older messages the burst would not fit.
            return Pushed::DroppedNewest(Amount::from(&burst));
        }
        let mut dropped = Amount::default();
        while !self.fits(&burst, limits) {
            dropped.bytes += self.drop_oldest_message();
            dropped.messages += 1;
        }
        self.append(burst, limits);
        Pushed::DroppedOldest(dropped)
    }

    /// Drops all messages that have not begun to leave, except for the last.
    fn keep_newest(&mut self) -> Pushed {
        self.free_whole_frames();
        let first = usize::from(self.written > 0);
        let whole: usize = self.slots.range(first..).map(Slot::messages).sum();
        let mut dropped = Amount::default();
        for _ in 1..whole {
            dropped.bytes += self.drop_oldest_message();
            dropped.messages += 1;
        }
        if dropped.messages == 0 { Pushed::Queued } else { Pushed::DroppedOldest(dropped) }
    }

    /// Moves the whole frames behind a torn one into a slot of their own, so that they can be
    /// dropped and control frames can pass them.
    fn free_whole_frames(&mut self) {
        if self.torn().is_none() {
            return;
        }
        let front = self.slots.front_mut().expect("a torn slot");
        let end = frame::frame_end(&front.frames, self.written);
        let Some(whole) = front.split_off(end) else { return };
        let place = (1..self.slots.len()).find(|&at| self.slots[at].is_data());
        self.slots.insert(place.unwrap_or(self.slots.len()), whole);
        self.data_slots += 1;
        self.advance(0);
    }

    /// Drops the oldest message that has not begun to leave, and returns its bytes.
    fn drop_oldest_message(&mut self) -> usize {
        let first = usize::from(self.written > 0);
        let oldest = (first..self.slots.len()).find(|&at| self.slots[at].is_data());
        let oldest = oldest.expect("more than a torn frame");
        let bytes = self.slots[oldest].drop_first_frame();
        if self.slots[oldest].messages() == 0 {
            self.slots.remove(oldest);
            self.data_slots -= 1;
        }
        self.data_bytes -= bytes;
        bytes
    }

    fn put_control(&mut self, frame: Bytes, content: Content) -> bool {
        self.free_whole_frames();
        let frames = SlotFrames::Shared(frame);
        let first = usize::from(self.written > 0);
        let waiting = (first..self.slots.len()).find(|&at| self.slots[at].content == content);
        if let Some(at) = waiting {
            self.slots[at].frames = frames;
            return true;
        }
        self.slots.insert(first.min(self.slots.len()), Slot { frames, content });
        false
    }
}
