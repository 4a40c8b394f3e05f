//! The serialisation of durations: as seconds, in a field whose name ends with `_seconds`.

use std::time::Duration;

use serde::Serializer;

/// Serialises a duration as a number of seconds.
pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// Serialises an optional duration.
pub(crate) mod option {
    use super::*;

    pub(crate) fn serialize<S>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        match time {
            Some(time) => crate::seconds::serialize(time, to),
            None => to.serialize_none(),
        }
    }
}
