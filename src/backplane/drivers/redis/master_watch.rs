//! What one half of a connection hears of its master's moves.

use std::sync::Arc;

use tokio::sync::watch;

use super::server_addr::ServerAddr;
use crate::backplane::contract::BackplaneError;

/// What sentinels have told of the master of a service.
#[derive(Debug, Default)]
pub(super) struct AnnouncedMoves {
    /// How many moves they have told of.
    count: u64,
    /// Where the master went with the last one.
    latest: Option<ServerAddr>,
}

impl AnnouncedMoves {
    /// Notes a move.
    pub(super) fn announce(&mut self, master: ServerAddr) {
        self.count += 1;
        self.latest = Some(master);
    }
}

/// Tells a half when the master that it is connected to is no longer the master. A server that has no
/// Sentinel never moves.
pub(super) enum MasterWatch {
    /// There is no Sentinel to hear of moves from.
    NoSentinel,
    /// There is.
    Sentinel {
        /// The service that the master is of.
        service: Arc<str>,
        /// Where the half is connected to.
        address: ServerAddr,
        announced: watch::Receiver<AnnouncedMoves>,
        /// The moves that had been told of before the half asked for that address: they do not count.
        seen: u64,
    },
}

impl MasterWatch {
    /// Hears of moves from the call on; where the half is connected to is known later.
    pub(super) fn begin(
        service: Arc<str>,
        announced: watch::Receiver<AnnouncedMoves>,
    ) -> impl FnOnce(ServerAddr) -> Self {
        let seen = announced.borrow().count;
        move |address| Self::Sentinel { service, address, announced, seen }
    }

    /// Looks whether the master has moved; nothing is waited for.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check(&self) -> Result<(), BackplaneError> {
        let Self::Sentinel { service, address, announced, seen } = self else {
            return Ok(());
        };
        let announced = announced.borrow();
        match &announced.latest {
            Some(new) if announced.count > *seen && new != address => {
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
                Self::NoSentinel => true,
                // An error means that the driver is gone.
                Self::Sentinel { announced, .. } => announced.changed().await.is_err(),
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

    fn address(port: u16) -> ServerAddr {
        ServerAddr { host: "host".into(), port }
    }

    /// Sentinels that have told of a move to port 1, and a half that is connected to a port.
    fn connected(port: u16) -> (watch::Sender<AnnouncedMoves>, MasterWatch) {
        let announced = watch::Sender::<AnnouncedMoves>::default();
        announced.send_modify(|announced| announced.announce(address(1)));
        let master = MasterWatch::begin("chat".into(), announced.subscribe())(address(port));
        (announced, master)
    }

    #[test]
    fn move_before_the_half_asked_does_not_count_also_when_a_sentinel_is_back() {
        let (announced, mut master) = connected(2);
        announced.send_modify(|_| {});
        assert_eq!(master.check(), Ok(()));
        assert_eq!(master.moved().now_or_never(), None);
    }

    #[test]
    fn move_to_another_address_is_told_again_and_again() {
        let (announced, mut master) = connected(2);
        announced.send_modify(|announced| announced.announce(address(3)));
        for _ in 0..2 {
            assert!(master.check().is_err());
            let error = master.moved().now_or_never().expect("it has moved");
            assert!(error.to_string().contains("from host:2 to host:3"), "{error}");
        }
    }

    #[test]
    fn move_to_where_the_half_is_connected_is_none() {
        let (announced, mut master) = connected(2);
        announced.send_modify(|announced| announced.announce(address(2)));
        assert_eq!(master.check(), Ok(()));
        assert_eq!(master.moved().now_or_never(), None);
    }

    #[test]
    fn server_without_sentinels_never_moves() {
        assert_eq!(MasterWatch::NoSentinel.check(), Ok(()));
        assert_eq!(MasterWatch::NoSentinel.moved().now_or_never(), None);
    }
}
