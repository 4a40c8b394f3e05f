//! The reasons why a payload of another program is dropped.

/// The reason for a rejection. It contains nothing of the payload, so that no log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlainError {
    #[error("the payload is too long")]
    TooLarge,
    #[error("the payload is not signed with a key of this hub")]
    Unauthenticated,
    #[error("too many payloads wait")]
    Overrun,
    #[error("the payload is not a JSON object, or nests too deep")]
    NotAnObject,
    #[error("the payload has a field that is not known")]
    UnknownField,
    #[error("the payload has a field twice")]
    RepeatedField,
    #[error("the payload has no field `message`")]
    NoMessage,
    #[error("the payload has none of the fields `room`, `rooms` and `everyone`")]
    NoTarget,
    #[error("the payload has several of the fields `room`, `rooms` and `everyone`")]
    SeveralTargets,
    #[error("`room` is not a string, `rooms` is not a list of strings, or `everyone` is not true")]
    NotATarget,
    #[error("`rooms` is empty, or too long")]
    NumberOfRooms,
    #[error("the name of a room is too long")]
    RoomName,
    #[error("the codec cannot decode the message")]
    Undecodable,
    #[error("the codec cannot encode the message that it has decoded")]
    Unencodable,
    #[error("the codec has panicked")]
    Panicked,
}

impl PlainError {
    /// The number of reasons.
    pub(crate) const COUNT: usize = Self::Panicked as usize + 1;
}
