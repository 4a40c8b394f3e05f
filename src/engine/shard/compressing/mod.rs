//! Compression in a shard: which form of a burst each recipient gets.
//!
//! A burst is compressed once, and all recipients in step share the result. This is right because
//! the window of a client's inflater consists of the *compressed* messages that the client has got
//! (RFC 7692, section 7.2.2). Plain messages between them do not matter.
//!
//! # Invariants
//!
//! 1. Compressed bursts are numbered over all streams of the shard. The [`ClientWindow`] of a
//!    connection has the number of the last burst of a stream of which every frame has left, or has
//!    begun to. A burst that continues a stream goes only to connections whose number is that of
//!    the burst before. So all recipients have the window to which the burst refers.
//! 2. A form is chosen when the burst is about to be written, and only for a connection for which
//!    nothing waits. What waits in a send queue is plain, except for the rest of a frame that has
//!    begun to leave. So a queue may drop messages without harm.
//! 3. A connection whose compressed burst was cut gets the rest of the burst plain. Such a
//!    connection, and one that got messages compressed alone, continues no stream: its number is
//!    [`UNKNOWN`](ClientWindow::UNKNOWN).
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
use crate::engine::compression::{ClientInflater, Compressor, ShardCompression, WINDOW_BITS_MIN};
use crate::engine::frame;
use crate::engine::frames::Frames;
use crate::engine::shared_bytes::copy_for_many;

/// The compressors of messages that stand alone take at most as much memory as so many compressors
/// of the largest window: there are at most three of them ([`Compressing::alone_bits`]).
const ALONE_WEIGHT: usize = 2;

/// Larger deliveries stay plain: to compress more would hold up the shard for longer than 6 ms.
const DELIVERY_BYTES_MAX: usize = 1024 * 1024;

/// The buffer that is kept between two bursts.
const CODED_BYTES_KEPT: usize = 64 * 1024;

/// How the messages of a group may be compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// They stay plain.
    #[default]
    Plain,
    /// Each alone, for clients that take part in no stream. Others get them plain.
    Alone,
    /// Each alone, also for clients that take part in a stream, and are out of step afterwards.
    Direct,
    /// As a burst of this stream, or alone for clients that take part in no stream.
    Shared(StreamId),
}

/// The deliveries of a burst, and their forms.
pub(super) struct BurstParts<'a> {
    /// All deliveries of the turn.
    pub(super) deliveries: &'a [Delivery],
    /// The forms of each of them.
    pub(super) forms: &'a mut [DeliveryForms],
    /// The indices of the deliveries of the burst.
    pub(super) indices: &'a [u32],
    /// Whether it is the first burst of its group in this turn.
    pub(super) is_first: bool,
}

