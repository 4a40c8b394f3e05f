//! The send queue of a connection whose socket has blocked: what the kernel would not take.
//!
//! A ring of slots in the order of the wire. A slot holds one [`Burst`], whole frames joined into
//! one buffer, or one control frame. Data is bounded in slots and in bytes; control frames have
//! room of their own: at most one pong, one ping and one close wait, whatever the data does.
//!
//! ```text
//!  front                                                back
//!  ┌──────────────┬──────┬───────┬───────┬─────┬───────┐
//!  │ torn burst   │ pong │ burst │ burst │ ... │ close │
//!  └──────────────┴──────┴───────┴───────┴─────┴───────┘
//!   ^ `written` bytes of it have left: it stays, or a frame would be torn
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::frame;

/// What happens to a message for a connection whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is evicted: closed with 1008, and told of as
    /// [`DisconnectReason::SlowClient`](super::DisconnectReason::SlowClient).
    #[default]
    Evict,
    /// The oldest queued messages make room. For streams of which only the newest counts.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

/// The bounds of a send queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Bursts.
    pub slots: usize,
    /// Bytes of data frames.
    pub bytes: usize,
    /// What happens past either.
    pub overflow: Overflow,
}

/// Whole data frames in one buffer.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    /// The frames, one after the other.
    pub frames: Bytes,
    /// How many.
    pub messages: usize,
}

/// An amount of data, for counters and reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: usize,
    /// Bytes, headers included.
    pub bytes: usize,
}

impl Amount {
    fn add(&mut self, slot: &Slot) {
        self.messages += slot.messages();
        self.bytes += slot.frames.len();
    }
}

/// What became of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the socket.
    Queued,
    /// It waits, and older ones were dropped for it.
    DroppedOldest(Amount),
    /// It was dropped.
    DroppedNewest(Amount),
    /// There is no room, and the policy is to evict.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Data { messages: usize },
    Pong,
    Ping,
    Close,
}

#[derive(Debug)]
struct Slot {
    frames: Bytes,
    content: Content,
}

impl Slot {
    fn messages(&self) -> usize {
        match self.content {
            Content::Data { messages } => messages,
            _ => 0,
        }
    }

    fn is_data(&self) -> bool {
        matches!(self.content, Content::Data { .. })
    }
}

/// Slots that a first allocation has room for: the default bound, and the control frames.
const CAPACITY_FIRST: usize = 16 + 3;

/// The most buffers that one vectored write takes from a queue. With joined bursts, a write of more
/// is far beyond what a socket takes at once.
pub const WRITE_SLOTS_MAX: usize = 16;

/// A ring of what waits for one socket.
#[derive(Debug)]
pub struct SendQueue {
    slots: VecDeque<Slot>,
    /// Bytes of the front slot that have left.
    written: usize,
    data_slots: usize,
    data_bytes: usize,
}

impl SendQueue {
    /// An empty queue, with room for a first allocation's worth of slots.
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

    /// The bytes of the bursts that wait. One that has begun to leave counts as a whole.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// The data that waits: the messages that have not left as a whole, and what is left of them.
    pub fn queued(&self) -> Amount {
        let mut queued = Amount::default();
        self.slots.iter().filter(|slot| slot.is_data()).for_each(|slot| queued.add(slot));
        if let Some(torn) = self.torn() {
            queued.messages -= frame::count_within(&torn.frames, self.written);
            queued.bytes -= self.written;
        }
        queued
    }

    /// Appends a burst of which `written` bytes have left, to an empty queue.
    ///
    /// With some of it gone it is taken whatever its size: a torn frame must be finished.
    pub fn start(&mut self, burst: Burst, written: usize, limits: &QueueLimits) -> Pushed {
        debug_assert!(self.is_empty());
        if written == 0 {
            return self.push(burst, limits);
        }
        self.append(burst);
        self.advance(written);
        Pushed::Queued
    }

    /// Appends a burst, or does what the policy says if there is no room.
    pub fn push(&mut self, burst: Burst, limits: &QueueLimits) -> Pushed {
        if self.has_room(&burst, limits) {
            self.append(burst);
            return Pushed::Queued;
        }
        let amount = Amount { messages: burst.messages, bytes: burst.frames.len() };
        match limits.overflow {
            Overflow::Evict => Pushed::Full,
            Overflow::DropNewest => Pushed::DroppedNewest(amount),
            Overflow::DropOldest => self.push_over_oldest(burst, limits),
        }
    }

