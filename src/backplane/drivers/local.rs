//! The driver within one process.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backplane::contract::Backplane;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;
use crate::backplane::contract::Lost;
use crate::backplane::contract::Parcel;
use crate::backplane::contract::Publisher;
use crate::backplane::contract::Subscriber;
use crate::backplane::contract::Unpublished;

/// A backplane within one process: the hubs that are built with clones of it are the nodes of one
/// cluster. For tests, and for several hubs in one application.
///
/// It loses a message only if a node cannot keep up and its queue is full.
///
/// # Examples
/// ```
/// use roomcast::{Hub, Local};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Local::new();
/// let here = Hub::<String>::builder().backplane(bus.clone(), "chat").build()?;
/// let there = Hub::<String>::builder().backplane(bus, "chat").build()?;
/// here.to_room("lobby", "hello").await?; // reaches the members of both
/// # drop(there);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Local {
    nodes: Arc<Mutex<LocalNodes>>,
}

/// The nodes that are connected. The lock is held while payloads are handed over, which never
/// waits. So all nodes receive the payloads in the same order.
#[derive(Default)]
struct LocalNodes {
    next_number: u64,
    by_number: HashMap<u64, LocalNode>,
}

/// A connected node: the channels that it is subscribed to, and the queue for its payloads.
struct LocalNode {
    channels: HashSet<Arc<str>>,
    inbound: Inbound,
}

impl Local {
    /// Makes a backplane without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn nodes(&self) -> MutexGuard<'_, LocalNodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backplane for Local {
    type Publisher = LocalPublisher;
    type Subscriber = LocalSubscriber;

    async fn connect_publisher(&self) -> Result<LocalPublisher, BackplaneError> {
        Ok(LocalPublisher(self.clone()))
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<LocalSubscriber, BackplaneError> {
        let mut nodes = self.nodes();
        let number = nodes.next_number;
        nodes.next_number += 1;
        nodes.by_number.insert(number, LocalNode { channels: HashSet::new(), inbound });
        drop(nodes);
        Ok(LocalSubscriber { bus: self.clone(), number })
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("nodes", &self.nodes().by_number.len()).finish()
    }
}

/// The sending half of a [`Local`].
#[derive(Debug)]
pub struct LocalPublisher(Local);

impl Publisher for LocalPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        let nodes = self.0.nodes();
        for Parcel { channel, payload } in parcels.drain(..) {
            for node in nodes.by_number.values() {
                if node.channels.contains(&channel) {
                    node.inbound.receive(&channel, payload.clone());
                }
            }
        }
        Ok(())
    }
}

/// The receiving half of a [`Local`].
#[derive(Debug)]
pub struct LocalSubscriber {
    bus: Local,
    number: u64,
}

impl LocalSubscriber {
    fn change(&self, change: impl FnOnce(&mut HashSet<Arc<str>>)) {
        if let Some(node) = self.bus.nodes().by_number.get_mut(&self.number) {
            change(&mut node.channels);
        }
    }
}

impl Subscriber for LocalSubscriber {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        self.change(|subscribed| subscribed.extend(channels.drain(..)));
        Ok(())
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        self.change(|subscribed| subscribed.retain(|channel| !channels.contains(channel)));
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn lost(&mut self) -> Lost {
        std::future::pending().await
    }
}

impl Drop for LocalSubscriber {
    fn drop(&mut self) {
        self.bus.nodes().by_number.remove(&self.number);
    }
}
