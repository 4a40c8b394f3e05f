//! A signal for test clients: the connection belongs to the hub, and `on_connect` has returned.

use hyper::http::Extensions;
use tokio::sync::watch;

use super::ConnExtensions;

/// The sender of the signal. It travels in the extensions of the request, and then of the
/// connection.
#[derive(Debug, Clone)]
pub(crate) struct OpenedSignal(watch::Sender<bool>);

impl OpenedSignal {
    /// Makes a sender and its receiver.
    pub(crate) fn new() -> (Self, watch::Receiver<bool>) {
        let (sender, opened) = watch::channel(false);
        (Self(sender), opened)
    }

    /// Inserts the sender into the extensions that the connection will have.
    pub(crate) fn attach(self, request: &mut Extensions) {
        request.get_or_insert_default::<ConnExtensions>().0.insert(self);
    }

    /// Notifies the receiver that `on_connect` of this connection has returned.
    pub(crate) fn notify(&self) {
        self.0.send_replace(true);
    }
}
