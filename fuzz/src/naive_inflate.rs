//! A plain reading of RFC 1951 and of RFC 7692, section 7.2.2: bit by bit, without tables. It refuses the codes that
//! zlib refuses.

/// What a receiver makes of a compressed message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Message(Vec<u8>),
    TooLarge,
    Broken,
}

/// Why reading ends early.
enum Stop {
    TooLarge,
    Broken,
}

/// Inflates a message of at most `bytes_max` bytes.
pub fn inflate(payload: &[u8], bytes_max: usize) -> Outcome {
    if payload.is_empty() {
        return Outcome::Message(Vec::new());
    }
    let bytes = [payload, &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let payload_bits = payload.len() * 8;
    let mut reader =
        Reader { bytes: &bytes, bit: 0, payload_bits, out: Vec::new(), window: 0, bytes_max };
    match reader.message() {
        Ok(()) => Outcome::Message(reader.out),
        Err(Stop::TooLarge) => Outcome::TooLarge,
        Err(Stop::Broken) => Outcome::Broken,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    bit: usize,
    /// Where the appended bytes begin. A valid message has no output behind this bit.
    payload_bits: usize,
    out: Vec<u8>,
    /// Where the output of this stream begins.
    window: usize,
    bytes_max: usize,
}

impl Reader<'_> {
    fn message(&mut self) -> Result<(), Stop> {
        while self.bit < self.bytes.len() * 8 {
            let is_final = self.block()?;
            if !is_final {
                continue;
            }
            self.align();
            match self.bit.cmp(&self.payload_bits) {
                std::cmp::Ordering::Less => self.window = self.out.len(),
                std::cmp::Ordering::Equal => return Ok(()),
                std::cmp::Ordering::Greater => return Err(Stop::Broken),
            }
        }
        Ok(())
    }

    fn block(&mut self) -> Result<bool, Stop> {
        let is_final = self.bits(1)? == 1;
        match self.bits(2)? {
            0 => self.stored()?,
            1 => self.coded(&fixed_lengths(), &Code::new(&[5; 30]))?,
            2 => {
                let (lengths, distances) = self.codes()?;
                self.coded(&lengths, &distances)?;
            }
            _ => return Err(Stop::Broken),
        }
        Ok(is_final)
    }

    fn stored(&mut self) -> Result<(), Stop> {
        self.align();
        let (length, inverse) = (self.bits(16)?, self.bits(16)?);
        if length != !inverse & 0xFFFF {
            return Err(Stop::Broken);
        }
        for _ in 0..length {
            let byte = self.bits(8)? as u8;
            self.write(byte)?;
        }
        Ok(())
    }

    fn coded(&mut self, lengths: &Code, distances: &Code) -> Result<(), Stop> {
        loop {
            match self.symbol(lengths)? {
                256 => return Ok(()),
                literal @ ..256 => self.write(literal as u8)?,
                symbol => self.copy(symbol - 257, distances)?,
            }
        }
    }

    fn copy(&mut self, length: usize, distances: &Code) -> Result<(), Stop> {
        const LENGTHS: [(usize, u32); 29] = [
            (3, 0),
            (4, 0),
            (5, 0),
            (6, 0),
            (7, 0),
            (8, 0),
            (9, 0),
            (10, 0),
            (11, 1),
            (13, 1),
            (15, 1),
            (17, 1),
            (19, 2),
            (23, 2),
            (27, 2),
            (31, 2),
            (35, 3),
            (43, 3),
            (51, 3),
            (59, 3),
            (67, 4),
            (83, 4),
            (99, 4),
            (115, 4),
            (131, 5),
            (163, 5),
            (195, 5),
            (227, 5),
            (258, 0),
        ];
        let (base, extra) = *LENGTHS.get(length).ok_or(Stop::Broken)?;
        let length = base + self.bits(extra)?;
        let symbol = self.symbol(distances)?;
        let distance = match symbol {
            0..4 => symbol + 1,
            4..30 => {
                let extra = symbol / 2 - 1;
                (2 + symbol % 2 << extra) + 1 + self.bits(extra as u32)?
            }
            _ => return Err(Stop::Broken),
        };
        if distance > self.out.len() - self.window {
            return Err(Stop::Broken);
        }
        for _ in 0..length {
            self.write(self.out[self.out.len() - distance])?;
        }
        Ok(())
    }

    /// The codes of a block that brings its own.
    fn codes(&mut self) -> Result<(Code, Code), Stop> {
        const ORDER: [usize; 19] =
            [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances) = (self.bits(5)? + 257, self.bits(5)? + 1);
        let described = self.bits(4)? + 4;
        if literals > 286 || distances > 30 {
            return Err(Stop::Broken);
        }
        let mut lengths = [0; 19];
        for at in &ORDER[..described] {
            lengths[*at] = self.bits(3)?;
        }
        let code = Code::new(&lengths);
        if code.unused != 0 {
            return Err(Stop::Broken);
        }
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match self.symbol(&code)? {
                16 => (*lengths.last().ok_or(Stop::Broken)?, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(length, times));
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return Err(Stop::Broken);
        }
        let (literals, distances) = lengths.split_at(literals);
        let (literals, distances) = (Code::new(literals), Code::new(distances));
        if literals.is_usable() && distances.is_usable() {
            Ok((literals, distances))
        } else {
            Err(Stop::Broken)
        }
    }

    fn symbol(&mut self, code: &Code) -> Result<usize, Stop> {
        let (mut word, mut first, mut before) = (0, 0, 0);
        for length in 1..=15 {
            word = word << 1 | self.bits(1)?;
            first <<= 1;
            let count = code.counts[length];
            if word < first + count {
                return Ok(code.symbols[before + word - first]);
            }
            first += count;
            before += count;
        }
        Err(Stop::Broken)
    }

    fn bits(&mut self, count: u32) -> Result<usize, Stop> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.bytes.get(self.bit / 8).ok_or(Stop::Broken)?;
            value |= usize::from(byte >> (self.bit % 8) & 1) << place;
            self.bit += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.bit = self.bit.next_multiple_of(8);
    }

    fn write(&mut self, byte: u8) -> Result<(), Stop> {
        self.out.push(byte);
        if self.bit > self.payload_bits {
            return Err(Stop::Broken);
        }
        if self.out.len() > self.bytes_max { Err(Stop::TooLarge) } else { Ok(()) }
    }
}

/// A canonical prefix code.
struct Code {
    /// The number of symbols of each length.
    counts: [usize; 16],
    /// The symbols, by length and then by value.
    symbols: Vec<usize>,
    /// The words of 15 bits that belong to no symbol; negative if symbols share words.
    unused: i32,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|at| lengths[*at] != 0).collect();
        symbols.sort_by_key(|at| lengths[*at]);
        for at in &symbols {
            counts[lengths[*at]] += 1;
        }
        let used: i32 = (1..16).map(|length| (counts[length] as i32) << (15 - length)).sum();
        Self { counts, symbols, unused: (1 << 15) - used }
    }

    /// Whether zlib accepts the code: it is complete, or has one symbol of one bit, or none.
    fn is_usable(&self) -> bool {
        match self.symbols.len() {
            0 => true,
            1 => self.counts[1] == 1,
            _ => self.unused == 0,
        }
    }
}

fn fixed_lengths() -> Code {
    Code::new(&[&[8; 144][..], &[9; 112], &[7; 24], &[8; 8]].concat())
}
