//! Who votes in Raft. Pure: what is known of members and nodes in, the one next step out.
//!
//! One thing changes at a time, and only while the voters that live are a quorum before and after it. A newcomer catches
//! up as a learner before it votes; a voter that is dead makes room only once its replacement votes, or where too many
//! are there anyway. One whose node was removed for good makes room at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{NodeId, NodeRole, NodeStatus};

/// How the fleet chooses its servers.
#[derive(Clone, Copy, Debug)]
pub struct AutopilotOptions {
    /// How many servers vote, if there are as many: an odd number.
    pub voters: usize,
    /// A voter that is not heard of for this long is replaced.
    pub dead_after: Duration,
    /// A member that is heard of within this time lives.
    pub alive_within: Duration,
    /// A learner that lags by no more entries than this has caught up.
    pub lag: u64,
}

impl Default for AutopilotOptions {
    fn default() -> Self {
        Self {
            voters: 3,
            dead_after: Duration::from_secs(10),
            alive_within: Duration::from_secs(2),
            lag: 250,
        }
    }
}

/// A member of the Raft group, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node.
    pub node: NodeId,
    /// Whether it votes; a learner otherwise.
    pub votes: bool,
    /// Whether it is the leader itself.
    pub leads: bool,
    /// How long ago it last answered. A member that never did counts from when it was added.
    pub silent_for: Duration,
    /// Entries that it lacks.
    pub lag: u64,
}

/// A node that may be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// What it may be asked to do.
    pub role: NodeRole,
    /// Whether it answers.
    pub status: NodeStatus,
    /// Whether it is about to go: it is being emptied.
    pub leaving: bool,
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack (`meta.rack`); empty when nothing is said.
    pub rack: String,
}

impl Candidate {
    /// What the state knows of a node.
    pub fn of(node: &model::Node) -> Self {
        Self {
            node: node.id,
            role: node.role,
            status: node.status,
            leaving: node.draining,
            datacenter: node.datacenter.clone(),
            rack: node.meta.get("rack").cloned().unwrap_or_default(),
        }
    }

    fn may_serve(&self) -> bool {
        self.role != NodeRole::Worker && self.status == NodeStatus::Ready && !self.leaving
    }
}

/// The next change of the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node becomes a learner.
    AddLearner(NodeId),
    /// A learner that has caught up votes.
    Promote(NodeId),
    /// A voter votes no more and becomes a learner.
    Demote(NodeId),
    /// A member that does not vote is no member any more.
    Remove(NodeId),
}

/// The next step, if any. `members` is what the leader's Raft says, `candidates` what the state says of all nodes.
pub fn next(
    options: &AutopilotOptions,
    members: &[Member],
    candidates: &[Candidate],
) -> Option<Action> {
    Group::new(options, members, candidates).next()
}

/// What is compared when servers are chosen, the most important first.
type Cost = (usize, usize, usize);

struct Group<'a> {
    options: &'a AutopilotOptions,
    voters: Vec<Member>,
    learners: Vec<Member>,
    candidates: BTreeMap<NodeId, &'a Candidate>,
    /// Whether fewer fit voters are there than are to vote. Found once: it takes a look at every node.
    missing: bool,
}

impl<'a> Group<'a> {
    fn new(options: &'a AutopilotOptions, members: &[Member], candidates: &'a [Candidate]) -> Self {
        let mut all = members.to_vec();
        all.sort_by_key(|member| member.node);
        let (voters, learners) = all.into_iter().partition(|member| member.votes);
        let candidates = candidates.iter().map(|one| (one.node, one)).collect();
        let mut group = Self { options, voters, learners, candidates, missing: false };
        group.missing = group.fit() < group.wanted();
        group
    }

    fn next(&self) -> Option<Action> {
        // A quorum that is just so there bears no change; nor does one that is not.
        if self.living(&self.voters) < quorum(self.voters.len()) {
            return None;
        }
        self.bid_farewell()
            .or_else(|| self.make_room())
            .or_else(|| self.promote())
            .or_else(|| self.tidy())
            .or_else(|| self.add())
    }

    fn lives(&self, member: &Member) -> bool {
        member.leads || member.silent_for <= self.options.alive_within
    }

    fn living(&self, members: &[Member]) -> usize {
        members.iter().filter(|member| self.lives(member)).count()
    }

    /// Whether a member is to be replaced: it is dead, gone, leaves, or is not to be a server any more.
    fn is_unfit(&self, member: &Member) -> bool {
        let suits = self
            .candidates
            .get(&member.node)
            .is_some_and(|one| one.role != NodeRole::Worker && !one.leaving);
        let dead = !member.leads && member.silent_for > self.options.dead_after;
        dead || (!suits && !member.leads)
    }

    /// Takes the vote of one whose node was removed for good, even if nobody can take its place.
    fn bid_farewell(&self) -> Option<Action> {
        let gone = self
            .voters
            .iter()
            .filter(|member| !member.leads && !self.candidates.contains_key(&member.node));
        // The dead first: the living may still be needed to let them go.
        let first = gone.min_by_key(|member| (self.lives(member), member.node))?;
        self.bears(&self.voters, |member| member.node != first.node)
            .then_some(Action::Demote(first.node))
    }

    /// Takes the vote of one that is too many.
    fn make_room(&self) -> Option<Action> {
        if self.voters.len() <= self.options.voters {
            return None;
        }
        let victim = self.voters.iter().filter(|member| !member.leads).min_by_key(|member| {
            (
                // The unfit first, the dead before others; then whoever is least missed where it is.
                !self.is_unfit(member),
                self.lives(member),
                self.spread_without(member.node),
                member.node,
            )
        })?;
        self.bears(&self.voters, |member| member.node != victim.node)
            .then_some(Action::Demote(victim.node))
    }

