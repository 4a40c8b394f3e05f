//! Events about the plain channel.

use super::error::PlainError;
use crate::backplane::identity::NodeId;
use crate::telemetry::events;

events! {
    /// `refused` payloads of other programs were dropped for this reason since the last report.
    warn plain_refused(node: NodeId, channel: &str, reason: PlainError, refused: u64)
        for "roomcast::backplane"
    {
        %node, channel, %reason, refused, "plain messages refused"
    }
}
