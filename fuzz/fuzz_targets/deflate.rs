//! Two inflaters that others wrote read each message of a compressor, whatever it has compressed before.
//!
//! ```text
//! input = window bits (1) · thorough (1) · (a step (1) · its argument (1) · the bytes of a message)*
//! ```
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use roomcast::engine::{Compressor, FrameKind, frame};
use roomcast::internals::deflater;
use zlib_rs::{Inflate, InflateFlush};

/// What the receiver of a compressed message appends (RFC 7692, section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// The mark of a compressed message in the first byte of a frame.
const RSV1: u8 = 0x40;

/// The messages of one input, together: inputs are to be many, rather than long.
const BYTES_MAX: usize = 100_000;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    // The error means that the input has ended.
    let _ = run(&mut input);
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let window_bits = input.int_in_range(8..=15)?;
    let mut pair = Pair::new(window_bits, input.arbitrary()?);
    let mut sent = Vec::new();
    let mut bytes = 0;
    while !input.is_empty() && bytes < BYTES_MAX {
        let message = match input.int_in_range(0..=9)? {
            0 => {
                pair.reset();
                continue;
            }
            step => message(step, input, &sent)?,
        };
        pair.send(&message);
        bytes += message.len();
        sent = message;
    }
    Ok(())
}

/// The bytes of the input, the message before with a change, or bytes that repeat after a distance.
fn message(step: u8, input: &mut Unstructured<'_>, sent: &[u8]) -> Result<Vec<u8>> {
    let argument = usize::from(input.arbitrary::<u16>()?);
    let fresh = input.bytes(argument.min(input.len()) % 600)?;
    Ok(match step {
        1..=4 => fresh.to_vec(),
        5..=7 => {
            [&sent[..argument.min(sent.len())], fresh, &sent[argument.min(sent.len())..]].concat()
        }
        8 => {
            fresh.iter().copied().cycle().take(argument * usize::from(!fresh.is_empty())).collect()
        }
        _ => [fresh, &vec![argument as u8; argument], fresh].concat(),
    })
}

/// A compressor, and two inflaters that get all that it compresses.
struct Pair {
    compressor: Box<dyn Compressor>,
    zlib: Inflate,
    miniz: Box<DecompressorOxide>,
    /// What `miniz` has made, of which it reads the window itself.
    made: Vec<u8>,
    window_bits: u8,
}

impl Pair {
    fn new(window_bits: u8, is_thorough: bool) -> Self {
        Self {
            compressor: deflater(is_thorough, window_bits, 0),
            zlib: Inflate::new(false, window_bits),
            miniz: Box::default(),
            made: Vec::new(),
            window_bits,
        }
    }

    fn reset(&mut self) {
        self.compressor.reset();
        self.zlib = Inflate::new(false, self.window_bits);
        self.miniz = Box::default();
        self.made.clear();
    }

    fn send(&mut self, message: &[u8]) {
        let plain = frame::encode(FrameKind::Binary, message);
        let mut coded = Vec::new();
        self.compressor.compress(&plain, &mut coded);
        assert!(coded.len() <= plain.len(), "no message grows");
        if coded[0] & RSV1 == 0 {
            return assert_eq!(coded, plain, "a message is copied");
        }
        let payload = frame::payload(&coded);
        assert_eq!(coded.len(), frame::bytes_for(payload.len()), "the shortest header");
        let payload = [payload, &TAIL].concat();
        assert!(self.inflate_zlib(&payload, message.len()) == message, "zlib-rs");
        assert!(self.inflate_miniz(&payload, message.len()) == message, "miniz_oxide");
    }

    /// Inflates a few bytes at a time: so a distance that exceeds the window by more is an error. The
    /// unit tests inflate byte by byte, which is slow.
    fn inflate_zlib(&mut self, mut payload: &[u8], bytes_max: usize) -> Vec<u8> {
        let mut inflated = Vec::with_capacity(bytes_max);
        loop {
            let (taken, made) = (self.zlib.total_in(), self.zlib.total_out());
            let mut bytes = [0; 32];
            let result = self.zlib.decompress(payload, &mut bytes, InflateFlush::NoFlush);
            assert!(result.is_ok() || payload.is_empty(), "{result:?} after {made} bytes");
            payload = &payload[(self.zlib.total_in() - taken) as usize..];
            let made = (self.zlib.total_out() - made) as usize;
            inflated.extend_from_slice(&bytes[..made]);
            assert!(inflated.len() <= bytes_max);
            if made == 0 && payload.is_empty() {
                return inflated;
            }
        }
    }

    /// Inflates behind all that was inflated before: so a distance beyond the reset is an error.
    fn inflate_miniz(&mut self, payload: &[u8], bytes: usize) -> &[u8] {
        let start = self.made.len();
        self.made.resize(start + bytes + 1, 0);
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, taken, made) =
            decompress(&mut self.miniz, payload, &mut self.made, start, flags);
        assert_eq!((status, taken), (TINFLStatus::NeedsMoreInput, payload.len()));
        self.made.truncate(start + made);
        &self.made[start..]
    }
}
