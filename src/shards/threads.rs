//! Threads for shards, instead of tasks on the runtime of the application.
//!
//! A handler that blocks a thread of the runtime can hold up the tasks of the runtime, but no other
//! thread. The thread of a shard runs in the context of the runtime all the same: the runtime's
//! timers wake the shard, the runtime tells when a full socket takes bytes again, and code of the
//! application that the shard calls may spawn tasks.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use tokio::runtime::Handle;
use tokio::task::coop;

use super::alive::AliveShards;
use super::clock::Beat;
use super::driver::Driver;
use super::runtime_end::{RuntimeLink, Sentinel};

/// The thread of a shard could not be started.
#[derive(Debug)]
pub(crate) struct ThreadError {
    pub(crate) shard: usize,
    pub(crate) error: io::Error,
}

/// Threads that wait for their drivers. They end if this is dropped before [`run`](Self::run).
pub(super) struct Threads {
    /// For each thread, where it takes its driver from.
    seats: Vec<SyncSender<Driver>>,
    links: Vec<Arc<RuntimeLink>>,
    beat: Arc<Beat>,
}

impl Threads {
    /// Starts a thread for each shard.
    pub(super) fn start(shards: usize, runtime: &Handle) -> Result<Self, ThreadError> {
        let start = |shard| start(shard, runtime).map_err(|error| ThreadError { shard, error });
        let seats = (0..shards).map(start).collect::<Result<_, _>>()?;
        Ok(Self {
            seats,
            links: (0..shards).map(|_| Arc::default()).collect(),
            beat: Arc::default(),
        })
    }

    /// The link of a shard to the runtime, for its driver.
    pub(super) fn link(&self, shard: usize) -> Arc<RuntimeLink> {
        self.links[shard].clone()
    }

    /// The beat of the runtime, for the clock of the shards. It begins with [`run`](Self::run).
    pub(super) fn beat(&self) -> &Arc<Beat> {
        &self.beat
    }

    /// Hands each driver to its thread, which runs it until it stops, or until the runtime ends.
    pub(super) fn run(self, drivers: Vec<Driver>, alive: Arc<AliveShards>, runtime: &Handle) {
        let (sentinel, beat) = (Sentinel(self.links), self.beat);
        runtime.spawn(async move {
            let _sentinel = sentinel;
            tokio::select! {
                () = alive.all_gone() => {}
                () = beat.keep() => {}
            }
        });
        for (seat, driver) in self.seats.into_iter().zip(drivers) {
            let is_seated = seat.send(driver);
            assert!(is_seated.is_ok(), "the thread waits for its driver");
        }
    }
}

fn start(shard: usize, runtime: &Handle) -> io::Result<SyncSender<Driver>> {
    let (seat, driver) = sync_channel::<Driver>(1);
    let runtime = runtime.clone();
    // Linux shows the first 15 bytes of a name.
    Builder::new().name(format!("roomcast-{shard}")).spawn(move || {
        if let Ok(driver) = driver.recv() {
            runtime.block_on(coop::unconstrained(driver.run()));
        }
    })?;
    Ok(seat)
}
