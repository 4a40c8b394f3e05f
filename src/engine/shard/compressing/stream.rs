//! The stream of compressed bursts to one room, or to everyone, and its window.

use crate::engine::compression::Compressor;

/// The bytes of plain frames after which a stream begins anew. A connection that is out of step
/// waits no longer than that, and the cost of the key frame is lost in so many bytes.
const KEY_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of plain frames over which the ratio of a stream is measured.
const TRIAL_BYTES: usize = 16 * 1024;

/// The bytes of plain frames that a stream leaves plain after a trial that did not pay.
const REST_BYTES: usize = 256 * 1024;

/// The key frames that follow when a window did not last for a single burst.
const KEYS_IN_A_ROW: usize = 16;

/// Compressing pays if it saves at least one byte in this many.
const SAVED_SHARE_MIN: usize = 10;

/// What the next burst of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It refers to the bursts before.
    Continued,
    /// It refers to nothing before: every client can read it.
    Key,
    /// It stays plain, because compressing has not paid. No window changes by it.
    Plain,
}

/// The compressed bursts to the members of one room, or to everyone.
///
/// # When a key frame pays
/// A burst that continues is smaller than one that begins anew. A client that is out of step gets
/// plain messages until the next key frame. So a key frame costs something for each client in step,
/// once, and saves about as much for each client out of step, with each message. A stream therefore
/// sends a key frame when as many bursts were sent plain to clients out of step as there are
/// clients in step: it then has lost as much by waiting as it loses by the key frame. So the total
/// is at most twice the best possible, whatever comes later (the *ski rental problem*).
///
/// If the members also get compressed messages of other rooms, they are out of step again at once.
/// If the first burst after a key frame already finds most clients out of step, so will most later
/// ones. Then several key frames follow each other before the stream tries to continue again.
pub(super) struct Stream {
    pub(super) compressor: Box<dyn Compressor>,
    /// The number of the last compressed burst; 0 before the first.
    pub(super) position: u64,
    /// The clients that got the last burst compressed.
    taken: usize,
    /// The bursts that clients out of step got plain, since the last key frame.
    missed: usize,
    /// The bytes of plain frames since the last key frame.
    since_key: usize,
    /// The bursts that continued the last key frame.
    continued: usize,
    /// The next bursts that are key frames in any case.
    keys_left: usize,
    trial: Trial,
}

/// A measurement of the ratio.
#[derive(Default)]
struct Trial {
    plain_bytes: usize,
    coded_bytes: usize,
    /// The bytes of plain frames that still stay plain.
    rest: usize,
}

impl Stream {
    pub(super) fn new(compressor: Box<dyn Compressor>) -> Self {
        Self {
            compressor,
            position: 0,
            taken: 0,
            missed: 0,
            since_key: 0,
            continued: 0,
            keys_left: 0,
            trial: Trial::default(),
        }
    }

    /// Gives the stream to another room. Its first burst is a key frame, which empties the window.
    pub(super) fn restart(&mut self) {
        (self.position, self.taken, self.missed, self.keys_left) = (0, 0, 0, 0);
        self.trial = Trial::default();
    }

    /// Decides on the next burst, of `plain_bytes`. If it is a key frame, the window is empty now.
    pub(super) fn begin(&mut self, plain_bytes: usize) -> Next {
        if self.trial.rest > 0 {
            self.trial.rest = self.trial.rest.saturating_sub(plain_bytes);
            return Next::Plain;
        }
        let is_first = self.position == 0;
        let is_wanted = !is_first && self.missed > 0 && self.missed >= self.taken;
        if is_wanted && self.continued == 1 {
            self.keys_left = KEYS_IN_A_ROW;
        }
        let is_key = is_first || is_wanted || self.keys_left > 0 || self.since_key >= KEY_BYTES_MAX;
        self.taken = 0;
        if is_key {
            self.keys_left = self.keys_left.saturating_sub(1);
            (self.missed, self.since_key, self.continued) = (0, plain_bytes, 0);
            self.compressor.reset();
            Next::Key
        } else {
            self.since_key += plain_bytes;
            self.continued += 1;
            Next::Continued
        }
    }

    /// Notes the burst that has been compressed, and its number.
    pub(super) fn end(&mut self, position: u64, plain_bytes: usize, coded_bytes: usize) {
        self.position = position;
        let trial = &mut self.trial;
        trial.plain_bytes += plain_bytes;
        trial.coded_bytes += coded_bytes;
        if trial.plain_bytes >= TRIAL_BYTES {
            let has_paid =
                trial.coded_bytes + trial.plain_bytes / SAVED_SHARE_MIN <= trial.plain_bytes;
            *trial = Trial { rest: if has_paid { 0 } else { REST_BYTES }, ..Trial::default() };
        }
    }

    /// Notes that a client got the last burst compressed.
    pub(super) fn note_taken(&mut self) {
        self.taken += 1;
    }

    /// Notes that a client got the last burst plain because it is out of step.
    pub(super) fn note_missed(&mut self) {
        self.missed += 1;
    }
}
