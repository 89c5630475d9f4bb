//! Which nodes answer. Pure: heartbeats and the time in, commands out.
//!
//! Only the leader keeps this, in memory; the log learns of changes alone. Time is what the leader has spent listening:
//! while it was held up itself, nobody could be heard, so that time counts against nobody.
//!
//! Each word names the one before it, and the state refuses one that does not: of a leader that is gone, nothing counts
//! once the next one has spoken, which it does first of all. Who finds that somebody else spoke begins anew. So whoever
//! judges knows of all who were given up, and the brake holds across leaders.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use model::{Node, NodeId, NodeStatus, Timestamp, format_duration};
use state::{Applied, Command, State};

/// How nodes are judged.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatOptions {
    /// A node that is not heard of for this long is lost.
    pub ttl: Duration,
    /// What a new leader, or a node that is new, is granted beyond that.
    pub grace: Duration,
    /// Of a hundred nodes, how many may be lost within [`HeartbeatOptions::window`] before the brake holds the rest.
    pub brake_percent: u32,
    /// Losses that the brake never holds, however few nodes there are.
    pub brake_floor: usize,
    /// The time within which losses are counted together.
    pub window: Duration,
}

impl Default for HeartbeatOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(2),
            grace: Duration::from_secs(5),
            brake_percent: 33,
            brake_floor: 3,
            window: Duration::from_secs(60),
        }
    }
}

/// How the nodes answer, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatStatus {
    /// Nodes that are listened to.
    pub listening: usize,
    /// Nodes that were declared lost lately, or together with those that are held.
    pub declared: usize,
    /// How many may be declared lost together.
    pub allowed: usize,
    /// Nodes that do not answer and are not declared lost: too many fell silent at once.
    pub held: Vec<NodeId>,
    /// What that means and what can be done, in words; empty while nothing is held.
    pub message: String,
}

/// The longest step of time that counts: a longer one means that the leader was held up.
const LONGEST_STEP: Duration = Duration::from_millis(500);

/// What a leader has heard.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    options: HeartbeatOptions,
    /// The node in this very process, which needs no telling that it lives.
    own: Option<NodeId>,
    /// When this was last moved on.
    last: Duration,
    /// Time spent listening.
    clock: Duration,
    /// For each node that is ready, when it is lost unless it is heard of before.
    due: HashMap<NodeId, Duration>,
    /// When to look at which: each node that is ready and not held, no later than it is due. A heartbeat moves only
    /// what is due, so that a node costs something here once in its time to live.
    looks: BTreeSet<(Duration, NodeId)>,
    /// Nodes that do not answer and are not declared lost.
    held: BTreeSet<NodeId>,
    /// Nodes that are not ready, by the state.
    away: BTreeSet<NodeId>,
    /// Nodes of those that were heard of again.
    back: BTreeSet<NodeId>,
    /// When a node whose allocations are waited for is waited for no more.
    waits: BTreeMap<NodeId, Timestamp>,
    /// Nodes declared lost together that are not back.
    lost: BTreeMap<NodeId, Duration>,
    /// When nodes were declared lost, within the window.
    declared: VecDeque<Duration>,
    /// Whether an operator let go of what is held.
    approved: bool,
    /// The last word on who answers that this leader knows of, which its next one follows; nothing when it has to look.
    follows: Option<u64>,
    /// Whether the log has a word of this leader's.
    has_spoken: bool,
    /// What is to be said, in order.
    said: VecDeque<Command>,
}

impl Heartbeats {
    /// A new leader begins: it has heard nobody yet and holds that against nobody.
    pub(crate) fn begin(
        options: HeartbeatOptions,
        own: Option<NodeId>,
        state: &State,
        now: Duration,
        at: Timestamp,
    ) -> Self {
        let mut this = Self {
            options,
            own,
            last: now,
            clock: Duration::ZERO,
            due: HashMap::new(),
            looks: BTreeSet::new(),
            held: BTreeSet::new(),
            away: BTreeSet::new(),
            back: BTreeSet::new(),
            waits: BTreeMap::new(),
            lost: BTreeMap::new(),
            declared: VecDeque::new(),
            approved: false,
            follows: Some(state.last_word()),
            has_spoken: false,
            said: VecDeque::new(),
        };
        for node in state.nodes() {
            this.take(state, node);
        }
        // What the leader before declared counts, for the whole window, and also where it is back.
        for (id, _) in state.given_up().filter(|(_, when)| at.since(*when) < options.window) {
            this.declared.push_back(Duration::ZERO);
            if this.away.contains(&id) {
                this.lost.insert(id, Duration::ZERO);
            }
        }
        let reason = "listened to by a new leader".to_owned();
        this.said.push_back(Command::SetNodeStatuses {
            nodes: Vec::new(),
            at,
            reason,
            follows: None,
        });
        this
    }

