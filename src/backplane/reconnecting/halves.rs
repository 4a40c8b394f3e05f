//! The two halves of a connection to a backplane, which fail and come back by themselves.

use std::sync::Arc;

use tokio::sync::watch;

use crate::backplane::contract::BackplaneError;
use crate::backplane::health::Health;
use crate::backplane::health::half::Half;

/// The state of both halves, and a call from one half to the other when it has found a server that works.
pub(crate) struct Halves {
    pub(crate) health: Arc<Health>,
    recovered: watch::Sender<()>,
}

impl Halves {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        Self { health, recovered: watch::Sender::new(()) }
    }

    /// Notes that a half works. `true` if it did not work before; then the other half is called, too.
    pub(crate) fn up(&self, half: Half) -> bool {
        let is_news = self.health.up(half);
        if is_news {
            self.recovered.send_replace(());
        }
        is_news
    }

    /// Notes that a half does not work. `true` if it worked before.
    pub(crate) fn down(&self, half: Half, error: BackplaneError) -> bool {
        self.health.down(half, error)
    }

    /// Changes whenever one of the halves comes back.
    pub(super) fn recovered(&self) -> watch::Receiver<()> {
        self.recovered.subscribe()
    }
}
