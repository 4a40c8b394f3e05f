//! Codes made for one block, and their description (RFC 1951, section 3.2.7).

use std::iter;

use super::bits::BitWriter;
use super::codes::{Code, Codes, DISTANCE_SYMBOLS, END_OF_BLOCK, FIXED, LITERAL_SYMBOLS};
use super::huffman;
use super::tokens::{Kind, Token};

/// The longest code of a literal, a length or a distance.
const CODE_BITS_MAX: usize = 15;

/// Codes made for the tokens of a block.
pub(super) struct Dynamic {
    codes: Codes,
    description: Description,
    /// What a block has with these codes, and with fixed codes, without extra bits.
    bits: usize,
    bits_fixed: usize,
}

impl Dynamic {
    /// Makes codes for `tokens`, at most 65,534.
    pub(super) fn new(tokens: &[Token]) -> Self {
        let counts = Counts::new(tokens);
        let mut lengths = Lengths([0; LITERAL_SYMBOLS + DISTANCE_SYMBOLS]);
        let (literals, distances) = lengths.split();
        huffman::lengths(&counts.literals, CODE_BITS_MAX, literals);
        huffman::lengths(&counts.distances, CODE_BITS_MAX, distances);
        let codes =
            Codes { literals: huffman::codes(literals), distances: huffman::codes(distances) };
        let description = Description::new(&mut lengths);
        let bits = description.bits() + counts.bits(&codes);
        Self { codes, description, bits, bits_fixed: counts.bits(&FIXED) }
    }

    pub(super) fn is_shorter_than_fixed(&self) -> bool {
        self.bits < self.bits_fixed
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    pub(super) fn put_description(&self, bits: &mut BitWriter<'_>) {
        self.description.put(bits);
    }
}

/// How often a block has each symbol.
struct Counts {
    literals: [u16; LITERAL_SYMBOLS],
    distances: [u16; DISTANCE_SYMBOLS],
}

impl Counts {
    fn new(tokens: &[Token]) -> Self {
        let mut literals = [0; LITERAL_SYMBOLS];
        let mut distances = [0; DISTANCE_SYMBOLS];
        for token in tokens {
            match token.kind() {
                Kind::Literal(byte) => literals[usize::from(byte)] += 1,
                Kind::Match(found) => {
                    literals[usize::from(found.length_symbol().symbol)] += 1;
                    distances[usize::from(found.distance_symbol().symbol)] += 1;
                }
            }
        }
        literals[usize::from(END_OF_BLOCK)] = 1;
        Self { literals, distances }
    }

    /// The bits of all codes.
    fn bits(&self, codes: &Codes) -> usize {
        bits(&self.literals, &codes.literals) + bits(&self.distances, &codes.distances)
    }
}

fn bits(counts: &[u16], codes: &[Code]) -> usize {
    let bits = |(&count, code): (&u16, &Code)| usize::from(count) * usize::from(code.length);
    counts.iter().zip(codes).map(bits).sum()
}

/// The lengths of the codes of literals, followed by those of distances.
struct Lengths([u8; LITERAL_SYMBOLS + DISTANCE_SYMBOLS]);

impl Lengths {
    fn split(&mut self) -> (&mut [u8], &mut [u8]) {
        self.0.split_at_mut(LITERAL_SYMBOLS)
    }

