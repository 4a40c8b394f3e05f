//! Events about a backplane.

use crate::backplane::contract::BackplaneError;
use crate::backplane::health::half::Half;
use crate::backplane::health::rejected::Rejected;
use crate::backplane::identity::NodeId;
use crate::telemetry::events;

events! {
    /// Messages flow between nodes.
    info backplane_up(node: NodeId) for "roomcast::backplane" { %node, "backplane up" }

    /// Messages do not flow between nodes any longer.
    warn backplane_down(node: NodeId, error: Option<&BackplaneError>) for "roomcast::backplane" {
        %node, error = error.map(tracing::field::display), "backplane down"
    }

    /// A half has failed. One event for each failure.
    debug backplane_failed(node: NodeId, half: Half, error: &BackplaneError) for "roomcast::backplane" {
        %node, ?half, %error, "backplane failed"
    }

    /// Another node did not come back in time after a break, and misses `messages` messages.
    warn node_absent(node: NodeId, absent: NodeId, messages: u64) for "roomcast::backplane" {
        %node, %absent, messages, "node not back in time, messages sent without it"
    }

    /// `payloads` payloads of strangers were dropped since the last report. `why` is the reason for
    /// the last one.
    warn payloads_rejected(node: NodeId, payloads: u64, why: Rejected) for "roomcast::backplane" {
        %node, payloads, ?why, "payloads of strangers dropped"
    }

    /// `lost` messages of other nodes never arrived since the last report.
    warn messages_lost(node: NodeId, lost: u64) for "roomcast::backplane" {
        %node, lost, "messages of other nodes lost"
    }
}
