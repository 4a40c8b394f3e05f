//! The bounds in bytes of a new hub: from its settings, or else from the memory of the process.

use super::{BackplaneSetting, Builder};
use crate::hub::byte_bounds::ByteBounds;
use crate::hub::events;
use crate::process::{Needs, ProcessLimits, Shortfall};

/// The settings that were set, without defaults. `None` means not set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ByteSettings {
    pub(super) queued: Option<usize>,
    pub(super) inbox: Option<usize>,
    pub(super) outbox: Option<usize>,
    pub(super) connections: Option<usize>,
}

impl<Out, In> Builder<Out, In> {
    /// The bounds of the new hub: settings, or else defaults. Logs them, and warns of system limits
    /// that are too low.
    pub(super) fn byte_bounds(&self, hub: &str) -> ByteBounds {
        let limits = ProcessLimits::read();
        let usual = ByteBounds::of(None, self.shards);
        let by_memory = ByteBounds::of(limits.memory, self.shards);
        let bounds = ByteBounds {
            queued: self.byte_settings.queued.unwrap_or(by_memory.queued),
            inbox: self.byte_settings.inbox.unwrap_or(by_memory.inbox),
            outbox: self.byte_settings.outbox.unwrap_or(by_memory.outbox),
            socket_send_buffer: self.socket_send_buffer.or(by_memory.socket_send_buffer),
        };
        match limits.memory {
            Some(memory) if by_memory != usual => events::small_memory(hub, memory, bounds),
            Some(memory) => events::memory(hub, memory, bounds),
            None => {}
        }
        let shortfalls = limits.shortfalls(self.needs(bounds));
        shortfalls.for_each(|shortfall: Shortfall| events::falls_short(hub, shortfall));
        bounds
    }

    fn needs(&self, bounds: ByteBounds) -> Needs {
        let outbox = self.backplane.as_ref().map_or(0, |_: &BackplaneSetting| bounds.outbox);
        let inboxes = bounds.inbox.saturating_mul(self.shards);
        let queued_bytes = bounds.queued.saturating_add(inboxes).saturating_add(outbox);
        Needs { connections: self.byte_settings.connections, queued_bytes }
    }
}
