//! Keeps the number of servers that vote, on the leader: the loop around [`server::next_member`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consensus::{ChangeError, Consensus, MemberStatus};
use model::{Node, NodeId, NodeRole, NodeStatus};
use server::{Action, AutopilotOptions, Candidate, next_member};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::papers::{ALONE, number_of};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// The wait after a step that did not work out.
const RETRY: Duration = Duration::from_secs(2);

/// Looks after the servers while this one leads. `own` is where the others reach it.
pub(crate) async fn run(consensus: Consensus, own: String, voters: usize, stop: CancellationToken) {
    let options = AutopilotOptions { voters, ..AutopilotOptions::default() };
    // When a member was seen first that has not answered yet.
    let mut seen: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut wait = LOOK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = LOOK;
        if !consensus.is_leader() {
            seen.clear();
            continue;
        }
        let group = Group::of(&consensus, &own);
        seen.retain(|number, _| group.members.iter().any(|member| member.node == *number));
        let done = match group.moved() {
            Some((member, address)) => {
                tracing::info!("server {member} is at {address} now");
                let member = consensus::Member { node: member, address };
                consensus.set_address(member).await
            }
            None => {
                let candidates = group.candidates();
                let members = group.as_seen(&mut seen, Instant::now());
                let Some(action) = next_member(&options, &members, &candidates) else { continue };
                tracing::info!("servers: {action:?}");
                group.carry_out(&consensus, action).await
            }
        };
        if let Err(error) = done {
            tracing::warn!("the servers stay as they are for now: {error}");
            wait = RETRY;
        }
    }
}

/// Who takes part, with the nodes that they are.
struct Group {
    members: Vec<MemberStatus>,
    /// Shared with the state: this is made anew four times a second, however many nodes there are.
    nodes: Vec<Arc<Node>>,
    last: u64,
    /// The number of this server, and where it is.
    own: (u64, String),
}

impl Group {
    fn of(consensus: &Consensus, own: &str) -> Self {
        let state = consensus.state();
        let nodes = state
            .nodes()
            .filter(|node| !node.rpc_address.is_empty() && !state.is_removed(node.id))
            .map(Arc::clone);
        Self {
            nodes: nodes.collect(),
            members: consensus.members(),
            last: consensus.metrics().last_log.unwrap_or_default(),
            own: (consensus.metrics().node, own.to_owned()),
        }
    }

    /// The number that a node takes part under: its own, or, for the agent that was alone before it founded the
    /// cluster, the one of the member at its address.
    fn number(&self, node: &Node) -> u64 {
        let own = number_of(node.id);
        let is_own = self.members.iter().any(|member| member.node == own);
        let at = self.members.iter().find(|member| member.address == node.rpc_address);
        at.filter(|member| !is_own && member.node == ALONE).map_or(own, |member| member.node)
    }

    fn node(&self, member: &MemberStatus) -> Option<&Node> {
        self.nodes.iter().map(Arc::as_ref).find(|node| self.number(node) == member.node)
    }

    /// A member whose node is reached somewhere else by now. This server knows best where it is itself: one that was
    /// alone before, or was brought back from a backup, is written down without an address.
    fn moved(&self) -> Option<(u64, String)> {
        let (number, address) = &self.own;
        let own = self.members.iter().find(|member| member.node == *number);
        if own.is_some_and(|member| member.address != *address) {
            return Some(self.own.clone());
        }
        self.members.iter().find_map(|member| {
            let node = self.node(member).filter(|node| node.status == NodeStatus::Ready)?;
            (node.rpc_address != member.address).then(|| (member.node, node.rpc_address.clone()))
        })
    }

    /// Who may take part. A newcomer that follows fewer repositories than this server would, as the leader, hold the
    /// jobs of the others: it has no vote.
    fn candidates(&self) -> Vec<Candidate> {
        fn repos(node: &Node) -> impl Iterator<Item = &str> {
            let listed = node.attributes.get(super::REPOS).map(String::as_str).unwrap_or_default();
            listed.split(',').filter(|name| !name.is_empty())
        }
        let leader = self.members.iter().find(|member| member.leader);
        let leader = leader.and_then(|leader| self.node(leader));
        let wanted: Vec<&str> = leader.into_iter().flat_map(repos).collect();
        let has_all = |node: &Node| wanted.iter().all(|wanted| repos(node).any(|it| it == *wanted));
        let takes_part =
            |node: &Node| self.members.iter().any(|member| member.node == self.number(node));
        self.nodes
            .iter()
            .map(|node| {
                let mut candidate = Candidate::of(node);
                if !takes_part(node) && !has_all(node) {
                    candidate.role = NodeRole::Worker;
                }
                candidate
            })
            .collect()
    }

    fn as_seen(&self, seen: &mut BTreeMap<u64, Instant>, now: Instant) -> Vec<server::Member> {
        self.members
            .iter()
            .map(|member| {
                let first = *seen.entry(member.node).or_insert(now);
                server::Member {
                    node: self.node(member).map_or_else(|| nobody(member.node), |node| node.id),
                    votes: member.voter,
                    leads: member.leader,
                    silent_for: member.last_contact.unwrap_or_else(|| now - first),
                    lag: self.last.saturating_sub(member.matched.unwrap_or_default()),
                }
            })
            .collect()
    }

