//! The index of a connection in the table of its shard.

/// The index of a connection in the table of its shard. It is reused when the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnSlot(u32);

impl ConnSlot {
    /// The slot at an index of the table.
    pub(super) fn at(index: usize) -> Self {
        Self(index as u32)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
