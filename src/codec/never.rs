//! [`Never`]: the message type of a hub that accepts no messages.

/// The type `In` of a hub that accepts no messages. A value of this type cannot exist.
///
/// A hub that only sends events is a `Hub<Event, Never>`. With the codec `Json`, if a client sends
/// a message, the hub closes the connection with 1003. The hub answers heartbeats and pings as
/// usual. A codec of your own must return `false` from [`accepts`](crate::Codec::accepts).
///
/// # Examples
/// ```
/// use roomcast::{Hub, Never};
///
/// #[derive(serde::Serialize)]
/// struct Price {
///     symbol: &'static str,
///     cents: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomcast::PublishError> {
/// let ticker = Hub::<Price, Never>::new();
/// ticker.to_room("ACME", &Price { symbol: "ACME", cents: 1_250 }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

#[cfg(feature = "json")]
impl serde::Serialize for Never {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

#[cfg(feature = "json")]
impl<'de> serde::Deserialize<'de> for Never {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this hub accepts no messages"))
    }
}
