//! The delivering task: hands the messages of other programs to the members here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use tokio::task::coop;

use super::{Arrivals, PlainError, parse};
use crate::backplane::target::To;
use crate::backplane::this_node::ThisNode;
use crate::engine::Frames;

/// The state of the delivering task.
pub(crate) struct Delivering {
    arrivals: Arc<Arrivals>,
    /// Upgrades until the hub is dropped.
    here: Weak<dyn ThisNode>,
}

impl Delivering {
    pub(crate) fn new(arrivals: Arc<Arrivals>, here: Weak<dyn ThisNode>) -> Self {
        Self { arrivals, here }
    }

    /// Delivers until the hub is dropped.
    pub(crate) async fn run(self) {
        loop {
            let payload = self.arrivals.next().await;
            let Some(here) = self.here.upgrade() else { return };
            match self.read(&payload) {
                Ok((target, frame)) => self.deliver(&target, &frame, &*here).await,
                Err(error) => self.arrivals.reject(error),
            }
            // A long queue must not keep the worker thread from other tasks.
            coop::consume_budget().await;
        }
    }

    /// Decodes a payload: returns its target, and the frame for clients.
    fn read(&self, payload: &[u8]) -> Result<(To<'static>, Frames), PlainError> {
        let plain = self.arrivals.plain();
        let read = parse(payload, plain.room_name_bytes_max)?;
        let mut text = read.message.to_vec();
        // The codec and the message type belong to the application: if they panic, only this
        // message is lost.
        let frame = catch_unwind(AssertUnwindSafe(|| (plain.recode)(&mut text)));
        let frame = frame.map_err(|_| PlainError::Panicked)??;
        Ok((read.target, frame.into()))
    }

    async fn deliver(&self, target: &To<'_>, frame: &Frames, here: &dyn ThisNode) {
        if let Some(address) = target.address().on(self.arrivals.node()) {
            here.deliver_in_time(address, &[], frame).await;
        }
        self.arrivals.delivered();
    }
}
