//! Admission: bounds on connections and handshakes, in total and for each address (RFC 6455,
//! section 10.4).
//!
//! A denied client gets 503 if there are too many connections (RFC 9110, section 15.6.4), or 429 if
//! there are too many of its address (RFC 6585, section 4). `Retry-After` asks it to come back
//! later (RFC 9110, section 10.2.3).
//!
//! Counting is atomic and takes no lock. Only limits for each address take a lock, if they are set:
//! once when a connection begins, and once when it ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::rate::{Rate, TokenBucket};
use crate::engine::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

/// The maximum number of addresses without a connection whose rate is remembered: about 4 MiB. The
/// rate of an address that is forgotten starts anew.
const IDLE_ADDRS_MAX: usize = 65_536;

/// The bounds on connections and handshakes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmissionLimits {
    /// Connections, counted from the request to the end.
    pub(crate) connections_max: usize,
    /// Connections that are not open yet.
    pub(crate) handshakes_max: usize,
    /// Connections of one address.
    pub(crate) per_addr_max: Option<u32>,
    /// The rate of new connections of one address.
    pub(crate) addr_rate: Option<Rate>,
}

/// Why a connection is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There are too many connections or handshakes.
    Full,
    /// There are too many connections of that address. Holds the time after which to come back, if
    /// it is known.
    Addr(Option<Duration>),
}

/// Counts connections and handshakes.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    epoch: Instant,
    addrs: Mutex<Addrs>,
}

#[derive(Debug, Default)]
struct Addrs {
    known: HashMap<Network, Visitor>,
    /// How many of them have no connection.
    idle: usize,
}

#[derive(Debug, Default)]
struct Visitor {
    connections: u32,
    arrivals: TokenBucket,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            epoch: Instant::now(),
            addrs: Mutex::default(),
        }
    }

    /// Counts a connection and its handshake in. The caller must count each out once: see
    /// [`end`](Self::end) and [`end_handshake`](Self::end_handshake).
    pub(crate) fn begin(&self, addr: Option<SocketAddr>) -> Result<(), Denied> {
        let now = self.epoch.elapsed();
        self.arrive(addr, now)?;
        let AdmissionLimits { connections_max, handshakes_max, .. } = self.limits;
        if !count_in(&self.handshakes, handshakes_max) {
            self.leave(addr, now);
            return Err(Denied::Full);
        }
        // Last, because a shutdown waits for the number of connections to reach zero: a denied
        // connection must not be counted in and out again.
        if !count_in(&self.connections, connections_max) {
            self.end_handshake();
            self.leave(addr, now);
            return Err(Denied::Full);
        }
        Ok(())
    }

    /// Counts in the address of a connection that began without one. The caller must count it out
    /// by [`end`](Self::end).
    #[cfg(feature = "server")]
    pub(crate) fn identify(&self, addr: Option<SocketAddr>) -> Result<(), Denied> {
        self.arrive(addr, self.epoch.elapsed())
    }

    /// Counts a handshake out: the connection is open, or the handshake has failed.
    pub(crate) fn end_handshake(&self) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection out. Returns `true` if it was the last.
    pub(crate) fn end(&self, addr: Option<SocketAddr>) -> bool {
        self.leave(addr, self.epoch.elapsed());
        // Pairs with `connections`: a thread that sees no connection left sees all writes of the
        // connections that have ended.
        self.connections.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Returns the number of connections, counted from the request to the end.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    fn arrive(&self, addr: Option<SocketAddr>, now: Duration) -> Result<(), Denied> {
        let Some(network) = self.limited(addr) else { return Ok(()) };
        let mut addrs = self.lock();
        let Addrs { known, idle } = &mut *addrs;
        let visitor = known.entry(network).or_insert_with(|| {
            *idle += 1;
            Visitor::default()
        });
        if self.limits.per_addr_max.is_some_and(|most| visitor.connections >= most) {
            return Err(Denied::Addr(None));
        }
        if let Some(rate) = &self.limits.addr_rate
            && !visitor.arrivals.take(1, now, Duration::ZERO, rate)
        {
            return Err(Denied::Addr(Some(rate.time_for(1))));
        }
        *idle -= usize::from(visitor.connections == 0);
        visitor.connections += 1;
        Ok(())
    }

    fn leave(&self, addr: Option<SocketAddr>, now: Duration) {
        let Some(network) = self.limited(addr) else { return };
        let mut addrs = self.lock();
        let Some(visitor) = addrs.known.get_mut(&network) else { return };
        visitor.connections -= 1;
        if visitor.connections > 0 {
            return;
        }
        let is_worth_remembering = !visitor.arrivals.fills_in(now).is_zero();
        addrs.idle += 1;
        if !is_worth_remembering {
            addrs.forget(network);
        } else if addrs.idle > IDLE_ADDRS_MAX {
            addrs.forget_idle(now);
        }
    }

    /// Whether there is a limit for each address.
    pub(crate) fn limits_addrs(&self) -> bool {
        self.limits.per_addr_max.is_some() || self.limits.addr_rate.is_some()
    }

    fn limited(&self, addr: Option<SocketAddr>) -> Option<Network> {
        addr.filter(|_| self.limits_addrs()).map(|addr| Network::of(addr.ip()))
    }

    fn lock(&self) -> MutexGuard<'_, Addrs> {
        self.addrs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds one, unless the number has reached `most`.
fn count_in(number: &AtomicUsize, most: usize) -> bool {
    let add = |number| (number < most).then_some(number + 1);
    number.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).is_ok()
}

