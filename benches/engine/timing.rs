//! The time of calls that leave something behind: in rounds, between which it is taken away, and by
//! one thread or by several at once.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Calls of a thread between two looks at the clock: so many that the clock costs nothing beside
/// them, so few that what they leave behind stays in the cache.
pub(crate) const ROUND: usize = 256;

/// Looks of a thread that waits for another before it lets others run: about 0.1 ms.
const SPINS_MAX: usize = 10_000;

/// How often a round is repeated, at most, because its threads did not start together. A machine
/// with too few cores would have it so for ever.
const REPETITIONS_MAX: usize = 16;

/// The time in which each of `threads` threads does `calls` calls, all at once.
///
/// A call is told its thread and its number. `clean_up` is told the numbers of a round that is over;
/// it runs while the threads wait, and is not counted. Neither is a round in which one of them had
/// to wait for a core: it is repeated.
pub(crate) fn time_calls(
    threads: usize,
    calls: u64,
    call: impl Fn(usize, usize) + Sync,
    mut clean_up: impl FnMut(Range<usize>),
) -> Duration {
    let race = Race::new(threads, calls as usize);
    thread::scope(|scope| {
        for thread in 1..threads {
            let (race, call) = (&race, &call);
            scope.spawn(move || race.follow(|number| call(thread, number)));
        }
        race.lead(|number| call(0, number), &mut clean_up)
    })
}

/// Threads that start together, and the time from the first start to the last finish. All times are
/// in nanoseconds from `origin`.
struct Race {
    threads: u64,
    /// Of each thread, over all rounds.
    calls: usize,
    arrived: AtomicU64,
    /// The first call of the round. Whoever leads moves it before it comes to the start.
    first: AtomicUsize,
    origin: Instant,
    first_start: AtomicU64,
    last_start: AtomicU64,
    last_finish: AtomicU64,
}

impl Race {
    fn new(threads: usize, calls: usize) -> Self {
        Self {
            threads: threads as u64,
            calls,
            arrived: AtomicU64::new(0),
            first: AtomicUsize::new(0),
            origin: Instant::now(),
            first_start: AtomicU64::new(u64::MAX),
            last_start: AtomicU64::new(0),
            last_finish: AtomicU64::new(0),
        }
    }

    /// Does all rounds, with one thread that leads.
    fn follow(&self, call: impl Fn(usize)) {
        while let Some(numbers) = self.start() {
            self.run(numbers, &call);
        }
    }

    /// Says what each round is, until all are done, and returns the time of those that count.
    fn lead(&self, call: impl Fn(usize), clean_up: &mut impl FnMut(Range<usize>)) -> Duration {
        let (mut spent, mut repetitions) = (Duration::ZERO, 0);
        while let Some(numbers) = self.start() {
            self.run(numbers.clone(), &call);
            let (time, is_fair) = self.take_time();
            clean_up(numbers.clone());
            if is_fair || repetitions == REPETITIONS_MAX {
                spent += time;
                repetitions = 0;
                self.first.store(numbers.end, Ordering::Relaxed);
            } else {
                repetitions += 1;
            }
        }
        spent
    }

    /// Waits for the others, and returns the numbers of the round; `None` after the last.
    fn start(&self) -> Option<Range<usize>> {
        self.meet();
        let first = self.first.load(Ordering::Relaxed);
        (first < self.calls).then(|| first..self.calls.min(first + ROUND))
    }

    /// Does a part of the round, and waits until the others have done theirs.
    fn run(&self, numbers: Range<usize>, call: impl Fn(usize)) {
        let start = self.now();
        numbers.for_each(call);
        let finish = self.now();
        self.first_start.fetch_min(start, Ordering::Relaxed);
        self.last_start.fetch_max(start, Ordering::Relaxed);
        self.last_finish.fetch_max(finish, Ordering::Relaxed);
        self.meet();
    }

    /// The time of the round, and whether its threads were together for most of it. For whoever
    /// leads.
    fn take_time(&self) -> (Duration, bool) {
        let first_start = self.first_start.swap(u64::MAX, Ordering::Relaxed);
        let time = self.last_finish.load(Ordering::Relaxed) - first_start;
        let late = self.last_start.load(Ordering::Relaxed) - first_start;
        (Duration::from_nanos(time), late <= time / 8)
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Spins: to be woken would take longer than a round.
    fn meet(&self) {
        let before = self.arrived.fetch_add(1, Ordering::AcqRel);
        let all = (before / self.threads + 1) * self.threads;
        let mut spins = 0;
        while self.arrived.load(Ordering::Acquire) < all {
            spins += 1;
            if spins < SPINS_MAX { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}
