//! The streams of a shard: a bounded set, from which the least recently used goes first.

use super::stream::Stream;
use crate::engine::compression::Compressor;

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
    last_generation: u32,
    /// The number of calls of [`take`](Self::take).
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
        Self { slots: Vec::new(), slots_max, last_generation: 0, uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The stream; `None` if it was given to another room.
    pub(super) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation).then_some(&mut slot.stream)
    }

    /// Uses the stream `known`. If a room has none, or lost it, it gets a new one, or the one that
    /// was not used for longest.
    pub(super) fn take(
        &mut self,
        known: Option<StreamId>,
        new_compressor: impl FnOnce() -> Box<dyn Compressor>,
    ) -> StreamId {
        self.uses += 1;
        if let Some(id) = known
            && let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
        {
            slot.last_use = self.uses;
            return id;
        }
        // A generation is used again after four billion streams; no id is that old.
        self.last_generation = self.last_generation.wrapping_add(1);
        let (generation, last_use) = (self.last_generation, self.uses);
        let index = if self.slots.len() < self.slots_max {
            let stream = Stream::new(new_compressor());
            self.slots.push(Slot { stream, generation, last_use });
            self.slots.len() - 1
        } else {
            let oldest = (0..self.slots.len()).min_by_key(|&index| self.slots[index].last_use);
            let index = oldest.expect("there is at least one slot");
            let slot = &mut self.slots[index];
            slot.stream.restart();
            (slot.generation, slot.last_use) = (generation, last_use);
            index
        };
        StreamId { index: index as u32, generation }
    }
}