impl Addrs {
    fn forget(&mut self, network: Network) {
        self.known.remove(&network);
        self.idle -= 1;
    }

    /// Forgets the idle addresses whose buckets are full. If more than half of [`IDLE_ADDRS_MAX`]
    /// are left, forgets all idle addresses.
    fn forget_idle(&mut self, now: Duration) {
        let is_busy = |visitor: &Visitor| visitor.connections > 0;
        self.known
            .retain(|_, visitor| is_busy(visitor) || !visitor.arrivals.fills_in(now).is_zero());
        self.idle = self.known.values().filter(|visitor| !is_busy(visitor)).count();
        if self.idle > IDLE_ADDRS_MAX / 2 {
            self.known.retain(|_, visitor| is_busy(visitor));
            self.idle = 0;
        }
    }
}

/// The unit that counts as one address: an IPv4 address, or an IPv6 /64. A customer gets at least a
/// /64 as a whole (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::V4(addr.to_bits()),
            IpAddr::V6(addr) => Self::V6((addr.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: AdmissionLimits = AdmissionLimits {
        connections_max: usize::MAX,
        handshakes_max: usize::MAX,
        per_addr_max: None,
        addr_rate: None,
    };

    fn addr(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().expect("an address"), 1))
    }

    #[test]
    fn connections_and_handshakes_have_separate_bounds() {
        let limits = AdmissionLimits { connections_max: 3, handshakes_max: 2, ..UNLIMITED };
        let admission = Admission::new(limits);
        assert_eq!([0; 3].map(|_| admission.begin(None)), [Ok(()), Ok(()), Err(Denied::Full)]);
        admission.end_handshake();
        admission.end_handshake();
        assert_eq!([0; 2].map(|_| admission.begin(None)), [Ok(()), Err(Denied::Full)]);
        assert_eq!(admission.connections(), 3, "a denied connection does not count");
        admission.end_handshake();
        assert_eq!([0; 3].map(|_| admission.end(None)), [false, false, true]);
        assert_eq!(admission.begin(None), Ok(()));
    }

    #[test]
    fn each_address_has_its_own_bound_and_an_ipv6_network_is_one_address() {
        let limits = AdmissionLimits { per_addr_max: Some(1), ..UNLIMITED };
        let admission = Admission::new(limits);
        for (text, expected) in [
            ("10.0.0.1", Ok(())),
            ("10.0.0.2", Ok(())),
            ("::ffff:10.0.0.1", Err(Denied::Addr(None))),
            ("2001:db8::1", Ok(())),
            ("2001:db8::ffff:1", Err(Denied::Addr(None))),
            ("2001:db8:0:1::1", Ok(())),
        ] {
            assert_eq!(admission.begin(addr(text)), expected, "{text}");
        }
        assert_eq!(admission.begin(None), Ok(()), "an address that is not known is not limited");
        admission.end(addr("10.0.0.1"));
        assert_eq!(admission.begin(addr("10.0.0.1")), Ok(()));
    }

    #[test]
    fn address_that_ends_one_of_its_connections_keeps_the_others() {
        let limits = AdmissionLimits { per_addr_max: Some(2), ..UNLIMITED };
        let admission = Admission::new(limits);
        let one = addr("10.0.0.1");
        let denied = Err(Denied::Addr(None));
        assert_eq!([0; 3].map(|_| admission.begin(one)), [Ok(()), Ok(()), denied]);
        for _ in 0..3 {
            admission.end(one);
            assert_eq!([0; 2].map(|_| admission.begin(one)), [Ok(()), denied]);
        }
        admission.end(one);
        admission.end(one);
        let addrs = admission.lock();
        assert_eq!((addrs.known.len(), addrs.idle), (0, 0));
    }

    #[test]
    fn rate_of_an_address_is_remembered_after_its_connections_have_ended() {
        let rate = Rate { per_second: 1, burst: 2 };
        let admission = Admission::new(AdmissionLimits { addr_rate: Some(rate), ..UNLIMITED });
        let (one, other) = (addr("10.0.0.1"), addr("10.0.0.2"));
        let at = Duration::from_secs;
        let visit = |addr, now| {
            let arrived = admission.arrive(addr, now);
            arrived.is_ok().then(|| admission.leave(addr, now));
            arrived
        };
        let denied = Err(Denied::Addr(Some(at(1))));
        assert_eq!([0; 3].map(|_| visit(one, at(0))), [Ok(()), Ok(()), denied]);
        assert_eq!(visit(other, at(0)), Ok(()));
        assert_eq!([0; 2].map(|_| visit(one, at(1))), [Ok(()), denied]);
        assert_eq!([0; 3].map(|_| visit(one, at(60))), [Ok(()), Ok(()), denied]);
        assert_eq!(admission.lock().idle, 2);
    }

    #[test]
    fn number_of_remembered_addresses_is_bounded() {
        let rate = Rate { per_second: 1, burst: 2 };
        let admission = Admission::new(AdmissionLimits { addr_rate: Some(rate), ..UNLIMITED });
        let nth = |n: u32| Some(SocketAddr::new(IpAddr::V4(n.into()), 1));
        assert_eq!(admission.arrive(nth(0), Duration::ZERO), Ok(()));
        let mut most = 0;
        for n in 1..3 * IDLE_ADDRS_MAX as u32 {
            let now = Duration::from_micros(n.into());
            assert_eq!(admission.arrive(nth(n), now), Ok(()));
            admission.leave(nth(n), now);
            let addrs = admission.lock();
            assert_eq!(addrs.known.len(), addrs.idle + 1);
            most = most.max(addrs.idle);
        }
        assert_eq!(most, IDLE_ADDRS_MAX);
        admission.leave(nth(0), Duration::from_secs(9));
        assert!(!admission.lock().known.contains_key(&Network::V4(0)), "its bucket is full");
    }

    #[test]
    fn addresses_with_full_buckets_are_forgotten_first() {
        let rate = Rate { per_second: 1, burst: 2 };
        let admission = Admission::new(AdmissionLimits { addr_rate: Some(rate), ..UNLIMITED });
        let nth = |n: usize| Some(SocketAddr::new(IpAddr::V4((n as u32).into()), 1));
        let early = IDLE_ADDRS_MAX * 3 / 4;
        let late = Duration::from_secs(9);
        assert_eq!(admission.arrive(nth(0), Duration::ZERO), Ok(()));
        for n in 1..=IDLE_ADDRS_MAX + 1 {
            let now = if n <= early { Duration::ZERO } else { late };
            assert_eq!(admission.arrive(nth(n), now), Ok(()));
            admission.leave(nth(n), now);
        }
        let addrs = admission.lock();
        let is_known = |n: usize| addrs.known.contains_key(&Network::V4(n as u32));
        assert!(is_known(0), "it is connected");
        assert!(!(1..=early).any(is_known));
        assert!((early + 1..=IDLE_ADDRS_MAX + 1).all(is_known));
    }

    #[test]
    fn addresses_without_limits_are_not_kept() {
        let admission = Admission::new(UNLIMITED);
        assert_eq!(admission.begin(addr("10.0.0.1")), Ok(()));
        assert!(admission.lock().known.is_empty());
    }
}
