//! The two halves of a connection to a backplane. Each fails and recovers on its own.

use std::sync::Arc;

use tokio::sync::watch;

use crate::backplane::contract::BackplaneError;
use crate::backplane::health::Health;
use crate::backplane::health::half::Half;

/// The state of both halves, and the signal from one half to the other that it has reached a
/// working server.
pub(crate) struct ConnectionHalves {
    pub(crate) health: Arc<Health>,
    recovered: watch::Sender<()>,
}

impl ConnectionHalves {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        Self { health, recovered: watch::Sender::new(()) }
    }

    /// Notes that a half works. Returns `true`, and signals the other half, if it did not work
    /// before.
    pub(crate) fn up(&self, half: Half) -> bool {
        let is_news = self.health.up(half);
        if is_news {
            self.recovered.send_replace(());
        }
        is_news
    }

    /// Notes that a half does not work. Returns `true` if it worked before.
    pub(crate) fn down(&self, half: Half, error: BackplaneError) -> bool {
        self.health.down(half, error)
    }

    /// Changes whenever one of the halves recovers.
    pub(super) fn recovered(&self) -> watch::Receiver<()> {
        self.recovered.subscribe()
    }
}
