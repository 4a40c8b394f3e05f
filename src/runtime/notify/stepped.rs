//! Tokio's `Notify`, with one atomic operation before each call.
//!
//! A model checker switches threads before its own atomic operations and nowhere else. The operation also
//! orders the calls on one `Notify`, as tokio's own atomic state does. It orders nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{Notify as TokioNotify, futures};

use crate::engine::sync::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Notify {
    calls: AtomicUsize,
    real: TokioNotify,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self { calls: AtomicUsize::new(0), real: TokioNotify::new() }
    }

    fn step(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn notify_one(&self) {
        self.step();
        self.real.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        self.step();
        self.real.notify_waiters();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.step();
        Notified { notify: self, real: Box::pin(self.real.notified()) }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

/// A wait for one notification.
pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    real: Pin<Box<futures::Notified<'a>>>,
}

impl Notified<'_> {
    pub(crate) fn enable(mut self: Pin<&mut Self>) -> bool {
        self.notify.step();
        self.real.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.notify.step();
        self.real.as_mut().poll(cx)
    }
}
