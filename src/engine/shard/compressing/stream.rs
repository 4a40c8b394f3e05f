//! The stream of compressed bursts to one room, or to everyone, and its window.

use crate::engine::compression::Compressor;

/// The bytes of plain frames after which a stream begins anew: no connection is out of step for
/// longer. It is so much that the cost of the key frame does not matter.
const KEY_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of plain frames over which the ratio of a stream is measured.
const TRIAL_BYTES: usize = 16 * 1024;

/// The bytes of plain frames that a stream leaves plain after a trial that did not pay.
const REST_BYTES: usize = 256 * 1024;

/// Compressing pays if it saves at least one byte in this many.
const SAVED_SHARE_MIN: usize = 10;

/// When a window did not last for a single burst, so many key frames follow each other.
const KEYS_IN_A_ROW: usize = 16;

/// What the next burst of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It refers to the bursts before.
    Continued,
    /// It refers to the bursts before, and the same turn has one of them.
    Following,
    /// It refers to nothing before: every client can read it. The window is empty now.
    Key,
    /// It stays plain, because compressing has not paid. No window changes by it.
    Plain,
}

/// The compressed bursts to the members of one room, or to everyone.
///
/// # When a key frame pays
/// A key frame is larger than a burst that continues. A client that is out of step gets plain
/// messages until the next key frame. So a key frame costs something for each client in step, once,
/// and saves about as much for each client out of step, with each burst. A stream therefore sends a
/// key frame when as many bursts were sent plain to clients out of step as there are clients in
/// step: by then, waiting has cost about as much as the key frame costs. So the total is at most
/// about twice the best possible, whatever comes later (the *ski rental problem*).
///
/// If the members also get compressed messages of other rooms, they are out of step again at once.
/// If the first burst after a key frame already finds most clients out of step, so will most later
/// ones. Then several key frames follow each other before the stream tries to continue again.
pub(super) struct Stream {
    pub(super) compressor: Box<dyn Compressor>,
    state: State,
}

/// The state of a stream. That of a new stream is 0 everywhere.
#[derive(Default)]
struct State {
    /// The number of the last compressed burst. 0 if no client can read a burst that continues: the
    /// next burst is a key frame.
    position: u64,
    /// The clients that got the last burst compressed.
    in_step: usize,
    /// The bursts that clients out of step got plain, since the last key frame.
    missed: usize,
    /// The bytes of plain frames since the last key frame.
    since_key: usize,
    /// The turns since the last key frame that continued it.
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
    /// The stream of a room. Its first burst is a key frame, which empties the window.
    pub(super) fn new(compressor: Box<dyn Compressor>) -> Self {
        Self { compressor, state: State::default() }
    }

    /// Gives the stream to another room, as if it were new.
    pub(super) fn restart(&mut self) {
        self.state = State::default();
    }

    /// The number of the last compressed burst; 0 before a key frame.
    pub(super) fn position(&self) -> u64 {
        self.state.position
    }

    /// Decides on the next burst, of `plain_bytes`. `is_first` if its turn has no burst of the
    /// stream before it.
    pub(super) fn begin(&mut self, plain_bytes: usize, is_first: bool) -> Next {
        let state = &mut self.state;
        if state.trial.rest > 0 {
            state.trial.rest = state.trial.rest.saturating_sub(plain_bytes);
            return Next::Plain;
        }
        let has_begun = state.position != 0;
        if has_begun && !is_first {
            return Next::Following;
        }
        let is_wanted = has_begun && state.missed > 0 && state.missed >= state.in_step;
        if is_wanted && state.continued == 1 {
            state.keys_left = KEYS_IN_A_ROW;
        }
        let is_key = !has_begun || is_wanted || state.keys_left > 0;
        if !is_key && state.since_key < KEY_BYTES_MAX {
            return Next::Continued;
        }
        self.compressor.reset();
        state.position = 0;
        Next::Key
    }

    /// Notes a burst that has been compressed, its number, and its bytes before.
    pub(super) fn end(&mut self, next: Next, position: u64, plain_bytes: usize) {
        let state = &mut self.state;
        state.position = position;
        match next {
            Next::Key => {
                (state.in_step, state.missed, state.since_key, state.continued) = (0, 0, 0, 0);
                state.keys_left = state.keys_left.saturating_sub(1);
            }
            Next::Continued => {
                state.in_step = 0;
                state.continued += 1;
            }
            Next::Following | Next::Plain => {}
        }
        state.since_key += plain_bytes;
    }

    /// Measures the ratio by what the compressor was given and what it has made of it.
    pub(super) fn measure(&mut self, plain_bytes: usize, coded_bytes: usize) {
        let trial = &mut self.state.trial;
        trial.plain_bytes += plain_bytes;
        trial.coded_bytes += coded_bytes;
        if trial.plain_bytes >= TRIAL_BYTES {
            let has_paid =
                trial.coded_bytes + trial.plain_bytes / SAVED_SHARE_MIN <= trial.plain_bytes;
            *trial = Trial { rest: if has_paid { 0 } else { REST_BYTES }, ..Trial::default() };
        }
    }

    /// Notes that a client got all of the last burst compressed.
    pub(super) fn note_in_step(&mut self) {
        self.state.in_step += 1;
    }

    /// Notes that a client got the last burst plain because it is out of step.
    pub(super) fn note_missed(&mut self) {
        self.state.missed += 1;
    }
}
