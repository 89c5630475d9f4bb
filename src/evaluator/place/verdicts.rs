//! What each node says to one more of a group, and whether an allocation would be put where it is once more. For people:
//! nothing is taken.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use model::wire::{ChosenToday, NodeVerdict, Shortage, Verdict};
use model::{Allocation, Eligibility, Node, NodeId, NodeStatus};

use super::asked::Asked;
use super::columns::Columns;
use super::own::{Own, Presence};
use super::ranking::Ranking;
use super::refusal::{Refusal, refusal};
use super::search::{Choice, scan};
use super::{Candidates, Fleet, Request, group_of};

/// All that an answer is made from.
struct View<'a> {
    columns: &'a Columns,
    ranking: &'a Ranking,
    own: &'a Own,
    asked: &'a Asked,
    request: &'a Request<'a>,
}

impl Fleet {
    /// Every node's answer to one more: those that fit, in the order in which they would be chosen; those without room,
    /// the nearest first; then those that must not have it. Nodes of `already` have one, where one is all that there is
    /// to be on a node.
    pub(crate) fn verdicts(
        &mut self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
        already: &BTreeSet<NodeId>,
    ) -> Vec<NodeVerdict> {
        self.look(candidates, presence, request, |view| {
            let mut answers: Vec<(NodeVerdict, Option<Choice>)> = (0..view.columns.len())
                .filter_map(|at| {
                    let (mut answer, mut choice) = view.answer(at)?;
                    if already.contains(&answer.node) {
                        choice = None;
                        answer = NodeVerdict {
                            verdict: Verdict::Filtered,
                            reason: "one of it is there".to_owned(),
                            lacks: Vec::new(),
                            score: None,
                            ..answer
                        };
                    }
                    Some((answer, choice))
                })
                .collect();
            answers.sort_by(compare);
            answers.into_iter().map(|(answer, _)| answer).collect()
        })
    }

    /// What would be chosen for an allocation that had left its node, and needed one anew. `bound`: no other node is
    /// asked.
    pub(crate) fn chosen_today(
        &mut self,
        candidates: &Candidates,
        presence: &mut Presence,
        request: &Request<'_>,
        alloc: &Allocation,
        bound: bool,
    ) -> Option<ChosenToday> {
        self.fill();
        if candidates.asked.writes {
            self.columns.note_writers(&self.pass.state);
        }
        let at = self.columns.find(alloc.node)?;
        let state = self.pass.state.clone();
        let written = group_of(&state, alloc).map(|group| (group, alloc.index));
        let lifted = self.columns.lift(at, &alloc.resources, written)?;
        presence.leave(alloc.node, &alloc.group);
        let today = self.look(candidates, presence, request, |view| {
            let (own, choice) = view.answer(at)?;
            let others = view.ranking.feasible().filter(|other| !bound && *other != at);
            let View { columns, ranking, own: here, asked, request } = view;
            let best = scan(columns, ranking, here, asked, request, others);
            Some(ChosenToday {
                same: choice.is_some_and(|choice| choice.better(best)),
                own,
                best_other: best.and_then(|best| Some(view.answer(best.at)?.0)),
            })
        });
        presence.enter(alloc.node, &alloc.group);
        self.columns.set_down(at, lifted);
        today
    }

    fn look<T>(
        &mut self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
        see: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let asked = &candidates.asked;
        let mut ranking = self.ranking(asked);
        let mut kept = candidates.own.borrow_mut();
        let own = self.own(&mut kept, asked, &mut ranking, presence, request);
        let seen = see(&View { columns: &self.columns, ranking: &ranking, own, asked, request });
        own.avoided.clear();
        drop(kept);
        self.rankings.put(asked, ranking);
        seen
    }
}

