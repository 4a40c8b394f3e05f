//! [`ConnSpan`]: the `tracing` span of a connection. Without the feature `tracing`, it does
//! nothing.

use std::net::SocketAddr;

use crate::backplane::ConnId;

/// The span of a connection. The events of the connection and of its callbacks are logged in this
/// span.
///
/// Its level is `info`, so that by default the logs of an application show the connection. It has
/// no parent, because the request of the connection ends soon.
///
/// Boxed, and `None` if no subscriber wants it: every idle connection has one.
pub(super) struct ConnSpan(#[cfg(feature = "tracing")] Option<Box<tracing::Span>>);

#[cfg(feature = "tracing")]
impl ConnSpan {
    pub(super) fn new(id: ConnId, remote_addr: Option<SocketAddr>) -> Self {
        let span = tracing::info_span!(
            target: "roomcast::conn",
            parent: None,
            "roomcast::conn",
            %id,
            remote_addr = remote_addr.map(tracing::field::display),
        );
        Self((!span.is_none()).then(|| Box::new(span)))
    }

    /// Calls `f` in the span.
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(span) => span.in_scope(f),
            None => f(),
        }
    }

    /// Wraps a future, so that it is polled in the span.
    pub(super) fn instrument<F: Future>(&self, future: F) -> instrumented::Instrumented<'_, F> {
        instrumented::Instrumented { span: self, future }
    }
}

#[cfg(feature = "tracing")]
mod instrumented {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pin_project_lite::pin_project! {
        /// A future that is polled in the span of its connection. It borrows the span.
        pub(crate) struct Instrumented<'a, F> {
            pub(super) span: &'a super::ConnSpan,
            #[pin]
            pub(super) future: F,
        }
    }

    impl<F: Future> Future for Instrumented<'_, F> {
        type Output = F::Output;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let this = self.project();
            this.span.enter(|| this.future.poll(cx))
        }
    }
}

#[cfg(not(feature = "tracing"))]
impl ConnSpan {
    pub(super) fn new(_: ConnId, _: Option<SocketAddr>) -> Self {
        Self()
    }

    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(super) fn instrument<F: Future>(&self, future: F) -> F {
        future
    }
}
