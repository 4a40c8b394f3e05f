//! The ranges of the settings.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{BuildError, Builder};
use crate::backplane::CHANNELS_MAX;
use crate::engine::ConnKey;
use crate::net::Rate;

/// The shortest interval or timeout. Timers on a busy machine cannot keep a shorter one.
const TIME_MIN: Duration = Duration::from_millis(10);

/// The longest interval or timeout. With a longer time, TCP finds the failure first.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl<Out, In> Builder<Out, In> {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if let Some(error) = &self.origin_error {
            return Err(error.clone());
        }
        let shards_max = ConnKey::SHARDS_MAX;
        in_range("shards", self.shards, 1..=shards_max, "1 to 1,024")?;
        in_range("send_buffer", self.queue.slots, 1..=65_536, "1 to 65,536")?;
        in_range("inbox_messages", self.inbox_messages, 2..=usize::MAX, "2 and more")?;
        in_range("channels", self.spread.into(), 1..=CHANNELS_MAX.into(), "1 to 4,096")?;
        for (setting, value) in [
            ("send_buffer_bytes", self.queue.bytes),
            ("max_message_bytes", self.read.decode.message_bytes_max),
            ("max_fragments", self.read.decode.fragments_max as usize),
            ("max_connections", self.admission.connections_max),
            ("max_handshakes", self.admission.handshakes_max),
            ("max_connections_per_addr", self.admission.per_addr_max.unwrap_or(1) as usize),
            ("max_rooms", self.rooms_max),
            ("max_queued_bytes", self.byte_settings.queued.unwrap_or(1)),
            ("socket_send_buffer", self.socket_send_buffer.unwrap_or(1)),
            ("inbox_bytes", self.byte_settings.inbox.unwrap_or(1)),
            ("outbox_messages", self.outbox_messages),
            ("outbox_bytes", self.byte_settings.outbox.unwrap_or(1)),
        ] {
            in_range(setting, value, 1..=usize::MAX, "1 and more")?;
        }
        #[cfg(feature = "deflate")]
        if let Some(compression) = &self.compression {
            compression.check()?;
        }
        self.check_rates()?;
        self.check_times()
    }

    fn check_rates(&self) -> Result<(), BuildError> {
        for (setting, rate) in [
            ("message_rate", self.read.rates.messages),
            ("byte_rate", self.read.rates.bytes),
            ("connection_rate_per_addr", self.admission.addr_rate),
        ] {
            let Some(Rate { per_second, burst }) = rate else { continue };
            let least = per_second.min(burst) as usize;
            in_range(setting, least, 1..=usize::MAX, "1 and more")?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), BuildError> {
        for (setting, value, is_off) in [
            ("ping_interval", self.ping_interval, self.ping_interval.is_zero()),
            ("write_timeout", self.write_timeout, false),
            ("close_timeout", self.close_timeout, false),
            ("message_timeout", self.read.message_timeout, false),
            ("upgrade_timeout", self.upgrade_timeout, false),
            ("subscribe_timeout", self.subscribe_timeout, false),
            ("rejoin_wait", self.rejoin_wait, self.rejoin_wait.is_zero()),
            #[cfg(feature = "metrics")]
            ("metrics_interval", self.metrics_interval, self.metrics_interval.is_zero()),
        ] {
            if !is_off && !(TIME_MIN..=TIME_MAX).contains(&value) {
                let value = format!("{value:?}");
                return Err(BuildError::OutOfRange { setting, value, range: "10 ms to 1 day" });
            }
        }
        Ok(())
    }
}

pub(in crate::hub) fn in_range(
    setting: &'static str,
    value: usize,
    allowed: RangeInclusive<usize>,
    range: &'static str,
) -> Result<(), BuildError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(BuildError::OutOfRange { setting, value: value.to_string(), range })
}
