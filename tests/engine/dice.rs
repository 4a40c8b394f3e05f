//! The random numbers of a model run.

use std::ops::Range;

/// A source of numbers: the seed of a test, or the bytes of a fuzzer.
pub(crate) trait Dice {
    /// Returns a number in `range`. `range` must not be empty.
    fn draw(&mut self, range: Range<usize>) -> usize;

    /// Whether the source has no more numbers.
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
