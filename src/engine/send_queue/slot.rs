//! One slot of a send queue: whole frames of data, or one control frame.

use std::ops::Deref;

use bytes::{Buf, Bytes, BytesMut};

use super::{Amount, Burst, QueueLimits};
use crate::engine::frame;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Data { messages: usize },
    Pong,
    Ping,
    Close,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) frames: SlotFrames,
    pub(super) content: Content,
}

impl Slot {
    pub(super) fn messages(&self) -> usize {
        match self.content {
            Content::Data { messages } => messages,
            _ => 0,
        }
    }

    pub(super) fn is_data(&self) -> bool {
        matches!(self.content, Content::Data { .. })
    }

    /// Whether the slot is one message that exceeds the bound by itself.
    pub(super) fn is_oversize(&self, limits: &QueueLimits) -> bool {
        self.messages() == 1 && self.frames.len() > limits.bytes
    }

    /// Appends a burst to the data.
    pub(super) fn join(&mut self, burst: &Burst) {
        self.frames.append(&burst.frames);
        self.content = Content::Data { messages: self.messages() + burst.messages };
    }

    /// Takes the frames from byte `at` on out of the data; `None` if there are none.
    pub(super) fn split_off(&mut self, at: usize) -> Option<Self> {
        let frames = self.frames.split_off(at);
        let messages = frame::count(&frames);
        self.content = Content::Data { messages: self.messages() - messages };
        (messages > 0).then_some(Self { frames, content: Content::Data { messages } })
    }

    /// Takes the first frame out of the data, and returns its length.
    pub(super) fn drop_first_frame(&mut self) -> usize {
        let bytes = frame::frame_end(&self.frames, 1);
        self.frames.advance(bytes);
        self.content = Content::Data { messages: self.messages() - 1 };
        bytes
    }
}

/// The bytes of a slot.
#[derive(Debug)]
pub(super) enum SlotFrames {
    /// Bytes that other queues share.
    Shared(Bytes),
    /// Bytes that were joined in this queue.
    Joined(BytesMut),
}

impl SlotFrames {
    fn append(&mut self, more: &[u8]) {
        if let Self::Shared(shared) = self {
            let mut joined =
                BytesMut::with_capacity((shared.len() + more.len()).next_power_of_two());
            joined.extend_from_slice(shared);
            *self = Self::Joined(joined);
        }
        if let Self::Joined(joined) = self {
            joined.extend_from_slice(more);
        }
    }

    fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Shared(shared) => Self::Shared(shared.split_off(at)),
            Self::Joined(joined) => Self::Joined(joined.split_off(at)),
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Shared(shared) => shared.advance(bytes),
            Self::Joined(joined) => joined.advance(bytes),
        }
    }
}

impl Deref for SlotFrames {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(shared) => shared,
            Self::Joined(joined) => joined,
        }
    }
}

impl Amount {
    pub(super) fn add(&mut self, slot: &Slot) {
        self.messages += slot.messages();
        self.bytes += slot.frames.len();
    }
}

/// Cuts the data behind the frame that the first `written` bytes have torn, and adds what was cut
/// to `discarded`. `false` if no frame is torn.
pub(super) fn cut_after_frame(slot: &mut Slot, written: usize, discarded: &mut Amount) -> bool {
    let end = frame::frame_end(&slot.frames, written);
    if let Some(cut) = slot.split_off(end) {
        discarded.add(&cut);
    }
    end > written
}
