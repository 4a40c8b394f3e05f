//! Events about the plain channel.

use super::error::PlainError;
use crate::backplane::identity::NodeId;
use crate::telemetry::events;

events! {
    /// So many payloads of other programs were dropped for this reason, since it was last told.
    warn plain_refused(node: NodeId, channel: &str, reason: PlainError, refused: u64)
        for "roomcast::backplane"
    {
        %node, channel, %reason, refused, "plain messages refused"
    }
}