impl View<'_> {
    /// A node's answer, and what makes it better than others if it would do.
    fn answer(&self, at: usize) -> Option<(NodeVerdict, Option<Choice>)> {
        let Self { columns, ranking, own, asked, request } = *self;
        let node = columns.nodes.get(at)?;
        let answer =
            NodeVerdict { node: node.id, name: node.name.clone(), ..NodeVerdict::default() };
        let refused = match not_ready(node) {
            Some(words) => Err(Refusal::Filtered(words.to_owned())),
            None => refusal(columns, ranking, own, asked, request, at),
        };
        Some(match refused {
            Err(Refusal::Filtered(reason)) => {
                (NodeVerdict { verdict: Verdict::Filtered, reason, ..answer }, None)
            }
            Err(Refusal::Exhausted(reason)) => {
                let lacks = self.lacks(at, node);
                (NodeVerdict { verdict: Verdict::Exhausted, reason, lacks, ..answer }, None)
            }
            Ok(()) => {
                // The one that places works the choice out, so that both agree to the last bit.
                let choice = scan(columns, ranking, own, asked, request, std::iter::once(at));
                let score = own.standing(columns, ranking, at).explained(node.id);
                (NodeVerdict { score: Some(score), ..answer }, choice)
            }
        })
    }

    /// All that a node has too little of, and not only what is looked at first.
    fn lacks(&self, at: usize, node: &Node) -> Vec<Shortage> {
        let Some(load) = self.columns.load(at) else { return Vec::new() };
        let (asked, all) = (self.asked, &node.resources);
        let cores = all.cores.len() as u64;
        let dimensions = [
            ("cpu", asked.cpu_on(node), load.cpu, all.cpu),
            ("memory", asked.memory_mb, load.memory_mb, all.memory_mb),
            ("disk", asked.disk_mb, load.disk_mb, all.disk_mb),
            ("cores", asked.whole_cores(), load.cores.len() as u64, cores),
        ];
        let lacks = dimensions.into_iter().map(|(dimension, asked, used, total)| Shortage {
            dimension: dimension.to_owned(),
            asked,
            free: total.saturating_sub(used),
            total,
        });
        lacks.filter(|shortage| shortage.missing() > 0).collect()
    }
}

/// Why nothing new comes to a node, whatever it is.
fn not_ready(node: &Node) -> Option<&'static str> {
    match node.status {
        _ if node.is_ready() => None,
        NodeStatus::Down => Some("node is down"),
        NodeStatus::Disconnected => Some("node cannot be reached"),
        NodeStatus::Initializing => Some("node is starting"),
        NodeStatus::Ready if node.draining => Some("node is being drained"),
        NodeStatus::Ready if node.eligibility == Eligibility::Ineligible => {
            Some("node is not eligible")
        }
        NodeStatus::Ready => Some("node takes nothing"),
    }
}

type Answer = (NodeVerdict, Option<Choice>);

fn compare(one: &Answer, other: &Answer) -> Ordering {
    let ((a, choice_a), (b, choice_b)) = (one, other);
    let chosen = match (choice_a, choice_b) {
        (Some(a), Some(b)) => {
            let best_first = b.total.total_cmp(&a.total).then(b.own.total_cmp(&a.own));
            best_first.then(a.tie.cmp(&b.tie))
        }
        _ => Ordering::Equal,
    };
    let rest = || (&a.reason, &a.name, a.node).cmp(&(&b.reason, &b.name, b.node));
    a.verdict
        .cmp(&b.verdict)
        .then(chosen)
        .then_with(|| distance(a).total_cmp(&distance(b)))
        .then_with(rest)
}

/// How far a node is from having room: the parts of what is asked for that are missing, added up. What cannot be counted
/// comes last.
fn distance(answer: &NodeVerdict) -> f64 {
    match answer.verdict {
        Verdict::Exhausted if answer.lacks.is_empty() => f64::MAX,
        Verdict::Exhausted => {
            answer.lacks.iter().map(|lack| lack.missing() as f64 / lack.asked.max(1) as f64).sum()
        }
        Verdict::Fits | Verdict::Filtered => 0.0,
    }
}
