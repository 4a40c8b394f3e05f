//! Huffman codes of limited length.

use super::codes::{Code, LITERAL_SYMBOLS};

/// The longest code that deflate knows.
const LENGTH_MAX: usize = 15;

/// Sets the lengths of the codes for symbols with these counts, each at most `length_max`. A symbol
/// with the count 0 has no code. A single symbol has a code of one bit.
///
/// The codes are the shortest ones, unless `length_max` cuts some; then they are nearly so.
pub(super) fn lengths(counts: &[u16], length_max: usize, lengths: &mut [u8]) {
    lengths.fill(0);
    let mut buffer = [Leaf::default(); LITERAL_SYMBOLS];
    let leaves = ascending(counts, &mut buffer);
    if leaves.len() < 2 {
        for leaf in leaves {
            lengths[usize::from(leaf.symbol)] = 1;
        }
        return;
    }
    let mut buffer = [0; LITERAL_SYMBOLS];
    let nodes = &mut buffer[..leaves.len()];
    for (node, leaf) in nodes.iter_mut().zip(leaves.iter()) {
        *node = leaf.count.into();
    }
    depths(nodes);
    let numbers = cut(nodes, length_max);
    // The rarest symbols have the longest codes.
    let descending = (1..=length_max).rev();
    let each = descending.flat_map(|length| std::iter::repeat_n(length, numbers[length].into()));
    for (leaf, length) in leaves.iter().zip(each) {
        lengths[usize::from(leaf.symbol)] = length as u8;
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Leaf {
    count: u16,
    symbol: u16,
}

/// The symbols that are used, by their counts.
fn ascending<'a>(counts: &[u16], buffer: &'a mut [Leaf]) -> &'a [Leaf] {
    let mut used = 0;
    for (symbol, &count) in counts.iter().enumerate() {
        buffer[used] = Leaf { count, symbol: symbol as u16 };
        used += usize::from(count > 0);
    }
    let leaves = &mut buffer[..used];
    leaves.sort_unstable();
    leaves
}

/// Replaces two or more ascending counts by the depths of their leaves in a Huffman tree, in place
/// (Moffat and Katajainen, "In-place calculation of minimum-redundancy codes", 1995).
fn depths(nodes: &mut [u32]) {
    join(nodes);
    let root = nodes.len() - 2;
    nodes[root] = 0;
    for inner in (0..root).rev() {
        nodes[inner] = nodes[nodes[inner] as usize] + 1;
    }
    spread(nodes);
}

/// From counts to inner nodes: each becomes the index of its parent. The root is the last but one.
fn join(nodes: &mut [u32]) {
    // The next leaf, and the next inner node without a parent.
    let (mut leaf, mut inner) = (0, 0);
    for parent in 0..nodes.len() - 1 {
        let mut count = 0;
        for _ in 0..2 {
            let is_inner = leaf == nodes.len() || (inner < parent && nodes[inner] < nodes[leaf]);
            if is_inner {
                count += nodes[inner];
                nodes[inner] = parent as u32;
                inner += 1;
            } else {
                count += nodes[leaf];
                leaf += 1;
            }
        }
        nodes[parent] = count;
    }
}

/// From the depths of inner nodes to the depths of leaves, level by level.
fn spread(nodes: &mut [u32]) {
    let (mut leaf, mut inner) = (nodes.len(), nodes.len() - 1);
    let (mut places, mut depth) = (1, 0);
    while places > 0 {
        let mut inner_places = 0;
        while inner > 0 && nodes[inner - 1] == depth {
            inner_places += 1;
            inner -= 1;
        }
        for _ in inner_places..places {
            leaf -= 1;
            nodes[leaf] = depth;
        }
        places = 2 * inner_places;
        depth += 1;
    }
}

