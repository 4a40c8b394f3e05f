//! A timing wheel: finds the connections that are due, without a timer per connection.
//!
//! One revolution is one interval. A due time is at most one revolution ahead, so all entries of a
//! bucket are due in the same revolution. Insert, remove and pop are O(1). This is the simple
//! scheme of Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), section 5.

use std::num::NonZeroU8;
use std::time::Duration;

use super::conn_slot::ConnSlot;

/// The buckets of a revolution. With pings every 30 s, a bucket is 469 ms wide, and the ticks cost
/// two wake-ups a second.
const BUCKETS: u64 = 64;

/// The position of an entry, for its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WheelPosition {
    /// The index of the bucket, plus 1: an optional position takes no more bytes than a position.
    bucket: NonZeroU8,
    index: u32,
}

impl WheelPosition {
    fn new(bucket: usize, index: usize) -> Self {
        let bucket = u8::try_from(bucket).ok().and_then(|bucket| bucket.checked_add(1));
        let bucket = bucket.and_then(NonZeroU8::new).expect("there are few buckets");
        Self { bucket, index: index as u32 }
    }

    fn bucket(self) -> usize {
        usize::from(self.bucket.get()) - 1
    }
}

/// A timing wheel of connections.
#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Vec<Vec<ConnSlot>>,
    tick: Duration,
    /// The tick whose bucket is being emptied. All earlier buckets are empty.
    current: u64,
    len: usize,
}

impl Wheel {
    /// A wheel whose revolution is `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        let tick = (interval / BUCKETS as u32).max(Duration::from_millis(1));
        Self { buckets: vec![Vec::new(); BUCKETS as usize + 1], tick, current: 0, len: 0 }
    }

    /// The width of a bucket. An entry is popped at most this much too late.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Whether the wheel has no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `slot`, to be popped at `due` or up to a tick later. If `due` has passed, it is popped
    /// at once; if `due` is more than one revolution ahead, after one revolution.
    pub(super) fn insert(&mut self, slot: ConnSlot, due: Duration) -> WheelPosition {
        let due_tick = due.as_nanos().div_ceil(self.tick.as_nanos()) as u64;
        let due_tick = due_tick.clamp(self.current, self.current + BUCKETS);
        let bucket = (due_tick % (BUCKETS + 1)) as usize;
        let entries = &mut self.buckets[bucket];
        let position = WheelPosition::new(bucket, entries.len());
        entries.push(slot);
        self.len += 1;
        position
    }

    /// Removes an entry. If another slot moves to its position, that slot is returned.
    pub(super) fn remove(&mut self, position: WheelPosition) -> Option<ConnSlot> {
        let entries = &mut self.buckets[position.bucket()];
        entries.swap_remove(position.index as usize);
        self.len -= 1;
        entries.get(position.index as usize).copied()
    }

    /// Removes and returns one entry that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<ConnSlot> {
        let now_tick = (now.as_nanos() / self.tick.as_nanos()) as u64;
        if self.len == 0 {
            self.current = self.current.max(now_tick);
            return None;
        }
        loop {
            if self.current > now_tick {
                return None;
            }
            if let Some(slot) = self.buckets[(self.current % (BUCKETS + 1)) as usize].pop() {
                self.len -= 1;
                return Some(slot);
            }
            self.current += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(wheel: &mut Wheel, now_ms: u64) -> Vec<usize> {
        std::iter::from_fn(|| wheel.pop_due(Duration::from_millis(now_ms)).map(ConnSlot::index))
            .collect()
    }

    #[test]
    fn entries_are_due_in_their_tick_and_never_before() {
        let mut wheel = Wheel::new(Duration::from_millis(640));
        wheel.insert(ConnSlot::at(1), Duration::from_millis(15));
        wheel.insert(ConnSlot::at(2), Duration::from_millis(640));
        assert!(!wheel.is_empty());
        assert!(popped(&mut wheel, 14).is_empty());
        assert_eq!(popped(&mut wheel, 20), [1]);
        assert!(popped(&mut wheel, 639).is_empty());
        assert_eq!(popped(&mut wheel, 640), [2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn an_entry_a_revolution_ahead_does_not_meet_the_current_bucket() {
        let mut wheel = Wheel::new(Duration::from_millis(640));
        wheel.insert(ConnSlot::at(1), Duration::ZERO);
        assert_eq!(popped(&mut wheel, 5), [1]);
        wheel.insert(ConnSlot::at(1), Duration::from_millis(640));
        assert!(popped(&mut wheel, 5).is_empty());
        assert_eq!(popped(&mut wheel, 640), [1]);
    }

    #[test]
    fn a_pause_of_many_revolutions_pops_all_once() {
        let mut wheel = Wheel::new(Duration::from_millis(64));
        for slot in 0..10 {
            wheel.insert(ConnSlot::at(slot), Duration::from_millis(slot as u64 * 6));
        }
        let mut all = popped(&mut wheel, 1_000_000);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn removal_returns_the_slot_that_moved() {
        let mut wheel = Wheel::new(Duration::from_millis(64));
        let first = wheel.insert(ConnSlot::at(1), Duration::from_millis(10));
        let second = wheel.insert(ConnSlot::at(2), Duration::from_millis(10));
        assert_eq!(wheel.remove(first), Some(ConnSlot::at(2)));
        assert_eq!(wheel.remove(WheelPosition { ..first }), None);
        assert_ne!(first, second);
        assert!(wheel.is_empty());
    }
}
