//! The reserve of descriptors: some stay free, so that the server can refuse clients instead of
//! leaving them waiting.
//!
//! A process without a free descriptor can accept no connection: clients wait in the kernel, health
//! checks time out, and a lost connection to Redis cannot be made again. The system gives each new
//! descriptor the lowest free number. So the number of a new connection shows how many descriptors
//! are left, without counting the other open files.

use crate::process::ProcessLimits;

/// The maximum of descriptors in reserve, from a limit of 1,024 on.
const RESERVE_MAX: u64 = 64;

/// The minimum of descriptors in reserve.
const RESERVE_MIN: u64 = 8;

/// Whether there is a descriptor for one more client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    Plenty,
    /// Enough for short requests, but not for a WebSocket.
    Scarce,
    /// Only enough to refuse clients.
    Short,
}

/// The numbers from which on descriptors are scarce or short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    scarce_from: u64,
    short_from: u64,
}

impl Descriptors {
    /// Computes the numbers from the current limit of this process. An unknown limit counts as no
    /// limit.
    pub(super) fn of_process() -> Self {
        Self::of_limit(ProcessLimits::read().descriptors.unwrap_or(u64::MAX))
    }

    fn of_limit(limit: u64) -> Self {
        let reserve = (limit / 16).clamp(RESERVE_MIN, RESERVE_MAX);
        let left = |reserve| limit.saturating_sub(reserve);
        Self { scarce_from: left(reserve), short_from: left(reserve / 2) }
    }

    /// Returns the supply, from the number of the newest descriptor.
    pub(super) fn supply(&self, newest: u64) -> Supply {
        match newest {
            _ if newest >= self.short_from => Supply::Short,
            _ if newest >= self.scarce_from => Supply::Scarce,
            _ => Supply::Plenty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_reserve_is_for_requests_and_half_for_refusals() {
        use Supply::{Plenty, Scarce, Short};
        for (limit, scarce_from, short_from) in
            [(64, 56, 60), (200, 188, 194), (1_024, 960, 992), (1_048_576, 1_048_512, 1_048_544)]
        {
            let descriptors = Descriptors::of_limit(limit);
            let supply = |newest| descriptors.supply(newest);
            assert_eq!([scarce_from - 1, scarce_from].map(supply), [Plenty, Scarce], "of {limit}");
            assert_eq!([short_from - 1, short_from].map(supply), [Scarce, Short], "of {limit}");
        }
        assert_eq!(Descriptors::of_limit(u64::MAX).supply(1 << 31), Plenty, "no limit");
    }
}
