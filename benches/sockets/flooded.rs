//! The flood scene: a growing number of tasks in the server flood a room, while a client of another room
//! times its echoes.
//!
//! The other scenes are closed loops, whose clients wait for their own messages. Here a server sends as
//! fast as it can, and its clients measure the rate.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contestants::Contestant;
use crate::figures::Flood;
use crate::layout::Layout;
use crate::pair::{FLOOD, Pair};
use crate::{Result, plan};
use shared::process;
use support::flood::clients::{Clients, Measured};

/// A request to the process of the clients.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Connects all clients, and waits until all are in their rooms.
    Enter { server: SocketAddr, server_pid: u32 },
    /// Makes the server flood, and measures.
    Measure { tasks: usize, duration: Duration },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Entered,
    Measured(Measured),
}

/// Serves the parent's requests.
pub(crate) fn watch() -> Result<()> {
    process::raise_descriptor_limit()?;
    let mut entered = None;
    process::answer_all(|request| match (request, &entered) {
        (Request::Enter { server, server_pid }, _) => {
            entered = Some((Clients::enter(server)?, server_pid));
            Ok(Answer::Entered)
        }
        (Request::Measure { tasks, duration }, Some((clients, server_pid))) => {
            let measured = clients.measure(tasks, duration, || process::cpu_time(*server_pid));
            measured.map(Answer::Measured)
        }
        (Request::Measure { .. }, None) => Err("nobody is connected".into()),
    })
}

/// A contestant of the flood scene.
pub(crate) struct Team {
    pub(crate) contestant: Contestant,
    /// The running processes, or the failure.
    pair: Result<Pair, String>,
    /// The results for each number of tasks.
    floods: Vec<Flood>,
}

impl Team {
    pub(crate) fn join(contestant: Contestant) -> Self {
        let new = |tasks| Flood { contestant, tasks, rounds: Vec::new() };
        let pair = enter(contestant).map_err(|error| format!("connecting: {error}"));
        Self { contestant, pair, floods: plan::FLOODS.map(new).into() }
    }

    /// Measures one flood once.
    pub(crate) fn play(&mut self, number: usize, duration: Duration) {
        let Ok(pair) = &mut self.pair else { return };
        let flood = &mut self.floods[number];
        match measure(pair, flood.tasks, duration) {
            Ok(measured) => flood.rounds.push(measured),
            Err(error) => self.pair = Err(format!("a flood by {} tasks: {error}", flood.tasks)),
        }
    }

    /// Returns the results, or the failure.
    pub(crate) fn finish(self) -> Result<Vec<Flood>, String> {
        self.pair.map(|_| self.floods)
    }
}

fn enter(contestant: Contestant) -> Result<Pair> {
    let mut pair = Pair::start(contestant, None, FLOOD, &Layout::of(contestant)?)?;
    let request = Request::Enter { server: pair.addr, server_pid: pair.server.pid() };
    match pair.load.ask(&request)? {
        Answer::Entered => Ok(pair),
        answer => Err(format!("not an answer to an enter: {answer:?}").into()),
    }
}

fn measure(pair: &mut Pair, tasks: usize, duration: Duration) -> Result<Measured> {
    match pair.load.ask(&Request::Measure { tasks, duration })? {
        Answer::Measured(measured) => Ok(measured),
        answer => Err(format!("not an answer to a measurement: {answer:?}").into()),
    }
}
