//! Tells the leader that this node is there: a server itself, any other node by way of a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consensus::{Consensus, Role};
use model::NodeId;
use node::Contact;
use rpc::{CallError, Class, Client, Code};
use server::Server;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::limits::Hosts;
use super::messages::{HEARTBEAT, Heartbeat, HeartbeatAnswer, decode, encode};

/// How often. A node is lost after several in a row that did not come.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// How long an answer may take. Two servers in a row that are gone must be found out before the node counts as lost.
const LIMIT: Duration = Duration::from_millis(700);
/// A server that reached no leader so often in a row is left for another.
const PATIENCE: u32 = 2;

/// By which server. Whoever spoke to one stays with it, so that an election moves nobody.
#[derive(Debug, Default)]
struct Way {
    turn: usize,
    refused: u32,
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// The leader took note.
    Yes,
    /// The server answered, and did not reach the leader.
    No,
    /// The server did not answer.
    Silence,
}

impl Way {
    /// Nodes begin with different servers.
    fn of(node: NodeId) -> Self {
        let turn = usize::try_from(node.uuid().as_u128() % 1_009).unwrap_or_default();
        Self { turn, refused: 0 }
    }

    fn server<'a>(&self, servers: &'a [String]) -> Option<&'a String> {
        servers.get(self.turn.checked_rem(servers.len())?)
    }

    /// Whether another server is to be asked at once.
    fn note(&mut self, heard: Heard) -> bool {
        self.refused = match heard {
            Heard::Yes => 0,
            Heard::No => self.refused + 1,
            Heard::Silence => PATIENCE,
        };
        let leaves = self.refused >= PATIENCE;
        if leaves {
            self.turn = self.turn.wrapping_add(1);
            self.refused = 0;
        }
        leaves
    }
}

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
    let mut way = Way::of(node);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if server.heard(&[node]) {
            contact.hear();
            continue;
        }
        // One that does not arrive is followed by another; the leader counts silence, not heartbeats.
        for _ in 0..2 {
            let Some(address) = next(&consensus, &way) else { break };
            let (heard, answer) = tell(&client, &address, body.clone()).await;
            // Only a leader that took note of it will not give away what runs here.
            if heard == Heard::Yes {
                contact.hear();
            }
            if let Some(HeartbeatAnswer { hosts: said }) = answer {
                hosts.adopt(said, crate::clock::now());
            }
            if !way.note(heard) {
                break;
            }
        }
    }
}

/// A server has a connection to the leader anyway; others speak to the server that they are with.
fn next(consensus: &Consensus, way: &Way) -> Option<String> {
    if consensus.metrics().role != Role::Replica {
        return consensus.leader().map(|leader| leader.address).filter(|at| !at.is_empty());
    }
    let members = consensus.members().into_iter().map(|member| member.address);
    let servers: Vec<String> = members.filter(|address| !address.is_empty()).collect();
    way.server(&servers).cloned()
}

async fn tell(client: &Client, address: &str, body: Bytes) -> (Heard, Option<HeartbeatAnswer>) {
    match client.call(address, Class::Control, HEARTBEAT, body, LIMIT).await {
        // Mostly there is nothing to say.
        Ok(answer) if answer.is_empty() => (Heard::Yes, None),
        Ok(answer) => (Heard::Yes, decode(&answer).ok()),
        Err(error) => {
            tracing::debug!("a heartbeat by way of {address} did not arrive: {error}");
            match error {
                CallError::Refused { refused, .. } if refused.code != Code::STOPPING => {
                    (Heard::No, None)
                }
                _ => (Heard::Silence, None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_moves_nobody_and_a_dead_server_is_left_at_once() {
        let servers = ["a", "b", "c"].map(str::to_owned);
        let mut way = Way { turn: 1, refused: 0 };
        let at = |way: &Way| way.server(&servers).cloned().unwrap_or_default();
        assert_eq!(at(&way), "b");
        assert!(!way.note(Heard::Yes));
        assert!(!way.note(Heard::No), "there may be an election");
        assert!(!way.note(Heard::Yes));
        assert!(!way.note(Heard::No), "and another one");
        assert_eq!(at(&way), "b");
        assert!(way.note(Heard::No), "it is cut off from the leader");
        assert_eq!(at(&way), "c");
        assert!(way.note(Heard::Silence));
        assert_eq!(at(&way), "a");
        assert_eq!(way.server(&[]), None);
    }

    #[test]
    fn nodes_are_spread_over_the_servers() {
        let servers = ["a", "b", "c"].map(str::to_owned);
        let mut counts = std::collections::BTreeMap::new();
        for n in 0..300_u128 {
            let node = NodeId::new(model::seeded_uuid(&[&n.to_be_bytes()]));
            *counts.entry(Way::of(node).server(&servers).cloned()).or_insert(0) += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| *count > 60), "{counts:?}");
    }
}
