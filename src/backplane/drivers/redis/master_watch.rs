//! Notices when the master that a half is connected to is no longer the master, because a sentinel
//! says so.

use std::sync::Arc;

use tokio::sync::watch;

use super::server_addr::ServerAddr;
use crate::backplane::contract::BackplaneError;

/// The moves that sentinels have announced for the master of a service.
#[derive(Debug, Default)]
pub(super) struct AnnouncedMoves {
    /// The number of moves.
    count: u64,
    /// The address of the master after the last move.
    latest: Option<ServerAddr>,
}

impl AnnouncedMoves {
    /// Notes a move.
    pub(super) fn announce(&mut self, master: ServerAddr) {
        self.count += 1;
        self.latest = Some(master);
    }
}

/// The watch of one half over the master that it is connected to.
pub(super) enum MasterWatch {
    /// There is no Sentinel: the server never moves.
    NoSentinel,
    /// Sentinels announce moves.
    Sentinel {
        /// The service that the master belongs to.
        service: Arc<str>,
        /// The address that the half is connected to.
        address: ServerAddr,
        announced: watch::Receiver<AnnouncedMoves>,
        /// The number of moves before the half asked for that address: these moves do not count.
        seen: u64,
    },
}

impl MasterWatch {
    /// Watches for moves from this call on. The half gives the address later, when it knows it.
    pub(super) fn begin(
        service: Arc<str>,
        announced: watch::Receiver<AnnouncedMoves>,
    ) -> impl FnOnce(ServerAddr) -> Self {
        let seen = announced.borrow().count;
        move |address| Self::Sentinel { service, address, announced, seen }
    }

    /// Checks whether the master has moved. Never waits.
    ///
    /// # Errors
    /// The master has moved.
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

    /// Waits for some work with the master, but only until the master moves. A server that hangs
    /// does not answer, and must not delay the half when another server has taken over.
    ///
    /// # Errors
    /// Those of the work, or that the master has moved.
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
    /// No move is lost when the future is dropped.
    pub(super) async fn moved(&mut self) -> BackplaneError {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            let is_over = match self {
                Self::NoSentinel => true,
                // An error means that the driver was dropped.
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

    /// Sentinels that have announced a move to port 1, and the watch of a half that is connected to
    /// `port`.
    fn connected(port: u16) -> (watch::Sender<AnnouncedMoves>, MasterWatch) {
        let announced = watch::Sender::<AnnouncedMoves>::default();
        announced.send_modify(|announced| announced.announce(address(1)));
        let master = MasterWatch::begin("chat".into(), announced.subscribe())(address(port));
        (announced, master)
    }

    #[test]
    fn move_before_the_half_asked_does_not_count_even_when_a_sentinel_returns() {
        let (announced, mut master) = connected(2);
        announced.send_modify(|_| {});
        assert_eq!(master.check(), Ok(()));
        assert_eq!(master.moved().now_or_never(), None);
    }

    #[test]
    fn move_to_another_address_is_reported_each_time() {
        let (announced, mut master) = connected(2);
        announced.send_modify(|announced| announced.announce(address(3)));
        for _ in 0..2 {
            assert!(master.check().is_err());
            let error = master.moved().now_or_never().expect("it has moved");
            assert!(error.to_string().contains("from host:2 to host:3"), "{error}");
        }
    }

    #[test]
    fn move_to_the_connected_address_does_not_count() {
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
