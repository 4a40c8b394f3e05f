//! The end of a server: its connections end as soon as nobody waits for a response.

use std::pin::pin;

use tokio::sync::{Notify, SetOnce};

#[derive(Default)]
pub(super) struct Ending {
    has_begun: SetOnce<()>,
    /// Rung when no connection is left.
    none_left: Notify,
}

impl Ending {
    /// Resolves when the end begins.
    pub(super) async fn begun(&self) {
        self.has_begun.wait().await;
    }

    /// To be called when the last connection has gone, also before the end.
    pub(super) fn ring(&self) {
        self.none_left.notify_waiters();
    }

    /// Begins the end, and waits until none is left.
    pub(super) async fn begin(&self, is_none_left: impl Fn() -> bool) {
        // Fails where it has begun before.
        let _ = self.has_begun.set(());
        loop {
            let mut none_left = pin!(self.none_left.notified());
            // From here on a ring is not missed, so look.
            none_left.as_mut().enable();
            if is_none_left() {
                return;
            }
            none_left.await;
        }
    }
}
