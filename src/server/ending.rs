//! The end of a server: each connection ends as soon as no response is under way on it.

use std::pin::pin;

use tokio::sync::{Notify, SetOnce};

/// Notifies the connections that the server ends, and waits until all of them have ended.
#[derive(Default)]
pub(super) struct Ending {
    has_begun: SetOnce<()>,
    /// Notified when no connection is left.
    none_left: Notify,
}

impl Ending {
    /// Resolves when the end begins.
    pub(super) async fn begun(&self) {
        self.has_begun.wait().await;
    }

    /// Notifies [`begin`](Self::begin) that the last connection has gone. May be called before the
    /// end begins.
    pub(super) fn notify_none_left(&self) {
        self.none_left.notify_waiters();
    }

    /// Begins the end, and waits until no connection is left.
    pub(super) async fn begin(&self, is_none_left: impl Fn() -> bool) {
        // Fails if the end has already begun.
        let _ = self.has_begun.set(());
        loop {
            let mut none_left = pin!(self.none_left.notified());
            // From here on no notification is missed, so check the condition now.
            none_left.as_mut().enable();
            if is_none_left() {
                return;
            }
            none_left.await;
        }
    }
}
