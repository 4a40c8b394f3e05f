//! Sending parcels to a server, and finding out which of them are acknowledged.

use std::collections::HashSet;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, ServerError, Value};

use super::remote::ServerAnswers;
use super::role;
use crate::backplane::contract::Parcel;

/// The answers of a server to parcels.
pub(super) struct Sent {
    /// One answer for each parcel.
    pub(super) answers: ServerAnswers,
    /// The answer to [`role::command`], if that was sent.
    pub(super) role: Option<Value>,
}

/// Sends parcels in one round trip, and returns the answer to each. With `looks`, it also asks for
/// the role of the server, after the parcels: a server that then says that it is a master was a
/// master when it took the parcels.
///
/// # Errors
/// The connection cannot be used any longer.
pub(super) async fn send<'a>(
    mut connection: MultiplexedConnection,
    command: &str,
    parcels: impl ExactSizeIterator<Item = &'a Parcel>,
    looks: bool,
) -> Result<Sent, RedisError> {
    let count = parcels.len() + usize::from(looks);
    let mut pipeline = Pipeline::with_capacity(count);
    for Parcel { channel, payload } in parcels {
        pipeline.cmd(command).arg(&**channel).arg(&payload[..]);
    }
    if looks {
        pipeline.add_command(role::command());
    }
    let mut answers = connection.send_packed_commands(&pipeline, 0, count).await?;
    if answers.len() != count {
        return Err(unexpected());
    }
    let role = if looks { answers.pop() } else { None };
    let answers: Result<ServerAnswers, RedisError> = answers.into_iter().map(read).collect();
    Ok(Sent { answers: answers?, role })
}

fn read(answer: Value) -> Result<Result<(), ServerError>, RedisError> {
    match answer {
        Value::Int(_) => Ok(Ok(())),
        Value::ServerError(error) => Ok(Err(error)),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "no count of receivers came for a message").into()
}

/// Removes the acknowledged parcels from the list. For each channel, stops at the first parcel that
/// was not acknowledged: the parcels behind it are sent again after it, so that the order holds.
pub(super) fn take_acknowledged(parcels: &mut Vec<Parcel>, acknowledged: &[bool]) {
    let mut acknowledged = acknowledged.iter().copied();
    let mut held_up: HashSet<Arc<str>> = HashSet::new();
    parcels.retain(|parcel| {
        let is_done = acknowledged.next().unwrap_or(false) && !held_up.contains(&parcel.channel);
        if !is_done {
            held_up.insert(parcel.channel.clone());
        }
        !is_done
    });
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parcels(channels: &str) -> Vec<Parcel> {
        let numbered = channels.chars().enumerate();
        let parcels = numbered.map(|(number, channel)| Parcel {
            channel: channel.to_string().into(),
            payload: Bytes::from(number.to_string()),
        });
        parcels.collect()
    }

    fn left(channels: &str, acknowledged: &[bool]) -> String {
        let mut parcels = parcels(channels);
        take_acknowledged(&mut parcels, acknowledged);
        let left = parcels.iter().map(|Parcel { channel, payload }| {
            format!("{channel}{}", String::from_utf8_lossy(payload))
        });
        left.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn acknowledged_parcels_are_taken() {
        assert_eq!(left("abc", &[true, true, true]), "");
        assert_eq!(left("abc", &[true, false, true]), "b1");
        assert_eq!(left("", &[]), "");
    }

    #[test]
    fn parcels_behind_a_failed_one_stay_on_its_channel_only() {
        assert_eq!(left("abaab", &[true, true, false, true, true]), "a2 a3");
    }

    #[test]
    fn parcels_without_an_answer_stay() {
        assert_eq!(left("ab", &[]), "a0 b1");
    }
}
