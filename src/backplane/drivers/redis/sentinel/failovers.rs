//! Listens to the sentinels for failovers.
//!
//! # Invariants
//! 1. There is one task for each sentinel. It ends with the driver.
//! 2. An announced move only makes a half connect again. The half then asks the sentinels itself,
//!    and checks the role of the server. So an old or wrong announcement costs a connection, and
//!    does no other harm.

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

/// The channel on which sentinels announce failovers.
const CHANNEL: &str = "+switch-master";

/// How long a sentinel may take to connect, to subscribe, and to answer a probe.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// The time between two probes of a sentinel. The subscription to the master is probed as often.
const PROBE_INTERVAL: Duration = Duration::from_millis(4_500);

/// The moves that the sentinels have announced, and the tasks that listen for them.
#[derive(Default)]
pub(super) struct FailoverWatch {
    announced: watch::Sender<AnnouncedMoves>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl FailoverWatch {
    /// Starts the tasks, unless they run already. Must be called within a runtime. Tasks that have
    /// ended with their runtime, or by a panic, are started again.
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

    /// The moves that are announced from now on.
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

/// Listens to one sentinel, and connects again with a back-off.
async fn listen_for_ever(
    sentinel: Remote,
    service: Arc<str>,
    announced: watch::Sender<AnnouncedMoves>,
) {
    let mut backoff = Backoff::new();
    let mut is_return = false;
    loop {
        let listening = listen_once(&sentinel, &service, &announced, is_return, &mut backoff);
        // The error is not reported here: a half that asks the sentinels for the master reports it.
        let _ = listening.await;
        is_return = true;
        sleep(backoff.wait()).await;
    }
}

/// Listens to one sentinel until the connection fails.
async fn listen_once(
    sentinel: &Remote,
    service: &Arc<str>,
    announced: &watch::Sender<AnnouncedMoves>,
    is_return: bool,
    backoff: &mut Backoff,
) -> Result<(), BackplaneError> {
    // Nothing is sent on this channel. It ends when the connection drops the sender.
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
        // A move may have been announced meanwhile, so a half that waits connects at once. A half
        // that is connected sees no new move.
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

/// The new address of a master, if the push announces a move of this service. The announcement is
/// the name of the service, the old host and port, and the new host and port.
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
