//! The span of a connection.

use std::net::SocketAddr;

use crate::backplane::ConnId;

/// What happens to a connection, and in its callbacks, happens in this span.
///
/// It is at the level `info`, so that what an application logs by default can be told apart by
/// connection, and has no parent: the request that it came from is over soon.
pub(super) struct ConnSpan(#[cfg(feature = "tracing")] tracing::Span);

#[cfg(feature = "tracing")]
impl ConnSpan {
    pub(super) fn new(id: ConnId, remote_addr: Option<SocketAddr>) -> Self {
        Self(tracing::info_span!(
            target: "roomcast::conn",
            parent: None,
            "roomcast::conn",
            %id,
            remote_addr = remote_addr.map(tracing::field::display),
        ))
    }

    /// Calls `f` in the span.
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        self.0.in_scope(f)
    }

    /// A future that is polled in the span.
    pub(super) fn hold<F: Future>(&self, future: F) -> held::Held<'_, F> {
        held::Held { span: self, future }
    }
}

#[cfg(feature = "tracing")]
mod held {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pin_project_lite::pin_project! {
        /// A future in the span of its connection, which it need not keep alive.
        pub(crate) struct Held<'a, F> {
            pub(super) span: &'a super::ConnSpan,
            #[pin]
            pub(super) future: F,
        }
    }

    impl<F: Future> Future for Held<'_, F> {
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

    pub(super) fn hold<F: Future>(&self, future: F) -> F {
        future
    }
}
