//! Asks the sentinels for the address of the master.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use tokio::time::{Instant, timeout_at};

use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::drivers::redis::remote::Remote;
use crate::backplane::drivers::redis::server_addr::ServerAddr;
use crate::backplane::drivers::redis::value::field;
use crate::backplane::reconnecting::supervise::within;

/// How long a sentinel may take to answer, including the connection: a third of the time that the
/// hub allows for connecting.
const ASK_DEADLINE: Duration = Duration::from_millis(700);

/// How long to wait for other sentinels after the first answer: they may know of a later failover.
/// Sentinels that are up answer in milliseconds. One whose machine is down must not delay each
/// connection.
const OTHERS_WAIT: Duration = Duration::from_millis(150);

/// The answer of a sentinel about a service.
#[derive(Debug, PartialEq)]
struct KnownMaster {
    /// The configuration epoch, which grows with each failover.
    epoch: u64,
    master: ServerAddr,
}

/// Returns the master of a service. Asks all sentinels at once; the answer with the highest
/// configuration epoch counts.
///
/// # Errors
/// No sentinel knows the service, or none answers.
pub(super) async fn master(
    sentinels: &[Remote],
    service: &str,
) -> Result<ServerAddr, BackplaneError> {
    let mut asked: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| ask(sentinel, service)).collect();
    let mut latest: Option<KnownMaster> = None;
    let mut errors = Vec::new();
    let mut others_until = None;
    loop {
        let answer = match others_until {
            None => asked.next().await,
            Some(until) => timeout_at(until, asked.next()).await.unwrap_or(None),
        };
        match answer {
            Some(Ok(known)) => {
                others_until.get_or_insert_with(|| Instant::now() + OTHERS_WAIT);
                if latest.as_ref().is_none_or(|latest| latest.epoch < known.epoch) {
                    latest = Some(known);
                }
            }
            Some(Err(error)) => errors.push(error),
            None => break,
        }
    }
    latest.map(|known| known.master).ok_or_else(|| summary(errors))
}

/// Makes one error of the errors of all sentinels. A refusal says more than a failed connection.
fn summary(errors: Vec<BackplaneError>) -> BackplaneError {
    let text = |error: &BackplaneError| match error {
        BackplaneError::Connection(text) => text.clone(),
        error => error.to_string(),
    };
    let all = errors.iter().map(text).collect::<Vec<_>>().join("; ");
    let refusal = errors.into_iter().find(|error| matches!(error, BackplaneError::Refused(_)));
    refusal.unwrap_or_else(|| BackplaneError::Connection(format!("no sentinel answers: {all}")))
}

/// Asks one sentinel.
///
/// # Errors
/// The reason why it gives no answer, with its address.
async fn ask(sentinel: &Remote, service: &str) -> Result<KnownMaster, BackplaneError> {
    let asked = within(ASK_DEADLINE, BackplaneRequest::Connect, ask_patiently(sentinel, service));
    let address = sentinel.address();
    asked.await.map_err(|error| match error {
        BackplaneError::Refused(text) => {
            BackplaneError::Refused(format!("sentinel {address}, asked for {service}: {text}"))
        }
        BackplaneError::Connection(text) => {
            BackplaneError::Connection(format!("{address}: {text}"))
        }
        BackplaneError::Silent { waited, .. } => {
            BackplaneError::Connection(format!("{address}: no answer within {waited:?}"))
        }
        error => error,
    })
}

async fn ask_patiently(sentinel: &Remote, service: &str) -> Result<KnownMaster, BackplaneError> {
    let mut connection = sentinel.connect().await?;
    let mut command = redis::cmd("SENTINEL");
    let answer = connection.send_packed_command(command.arg("MASTER").arg(service)).await;
    match answer.map_err(|error| sentinel.explain(&error))? {
        Value::ServerError(error) => Err(sentinel.refused(&error)),
        answer => read(&answer)
            .ok_or_else(|| BackplaneError::Connection("the answer names no master".to_owned())),
    }
}

/// Reads the answer to `SENTINEL MASTER`.
fn read(answer: &Value) -> Option<KnownMaster> {
    let host = field(answer, "ip").filter(|host| !host.is_empty())?;
    let port = field(answer, "port")?.parse().ok().filter(|port| *port != 0)?;
    let epoch = field(answer, "config-epoch")?.parse().ok()?;
    Some(KnownMaster { epoch, master: ServerAddr { host: host.into(), port } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        Value::Map(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn answer_gives_the_address_and_the_epoch() {
        let fields =
            [("name", "chat"), ("ip", "10.0.0.7"), ("port", "6379"), ("config-epoch", "3")];
        let master = ServerAddr { host: "10.0.0.7".into(), port: 6_379 };
        assert_eq!(read(&answer(&fields)), Some(KnownMaster { epoch: 3, master }));
    }

    #[test]
    fn answer_without_an_address_is_refused() {
        for (ip, port) in [("", "6379"), ("10.0.0.7", "0"), ("10.0.0.7", "port")] {
            let fields = [("ip", ip), ("port", port), ("config-epoch", "3")];
            assert_eq!(read(&answer(&fields)), None, "{ip}:{port}");
        }
        assert_eq!(read(&Value::Nil), None);
    }

    #[test]
    fn refusal_takes_precedence_over_failed_connections() {
        let connection = |text: &str| BackplaneError::Connection(text.to_owned());
        let refusal = BackplaneError::Refused("no such master".to_owned());
        assert_eq!(summary(vec![connection("a"), refusal.clone(), connection("b")]), refusal);
        let expected = connection("no sentinel answers: a; b");
        assert_eq!(summary(vec![connection("a"), connection("b")]), expected);
    }
}
