//! The end of all connections, spread over a window of time.

use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::table::Phase;
use crate::engine::close::{Close, DisconnectReason};
use crate::engine::closing::{Closing, fraction};
use crate::engine::link::{ConnKey, Stage};
use crate::engine::socket::Socket;

/// The least time between two closes that are spread: a wake-up costs more than a close.
const CLOSE_TICK: Duration = Duration::from_millis(1);

/// Connections that are being closed one after the other.
#[derive(Debug)]
pub(super) struct Draining {
    closing: Arc<Closing>,
    since: Duration,
    /// How many there were.
    total: usize,
    picked: u64,
}

impl Draining {
    pub(super) fn new(closing: Arc<Closing>, since: Duration, total: usize) -> Self {
        Self { closing, since, total, picked: 0 }
    }

    pub(super) fn close_for(&self, conn: ConnKey) -> Close {
        self.closing.close_for(conn)
    }

    /// How many connections may be open at `now`: the first goes at once, the last before the end.
    pub(super) fn open_max(&self, now: Duration) -> usize {
        let window = self.closing.window;
        let left = self.since.saturating_add(window).saturating_sub(now);
        if left.is_zero() {
            return 0;
        }
        (self.total as f64 * left.as_secs_f64() / window.as_secs_f64()) as usize
    }

    /// When one of so many open connections is due, about.
    pub(super) fn next_at(&self, open: usize) -> Duration {
        let closed = self.total.saturating_sub(open);
        let part = (closed as f64 / self.total.max(1) as f64).min(1.0);
        self.since.saturating_add(self.closing.window.mul_f64(part))
    }

    /// Which of so many open connections is next. They are in the order of their arrival, more or less;
    /// closed in another, those that belong together do not all go at once.
    pub(super) fn pick(&mut self, open: usize) -> usize {
        self.picked += 1;
        (fraction(self.picked) * open as f64) as usize
    }
}

impl<S: Socket> Shard<S> {
    /// All are to be closed, in time.
    pub(super) fn close_all(&mut self, closing: Arc<Closing>) {
        let open = self.table.everyone().len();
        self.draining = Some(Draining::new(closing, self.post.now, open));
    }

    /// Whether it was told to end: by its hub, which is closed or gone.
    pub fn is_ending(&self) -> bool {
        self.is_stopped || self.draining.is_some()
    }

    /// Closes those that are to be closed by now; `false` if the budget did not reach.
    pub(super) fn drain(&mut self, budget: &mut usize) -> bool {
        while self.is_close_due() {
            let Some(draining) = &mut self.draining else { break };
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let everyone = self.table.everyone();
            let slot = everyone[draining.pick(everyone.len())];
            let Some(id) = self.table.get(slot).map(|entry| entry.id) else { break };
            let close = draining.close_for(id);
            self.end(id, DisconnectReason::HubClosed(close));
            self.charge_settling(budget);
        }
        true
    }

    pub(super) fn is_close_due(&self) -> bool {
        let open = self.table.everyone().len();
        self.draining.as_ref().is_some_and(|draining| open > draining.open_max(self.post.now))
    }

    /// When the next one is to be closed.
    pub(super) fn next_close(&self) -> Option<Duration> {
        let draining = self.draining.as_ref()?;
        let open = self.table.everyone().len();
        (open > 0).then(|| draining.next_at(open).max(self.post.now + CLOSE_TICK))
    }

    /// Gives up all that are left, at once: there is nobody whom it could keep waiting. Returns how many
    /// of them had not got all that was sent to them.
    pub(super) fn cut_all(&mut self) -> usize {
        let ids: Vec<ConnKey> = self.table.ids_left().collect();
        ids.into_iter().filter(|&id| self.give_up(id)).count()
    }

    fn give_up(&mut self, id: ConnKey) -> bool {
        let told = self.draining.as_ref().map(|draining| draining.close_for(id));
        self.end(id, DisconnectReason::HubClosed(told.unwrap_or_else(Close::hub_closed)));
        let Some(slot) = self.table.slot(id) else { return false };
        let Some(entry) = self.table.get(slot) else { return false };
        match entry.phase {
            Phase::Shut => {
                // The kernel goes on sending what it has taken.
                entry.link.advance(Stage::Cut);
                entry.outlet.is_unacknowledged()
            }
            _ => {
                self.cut(slot);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn draining(total: usize) -> Draining {
        let closing = Closing { window: WINDOW, ..Closing::now() };
        Draining::new(closing.into(), Duration::from_secs(100), total)
    }

    #[test]
    fn closes_are_spread_evenly_and_over_with_the_window() {
        let draining = draining(1_000);
        let open = |seconds| draining.open_max(Duration::from_secs_f64(seconds));
        assert_eq!([100.0, 101.0, 105.0, 109.0].map(open), [1_000, 900, 500, 100]);
        assert_eq!([110.0, 200.0].map(open), [0, 0]);
    }

    #[test]
    fn next_one_is_due_when_fewer_may_be_open() {
        for total in [1, 3, 1_000] {
            let draining = draining(total);
            for open in 1..=total {
                let at = draining.next_at(open);
                let ms = Duration::from_millis(1);
                assert!(draining.open_max(at + ms) < open, "{open} of {total}");
                let before = (at - ms).max(draining.since);
                assert!(draining.open_max(before) >= open, "{open} of {total}");
            }
        }
    }

    #[test]
    fn picks_are_within_what_is_open() {
        let mut draining = draining(10);
        assert!((1..1_000).all(|open| draining.pick(open) < open));
    }
}
