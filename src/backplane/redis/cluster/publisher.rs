//! The sending half of a cluster: a connection to each master that there is something for.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{ServerError, ServerErrorKind};
use tokio::time::timeout;

use super::guide::{Guide, silent, unserved};
use crate::backplane::redis::parcels;
use crate::backplane::redis::remote::{Address, Answers, Remote};
use crate::backplane::{BackplaneError, BackplaneRequest, Parcel, Publisher};

/// How long a master may take to acknowledge its parcels, with the connection. Shorter than what the
/// hub waits, so that what the others have acknowledged is known when one of them hangs.
const SEND_DEADLINE: Duration = Duration::from_millis(1_500);

/// The sending half of [`RedisCluster`](super::RedisCluster).
pub struct ClusterPublisher {
    guide: Guide,
    connections: HashMap<Address, MultiplexedConnection>,
}

/// Why some parcels were not acknowledged.
enum Failure {
    /// Only because the topology has changed.
    Moved(BackplaneError),
    Other(BackplaneError),
}

impl Failure {
    fn new(remote: &Remote, error: &ServerError) -> Self {
        let explained = remote.refused(error);
        match error.kind() {
            Some(ServerErrorKind::Moved) => Self::Moved(explained),
            _ => Self::Other(explained),
        }
    }

    fn into_error(self) -> BackplaneError {
        match self {
            Self::Moved(error) | Self::Other(error) => error,
        }
    }
}

/// What became of the parcels of one master.
struct Outcome {
    /// The connection, if it is good for more.
    connection: Option<MultiplexedConnection>,
    /// The answer to each parcel; empty where there were none.
    answers: Answers,
    /// Why there were none.
    failure: Option<BackplaneError>,
}

impl ClusterPublisher {
    pub(super) fn new(guide: Guide) -> Self {
        Self { guide, connections: HashMap::new() }
    }

    /// Sends all parcels, each to its master, and takes out of the list what was acknowledged.
    async fn send(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Failure> {
        let channels = parcels.iter().map(|parcel| &parcel.channel);
        let (groups, nowhere) = self.guide.topology().group(channels);
        let sends = groups.iter().map(|(master, places)| {
            let connection = self.connections.get(master).cloned();
            let group = places.iter().map(|place| &parcels[*place]);
            send_group(self.guide.remote(master), connection, group)
        });
        let outcomes = join_all(sends).await;

        let mut acknowledged = vec![false; parcels.len()];
        let mut failures: Vec<Failure> =
            nowhere.iter().map(|channel| Failure::Moved(unserved(channel))).collect();
        for ((master, places), outcome) in groups.into_iter().zip(outcomes) {
            for (place, answer) in places.into_iter().zip(&outcome.answers) {
                acknowledged[place] = answer.is_ok();
            }
            failures.extend(outcome.failure.map(Failure::Other));
            failures.extend(self.read_refusals(&master, &outcome.answers));
            self.keep(master, outcome.connection);
        }
        parcels::take_acknowledged(parcels, &acknowledged);
        worst(failures)
    }

    fn read_refusals(&mut self, master: &Address, answers: &Answers) -> Vec<Failure> {
        let remote = self.guide.remote(master);
        let refusals = answers.iter().filter_map(|answer| answer.as_ref().err());
        let failures = refusals.map(|error| {
            self.guide.note(master, error);
            Failure::new(&remote, error)
        });
        failures.collect()
    }

    fn keep(&mut self, master: Address, connection: Option<MultiplexedConnection>) {
        match connection {
            Some(connection) => self.connections.insert(master, connection),
            None => self.connections.remove(&master),
        };
    }
}

impl Publisher for ClusterPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), BackplaneError> {
        match self.send(parcels).await {
            Err(Failure::Moved(_)) => {
                self.guide.refresh().await?;
                self.send(parcels).await.map_err(Failure::into_error)
            }
            sent => sent.map_err(Failure::into_error),
        }
    }
}

/// The failure that decides what is done: another than a move, where there is one.
fn worst(failures: Vec<Failure>) -> Result<(), Failure> {
    let worst = failures.into_iter().reduce(|worst, next| match worst {
        Failure::Moved(_) => next,
        Failure::Other(_) => worst,
    });
    worst.map_or(Ok(()), Err)
}

async fn send_group<'a>(
    remote: Remote,
    connection: Option<MultiplexedConnection>,
    parcels: impl ExactSizeIterator<Item = &'a Parcel>,
) -> Outcome {
    let sent = timeout(SEND_DEADLINE, send_group_patiently(&remote, connection, parcels)).await;
    match sent.unwrap_or_else(|_| Err(silent(BackplaneRequest::Publish, SEND_DEADLINE))) {
        Ok((connection, answers)) => {
            Outcome { connection: Some(connection), answers, failure: None }
        }
        Err(error) => Outcome { connection: None, answers: Vec::new(), failure: Some(error) },
    }
}

async fn send_group_patiently<'a>(
    remote: &Remote,
    connection: Option<MultiplexedConnection>,
    parcels: impl ExactSizeIterator<Item = &'a Parcel>,
) -> Result<(MultiplexedConnection, Answers), BackplaneError> {
    let connection = match connection {
        Some(connection) => connection,
        None => remote.connect().await?,
    };
    let answers = parcels::send(connection.clone(), "SPUBLISH", parcels).await;
    Ok((connection, answers.map_err(|error| remote.explain(&error))?))
}
