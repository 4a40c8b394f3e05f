//! The private parts of the runtime that models use. Only for builds of a model checker.

use super::bell;

/// A bell, which wakes tasks that wait for a condition.
#[derive(Default)]
pub struct Bell(bell::Bell);

impl Bell {
    /// Wakes all waiters. Call it after a change.
    pub fn ring(&self) {
        self.0.ring();
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, condition: impl FnMut() -> bool) {
        self.0.until(condition).await;
    }
}