    /// Gives the vote to the best learner that has caught up, if voters are missing or one is to be replaced.
    fn promote(&self) -> Option<Action> {
        let ready = self.learners.iter().filter(|member| {
            self.lives(member) && member.lag <= self.options.lag && self.is_needed(member.node)
        });
        let best = ready.min_by_key(|member| (self.crowding(member.node), member.node))?;
        // One more must not make the living too few for a quorum of more.
        let living = self.living(&self.voters) + 1;
        (living >= quorum(self.voters.len() + 1)).then_some(Action::Promote(best.node))
    }

    /// Lets go of learners that nobody needs.
    fn tidy(&self) -> Option<Action> {
        // While a voter is silent, nobody knows yet who will be needed.
        let calm = self.voters.iter().all(|member| self.lives(member));
        self.learners
            .iter()
            .find(|member| {
                let dead = member.silent_for > self.options.dead_after;
                let useless = calm && !self.is_needed(member.node);
                dead || useless || !self.may_serve(member.node)
            })
            .map(|member| Action::Remove(member.node))
    }

    /// Brings in a newcomer, one at a time.
    fn add(&self) -> Option<Action> {
        if !self.learners.is_empty() {
            return None;
        }
        let members: BTreeSet<NodeId> =
            self.voters.iter().chain(&self.learners).map(|member| member.node).collect();
        self.candidates
            .values()
            .filter(|one| !members.contains(&one.node) && self.is_needed(one.node))
            .min_by_key(|one| (self.crowding(one.node), one.node))
            .map(|one| Action::AddLearner(one.node))
    }

    /// Whether a node's vote would be of use: one is missing or to be replaced, or it would stand better.
    fn is_needed(&self, node: NodeId) -> bool {
        self.may_serve(node) && (self.missing || (self.is_whole() && self.spreads_better(node)))
    }

    fn fit(&self) -> usize {
        self.voters.iter().filter(|member| !self.is_unfit(member)).count()
    }

    /// Whether there is nothing else to be done about the voters.
    fn is_whole(&self) -> bool {
        self.voters.len() == self.options.voters
            && self.voters.iter().all(|member| !self.is_unfit(member) && self.lives(member))
    }

    /// How many are to vote: what is asked for, or as many as there are, but an odd number.
    fn wanted(&self) -> usize {
        let suited = self.candidates.values().filter(|one| one.may_serve()).count();
        let most = self.options.voters.min(suited.max(1));
        if most % 2 == 0 { most - 1 } else { most }
    }

    fn may_serve(&self, node: NodeId) -> bool {
        self.candidates.get(&node).is_some_and(|one| one.may_serve())
    }

    /// Whether a node is a server by chance alone, how many fit voters share its datacenter, and how many its rack.
    fn crowding(&self, node: NodeId) -> Cost {
        let Some(own) = self.candidates.get(&node) else {
            return (usize::MAX, usize::MAX, usize::MAX);
        };
        let others = || {
            self.voters
                .iter()
                .filter(|member| member.node != node && !self.is_unfit(member))
                .filter_map(|member| self.candidates.get(&member.node))
        };
        let in_dc = others().filter(|one| one.datacenter == own.datacenter).count();
        let in_rack =
            others().filter(|one| one.datacenter == own.datacenter && one.rack == own.rack).count();
        (usize::from(own.role != NodeRole::Server), in_dc, in_rack)
    }

    /// How the voters would stand if this one were none.
    fn spread_without(&self, node: NodeId) -> Cost {
        self.spread(self.voters.iter().map(|member| member.node).filter(|other| *other != node))
    }

    /// How well these stand as voters: how many are not meant to be servers, and how many pairs share a datacenter, and a
    /// rack. Less is better.
    fn spread(&self, nodes: impl Iterator<Item = NodeId>) -> Cost {
        let places: Vec<&&Candidate> = nodes.filter_map(|id| self.candidates.get(&id)).collect();
        let by_chance = places.iter().filter(|one| one.role != NodeRole::Server).count();
        let (mut in_dc, mut in_rack) = (0, 0);
        for (at, one) in places.iter().enumerate() {
            for other in places.iter().skip(at + 1) {
                let dc = one.datacenter == other.datacenter;
                in_dc += usize::from(dc);
                in_rack += usize::from(dc && one.rack == other.rack);
            }
        }
        (by_chance, in_dc, in_rack)
    }

    /// Whether the voters would stand better with this one in place of the one that is missed least.
    fn spreads_better(&self, node: NodeId) -> bool {
        let all: Vec<NodeId> = self.voters.iter().map(|member| member.node).collect();
        let now = self.spread(all.iter().copied());
        let replaced = self.voters.iter().filter(|member| !member.leads);
        replaced
            .map(|member| {
                let others = all.iter().copied().filter(|other| *other != member.node);
                self.spread(others.chain([node]))
            })
            .min()
            .is_some_and(|best| best < now)
    }

    /// Whether the voters that stay have a living quorum.
    fn bears(&self, voters: &[Member], stays: impl Fn(&Member) -> bool) -> bool {
        let left: Vec<Member> = voters.iter().filter(|member| stays(member)).copied().collect();
        !left.is_empty() && self.living(&left) >= quorum(left.len())
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests;
