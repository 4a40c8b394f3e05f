//! In place of the sampler, without the feature `metrics`: nothing.

use std::sync::Arc;

use crate::engine::{Address, Port};

#[derive(Debug, Default)]
pub(super) struct Sampler(());

impl Sampler {
    pub(super) fn watch<S, E>(
        &self,
        _: &[Arc<Port<S>>],
        _: Address<'_>,
        publish: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        publish()
    }
}
