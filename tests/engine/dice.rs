//! The random numbers of a model run.

use std::ops::Range;

/// A seed of a test, or the bytes of a fuzzer.
pub(crate) trait Dice {
    /// A number of `range`, which is not empty.
    fn draw(&mut self, range: Range<usize>) -> usize;

    /// Whether there is nothing left to draw from.
    fn is_used_up(&self) -> bool {
        false
    }

    fn flip(&mut self) -> bool {
        self.draw(0..2) == 1
    }

    fn pick<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        items[self.draw(0..N)]
    }
}
