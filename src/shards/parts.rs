//! What models see of the shards' private parts, in the builds of a model checker alone.

use super::relief;

/// The wait for space in the inboxes.
#[derive(Default)]
pub struct Relief(relief::Relief);

impl Relief {
    /// Wakes all waiting calls. To be called after space was made.
    pub fn ring(&self) {
        self.0.ring();
    }

    /// Tries until there is a result.
    pub async fn until<R>(&self, attempt: impl FnMut() -> Option<R>) -> R {
        self.0.until(attempt).await
    }
}
