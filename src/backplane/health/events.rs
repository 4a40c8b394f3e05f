//! What is told of a backplane.

use crate::backplane::contract::BackplaneError;
use crate::backplane::health::half::Half;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
use crate::telemetry::events;

events! {
    /// Messages flow between nodes.
    info backplane_up(node: NodeId) for "roomcast::backplane" { %node, "backplane up" }

    /// They do no more.
    warn backplane_down(node: NodeId, error: Option<&BackplaneError>) for "roomcast::backplane" {
        %node, error = error.map(tracing::field::display), "backplane down"
    }

    /// They still do not, for this reason.
    debug backplane_failed(node: NodeId, half: Half, error: &BackplaneError) for "roomcast::backplane" {
        %node, ?half, %error, "backplane failed"
    }

    /// Another node did not come back in time after a break, and misses so many messages.
    warn node_absent(node: NodeId, absent: NodeId, messages: u64) for "roomcast::backplane" {
        %node, %absent, messages, "node not back in time, messages sent without it"
    }

    /// So many payloads of strangers were dropped, since this was last told; the last of them for this
    /// reason.
    warn payloads_rejected(node: NodeId, payloads: u64, why: Rejected) for "roomcast::backplane" {
        %node, payloads, ?why, "payloads of strangers dropped"
    }

    /// So many messages of other nodes never came, since this was last told.
    warn messages_lost(node: NodeId, lost: u64) for "roomcast::backplane" {
        %node, lost, "messages of other nodes lost"
    }
}
