//! The role of a server: whether it passes messages on to all nodes.
//!
//! A replica acknowledges a `PUBLISH`, but passes the message only to its own subscribers: other
//! nodes never receive it. A master can become a replica while its connections stay open, so the
//! role is checked again and again.
//!
//! `HELLO` returns the role, and needs no permission in Redis 6.2 and later. Redis 6.0 requires the
//! version of the protocol as an argument. It changes nothing, because the connection uses version
//! 3 already.

use redis::{Cmd, Value};

use super::remote::Remote;
use super::value::field;
use crate::backplane::contract::BackplaneError;

/// The command whose answer contains the role.
pub(super) fn command() -> Cmd {
    let mut command = redis::cmd("HELLO");
    command.arg(3);
    command
}

/// Refuses a server that does not pass messages on to all nodes.
///
/// A replica in a Redis Cluster is accepted: each member of a cluster passes a `PUBLISH` on to
/// all others. A server that returns no role, such as a proxy, counts as a master.
///
/// # Errors
/// The server is a replica or a Sentinel, or it refuses to answer.
pub(super) fn check(answer: &Value, remote: &Remote) -> Result<(), BackplaneError> {
    if let Value::ServerError(error) = answer {
        return Err(remote.refused(error));
    }
    let server = || remote.address().to_string();
    match (field(answer, "mode"), field(answer, "role")) {
        (Some("sentinel"), _) => {
            let text = format!("{} is a Sentinel, not a server that passes messages on", server());
            Err(BackplaneError::Settings(text))
        }
        (Some("standalone"), Some("replica")) => Err(BackplaneError::Replica { server: server() }),
        _ if field(answer, "server").is_some() => Ok(()),
        _ => Err(BackplaneError::Connection(format!("{} does not answer HELLO", server()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(mode: &str, role: &str) -> Result<(), BackplaneError> {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = [("server", "redis"), ("mode", mode), ("role", role)];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(name, value)| (text(name), text(value)));
        let remote = Remote::open("redis://:secret@host:7000").unwrap();
        check(&Value::Map(fields.collect()), &remote)
    }

    #[test]
    fn master_is_accepted_and_so_is_any_member_of_a_cluster() {
        for (mode, role) in
            [("standalone", "master"), ("cluster", "master"), ("cluster", "replica")]
        {
            assert_eq!(checked(mode, role), Ok(()), "{mode} {role}");
        }
    }

    #[test]
    fn replica_is_refused_and_named() {
        let replica = BackplaneError::Replica { server: "host:7000".to_owned() };
        assert_eq!(checked("standalone", "replica"), Err(replica));
    }

    #[test]
    fn sentinel_is_recognised() {
        assert!(matches!(checked("sentinel", ""), Err(BackplaneError::Settings(_))));
    }

    #[test]
    fn server_without_a_role_is_accepted_and_another_answer_is_not() {
        assert_eq!(checked("standalone", ""), Ok(()));
        let remote = Remote::open("redis://host").unwrap();
        let pong = Value::SimpleString("PONG".to_owned());
        assert!(matches!(check(&pong, &remote), Err(BackplaneError::Connection(_))));
    }
}
