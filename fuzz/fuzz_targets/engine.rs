//! The shard engine agrees with the oracle of the tests, `tests/engine/model.rs`. The input chooses the operations and
//! their order: join, leave, publish, block, close.
//!
//! `TRACE=1` prints the operations.
#![no_main]

#[path = "../../tests/engine/coding.rs"]
#[expect(dead_code, reason = "the tests use the other items")]
mod coding;
#[path = "../../tests/engine/dice.rs"]
mod dice;
#[path = "../../tests/engine/fake.rs"]
#[expect(dead_code, reason = "the tests use the other items")]
mod fake;
#[path = "../../tests/engine/model.rs"]
mod model;
#[path = "../../tests/engine/operation.rs"]
mod operation;

use std::env;
use std::ops::Range;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use self::dice::Dice;
use self::operation::{Kind, Operation};

/// A message takes at least three bytes of input, so an input of this size does not fill an inbox.
const BYTES_MAX: usize = 2_048;

static IS_TRACED: LazyLock<bool> = LazyLock::new(|| env::var_os("TRACE").is_some());

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let kind = match kind % 4 {
        0 | 2 => Kind::Rough,
        1 => Kind::Gentle,
        _ => Kind::Steady,
    };
    let trace = |operation: &Operation| {
        if *IS_TRACED {
            eprintln!("{operation:?}");
        }
    };
    model::run(Bytes(bytes), kind, usize::MAX, trace);
});

/// The numbers that the fuzzer chooses. A small range takes one byte, so that a mutation changes one choice; a larger
/// range takes more bytes.
struct Bytes<'a>(&'a [u8]);

impl Dice for Bytes<'_> {
    fn draw(&mut self, range: Range<usize>) -> usize {
        let size = range.len();
        let mut number = 0;
        let mut reach = 1;
        while reach < size {
            let byte = self.0.split_off_first().copied().unwrap_or(0);
            number = number << 8 | usize::from(byte);
            reach <<= 8;
        }
        range.start + number % size
    }

    fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }
}
