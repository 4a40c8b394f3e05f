//! A server process and a client process, each on cores of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::Result;
use crate::contestants::Contestant;
use crate::figures::Writes;
use crate::layout::Layout;
use crate::requests::{Answer, Crowd, HubCounts, HubRequest, Load, Measured, Request};
use crate::stream::identity_files;
use shared::process::{self, Peer};
use support::network::Network;
use support::network::namespaces::{Namespace, SERVER};

/// The roles of the two processes of a pair: a server, and its clients.
pub(crate) type Roles = [&'static str; 2];

/// The roles when the clients make the load.
pub(crate) const FAN_OUT: Roles = ["serve", "load"];

/// The roles when the server makes the load.
pub(crate) const FLOOD: Roles = ["flood", "watch"];

/// A server and its clients.
pub(crate) struct Pair {
    contestant: Contestant,
    pub(crate) server: Peer,
    pub(crate) addr: SocketAddr,
    pub(crate) load: Peer,
    client_threads: usize,
    is_away: bool,
}

impl Pair {
    pub(crate) fn start(
        contestant: Contestant,
        network: Option<&Network>,
        [server, load]: Roles,
        layout: &Layout,
    ) -> Result<Self> {
        let name = clap::ValueEnum::to_possible_value(&contestant);
        let name = name.map(|name| name.get_name().to_owned()).unwrap_or_default();
        let threads = layout.server_threads.to_string();
        let addr = network.map_or(Ipv4Addr::LOCALHOST, |_| SERVER).to_string();
        let side = network.map(|network| &network.server);
        let mut arguments = vec![server, &name, &addr];
        if server == "serve" {
            arguments.extend(["--threads", &threads]);
        }
        let mut server = start_on(side, &layout.server_cores, &arguments)?;
        let addr = server.answer()?;
        let side = network.map(|network| &network.clients);
        let load = start_on(side, &layout.client_cores, &[load])?;
        let (client_threads, is_away) = (layout.client_threads, network.is_some());
        Ok(Self { contestant, server, addr, load, client_threads, is_away })
    }

    pub(crate) fn connected(
        contestant: Contestant,
        network: Option<&Network>,
        rooms: usize,
        members: usize,
    ) -> Result<Self> {
        let mut pair = Self::start(contestant, network, FAN_OUT, &Layout::of(contestant)?)?;
        pair.connect(rooms, members)?;
        Ok(pair)
    }

    pub(crate) fn connect(&mut self, rooms: usize, members: usize) -> Result<()> {
        let crowd = Crowd {
            server: self.addr,
            server_pid: self.server.pid(),
            dialect: self.contestant.dialect(),
            is_tls: self.contestant.is_tls(),
            offers_deflate: self.contestant.offers_deflate(),
            first_room: 0,
            rooms,
            members,
            threads: self.client_threads,
            paused_one_in: self.contestant.paused_one_in(),
            is_away: self.is_away,
        };
        match self.load.ask(&Request::Connect(crowd))? {
            Answer::Connected => Ok(()),
            answer => Err(format!("not an answer to a connect: {answer:?}").into()),
        }
    }

    /// What the writes of the server used, as far as that is known.
    pub(crate) fn writes(&mut self) -> Result<Writes> {
        match self.contestant {
            Contestant::Floor1 | Contestant::Floor2 => Ok(Writes::Send),
            // It has nothing else: without io_uring, it drops out.
            Contestant::Floor3 => Ok(Writes::IoUring { part: 1.0 }),
            contestant if contestant.is_roomcast() => {
                let counts: HubCounts = self.server.ask(&HubRequest::Count)?;
                Ok(Writes::of(counts))
            }
            _ => Ok(Writes::Unknown),
        }
    }

    /// Measures, after a warm-up of as many messages as will be in flight.
    pub(crate) fn measure(&mut self, load: Load) -> Result<Measured> {
        self.ask_measure(Load { duration: Duration::ZERO, ..load })?;
        self.ask_measure(load)
    }

    fn ask_measure(&mut self, load: Load) -> Result<Measured> {
        match self.load.ask(&Request::Measure(load))? {
            Answer::Measured(measured) => Ok(measured),
            answer => Err(format!("not an answer to a measurement: {answer:?}").into()),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for file in identity_files(self.server.pid()) {
            // Most servers have no certificate files.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Starts a process of this program on some cores, and in a network namespace.
pub(crate) fn start_on(
    side: Option<&Namespace>,
    cores: &[usize],
    arguments: &[&str],
) -> Result<Peer> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let cores = cores.to_vec();
    let start = move || {
        // A child inherits the cores of this thread.
        let all = process::cores()?;
        process::pin(&cores)?;
        let peer = Peer::start(&arguments);
        process::pin(&all)?;
        peer
    };
    match side {
        Some(side) => side.run(start),
        None => start(),
    }
}
