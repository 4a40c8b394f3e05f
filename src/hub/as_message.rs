//! [`AsMessage`]: the forms in which a message may be passed to a call.

use std::sync::Arc;

/// A message of type `Out` in any form that the publishing calls take: the message itself, a
/// [`Box`] or an [`Arc`] of it.
///
/// All calls take a reference: `&message`, `&boxed` or `&shared`. A hub of `String` also takes a
/// `&str`, which costs a copy.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use roomcast::{Hub, PublishError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), PublishError> {
/// let hub = Hub::<String>::new();
/// let shared = Arc::new("shared".to_owned());
/// hub.broadcast(&shared).await?;
/// hub.broadcast("text").await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "this hub sends `{Out}`, not `{Self}`",
    label = "not a message of this hub",
    note = "the first type of a `Hub<Out, In>` is what it sends"
)]
pub trait AsMessage<Out> {
    /// Calls `f` with the message.
    #[doc(hidden)]
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R;

    /// Whether the message may be compressed.
    #[doc(hidden)]
    fn is_compressible(&self) -> bool {
        true
    }
}

impl<Out> AsMessage<Out> for Out {
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R {
        f(self)
    }
}

impl<Out> AsMessage<Out> for &Out {
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R {
        f(self)
    }
}

impl<Out> AsMessage<Out> for Box<Out> {
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R {
        f(self)
    }
}

impl<Out> AsMessage<Out> for Arc<Out> {
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R {
        f(self)
    }
}

impl AsMessage<String> for str {
    fn with_message<R>(&self, f: impl FnOnce(&String) -> R) -> R {
        f(&self.to_owned())
    }
}

/// A message that stays plain, whatever `Builder::compression` says.
///
/// Use it for a message that contains a secret beside text that a client chooses: the length of a
/// compressed message tells how much of the text occurs in the secret, or in the messages before.
/// It also saves the work where compressing is of no use, as for images.
///
/// # Examples
/// ```
/// use roomcast::{Hub, PublishError, Uncompressed};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), PublishError> {
/// let hub = Hub::<String>::new();
/// let invitation = "https://www.example.com/join?token=8f3a".to_owned();
/// hub.to_room("team", &Uncompressed(&invitation)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Uncompressed<'a, M: ?Sized>(
    /// The message.
    pub &'a M,
);

impl<Out> AsMessage<Out> for Uncompressed<'_, Out> {
    fn with_message<R>(&self, f: impl FnOnce(&Out) -> R) -> R {
        f(self.0)
    }

    fn is_compressible(&self) -> bool {
        false
    }
}

impl AsMessage<String> for Uncompressed<'_, str> {
    fn with_message<R>(&self, f: impl FnOnce(&String) -> R) -> R {
        f(&self.0.to_owned())
    }

    fn is_compressible(&self) -> bool {
        false
    }
}
