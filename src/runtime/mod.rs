//! Small tools over tokio that every layer above the engine may use.

pub(crate) mod bell;
pub(crate) mod deadline;
pub(crate) mod notify;
pub(crate) mod shield;
