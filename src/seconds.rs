//! How durations are serialised: as seconds, in a field whose name says so.

use std::time::Duration;

use serde::Serializer;

pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// The same of a time that may not be known.
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