    async fn carry_out(&self, consensus: &Consensus, action: Action) -> Result<(), ChangeError> {
        let number = |id: NodeId| {
            let known = self.nodes.iter().find(|node| node.id == id).map(|node| self.number(node));
            known.or_else(|| {
                self.members.iter().map(|member| member.node).find(|number| nobody(*number) == id)
            })
        };
        let voters = || -> BTreeSet<u64> {
            self.members.iter().filter(|member| member.voter).map(|member| member.node).collect()
        };
        match action {
            Action::AddLearner(id) => {
                let Some(node) = self.nodes.iter().find(|node| node.id == id) else {
                    return Ok(());
                };
                let address = node.rpc_address.clone();
                let member = consensus::Member { node: self.number(node), address };
                consensus.add_learner(member).await
            }
            Action::Promote(id) => {
                let Some(number) = number(id) else { return Ok(()) };
                let mut voters = voters();
                voters.insert(number);
                consensus.set_voters(voters).await
            }
            Action::Demote(id) => {
                let Some(number) = number(id) else { return Ok(()) };
                let mut voters = voters();
                voters.remove(&number);
                consensus.set_voters(voters).await
            }
            Action::Remove(id) => match number(id) {
                Some(number) => consensus.remove(number).await,
                None => Ok(()),
            },
        }
    }
}

/// Stands for a member whose node is not known (any more).
fn nobody(number: u64) -> NodeId {
    NodeId::new(model::seeded_uuid(&[b"nobody", &number.to_be_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str) -> Node {
        Node {
            id: NodeId::new(model::seeded_uuid(&[name.as_bytes()])),
            rpc_address: address.to_owned(),
            status: NodeStatus::Ready,
            ..Node::default()
        }
    }

    fn shared(nodes: Vec<Node>) -> Vec<Arc<Node>> {
        nodes.into_iter().map(Arc::new).collect()
    }

    fn member(node: u64, address: &str) -> MemberStatus {
        MemberStatus {
            node,
            address: address.to_owned(),
            voter: true,
            leader: false,
            last_contact: None,
            matched: None,
        }
    }

    #[test]
    fn nobody_becomes_a_member_by_its_address() {
        let nodes = vec![node("liar", "a:1")];
        let own = (77, "a:1".to_owned());
        let group = Group { members: vec![member(77, "a:1")], nodes: shared(nodes), last: 0, own };
        assert_eq!(group.number(&group.nodes[0]), number_of(group.nodes[0].id));
        assert!(group.node(&group.members[0]).is_none());
    }

    #[test]
    fn an_agent_that_was_alone_keeps_its_number() {
        let nodes = vec![node("a", "a:1"), node("b", "b:1")];
        let other = number_of(nodes[1].id);
        let group = Group {
            members: vec![member(1, "a:1"), member(other, "b:1")],
            nodes: shared(nodes),
            last: 0,
            own: (1, "a:1".to_owned()),
        };
        assert_eq!(group.number(&group.nodes[0]), 1);
        assert_eq!(group.number(&group.nodes[1]), other);
        assert_eq!(group.moved(), None);
    }

    #[test]
    fn who_follows_fewer_repositories_does_not_vote() {
        let following = |name: &str, repos: &str| {
            let mut node = node(name, &format!("{name}:1"));
            node.attributes.insert(super::super::REPOS.to_owned(), repos.to_owned());
            node
        };
        let nodes = vec![
            following("a", "infra,shop"),
            following("b", "infra"),
            following("c", "infra,shop,x"),
        ];
        let leader = MemberStatus { leader: true, ..member(number_of(nodes[0].id), "a:1") };
        let own = (leader.node, "a:1".to_owned());
        let group = Group { members: vec![leader], nodes: shared(nodes), last: 0, own };
        let roles: Vec<NodeRole> = group.candidates().into_iter().map(|one| one.role).collect();
        assert_eq!(roles, [NodeRole::Auto, NodeRole::Worker, NodeRole::Auto]);
    }

    #[test]
    fn who_moved_is_followed_and_who_is_gone_is_nobody() {
        let nodes = vec![node("b", "b:2")];
        let number = number_of(nodes[0].id);
        let group = Group {
            members: vec![member(number, "b:1"), member(77, "c:1")],
            nodes: shared(nodes),
            last: 9,
            own: (77, "c:1".to_owned()),
        };
        assert_eq!(group.moved(), Some((number, "b:2".to_owned())));
        let itself = Group { own: (77, "c:2".to_owned()), ..group };
        assert_eq!(itself.moved(), Some((77, "c:2".to_owned())));
        let group = Group { own: (77, "c:1".to_owned()), ..itself };
        let start = Instant::now();
        let mut seen = BTreeMap::new();
        group.as_seen(&mut seen, start);
        let later = group.as_seen(&mut seen, start + Duration::from_secs(60));
        assert_eq!(later[1].node, nobody(77));
        assert_eq!(later[1].silent_for, Duration::from_secs(60));
        assert_eq!(later[1].lag, 9);
    }
}
