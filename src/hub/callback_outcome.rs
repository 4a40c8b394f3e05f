//! [`Outcome`]: the return types of the closures in [`Handlers`](crate::Handlers).

use crate::engine::Close;

/// The return type of a closure in [`Handlers`](crate::Handlers): `()`, or a `Result` whose error
/// closes the connection.
#[diagnostic::on_unimplemented(
    message = "a callback returns `()` or `Result<(), Close>`, not `{Self}`",
    label = "this closure returns something else",
    note = "`?` turns each error of roomcast into a `Close`; end the closure with `Ok(())`"
)]
pub trait Outcome: sealed::Sealed {
    /// Converts to a result.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Close>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), Close> {
        Ok(())
    }
}

impl Outcome for Result<(), Close> {
    fn into_result(self) -> Self {
        self
    }
}

mod sealed {
    use super::Close;

    pub trait Sealed {}

    impl Sealed for () {}
    impl Sealed for Result<(), Close> {}
}
