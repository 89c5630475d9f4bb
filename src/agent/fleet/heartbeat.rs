//! Tells the leader that this node is there.

use std::sync::Arc;
use std::time::Duration;

use consensus::Consensus;
use model::NodeId;
use node::Contact;
use rpc::{Class, Client};
use server::Server;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::limits::Hosts;
use super::messages::{HEARTBEAT, Heartbeat, HeartbeatAnswer, decode, encode};

/// How often. A node is lost after several in a row that did not come.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Sends heartbeats until the agent stops.
pub(crate) async fn beat(
    node: NodeId,
    consensus: Consensus,
    client: Arc<Client>,
    server: Server,
    hosts: Arc<Hosts>,
    contact: Arc<Contact>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = encode(&Heartbeat { nodes: vec![node] });
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if server.heard(&[node]) {
            contact.hear();
            continue;
        }
        let Some(leader) = consensus.leader().filter(|leader| !leader.address.is_empty()) else {
            continue;
        };
        // One that does not arrive is followed by another; the leader counts silence, not heartbeats.
        let call = client.call(&leader.address, Class::Control, HEARTBEAT, body.clone(), INTERVAL);
        let answered = call.await;
        // Only a leader that took note of it will not give away what runs here.
        if answered.is_ok() {
            contact.hear();
        }
        match answered {
            // Mostly there is nothing to say.
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => {
                if let Ok(HeartbeatAnswer { hosts: said }) = decode(&answer) {
                    hosts.adopt(said, crate::clock::now());
                }
            }
            Err(error) => tracing::debug!("a heartbeat did not arrive: {error}"),
        }
    }
}
