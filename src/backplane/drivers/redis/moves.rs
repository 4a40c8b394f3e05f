//! What one half of a connection hears of its master's moves.

use std::sync::Arc;

use tokio::sync::watch;

use super::address::Address;
use crate::backplane::contract::BackplaneError;

/// What sentinels have told of the master of a service.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many moves they have told of.
    moves: u64,
    /// Where the master went with the last one.
    master: Option<Address>,
}

impl Told {
    /// Notes a move.
    pub(super) fn move_to(&mut self, master: Address) {
        self.moves += 1;
        self.master = Some(master);
    }
}

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
        told: watch::Receiver<Told>,
        /// The moves that had been told of before the half asked for that address: they do not count.
        before: u64,
    },
}

impl Moves {
    /// Hears of moves from the call on; where the half is connected to is known later.
    pub(super) fn hear(
        service: Arc<str>,
        told: watch::Receiver<Told>,
    ) -> impl FnOnce(Address) -> Self {
        let before = told.borrow().moves;
        move |address| Self::Of { service, address, told, before }
    }

    /// Looks whether the master has moved; nothing is waited for.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check(&self) -> Result<(), BackplaneError> {
        let Self::Of { service, address, told, before } = self else {
            return Ok(());
        };
        let told = told.borrow();
        match &told.master {
            Some(new) if told.moves > *before && new != address => {
                let text = format!("the master of {service} has moved from {address} to {new}");
                Err(BackplaneError::Connection(text))
            }
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
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            let is_over = match self {
                Self::Never => true,
                // An error means that the driver is gone.
                Self::Of { told, .. } => told.changed().await.is_err(),
            };
            if is_over {
                return std::future::pending().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "host".into(), port }
    }

    /// Sentinels that have told of a move to port 1, and a half that is connected to a port.
    fn connected(port: u16) -> (watch::Sender<Told>, Moves) {
        let told = watch::Sender::<Told>::default();
        told.send_modify(|told| told.move_to(address(1)));
        let moves = Moves::hear("chat".into(), told.subscribe())(address(port));
        (told, moves)
    }

    #[test]
    fn move_before_the_half_asked_does_not_count_also_when_a_sentinel_is_back() {
        let (told, mut moves) = connected(2);
        told.send_modify(|_| {});
        assert_eq!(moves.check(), Ok(()));
        assert_eq!(moves.moved().now_or_never(), None);
    }

    #[test]
    fn move_to_another_address_is_told_again_and_again() {
        let (told, mut moves) = connected(2);
        told.send_modify(|told| told.move_to(address(3)));
        for _ in 0..2 {
            assert!(moves.check().is_err());
            let error = moves.moved().now_or_never().expect("it has moved");
            assert!(error.to_string().contains("from host:2 to host:3"), "{error}");
        }
    }

    #[test]
    fn move_to_where_the_half_is_connected_is_none() {
        let (told, mut moves) = connected(2);
        told.send_modify(|told| told.move_to(address(2)));
        assert_eq!(moves.check(), Ok(()));
        assert_eq!(moves.moved().now_or_never(), None);
    }

    #[test]
    fn server_without_sentinels_never_moves() {
        assert_eq!(Moves::Never.check(), Ok(()));
        assert_eq!(Moves::Never.moved().now_or_never(), None);
    }
}
