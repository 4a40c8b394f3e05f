//! What one half of a connection hears of its master's moves.

use std::sync::Arc;

use tokio::sync::watch;

use super::remote::Address;
use crate::backplane::BackplaneError;

/// The address that the master of a service was last said to have moved to; none before the first
/// move. It is sent again, unchanged, when sentinels can be heard again.
pub(super) type LastMove = Option<Address>;

/// Tells a half when the master that it is connected to is no longer the master. A server that has no
/// Sentinel never moves.
pub(super) enum Moves {
    /// There is no Sentinel to hear of moves from.
    Never,
    /// There is.
    Of {
        /// The service that the master is of.
        service: Arc<str>,
        /// Where the half is connected to.
        address: Address,
        /// Sees what has been told since before the half asked for that address.
        told: watch::Receiver<LastMove>,
    },
}

impl Moves {
    /// Looks whether the master has moved; nothing is waited for.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check(&self) -> Result<(), BackplaneError> {
        let Self::Of { service, address, told } = self else {
            return Ok(());
        };
        let is_news = told.has_changed().unwrap_or(false);
        match &*told.borrow() {
            Some(new) if is_news && new != address => Err(moved(service, address, new)),
            _ => Ok(()),
        }
    }

    /// The result of something that is done with the master, unless the master moves before: one that has
    /// frozen answers nothing, and is not waited for when another has taken its place.
    ///
    /// # Errors
    /// Also that the master has moved.
    pub(super) async fn unless_moved<V>(
        &mut self,
        work: impl Future<Output = Result<V, BackplaneError>>,
    ) -> Result<V, BackplaneError> {
        tokio::select! {
            biased;
            result = work => result,
            error = self.moved() => Err(error),
        }
    }

    /// Waits until the master has moved.
    ///
    /// # Cancel safety
    /// No move is forgotten.
    pub(super) async fn moved(&mut self) -> BackplaneError {
        let Self::Of { service, address, told } = self else {
            return std::future::pending().await;
        };
        while told.changed().await.is_ok() {
            match &*told.borrow() {
                Some(new) if new != address => return moved(service, address, new),
                _ => {}
            }
        }
        // The driver is gone, and nothing more is told.
        std::future::pending().await
    }
}

fn moved(service: &str, old: &Address, new: &Address) -> BackplaneError {
    let text = format!("the master of {service} has moved from {old} to {new}");
    BackplaneError::Connection(text)
}
