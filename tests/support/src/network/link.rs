//! The model of a link: the time at which a packet leaves the link, or the loss of the packet. The model has no clock
//! and no network: time is an argument, measured from an arbitrary start.

use std::time::Duration;

/// The size of a full packet, in bytes.
pub const MTU: usize = 1_500;

/// The shortest queue in front of a link, in full packets.
const QUEUE_PACKETS_MIN: usize = 32;

/// The properties of a link, the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    pub round_trip: Duration,
    pub bits_per_second: u64,
    /// The bytes that may wait in front of the link. A packet without space is lost.
    pub queue_bytes: usize,
    /// The share of the packets that is lost, at random.
    pub loss: f64,
}

impl Profile {
    /// A link that loses a packet only if its queue is full. The queue holds the bytes of one round trip, because TCP
    /// needs that many to fill the link.
    pub fn new(round_trip: Duration, bits_per_second: u64) -> Self {
        let in_flight = bits_per_second as f64 / 8.0 * round_trip.as_secs_f64();
        let queue_bytes = (in_flight as usize).max(QUEUE_PACKETS_MIN * MTU);
        Self { round_trip, bits_per_second, queue_bytes, loss: 0.0 }
    }

    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    fn transmission(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / self.bits_per_second)
    }
}

/// One direction of a link.
#[derive(Debug)]
pub struct OneWay {
    profile: Profile,
    /// The time at which all packets so far are transmitted.
    busy_until: Duration,
    dice: fastrand::Rng,
}

impl OneWay {
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self { profile, busy_until: Duration::ZERO, dice: fastrand::Rng::with_seed(seed) }
    }

    /// A packet enters the link. Returns the time of its arrival, or `None` if the packet is lost.
    pub fn enter(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let begin = self.busy_until.max(now);
        if begin - now > self.profile.transmission(self.profile.queue_bytes) {
            return None;
        }
        self.busy_until = begin + self.profile.transmission(bytes);
        // A packet that is lost on the way has used transmission time, too.
        let is_lost = self.dice.f64() < self.profile.loss;
        (!is_lost).then(|| self.busy_until + self.profile.round_trip / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A packet of 1,250 bytes takes a millisecond.
    fn ten_megabits() -> Profile {
        Profile::new(Duration::from_millis(40), 10_000_000)
    }

    #[test]
    fn packet_takes_its_transmission_and_half_a_round_trip() {
        let mut way = OneWay::new(ten_megabits(), 0);
        assert_eq!(way.enter(Duration::ZERO, 1_250), Some(21 * MILLISECOND));
        assert_eq!(way.enter(100 * MILLISECOND, 125), Some(120 * MILLISECOND + MILLISECOND / 10));
    }

    #[test]
    fn packets_wait_for_those_before_them() {
        let mut way = OneWay::new(ten_megabits(), 0);
        let arrivals = [(); 3].map(|()| way.enter(Duration::ZERO, 1_250));
        assert_eq!(arrivals, [21, 22, 23].map(|number| Some(number * MILLISECOND)));
    }

    #[test]
    fn full_queue_drops_packets_until_there_is_space() {
        let mut way = OneWay::new(Profile { queue_bytes: 2_500, ..ten_megabits() }, 0);
        let arrivals = [(); 5].map(|()| way.enter(Duration::ZERO, 1_250).is_some());
        assert_eq!(arrivals, [true, true, true, false, false]);
        assert_eq!(way.enter(MILLISECOND, 1_250), Some(24 * MILLISECOND));
    }

    #[test]
    fn loss_matches_the_configured_rate_and_repeats_for_a_seed() {
        let lost = |seed| {
            let mut way = OneWay::new(ten_megabits().with_loss(0.02), seed);
            let arrives = |number| way.enter(number * MILLISECOND, 125).is_some();
            let numbers = (0..10_000).map(arrives);
            numbers.filter(|&arrives| !arrives).count()
        };
        assert!((150..250).contains(&lost(1)), "{} of 10,000", lost(1));
        assert_eq!(lost(1), lost(1));
    }

    #[test]
    fn queue_holds_a_round_trip_and_never_less_than_some_packets() {
        assert_eq!(ten_megabits().queue_bytes, 50_000);
        assert_eq!(Profile::new(5 * MILLISECOND, 1_000_000).queue_bytes, 48_000);
    }
}