    /// What is to be said next. It is to be put into the log, and what came of it handed to [`Self::answered`]; what could
    /// not be said is said again.
    pub(crate) fn word(&self) -> Option<Command> {
        let mut word = self.said.front().cloned()?;
        if let Command::SetNodeStatuses { follows, .. } = &mut word {
            *follows = self.follows;
        }
        Some(word)
    }

    /// What came of the last word.
    pub(crate) fn answered(&mut self, applied: &Applied) {
        if applied.rejection.is_none() {
            self.said.pop_front();
            (self.follows, self.has_spoken) = (Some(applied.index), true);
        } else {
            // Somebody else spoke, so that all that was to be said is to be thought over.
            self.said.clear();
            self.follows = None;
        }
    }

    /// A node was heard of.
    pub(crate) fn heard(&mut self, node: NodeId, now: Duration) {
        if self.away.contains(&node) {
            self.back.insert(node);
            return;
        }
        let due = self.clock_at(now) + self.options.ttl;
        let Some(known) = self.due.get_mut(&node) else { return };
        // What grace it was granted is not cut short.
        *known = due.max(*known);
        if self.held.remove(&node) {
            self.looks.insert((due, node));
        }
    }

    /// Something about a node changed in the state.
    pub(crate) fn changed(&mut self, state: &State, id: NodeId) {
        match state.node(id) {
            Some(node) => self.take(state, node),
            None => self.forget(id),
        }
    }

    /// Changes were missed.
    pub(crate) fn resume(&mut self, state: &State) {
        let gone: Vec<NodeId> = self.due.keys().chain(&self.away).copied().collect();
        for id in gone.into_iter().filter(|id| state.node(*id).is_none()) {
            self.forget(id);
        }
        for node in state.nodes() {
            self.take(state, node);
        }
    }

    /// An operator says that what is held is lost indeed.
    pub(crate) fn approve(&mut self) -> usize {
        self.approved = !self.held.is_empty();
        self.held.len()
    }

    /// Whether there is nobody to listen to but the node in this process, and nothing to say of it.
    pub(crate) fn is_idle(&self) -> bool {
        let others = self.due.keys().any(|id| Some(*id) != self.own);
        !others && self.away.is_empty() && (self.said.is_empty() || !self.has_spoken)
    }

    /// Moves on to `now`, and finds what is to be said: see [`Self::word`].
    pub(crate) fn tick(&mut self, state: &State, now: Duration, at: Timestamp) {
        if self.follows != Some(state.last_word()) {
            *self = Self::begin(self.options, self.own, state, now, at);
        }
        self.clock = self.clock_at(now);
        self.last = self.last.max(now);
        if !self.has_spoken {
            return;
        }
        let back: Vec<_> = std::mem::take(&mut self.back)
            .into_iter()
            .filter(|id| self.away.remove(id))
            .map(|id| (id, NodeStatus::Ready))
            .collect();
        for (id, _) in &back {
            self.welcome(*id);
        }
        self.say(back, "heard of again", at);
        let silent = self.silent(state);
        let declared = self.judge(silent);
        let nodes = declared.iter().map(|id| (*id, self.declare(state, *id, at))).collect();
        let reason = format!("not heard of for {}", format_duration(self.options.ttl));
        self.say(nodes, &reason, at);
        let over: Vec<NodeId> =
            self.waits.iter().filter(|(_, until)| **until <= at).map(|(id, _)| *id).collect();
        for id in &over {
            self.waits.remove(id);
        }
        let over = over.into_iter().map(|id| (id, NodeStatus::Down)).collect();
        self.say(over, "its allocations are waited for no longer", at);
    }

    fn say(&mut self, nodes: Vec<(NodeId, NodeStatus)>, reason: &str, at: Timestamp) {
        if !nodes.is_empty() {
            let reason = reason.to_owned();
            self.said.push_back(Command::SetNodeStatuses { nodes, at, reason, follows: None });
        }
    }

    /// How many nodes the brake holds.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// How the nodes answer.
    pub(crate) fn status(&self) -> HeartbeatStatus {
        let allowed = self.allowed();
        let declared = self.lost.len().max(self.declared.len());
        let message = if self.held.is_empty() {
            String::new()
        } else {
            format!(
                "{} nodes fell silent at once, {} of them were declared lost, and {} more are held: their allocations \
                 are not replaced until they answer, or until somebody says that they are lost. If the network is at \
                 fault, mend it; if the nodes are gone, approve it",
                self.held.len() + self.lost.len(),
                self.lost.len(),
                self.held.len(),
            )
        };
        HeartbeatStatus {
            listening: self.due.len(),
            declared,
            allowed,
            held: self.held.iter().copied().collect(),
            message,
        }
    }

    fn clock_at(&self, now: Duration) -> Duration {
        self.clock + now.saturating_sub(self.last).min(LONGEST_STEP)
    }