    /// Queues a pong before the data that has not begun to leave. It replaces one that waits: only
    /// the newest ping need be answered (RFC 6455, section 5.5.3). `true` if it did.
    pub fn push_pong(&mut self, frame: Bytes) -> bool {
        self.put_control(frame, Content::Pong)
    }

    /// Queues a ping before the data that has not begun to leave, unless one waits.
    pub fn push_ping(&mut self, frame: Bytes) {
        self.put_control(frame, Content::Ping);
    }

    /// Queues the close frame behind all else. Nothing is to be pushed after it.
    pub fn push_close(&mut self, frame: Bytes) {
        self.slots.push_back(Slot { frames: frame, content: Content::Close });
    }

    /// Throws the data away, but for the rest of a frame that has begun to leave.
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

    /// Fills `buffers` with what is to be written next, and returns how many it filled.
    pub fn fill<'a>(&'a self, buffers: &mut [IoSlice<'a>; WRITE_SLOTS_MAX]) -> usize {
        let mut filled = 0;
        for (buffer, slot) in buffers.iter_mut().zip(&self.slots) {
            let start = if filled == 0 { self.written } else { 0 };
            *buffer = IoSlice::new(&slot.frames[start..]);
            filled += 1;
        }
        filled
    }

    /// Takes note that `bytes` of what [`fill`](Self::fill) gave have left.
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

    fn has_room(&self, burst: &Burst, limits: &QueueLimits) -> bool {
        self.data_slots < limits.slots && self.data_bytes + burst.frames.len() <= limits.bytes
    }

    /// The burst that has begun to leave.
    fn torn(&self) -> Option<&Slot> {
        self.slots.front().filter(|slot| self.written > 0 && slot.is_data())
    }

    /// Whether there is room for the burst once all that can be dropped is dropped.
    fn has_room_beside_torn(&self, burst: &Burst, limits: &QueueLimits) -> bool {
        let (slots, bytes) = self.torn().map_or((0, 0), |torn| (1, torn.frames.len()));
        slots < limits.slots && bytes + burst.frames.len() <= limits.bytes
    }

    fn append(&mut self, burst: Burst) {
        self.data_slots += 1;
        self.data_bytes += burst.frames.len();
        let content = Content::Data { messages: burst.messages };
        self.slots.push_back(Slot { frames: burst.frames, content });
    }

    fn push_over_oldest(&mut self, burst: Burst, limits: &QueueLimits) -> Pushed {
        if !self.has_room_beside_torn(&burst, limits) {
            // Older ones would be dropped for nothing.
            let bytes = burst.frames.len();
            return Pushed::DroppedNewest(Amount { messages: burst.messages, bytes });
        }
        let mut dropped = Amount::default();
        while !self.has_room(&burst, limits) {
            let first = usize::from(self.written > 0);
            let oldest = (first..self.slots.len()).find(|&at| self.slots[at].is_data());
            let slot = oldest.and_then(|at| self.slots.remove(at)).expect("more than a torn burst");
            self.data_slots -= 1;
            self.data_bytes -= slot.frames.len();
            dropped.add(&slot);
        }
        self.append(burst);
        Pushed::DroppedOldest(dropped)
    }

    fn put_control(&mut self, frame: Bytes, content: Content) -> bool {
        let first = usize::from(self.written > 0);
        let waiting = (first..self.slots.len()).find(|&at| self.slots[at].content == content);
        if let Some(at) = waiting {
            self.slots[at].frames = frame;
            return true;
        }
        self.slots.insert(first.min(self.slots.len()), Slot { frames: frame, content });
        false
    }
}

/// Cuts a burst behind the frame that `written` bytes have torn; `false` if they tear none.
fn cut_after_frame(slot: &mut Slot, written: usize, discarded: &mut Amount) -> bool {
    let end = frame::frame_end(&slot.frames, written);
    let cut = frame::count(&slot.frames[end..]);
    discarded.messages += cut;
    discarded.bytes += slot.frames.len() - end;
    slot.content = Content::Data { messages: slot.messages() - cut };
    slot.frames.truncate(end);
    end > written
}
