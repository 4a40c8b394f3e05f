//! The sending half over a cluster: one connection to each master that has had parcels.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use super::discovery::{Discovery, unserved};
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::contract::Parcel;
use crate::backplane::contract::Publisher;
use crate::backplane::contract::Unpublished;
use crate::backplane::drivers::redis::parcels;
use crate::backplane::drivers::redis::remote::{Remote, ServerAnswers};
use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::reconnecting::supervise::within;

/// How long a master may take to acknowledge its parcels, including the connection, and how much
/// longer for each MiB. Shorter than the hub's own deadline, so that the acknowledgements of the
/// other masters count when one master hangs.
const SEND_DEADLINE: Duration = Duration::from_millis(1_500);
const SEND_DEADLINE_PER_MIB: Duration = Duration::from_secs(1);

/// The sending half of [`RedisCluster`](super::RedisCluster).
pub struct ClusterPublisher {
    discovery: Discovery,
    /// Whether the topology must be learnt again before the next parcels.
    is_stale: bool,
    connections: HashMap<ServerAddr, MultiplexedConnection>,
}

impl ClusterPublisher {
    pub(super) fn new(discovery: Discovery) -> Self {
        Self { discovery, is_stale: false, connections: HashMap::new() }
    }

    /// Sends each parcel to its master, and removes those that were acknowledged from the list.
    async fn send(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), BackplaneError> {
        if self.is_stale {
            self.discovery.refresh().await?;
        }
        let channels = parcels.iter().map(|parcel| &parcel.channel);
        let groups = self.discovery.topology().group(channels);
        let sends = groups.by_master.iter().map(|(master, places)| {
            let connection = self.connections.get(master).cloned();
            let group = places.iter().map(|place| &parcels[*place]);
            send_group(self.discovery.remote(master), connection, group)
        });
        let outcomes = join_all(sends).await;

        let mut acknowledged = vec![false; parcels.len()];
        let mut first_error = groups.unserved.map(|channel| unserved(&channel));
        for ((master, places), outcome) in groups.by_master.into_iter().zip(outcomes) {
            match outcome {
                Ok((connection, answers)) => {
                    let refusal = answers.iter().find_map(|answer| answer.as_ref().err());
                    let refused =
                        refusal.map(|error| self.discovery.remote(&master).refused(error));
                    first_error = first_error.or(refused);
                    for (place, answer) in places.into_iter().zip(answers) {
                        acknowledged[place] = answer.is_ok();
                    }
                    self.connections.insert(master, connection);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    self.connections.remove(&master);
                }
            }
        }
        parcels::take_acknowledged(parcels, &acknowledged);
        first_error.map_or(Ok(()), Err)
    }
}

impl Publisher for ClusterPublisher {
    /// A failure concerns only some channels. If their slots have another master, the next attempt
    /// finds it.
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        let sent = self.send(parcels).await;
        self.is_stale = sent.is_err();
        sent.map_err(Unpublished::Channels)
    }
}

/// Sends parcels to their master. Returns the connection, to be used again, and the answer to each
/// parcel.
async fn send_group<'a>(
    remote: Remote,
    connection: Option<MultiplexedConnection>,
    parcels: impl ExactSizeIterator<Item = &'a Parcel> + Clone,
) -> Result<(MultiplexedConnection, ServerAnswers), BackplaneError> {
    let bytes: usize = parcels.clone().map(|parcel| parcel.payload.len()).sum();
    let deadline = SEND_DEADLINE + SEND_DEADLINE_PER_MIB * (bytes >> 20) as u32;
    let sending = async {
        let connection = match connection {
            Some(connection) => connection,
            None => remote.connect().await?,
        };
        let sent = parcels::send(connection.clone(), "SPUBLISH", parcels, false).await;
        Ok((connection, sent.map_err(|error| remote.explain(&error))?.answers))
    };
    within(deadline, BackplaneRequest::Publish, sending).await
}