/// How many codes have each length, if no length exceeds `length_max`.
fn cut(depths: &[u32], length_max: usize) -> [u16; LENGTH_MAX + 1] {
    let mut numbers = [0_u16; LENGTH_MAX + 1];
    for &depth in depths {
        numbers[(depth as usize).min(length_max)] += 1;
    }
    let places = |(length, &number): (usize, &u16)| u32::from(number) << (length_max - length);
    let taken: u32 = numbers.iter().enumerate().take(length_max + 1).skip(1).map(places).sum();
    // Codes that were cut take more places than there are. Each step gives one place back: a code
    // of the greatest length becomes the sibling of a shorter code, and both are one bit longer.
    for _ in 1 << length_max..taken {
        numbers[length_max] -= 1;
        let shorter = (1..length_max).rev().find(|&length| numbers[length] > 0);
        let shorter = shorter.expect("some code is shorter, if there are enough codes");
        numbers[shorter] -= 1;
        numbers[shorter + 1] += 2;
    }
    numbers
}

/// The canonical codes of these lengths (RFC 1951, section 3.2.2).
pub(super) fn codes<const SYMBOLS: usize>(lengths: &[u8]) -> [Code; SYMBOLS] {
    let mut numbers = [0_u16; LENGTH_MAX + 1];
    for &length in lengths {
        numbers[usize::from(length)] += 1;
    }
    let mut next = [0_u16; LENGTH_MAX + 1];
    for length in 2..=LENGTH_MAX {
        next[length] = (next[length - 1] + numbers[length - 1]) << 1;
    }
    let mut codes = [Code::default(); SYMBOLS];
    for (code, &length) in codes.iter_mut().zip(lengths) {
        if length > 0 {
            let next = &mut next[usize::from(length)];
            *code = Code::new(*next, length);
            *next += 1;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths_of(counts: &[u16], length_max: usize) -> Vec<u8> {
        let mut lengths = vec![0; counts.len()];
        super::lengths(counts, length_max, &mut lengths);
        lengths
    }

    /// What part of all codes these lengths take, in units of the longest one.
    fn places(lengths: &[u8]) -> u32 {
        lengths.iter().filter(|&&length| length > 0).map(|length| 1 << (15 - length)).sum()
    }

    #[test]
    fn frequent_symbols_have_shorter_codes() {
        assert_eq!(lengths_of(&[0, 5, 1, 0, 1, 2], 15), [0, 1, 3, 0, 3, 2]);
        assert_eq!(lengths_of(&[7, 7], 15), [1, 1]);
        assert_eq!(lengths_of(&[0, 3, 0], 15), [0, 1, 0]);
        assert_eq!(lengths_of(&[0, 0], 15), [0, 0]);
    }

    #[test]
    fn codes_are_complete_and_no_longer_than_allowed() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let symbols = random.usize(2..=286);
            let bits = random.u32(1..14);
            let mut counts: Vec<_> = (0..symbols).map(|_| random.u16(..1 << bits)).collect();
            counts[0] += 1;
            counts[1] += 1;
            let lengths = lengths_of(&counts, 15);
            assert_eq!(places(&lengths), 1 << 15, "{counts:?}");
        }
    }

    #[test]
    fn codes_that_are_cut_are_complete_too() {
        // The counts of the deepest trees: 16 symbols have codes of up to 15 bits.
        let (mut one, mut other) = (1_u16, 1);
        let fibonacci: Vec<_> = (0..19)
            .map(|_| {
                (one, other) = (other, one + other);
                one
            })
            .collect();
        assert_eq!(lengths_of(&fibonacci[..16], 15).into_iter().max(), Some(15));
        for length_max in [5, 7, 15] {
            let lengths = lengths_of(&fibonacci, length_max);
            assert_eq!(lengths.iter().max(), Some(&(length_max as u8)));
            assert_eq!(places(&lengths), 1 << 15, "at most {length_max} bits");
        }
    }

    #[test]
    fn canonical_codes_are_those_of_the_rfc() {
        let codes: [Code; 8] = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        for (code, expected) in codes.into_iter().zip(expected) {
            assert_eq!(code.bits, Code::new(expected, code.length).bits);
        }
    }
}
