//! Compression in a shard: which form of a burst each recipient gets.
//!
//! A burst is compressed once, and all recipients in step share the result. This is right because
//! the window of a client's inflater consists of the *compressed* messages that the client has got
//! (RFC 7692, section 7.2.2). Plain messages between them do not matter.
//!
//! # Invariants
//!
//! 1. Compressed bursts are numbered over all streams of the shard. The [`ClientWindow`] of a
//!    connection has the number of the last compressed burst that was written to it as a whole. A
//!    burst that continues a stream goes only to connections whose number is that of the burst
//!    before. So all recipients have the window to which the burst refers.
//! 2. A form is chosen when the burst is about to be written, and only for a connection for which
//!    nothing waits. What waits in a send queue is plain, except for the rest of a frame that has
//!    begun to leave. So a queue may drop messages without harm.
//! 3. A connection whose compressed burst was cut gets the rest of the burst plain, and continues
//!    no stream: its number is [`UNKNOWN`](ClientWindow::UNKNOWN).
//! 4. A stream belongs to one room, or to everyone. The first burst to a room is a key frame, which
//!    empties the window. So nothing of a room is ever in the window of another room.

mod client_window;
mod forms;
mod stream;
mod streams;

use bytes::Bytes;

pub(super) use self::client_window::ClientWindow;
pub(super) use self::forms::{BurstForms, DeliveryForms, Form};
use self::forms::{SharedBurst, SharedForm};
use self::stream::Next;
pub(super) use self::streams::StreamId;
use self::streams::Streams;
use crate::engine::command::Delivery;
use crate::engine::compression::{ClientInflater, Compression, Compressor};
use crate::engine::frame;

/// The compressors of messages that stand alone have windows of all sizes, so together they take as
/// much memory as so many compressors of the largest.
const ALONE_WEIGHT: usize = 2;

/// How the messages of a group may be compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// They stay plain.
    #[default]
    Plain,
    /// Each alone, for clients that take part in no stream.
    Alone,
    /// Each alone, also for clients that take part in a stream and lose it thereby.
    Direct,
    /// As a burst of this stream, or alone for clients that take part in no stream.
    Shared(StreamId),
}

/// The deliveries of a burst, and their forms.
pub(super) struct Parts<'a> {
    /// All deliveries of the turn.
    pub(super) deliveries: &'a [Delivery],
    /// The forms of each of them.
    pub(super) forms: &'a mut [DeliveryForms],
    /// The indices of the deliveries of the burst.
    pub(super) indices: &'a [u32],
}

impl Parts<'_> {
    fn may_compress(&self) -> bool {
        self.indices.iter().any(|&index| self.forms[index as usize].may_compress)
    }
}

/// Counts of a slice of work.
#[derive(Debug, Default)]
pub(super) struct CompressionTally {
    /// The bytes of bursts that left compressed, before and after.
    pub(super) plain_bytes: u64,
    pub(super) bytes: u64,
    pub(super) key_frames: u64,
    pub(super) out_of_step: u64,
    /// Bytes that were compressed and not charged to a budget yet.
    pub(super) bytes_uncharged: usize,
}

/// The compressors of a shard.
pub(super) struct Compressing {
    settings: Compression,
    streams: Streams,
    /// The number of the last compressed burst of all streams (invariant 1).
    last_position: u64,
    /// The compressors of messages that stand alone, each with the bits of its window.
    alone: Vec<(u8, Box<dyn Compressor>)>,
    /// The number of compressors that the counters show.
    compressors_reported: usize,
    /// The frames that are being compressed.
    coded: Vec<u8>,
}

impl Compressing {
    pub(super) fn new(settings: Compression) -> Self {
        Self {
            streams: Streams::new(settings.compressors_max.saturating_sub(ALONE_WEIGHT)),
            settings,
            last_position: ClientWindow::UNKNOWN,
            alone: Vec::new(),
            compressors_reported: 0,
            coded: Vec::new(),
        }
    }

    /// The number of compressors that were made since the last call.
    pub(super) fn take_made(&mut self) -> u64 {
        let made = self.streams.len() + self.alone.len() - self.compressors_reported;
        self.compressors_reported += made;
        made as u64
    }

    /// How deliveries to an audience may be compressed of which so many clients can inflate.
    /// `stream` is the place of its stream, if the audience is a room or everyone.
    pub(super) fn coding(
        &mut self,
        inflating: usize,
        stream: Option<&mut Option<StreamId>>,
    ) -> Coding {
        if inflating < self.settings.recipients_min.max(1) {
            return Coding::Plain;
        }
        let Some(stream) = stream.filter(|_| self.settings.shares_windows) else {
            return Coding::Alone;
        };
        let Self { streams, settings, .. } = self;
        let id = streams.take(*stream, || (settings.new_compressor)(settings.window_bits));
        *stream = Some(id);
        Coding::Shared(id)
    }

    /// How deliveries to one connection may be compressed.
    pub(super) fn coding_of_one(&self) -> Coding {
        if self.settings.is_direct { Coding::Direct } else { Coding::Plain }
    }

