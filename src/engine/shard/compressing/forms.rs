//! The forms of a burst: plain, compressed for clients in step with a room, or each message alone.

use bytes::Bytes;

/// The compressed forms of a burst. Each is made when the first recipient needs it.
#[derive(Debug, Default)]
pub(in crate::engine::shard) struct BurstForms {
    pub(super) shared: SharedForm,
    /// Each message compressed alone, for windows of these bits. `None` if all stay plain.
    pub(super) alone: Vec<(u8, Option<Bytes>)>,
}

/// The burst as a part of the stream of its room.
#[derive(Debug, Default)]
pub(super) enum SharedForm {
    /// It was not needed yet.
    #[default]
    NotMade,
    /// The stream leaves it plain, or has gone to another room, or no message became shorter.
    Plain,
    Made(SharedBurst),
}

/// A compressed burst of a stream.
#[derive(Debug)]
pub(super) struct SharedBurst {
    pub(super) frames: Bytes,
    /// The position that a client must have; `None` for a key frame, which every client can read.
    pub(super) after: Option<u64>,
    /// The position that a client has afterwards.
    pub(super) position: u64,
}

/// The form that a recipient gets.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::shard) enum Form {
    Shared,
    /// The index of the form among those whose messages stand alone.
    Alone(usize),
}

impl BurstForms {
    /// The frames of a form, and the position of a client that has got them.
    pub(in crate::engine::shard) fn get(&self, form: Form) -> (&Bytes, u64) {
        let chosen = match (form, &self.shared) {
            (Form::Shared, SharedForm::Made(burst)) => Some((&burst.frames, burst.position)),
            (Form::Shared, _) => None,
            (Form::Alone(index), _) => {
                self.alone[index].1.as_ref().map(|frames| (frames, super::ClientWindow::UNKNOWN))
            }
        };
        chosen.expect("the form was chosen because it is made")
    }
}

/// The forms of a delivery of a turn.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::shard) struct DeliveryForms {
    /// Whether the delivery may be compressed: it goes to enough clients, and its publisher has not
    /// asked for plain messages.
    pub(in crate::engine::shard) may_compress: bool,
    /// Its messages, each compressed alone, for windows of these bits. `None` if all stay plain.
    pub(super) alone: Vec<(u8, Option<Bytes>)>,
}
