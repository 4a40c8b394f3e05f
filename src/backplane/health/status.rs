//! The state of a backplane, and the facts that determine it.

use std::fmt;

use tokio::time::Instant;

use crate::backplane::contract::BackplaneError;
use crate::backplane::health::half::Half;

/// Whether messages reach other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BackplaneState {
    /// A half has not finished its first attempt to connect.
    Connecting,
    /// Messages flow both ways.
    Up,
    /// Something is wrong: see [`BackplaneHealth::last_error`](crate::BackplaneHealth::last_error).
    /// The hub goes on trying.
    Down,
    /// The hub has been [shut down](crate::Hub::shutdown), and has left the other nodes.
    Left,
}

impl fmt::Display for BackplaneState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Left => "left",
        })
    }
}

/// The facts that change together.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) publisher: HalfState,
    pub(super) subscriber: HalfState,
    /// Whether another node spreads rooms over a different number of channels.
    pub(super) channels_differ: bool,
    /// Set once, when one of the tasks has ended.
    pub(super) end: Option<TasksEnd>,
    pub(super) since: Instant,
    pub(super) last_error: Option<BackplaneError>,
}

/// How the tasks of a backplane have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TasksEnd {
    /// The hub was shut down.
    Left,
    /// In another way: their runtime was shut down, or a task panicked.
    Stopped,
}

/// The state of one half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HalfState {
    Connecting,
    Up,
    Down,
}

impl Status {
    /// The status before the first attempt to connect.
    pub(super) fn new() -> Self {
        Self {
            publisher: HalfState::Connecting,
            subscriber: HalfState::Connecting,
            channels_differ: false,
            end: None,
            since: Instant::now(),
            last_error: None,
        }
    }

    pub(super) fn state(&self) -> BackplaneState {
        let halves = [self.publisher, self.subscriber];
        if self.end == Some(TasksEnd::Left) {
            BackplaneState::Left
        } else if self.end.is_some() || self.channels_differ || halves.contains(&HalfState::Down) {
            BackplaneState::Down
        } else if halves.contains(&HalfState::Connecting) {
            BackplaneState::Connecting
        } else {
            BackplaneState::Up
        }
    }

    pub(super) fn half(&self, half: Half) -> &HalfState {
        match half {
            Half::Publisher => &self.publisher,
            Half::Subscriber => &self.subscriber,
        }
    }

    pub(super) fn half_mut(&mut self, half: Half) -> &mut HalfState {
        match half {
            Half::Publisher => &mut self.publisher,
            Half::Subscriber => &mut self.subscriber,
        }
    }
}
