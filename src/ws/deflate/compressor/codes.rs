//! The alphabets of deflate: literals, lengths and distances (RFC 1951, section 3.2.5). The codes
//! of fixed blocks (section 3.2.6).

/// The shortest match that has a code.
pub(super) const MATCH_BYTES_MIN: usize = 3;

/// The longest match that has a code.
pub(super) const MATCH_BYTES_MAX: usize = 258;

/// Literals, the end of a block, and lengths.
pub(super) const LITERAL_SYMBOLS: usize = 286;

pub(super) const DISTANCE_SYMBOLS: usize = 30;

/// The symbol that ends a block. The lengths follow it.
pub(super) const END_OF_BLOCK: u16 = 256;

/// The code of a symbol.
#[derive(Clone, Copy, Default)]
pub(super) struct Code {
    /// The bit that is sent first is the lowest one.
    pub(super) bits: u16,
    /// The number of bits. 0 if the symbol has no code.
    pub(super) length: u8,
}

impl Code {
    /// A code, with its bits as the RFC writes them: the bit that is sent first is the highest one.
    pub(super) const fn new(code: u16, length: u8) -> Self {
        Self { bits: code.reverse_bits() >> (u16::BITS as u8 - length), length }
    }
}

/// The codes of a block.
pub(super) struct Codes {
    pub(super) literals: [Code; LITERAL_SYMBOLS],
    pub(super) distances: [Code; DISTANCE_SYMBOLS],
}

/// The symbol of a length or a distance, and the bits that follow its code.
#[derive(Clone, Copy)]
pub(super) struct Symbol {
    pub(super) symbol: u16,
    pub(super) extra: u16,
    pub(super) extra_bits: u8,
}

/// Bytes that occurred before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// At least [`MATCH_BYTES_MIN`], at most [`MATCH_BYTES_MAX`].
    pub(super) bytes: u16,
    /// 1 to 32,768 bytes.
    pub(super) distance: u16,
}

impl Match {
    #[inline]
    pub(super) fn length_symbol(self) -> Symbol {
        LENGTHS[usize::from((self.bytes - MATCH_BYTES_MIN as u16) as u8)]
    }

    #[inline]
    pub(super) fn distance_symbol(self) -> Symbol {
        let distance = self.distance - 1;
        if distance < 4 {
            return Symbol { symbol: distance, extra: 0, extra_bits: 0 };
        }
        // Two symbols for each power of two: the bit below the highest one tells them apart.
        let extra_bits = distance.ilog2() - 1;
        let symbol = (extra_bits as u16) * 2 + (distance >> extra_bits);
        let extra = distance & ((1 << extra_bits) - 1);
        Symbol { symbol, extra, extra_bits: extra_bits as u8 }
    }
}

/// The codes of fixed blocks.
pub(super) static FIXED: Codes = Codes { literals: fixed_literals(), distances: fixed_distances() };

/// By the length of a match less [`MATCH_BYTES_MIN`].
static LENGTHS: [Symbol; 256] = length_symbols();

const fn length_symbols() -> [Symbol; 256] {
    let mut symbols = [Symbol { symbol: 0, extra: 0, extra_bits: 0 }; 256];
    let mut index = 0;
    while index < 255 {
        symbols[index as usize] = length_symbol(index);
        index += 1;
    }
    // The longest match has a symbol of its own.
    symbols[255] = Symbol { symbol: 285, extra: 0, extra_bits: 0 };
    symbols
}

const fn length_symbol(index: u16) -> Symbol {
    let first = END_OF_BLOCK + 1;
    if index < 8 {
        return Symbol { symbol: first + index, extra: 0, extra_bits: 0 };
    }
    // Four symbols for each power of two: the two bits below the highest one tell them apart.
    let extra_bits = index.ilog2() - 2;
    let symbol = first + extra_bits as u16 * 4 + (index >> extra_bits);
    Symbol { symbol, extra: index & ((1 << extra_bits) - 1), extra_bits: extra_bits as u8 }
}

const fn fixed_literals() -> [Code; LITERAL_SYMBOLS] {
    let mut codes = [Code { bits: 0, length: 0 }; LITERAL_SYMBOLS];
    let mut symbol = 0;
    while symbol < LITERAL_SYMBOLS as u16 {
        codes[symbol as usize] = match symbol {
            0..144 => Code::new(0b0011_0000 + symbol, 8),
            144..256 => Code::new(0b1_1001_0000 + symbol - 144, 9),
            256..280 => Code::new(symbol - 256, 7),
            _ => Code::new(0b1100_0000 + symbol - 280, 8),
        };
        symbol += 1;
    }
    codes
}

const fn fixed_distances() -> [Code; DISTANCE_SYMBOLS] {
    let mut codes = [Code { bits: 0, length: 0 }; DISTANCE_SYMBOLS];
    let mut symbol = 0;
    while symbol < DISTANCE_SYMBOLS {
        codes[symbol] = Code::new(symbol as u16, 5);
        symbol += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_the_symbol_of_the_table_in_the_rfc() {
        let of = |bytes| {
            let Symbol { symbol, extra, extra_bits } = Match { bytes, distance: 1 }.length_symbol();
            (symbol, extra, extra_bits)
        };
        let table = [
            (3, 257, 0),
            (10, 264, 0),
            (11, 265, 1),
            (19, 269, 2),
            (35, 273, 3),
            (67, 277, 4),
            (131, 281, 5),
            (227, 284, 5),
            (258, 285, 0),
        ];
        for (bytes, symbol, extra_bits) in table {
            assert_eq!(of(bytes), (symbol, 0, extra_bits), "{bytes} bytes");
        }
        assert_eq!(of(257), (284, 30, 5));
    }

    #[test]
    fn each_distance_has_the_symbol_of_the_table_in_the_rfc() {
        let of = |distance| {
            let Symbol { symbol, extra, extra_bits } =
                Match { bytes: 3, distance }.distance_symbol();
            (symbol, extra, extra_bits)
        };
        let table =
            [(1, 0, 0), (4, 3, 0), (5, 4, 1), (7, 5, 1), (9, 6, 2), (193, 15, 6), (24_577, 29, 13)];
        for (distance, symbol, extra_bits) in table {
            assert_eq!(of(distance), (symbol, 0, extra_bits), "a distance of {distance}");
        }
        assert_eq!(of(32_768), (29, 8191, 13));
    }
}
