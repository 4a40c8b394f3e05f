//! Hearing of failovers from the sentinels.
//!
//! # Invariants
//! 1. There is one task a sentinel, and it ends with the driver.
//! 2. What is heard only makes a half look again: it asks the sentinels itself, and looks at the role. So an
//!    old or wrong word of one sentinel costs a connection, and leads nowhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{PushInfo, PushKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::drivers::redis::master_watch::AnnouncedMoves;
use crate::backplane::drivers::redis::remote::Remote;
use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::drivers::redis::value::text;
use crate::backplane::reconnecting::backoff::Backoff;
use crate::backplane::reconnecting::supervise::within;

/// The channel by which sentinels tell of failovers.
const CHANNEL: &str = "+switch-master";

/// How long a sentinel may take to connect, to subscribe, and to answer a probe.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// How often a sentinel is probed: as often as the subscription to the master.
const PROBE_INTERVAL: Duration = Duration::from_millis(4_500);

/// What sentinels tell of the moves of a master, and the tasks that hear it.
#[derive(Default)]
pub(super) struct FailoverWatch {
    announced: watch::Sender<AnnouncedMoves>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl FailoverWatch {
    /// Hears the sentinels, unless it does already. Call it within a runtime: tasks that have ended with
    /// theirs, or by a panic, are started anew.
    pub(super) fn listen(&self, sentinels: &[Remote], service: &Arc<str>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !tasks.is_empty() && !tasks.iter().any(JoinHandle::is_finished) {
            return;
        }
        tasks.drain(..).for_each(|task| task.abort());
        tasks.extend(sentinels.iter().map(|sentinel| {
            let announced = self.announced.clone();
            tokio::spawn(listen_for_ever(sentinel.clone(), service.clone(), announced))
        }));
    }

    /// What is announced from now on.
    pub(super) fn announced(&self) -> watch::Receiver<AnnouncedMoves> {
        self.announced.subscribe()
    }
}

impl Drop for FailoverWatch {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Hears one sentinel, again and again, with a back-off.
async fn listen_for_ever(
    sentinel: Remote,
    service: Arc<str>,
    announced: watch::Sender<AnnouncedMoves>,
) {
    let mut backoff = Backoff::new();
    let mut is_return = false;
    loop {
        let listening = listen_once(&sentinel, &service, &announced, is_return, &mut backoff);
        // Whatever has failed: who asks the sentinels for the master tells it.
        let _ = listening.await;
        is_return = true;
        sleep(backoff.wait()).await;
    }
}

/// Hears one sentinel until it cannot be heard any more.
async fn listen_once(
    sentinel: &Remote,
    service: &Arc<str>,
    announced: &watch::Sender<AnnouncedMoves>,
    is_return: bool,
    backoff: &mut Backoff,
) -> Result<(), BackplaneError> {
    // Nothing is sent: the end of the channel is the end of the connection.
    let (alive, mut end) = mpsc::channel::<()>(1);
    let (name, sender) = (service.clone(), announced.clone());
    let on_push = move |push: PushInfo| {
        let _ = &alive;
        if let Some(master) = read(&push, &name) {
            sender.send_modify(|announced| announced.announce(master));
        }
    };
    let connecting = sentinel.connect_with_pushes(on_push);
    let mut connection = within(ANSWER_DEADLINE, BackplaneRequest::Connect, connecting).await?;
    let subscribing = async { connection.subscribe(CHANNEL).await };
    let subscribing = async { subscribing.await.map_err(|error| sentinel.explain(&error)) };
    within(ANSWER_DEADLINE, BackplaneRequest::Subscribe, subscribing).await?;
    backoff.reset();
    if is_return {
        // It may have announced of a move meanwhile: a half that waits asks anew. Others find no move.
        announced.send_modify(|_| {});
    }
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(()),
            () = sleep(PROBE_INTERVAL) => {}
        }
        let ping = redis::cmd("PING");
        let pinging = async {
            let answer = connection.send_packed_command(&ping).await;
            answer.map_err(|error| sentinel.explain(&error))
        };
        within(ANSWER_DEADLINE, BackplaneRequest::Ping, pinging).await?;
    }
}

/// Where a master has moved to, if it is that of the service: the name, the old host and port, and the new
/// ones.
fn read(push: &PushInfo, service: &str) -> Option<ServerAddr> {
    let (PushKind::Message, [_, payload]) = (&push.kind, &push.data[..]) else {
        return None;
    };
    let mut words = text(payload)?.split(' ');
    if words.next() != Some(service) {
        return None;
    }
    let (host, port) = (words.nth(2)?, words.next()?);
    Some(ServerAddr { host: host.into(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn moved(payload: &str) -> Option<ServerAddr> {
        let text = |text: &str| Value::BulkString(text.into());
        let data = vec![text(CHANNEL), text(payload)];
        read(&PushInfo { kind: PushKind::Message, data }, "chat")
    }

    #[test]
    fn move_of_the_service_gives_the_new_address() {
        let expected = ServerAddr { host: "10.0.0.8".into(), port: 7_001 };
        assert_eq!(moved("chat 10.0.0.7 7000 10.0.0.8 7001"), Some(expected));
    }

    #[test]
    fn moves_of_others_and_garbage_are_passed_over() {
        for payload in
            ["chats 10.0.0.7 7000 10.0.0.8 7001", "chat 10.0.0.7 7000", "chat a 1 b x", ""]
        {
            assert_eq!(moved(payload), None, "{payload:?}");
        }
    }
}
