//! Events about the plain channel.

use super::error::PlainError;
use crate::backplane::identity::NodeId;
use crate::telemetry::events;

events! {
    /// `rejected` payloads of other programs were dropped for this reason since the last report.
    warn plain_rejected(node: NodeId, channel: &str, reason: PlainError, rejected: u64)
        for "roomcast::backplane"
    {
        %node, channel, %reason, rejected, "plain messages rejected"
    }
}
