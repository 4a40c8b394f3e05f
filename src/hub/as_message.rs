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
