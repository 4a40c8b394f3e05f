//! The streams of a shard: a bounded set, shared by the rooms that are busy.
//!
//! If all streams are taken, a room gets the stream of another room only if that room has been
//! silent for a while: during as many uses of streams as there are streams, twice. Without this
//! rule, a few rooms too many would take each other's streams all the time, and none would keep its
//! window. With it, the rooms that came first keep theirs, and the others stay plain.

use super::stream::Stream;
use crate::engine::compression::Compressor;

/// The streams that are looked at when a room needs one: a room without a stream asks at each turn.
const LOOKS_MAX: usize = 8;

/// A stream of the set. It names nothing any more once the stream was given to another room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::shard) struct StreamId {
    index: u32,
    generation: u32,
}

/// The streams of the rooms to which compressed bursts were sent last.
pub(super) struct Streams {
    slots: Vec<Slot>,
    slots_max: usize,
    /// The slot that is looked at next, when all are taken.
    hand: usize,
    last_generation: u32,
    /// The number of calls of [`claim`](Self::claim).
    uses: u64,
}

struct Slot {
    stream: Stream,
    generation: u32,
    last_use: u64,
}

impl Streams {
    /// An empty set of at most `streams_max` streams, at least one.
    pub(super) fn new(streams_max: usize) -> Self {
        let slots_max = streams_max.max(1);
        Self { slots: Vec::new(), slots_max, hand: 0, last_generation: 0, uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The stream; `None` if it was given to another room.
    pub(super) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.slot(id).map(|slot| &mut slot.stream)
    }

    fn slot(&mut self, id: StreamId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation).then_some(slot)
    }

    /// Uses the stream `known`. If a room has none, or lost it, it gets one that is new, or that
    /// was not used for long. `None` if there is none.
    pub(super) fn claim(
        &mut self,
        known: Option<StreamId>,
        new_compressor: impl FnOnce() -> Box<dyn Compressor>,
    ) -> Option<StreamId> {
        self.uses += 1;
        let uses = self.uses;
        if let Some(id) = known
            && let Some(slot) = self.slot(id)
        {
            slot.last_use = uses;
            return known;
        }
        if self.slots.len() < self.slots_max {
            let slot = Slot { stream: Stream::new(new_compressor()), generation: 0, last_use: 0 };
            self.slots.push(slot);
            return Some(self.hand_over(self.slots.len() - 1));
        }
        let index = self.find_silent()?;
        self.slots[index].stream.restart();
        Some(self.hand_over(index))
    }

    /// Looks for a stream that was not used for long.
    fn find_silent(&mut self) -> Option<usize> {
        let slots = self.slots.len();
        let silence = 2 * slots as u64;
        (0..LOOKS_MAX.min(slots)).find_map(|_| {
            let index = self.hand;
            self.hand = (index + 1) % slots;
            (self.uses - self.slots[index].last_use > silence).then_some(index)
        })
    }

    /// Gives a slot to another room.
    fn hand_over(&mut self, index: usize) -> StreamId {
        // A generation is used again after four billion times, and a stream changes hands after a
        // silence only.
        self.last_generation = self.last_generation.wrapping_add(1);
        let slot = &mut self.slots[index];
        (slot.generation, slot.last_use) = (self.last_generation, self.uses);
        StreamId { index: index as u32, generation: slot.generation }
    }
}
