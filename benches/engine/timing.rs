//! Times calls that leave data behind, by one thread or by several at once. The calls run in rounds; a
//! clean-up between the rounds removes the data.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The calls of a thread in a round: enough to make the cost of reading the clock negligible, and few enough
/// for their data to stay in the cache.
pub(crate) const ROUND: usize = 256;

/// The spins of a waiting thread before it yields its core: about 0.1 ms.
const SPINS_MAX: usize = 10_000;

/// The most repetitions of a round whose threads did not start together. On a machine with too few cores
/// they never do.
const REPETITIONS_MAX: usize = 16;

/// Returns the time in which each of `threads` threads makes `calls` calls, all threads at once.
///
/// `call` gets its thread and its number. `clean_up` gets the numbers of the round that has ended; it runs
/// while the threads wait, and its time is not counted. A round in which a thread had to wait for a core is
/// not counted either: it is repeated.
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

/// A group of threads that start each round together. Measures the time from the first start to the last
/// finish. All times are in nanoseconds since `origin`.
struct Race {
    threads: u64,
    /// The calls of each thread, over all rounds.
    calls: usize,
    arrived: AtomicU64,
    /// The number of the round's first call. The leader sets it before it comes to the start.
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

    /// Runs all rounds in a thread that does not lead.
    fn follow(&self, call: impl Fn(usize)) {
        while let Some(numbers) = self.start() {
            self.run(numbers, &call);
        }
    }

    /// Runs all rounds in the leading thread, which starts and cleans up each round. Returns the time of the
    /// rounds that count.
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

    /// Waits for the other threads, and returns the numbers of the round; `None` after the last round.
    fn start(&self) -> Option<Range<usize>> {
        self.meet();
        let first = self.first.load(Ordering::Relaxed);
        (first < self.calls).then(|| first..self.calls.min(first + ROUND))
    }

    /// Makes this thread's calls of the round, and waits until the other threads have made theirs.
    fn run(&self, numbers: Range<usize>, call: impl Fn(usize)) {
        let start = self.now();
        numbers.for_each(call);
        let finish = self.now();
        self.first_start.fetch_min(start, Ordering::Relaxed);
        self.last_start.fetch_max(start, Ordering::Relaxed);
        self.last_finish.fetch_max(finish, Ordering::Relaxed);
        self.meet();
    }

    /// Returns the time of the round, and whether its threads overlapped for most of it. Only the leader calls
    /// this.
    fn take_time(&self) -> (Duration, bool) {
        let first_start = self.first_start.swap(u64::MAX, Ordering::Relaxed);
        let time = self.last_finish.load(Ordering::Relaxed) - first_start;
        let late = self.last_start.load(Ordering::Relaxed) - first_start;
        (Duration::from_nanos(time), late <= time / 8)
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Waits until all threads are here. Spins, because a wake-up would take longer than a round.
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
