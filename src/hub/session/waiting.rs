//! Waiting for a change of a connection's link.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;

use crate::engine::{Link, Stage};
use crate::runtime::shield::shielded;

/// Waits until the connection has ended. Only the session may call this: the link has one waker for
/// it.
pub(super) async fn ended(link: &Link) {
    poll_fn(|cx| {
        link.watch_stage(cx.waker());
        match link.stage() {
            Stage::Open => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

/// Waits until a condition of a link holds. Any task may call this. Checks the condition when the
/// stage of the link moves or fewer bytes wait.
pub(in crate::hub) async fn wait_until(link: &Link, mut condition: impl FnMut() -> bool) {
    /// The place of a waker in the link. Dropping it frees the place, also when the waiting is
    /// cancelled.
    struct Place<'a>(&'a Link, Option<usize>);

    impl Drop for Place<'_> {
        fn drop(&mut self) {
            if let Some(place) = self.1.take() {
                self.0.stop_watching(place);
            }
        }
    }

    let mut place = Place(link, None);
    let waiting = poll_fn(|cx| {
        drop(mem::replace(&mut place, Place(link, None)));
        place.1 = Some(link.watch(cx.waker()));
        if condition() { Poll::Ready(()) } else { Poll::Pending }
    });
    shielded(waiting).await;
}