    /// Chooses the form of a burst for a client; `None` for plain. `plain` are the frames of
    /// the burst.
    pub(super) fn choose(
        &mut self,
        coding: Coding,
        window: ClientWindow,
        (plain, forms): (&Bytes, &mut BurstForms),
        parts: Parts<'_>,
        tally: &mut CompressionTally,
    ) -> Option<Form> {
        let inflater = window.inflater()?;
        match coding {
            Coding::Plain => None,
            Coding::Shared(id) if self.takes_part(inflater) => {
                if matches!(forms.shared, SharedForm::NotMade) {
                    forms.shared = self.compress_shared(id, plain, parts, tally);
                }
                let SharedForm::Made(burst) = &forms.shared else { return None };
                if burst.after.is_none_or(|after| after == window.position()) {
                    return Some(Form::Shared);
                }
                tally.out_of_step += 1;
                self.streams.get(id)?.note_missed();
                None
            }
            Coding::Alone if self.takes_part(inflater) => None,
            Coding::Shared(_) | Coding::Alone | Coding::Direct => {
                self.choose_alone(inflater, plain, forms, parts, tally)
            }
        }
    }

    /// Notes that a client got all of a burst of the stream.
    pub(super) fn note_taken(&mut self, coding: Coding) {
        if let Coding::Shared(id) = coding
            && let Some(stream) = self.streams.get(id)
        {
            stream.note_taken();
        }
    }

    /// Whether a client with this inflater takes part in streams.
    fn takes_part(&self, inflater: ClientInflater) -> bool {
        self.settings.shares_windows
            && inflater.keeps_window()
            && inflater.window_bits() >= self.settings.window_bits
    }

    fn compress_shared(
        &mut self,
        id: StreamId,
        plain: &Bytes,
        parts: Parts<'_>,
        tally: &mut CompressionTally,
    ) -> SharedForm {
        if !parts.may_compress() {
            return SharedForm::Plain;
        }
        let Some(stream) = self.streams.get(id) else { return SharedForm::Plain };
        let next = stream.begin(plain.len());
        let after = match next {
            Next::Plain => return SharedForm::Plain,
            Next::Key => None,
            Next::Continued => Some(stream.position),
        };
        tally.key_frames += u64::from(next == Next::Key);
        tally.bytes_uncharged += plain.len();
        self.coded.clear();
        for &index in parts.indices {
            let frames = &parts.deliveries[index as usize].frames;
            if parts.forms[index as usize].may_compress {
                stream.compressor.compress(frames, &mut self.coded);
            } else {
                self.coded.extend_from_slice(frames);
            }
        }
        self.last_position += 1;
        stream.end(self.last_position, plain.len(), self.coded.len());
        let frames = Bytes::copy_from_slice(&self.coded);
        SharedForm::Made(SharedBurst { frames, after, position: self.last_position })
    }

    fn choose_alone(
        &mut self,
        inflater: ClientInflater,
        plain: &Bytes,
        forms: &mut BurstForms,
        parts: Parts<'_>,
        tally: &mut CompressionTally,
    ) -> Option<Form> {
        let bits = self.settings.window_bits.min(inflater.window_bits());
        if let Some(index) = forms.alone.iter().position(|(made_for, _)| *made_for == bits) {
            return Some(Form::Alone(index));
        }
        if !parts.may_compress() {
            return None;
        }
        let Parts { deliveries, forms: delivery_forms, indices } = parts;
        let mut burst = Vec::with_capacity(plain.len());
        for &index in indices {
            let frames = &deliveries[index as usize].frames;
            let alone = &mut delivery_forms[index as usize];
            if alone.may_compress {
                let coded = self.delivery_alone(bits, frames, &mut alone.alone, tally);
                burst.extend_from_slice(coded);
            } else {
                burst.extend_from_slice(frames);
            }
        }
        forms.alone.push((bits, burst.into()));
        Some(Form::Alone(forms.alone.len() - 1))
    }

    /// The messages of a delivery, each compressed alone.
    fn delivery_alone<'f>(
        &mut self,
        bits: u8,
        frames: &Bytes,
        made: &'f mut Vec<(u8, Bytes)>,
        tally: &mut CompressionTally,
    ) -> &'f Bytes {
        let known = made.iter().position(|(made_for, _)| *made_for == bits);
        let index = known.unwrap_or_else(|| {
            let compressor = alone_compressor(&mut self.alone, bits, &self.settings);
            self.coded.clear();
            tally.bytes_uncharged += frames.len();
            for frame in frame::each(frames) {
                compressor.reset();
                compressor.compress(frame, &mut self.coded);
            }
            made.push((bits, Bytes::copy_from_slice(&self.coded)));
            made.len() - 1
        });
        &made[index].1
    }
}

fn alone_compressor<'c>(
    alone: &'c mut Vec<(u8, Box<dyn Compressor>)>,
    bits: u8,
    settings: &Compression,
) -> &'c mut dyn Compressor {
    let known = alone.iter().position(|(window_bits, _)| *window_bits == bits);
    let index = known.unwrap_or_else(|| {
        alone.push((bits, (settings.new_compressor)(bits)));
        alone.len() - 1
    });
    &mut *alone[index].1
}
