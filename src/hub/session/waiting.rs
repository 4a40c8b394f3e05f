//! Waiting for a change of a link.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;

use crate::engine::{Link, Stage};
use crate::runtime::shield::shielded;

/// For the session alone.
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

/// Waits until a link is as asked, in any task. Asks whenever the stage moves or less waits.
pub(in crate::hub) async fn wait_until(link: &Link, mut condition: impl FnMut() -> bool) {
    /// Gives the place of a waker back, also where the waiting is given up.
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
