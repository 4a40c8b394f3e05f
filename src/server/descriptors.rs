//! Descriptors that are kept free, so that whoever cannot be served is told so.
//!
//! A process that has no descriptor left can accept nobody: clients wait in the kernel, health checks time
//! out, and a connection to Redis that was lost cannot be made again. The system gives each new descriptor
//! the lowest number that is free. So the number of a new connection tells how many are left, with no need
//! to count what else the process has open.

use crate::process::ProcessLimits;

/// The most that are kept, of a limit of 1,024 and more.
const RESERVE_MAX: u64 = 64;

/// The least, of any limit.
const RESERVE_MIN: u64 = 8;

/// Whether there is a descriptor for one more client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    Plenty,
    /// Enough for requests that are over in a moment, and not for a WebSocket.
    Scarce,
    /// Only enough to say no.
    Short,
}

/// The numbers from which descriptors are scarce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    scarce_from: u64,
    short_from: u64,
}

impl Descriptors {
    /// By the limit of this process, as it is now. Where it is not known, there is none.
    pub(super) fn of_process() -> Self {
        Self::of_limit(ProcessLimits::read().descriptors.unwrap_or(u64::MAX))
    }

    fn of_limit(limit: u64) -> Self {
        let reserve = (limit / 16).clamp(RESERVE_MIN, RESERVE_MAX);
        let left = |reserve| limit.saturating_sub(reserve);
        Self { scarce_from: left(reserve), short_from: left(reserve / 2) }
    }

    /// By the number of the newest one.
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
    fn the_last_descriptors_are_kept_half_of_them_for_requests_and_half_for_refusals() {
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