impl BurstParts<'_> {
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
    settings: ShardCompression,
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
    pub(super) fn new(settings: ShardCompression) -> Self {
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

    /// Whether a delivery may be compressed, if it has enough recipients.
    pub(super) fn may_compress(frames: &Frames) -> bool {
        frames.is_compressible() && frames.len() <= DELIVERY_BYTES_MAX
    }

    /// How deliveries to an audience may be compressed. `inflating` is the number of its clients
    /// that can inflate. `stream` is the place where the audience keeps its stream, if the audience
    /// is a room or everyone.
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
        *stream = streams.claim(*stream, || (settings.new_compressor)(settings.window_bits));
        stream.map_or(Coding::Alone, Coding::Shared)
    }

    /// How deliveries to one connection may be compressed.
    pub(super) fn coding_of_one(&self) -> Coding {
        if self.settings.compresses_direct { Coding::Direct } else { Coding::Plain }
    }

    /// Chooses the form of a burst for a client; `None` for plain. `plain` are the frames of
    /// the burst.
    pub(super) fn choose(
        &mut self,
        coding: Coding,
        window: ClientWindow,
        (plain, forms): (&Bytes, &mut BurstForms),
        parts: BurstParts<'_>,
        tally: &mut CompressionTally,
    ) -> Option<Form> {
        let inflater = window.inflater()?;
        match (coding, self.takes_part(inflater)) {
            (Coding::Plain, _) | (Coding::Alone, true) => None,
            (Coding::Shared(id), true) => {
                if matches!(forms.shared, SharedForm::NotMade) {
                    forms.shared = self.compress_shared(id, plain, parts, tally);
                }
                self.choose_shared(id, window, &forms.shared, tally)
            }
            (Coding::Shared(_) | Coding::Alone, false) | (Coding::Direct, _) => {
                let bits = self.alone_bits(inflater.window_bits());
                let make = || self.compress_alone(bits, plain, parts, tally);
                let index = index_for(bits, &mut forms.alone, make);
                forms.alone[index].1.is_some().then_some(Form::Alone(index))
            }
        }
    }

    /// Notes that a client got all of a burst of the stream.
    pub(super) fn note_in_step(&mut self, coding: Coding) {
        if let Coding::Shared(id) = coding
            && let Some(stream) = self.streams.get(id)
        {
            stream.note_in_step();
        }
    }

    /// Whether a client with this inflater takes part in streams.
    fn takes_part(&self, inflater: ClientInflater) -> bool {
        self.settings.shares_windows
            && inflater.keeps_window()
            && inflater.window_bits() >= self.settings.window_bits
    }

    fn choose_shared(
        &mut self,
        id: StreamId,
        window: ClientWindow,
        shared: &SharedForm,
        tally: &mut CompressionTally,
    ) -> Option<Form> {
        let SharedForm::Made(burst) = shared else { return None };
        if burst.after.is_none_or(|after| after == window.position()) {
            return Some(Form::Shared);
        }
        tally.out_of_step += 1;
        self.streams.get(id)?.note_missed();
        None
    }

    fn compress_shared(
        &mut self,
        id: StreamId,
        plain: &Bytes,
        parts: BurstParts<'_>,
        tally: &mut CompressionTally,
    ) -> SharedForm {
        if !parts.may_compress() {
            return SharedForm::Plain;
        }
        let Some(stream) = self.streams.get(id) else { return SharedForm::Plain };
        let after = stream.position();
        let next = stream.begin(plain.len(), parts.is_first);
        if next == Next::Plain {
            return SharedForm::Plain;
        }
        let (mut given, mut made, mut is_any_compressed) = (0, 0, false);
        for &index in parts.indices {
            let frames = &parts.deliveries[index as usize].frames;
            if parts.forms[index as usize].may_compress {
                let start = self.coded.len();
                is_any_compressed |= stream.compressor.compress(frames, &mut self.coded);
                given += frames.len();
                made += self.coded.len() - start;
            } else {
                self.coded.extend_from_slice(frames);
            }
        }
        tally.bytes_uncharged += given;
        stream.measure(given, made);
        let frames = take_coded(&mut self.coded);
        if !is_any_compressed {
            return SharedForm::Plain;
        }
        self.last_position += 1;
        stream.end(next, self.last_position, given);
        tally.key_frames += u64::from(next == Next::Key);
        let after = (next != Next::Key).then_some(after);
        SharedForm::Made(SharedBurst { frames, after, position: self.last_position })
    }

    /// The window of a message that stands alone, for a client with a window of `bits`: that of the
    /// hub, or one of two smaller ones. So a shard has three compressors for such messages at most.
    fn alone_bits(&self, bits: u8) -> u8 {
        match self.settings.window_bits {
            of_hub if of_hub <= bits => of_hub,
            _ if bits >= 12 => 12,
            _ => WINDOW_BITS_MIN,
        }
    }

    /// The messages of a burst, each compressed alone; `None` if they all stay plain.
    fn compress_alone(
        &mut self,
        bits: u8,
        plain: &Bytes,
        parts: BurstParts<'_>,
        tally: &mut CompressionTally,
    ) -> Option<Bytes> {
        let BurstParts { deliveries, forms, indices, .. } = parts;
        let mut burst = Vec::with_capacity(plain.len());
        let mut is_any_compressed = false;
        for &index in indices {
            let frames = &deliveries[index as usize].frames;
            let form = &mut forms[index as usize];
            let coded = form.may_compress.then(|| {
                let make = || self.delivery_alone(bits, frames, tally);
                let index = index_for(bits, &mut form.alone, make);
                form.alone[index].1.as_ref()
            });
            let coded = coded.flatten();
            is_any_compressed |= coded.is_some();
            burst.extend_from_slice(coded.unwrap_or(frames));
        }
        is_any_compressed.then(|| burst.into())
    }

    /// The messages of a delivery, each compressed alone; `None` if they all stay plain.
    fn delivery_alone(
        &mut self,
        bits: u8,
        frames: &Bytes,
        tally: &mut CompressionTally,
    ) -> Option<Bytes> {
        let Self { alone, settings, coded, .. } = self;
        let index = index_for(bits, alone, || (settings.new_compressor)(bits));
        let compressor = &mut alone[index].1;
        tally.bytes_uncharged += frames.len();
        let mut is_any_compressed = false;
        for frame in frame::each(frames) {
            compressor.reset();
            is_any_compressed |= compressor.compress(frame, coded);
        }
        let made = take_coded(coded);
        is_any_compressed.then_some(made)
    }
}

/// The index of the value for windows of `bits`. It is made if there is none.
fn index_for<V>(bits: u8, values: &mut Vec<(u8, V)>, make: impl FnOnce() -> V) -> usize {
    let known = values.iter().position(|(of_value, _)| *of_value == bits);
    known.unwrap_or_else(|| {
        values.push((bits, make()));
        values.len() - 1
    })
}

/// The frames that were made, in an allocation of their size. Empties the buffer.
fn take_coded(coded: &mut Vec<u8>) -> Bytes {
    let frames = copy_for_many(coded);
    coded.clear();
    coded.shrink_to(CODED_BYTES_KEPT);
    frames
}