    /// Moves the distances behind the last literal that is used. Returns how many lengths of
    /// literals and of distances there are then.
    fn join(&mut self) -> (usize, usize) {
        let (literals, distances) = self.split();
        // The end of a block has a code. The description cannot say that there are no distances.
        let (literals, distances) = (used(literals), used(distances).max(1));
        self.0.copy_within(LITERAL_SYMBOLS..LITERAL_SYMBOLS + distances, literals);
        (literals, distances)
    }
}

/// The number of lengths without the zeros at their end.
fn used(lengths: &[u8]) -> usize {
    lengths.iter().rposition(|&length| length > 0).map_or(0, |last| last + 1)
}

/// The symbols of code lengths: 0 to 15, and three kinds of repetition.
const LENGTH_SYMBOLS: usize = 19;

/// The longest code of a code length.
const LENGTH_BITS_MAX: usize = 7;

/// The length before, 3 to 6 times more.
const REPEAT: u8 = 16;
/// 3 to 10 zeros.
const ZEROS: u8 = 17;
/// 11 to 138 zeros.
const MANY_ZEROS: u8 = 18;

/// The order in which the codes of code lengths are described. The last ones are seldom used.
const ORDER: [usize; LENGTH_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The fewest codes of code lengths that can be described.
const DESCRIBED_MIN: usize = 4;

/// The description of the codes of a block.
struct Description {
    literals: usize,
    distances: usize,
    runs: Vec<Run>,
    codes: [Code; LENGTH_SYMBOLS],
    /// How many codes of [`ORDER`] are described.
    described: usize,
}

/// A symbol of code lengths, and its extra bits.
#[derive(Clone, Copy)]
struct Run {
    symbol: u8,
    extra: u8,
}

impl Description {
    fn new(lengths: &mut Lengths) -> Self {
        let (literals, distances) = lengths.join();
        let runs = runs(&lengths.0[..literals + distances]);
        let mut counts = [0; LENGTH_SYMBOLS];
        for run in &runs {
            counts[usize::from(run.symbol)] += 1;
        }
        let mut lengths = [0; LENGTH_SYMBOLS];
        huffman::lengths(&counts, LENGTH_BITS_MAX, &mut lengths);
        let described = used(&ORDER.map(|symbol| lengths[symbol])).max(DESCRIBED_MIN);
        Self { literals, distances, runs, codes: huffman::codes(&lengths), described }
    }

    fn bits(&self) -> usize {
        let runs: usize = self.runs.iter().map(|&run| self.coded(run).1 as usize).sum();
        5 + 5 + 4 + 3 * self.described + runs
    }

    fn put(&self, bits: &mut BitWriter<'_>) {
        bits.put((self.literals - 257) as u64, 5);
        bits.put((self.distances - 1) as u64, 5);
        bits.put((self.described - DESCRIBED_MIN) as u64, 4);
        for &symbol in &ORDER[..self.described] {
            bits.put(self.codes[symbol].length.into(), 3);
        }
        for &run in &self.runs {
            let (run, run_bits) = self.coded(run);
            bits.put(run, run_bits);
        }
    }

    /// The code and the extra bits of a run, and how many bits that is.
    fn coded(&self, run: Run) -> (u64, u32) {
        let code = self.codes[usize::from(run.symbol)];
        let extra_bits = match run.symbol {
            REPEAT => 2,
            ZEROS => 3,
            MANY_ZEROS => 7,
            _ => 0,
        };
        let bits = u64::from(code.bits) | u64::from(run.extra) << code.length;
        (bits, u32::from(code.length) + extra_bits)
    }
}

fn runs(lengths: &[u8]) -> Vec<Run> {
    let mut runs = Vec::with_capacity(lengths.len());
    for same in lengths.chunk_by(|one, other| one == other) {
        if same[0] == 0 {
            push_zeros(&mut runs, same.len());
        } else {
            runs.push(Run { symbol: same[0], extra: 0 });
            push_repetitions(&mut runs, same[0], same.len() - 1);
        }
    }
    runs
}

fn push_zeros(runs: &mut Vec<Run>, mut count: usize) {
    while count >= 3 {
        let (symbol, least, most) = if count > 10 { (MANY_ZEROS, 11, 138) } else { (ZEROS, 3, 10) };
        let taken = count.min(most);
        runs.push(Run { symbol, extra: (taken - least) as u8 });
        count -= taken;
    }
    runs.extend(iter::repeat_n(Run { symbol: 0, extra: 0 }, count));
}

fn push_repetitions(runs: &mut Vec<Run>, length: u8, mut count: usize) {
    while count >= 3 {
        let taken = count.min(6);
        runs.push(Run { symbol: REPEAT, extra: (taken - 3) as u8 });
        count -= taken;
    }
    runs.extend(iter::repeat_n(Run { symbol: length, extra: 0 }, count));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the runs stand for.
    fn expand(runs: &[Run]) -> Vec<u8> {
        let mut lengths = Vec::new();
        for run in runs {
            let extra = usize::from(run.extra);
            let (length, count) = match run.symbol {
                REPEAT => (*lengths.last().expect("a length before"), 3 + extra),
                ZEROS => (0, 3 + extra),
                MANY_ZEROS => (0, 11 + extra),
                length => (length, 1),
            };
            lengths.extend(iter::repeat_n(length, count));
        }
        lengths
    }

    #[test]
    fn runs_of_any_number_of_equal_lengths_stand_for_them() {
        for length in [0, 9] {
            for count in 0..300 {
                let lengths = [vec![7], vec![length; count], vec![5]].concat();
                assert_eq!(expand(&runs(&lengths)), lengths, "{count} times {length}");
            }
        }
        assert_eq!(runs(&[0; 138]).len(), 1);
        assert_eq!(runs(&[9; 7]).len(), 2);
    }
}
