//! The end of a server: its connections end as soon as nobody waits for a response.

use std::pin::pin;

use tokio::sync::{Notify, SetOnce};

use super::front::Front;

#[derive(Default)]
pub(super) struct Ending {
    has_begun: SetOnce<()>,
    /// Rung when no connection is pending.
    none_pending: Notify,
}

impl Ending {
    pub(super) async fn begun(&self) {
        self.has_begun.wait().await;
    }

    pub(super) fn ring(&self) {
        self.none_pending.notify_waiters();
    }
}

impl Front {
    /// Begins the end, and waits for it. For a server that accepts no more.
    pub(super) async fn end(&self) {
        // Fails where it has begun before.
        let _ = self.ending.has_begun.set(());
        loop {
            let mut none_pending = pin!(self.ending.none_pending.notified());
            // From here on a ring is not missed, so look.
            none_pending.as_mut().enable();
            if self.admission.connections() == 0 {
                return;
            }
            none_pending.await;
        }
    }
}
