//! How a test learns that a connection is one of the hub, and that `on_connect` has returned.

use hyper::http::Extensions;
use tokio::sync::watch;

use super::ConnExtensions;

/// Travels with a request into the connection, as one of its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Opening(watch::Sender<bool>);

impl Opening {
    /// One, with what waits for it.
    pub(crate) fn new() -> (Self, watch::Receiver<bool>) {
        let (sender, opened) = watch::channel(false);
        (Self(sender), opened)
    }

    /// Puts it into what the connection will carry.
    pub(crate) fn attach(self, request: &mut Extensions) {
        request.get_or_insert_default::<ConnExtensions>().0.insert(self);
    }

    /// Tells that `on_connect` of this connection has returned.
    pub(crate) fn tell(&self) {
        self.0.send_replace(true);
    }
}