    fn take(&mut self, state: &State, node: &Node) {
        let id = node.id;
        if node.status == NodeStatus::Ready {
            if self.away.remove(&id) || !self.due.contains_key(&id) {
                self.back.remove(&id);
                self.welcome(id);
            }
            return;
        }
        if self.due.contains_key(&id) {
            self.forget(id);
        }
        if self.away.insert(id) && Some(id) == self.own {
            self.back.insert(id);
        }
        match waited_until(state, id, node.status_at) {
            Some(until) if node.status == NodeStatus::Disconnected => {
                self.waits.insert(id, until);
            }
            _ if node.status == NodeStatus::Disconnected => {
                self.waits.insert(id, node.status_at);
            }
            _ => {
                self.waits.remove(&id);
            }
        }
    }

    /// Listens to a node from now on.
    fn welcome(&mut self, id: NodeId) {
        let due = self.clock + self.options.ttl + self.options.grace;
        self.due.insert(id, due);
        self.looks.insert((due, id));
        self.waits.remove(&id);
        self.lost.remove(&id);
    }

    fn forget(&mut self, id: NodeId) {
        self.due.remove(&id);
        self.held.remove(&id);
        self.away.remove(&id);
        self.back.remove(&id);
        self.waits.remove(&id);
    }

    /// The nodes whose time is over, the longest silent first.
    fn silent(&mut self, state: &State) -> Vec<NodeId> {
        let mut silent = Vec::new();
        while let Some((look, id)) = self.looks.first().copied().filter(|(at, _)| *at <= self.clock)
        {
            self.looks.remove(&(look, id));
            let Some(due) = self.due.get(&id).copied() else { continue };
            // Nobody is there to take over from a node that is alone.
            let spared = Some(id) == self.own || state.nodes_count() == 1;
            if due > self.clock {
                self.looks.insert((due, id));
            } else if spared {
                self.looks.insert((self.clock + self.options.ttl, id));
            } else {
                silent.push(id);
            }
        }
        silent
    }

    /// Which of the silent are declared lost; the others are held.
    fn judge(&mut self, silent: Vec<NodeId>) -> Vec<NodeId> {
        while self
            .declared
            .front()
            .is_some_and(|at| self.clock.saturating_sub(*at) >= self.options.window)
        {
            self.declared.pop_front();
        }
        let engaged = !self.held.is_empty();
        if !engaged {
            let (clock, window) = (self.clock, self.options.window);
            self.lost.retain(|_, at| clock.saturating_sub(*at) < window);
        }
        if std::mem::take(&mut self.approved) {
            let mut all: Vec<NodeId> = std::mem::take(&mut self.held).into_iter().collect();
            // From here on it is counted anew.
            self.lost.clear();
            self.declared.clear();
            all.extend(silent);
            return all;
        }
        let budget = self.allowed().saturating_sub(self.lost.len().max(self.declared.len()));
        if self.held.len() + silent.len() <= budget {
            // So many came back that the rest is no loss of many at once any more.
            let mut all: Vec<NodeId> = std::mem::take(&mut self.held).into_iter().collect();
            all.extend(silent);
            return all;
        }
        let first = if engaged { 0 } else { budget.min(silent.len()) };
        let mut silent = silent;
        self.held.extend(silent.split_off(first));
        silent
    }

    /// How many nodes may be lost together.
    fn allowed(&self) -> usize {
        let all = self.due.len() + self.lost.len();
        let share = all.saturating_mul(self.options.brake_percent as usize) / 100;
        share.max(self.options.brake_floor)
    }

    fn declare(&mut self, state: &State, id: NodeId, at: Timestamp) -> NodeStatus {
        self.due.remove(&id);
        self.away.insert(id);
        self.lost.insert(id, self.clock);
        self.declared.push_back(self.clock);
        match waited_until(state, id, at) {
            Some(until) => {
                self.waits.insert(id, until);
                NodeStatus::Disconnected
            }
            None => NodeStatus::Down,
        }
    }
}

/// Until when allocations of a node that fell silent are waited for, if a group asks for it.
fn waited_until(state: &State, id: NodeId, since: Timestamp) -> Option<Timestamp> {
    state
        .allocs_on_node(id)
        .filter(|alloc| !alloc.terminal())
        .filter_map(|alloc| {
            let record = state.job(&alloc.job)?;
            let version = record.version(alloc.job_version).or_else(|| record.current())?;
            let disconnection = version.job.group(&alloc.group)?.disconnection()?;
            let lost_after = disconnection.lost_after.filter(|wait| !wait.is_zero())?;
            Some(alloc.disconnected_at.unwrap_or(since) + lost_after)
        })
        .max()
        .filter(|until| *until > since)
}

#[cfg(test)]
mod tests;
