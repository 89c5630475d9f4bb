//! What a node that does not answer means for its allocations: lost, or waited for (nomad.md 2.3, `disconnect`).

use std::time::Duration;

use model::{Allocation, ClientStatus, NodeStatus, Timestamp};

use super::{GroupWork, Scene};

/// The least that a node is given to stop what it fences off itself.
const LEAST_KILL_TIME: Duration = Duration::from_secs(5);

/// What has become of an allocation that was not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its node answers.
    Here,
    /// It runs no more, or nobody cares whether it does.
    Lost,
    /// It may run still, and is waited for.
    Away {
        /// Since when.
        since: Timestamp,
        /// How long; for ever when nothing is said.
        until: Option<Timestamp>,
        /// Whether another one stands in for it meanwhile.
        replace: bool,
    },
    /// Its node stops it by itself, but may not have done so yet.
    Fenced(Timestamp),
}

impl Scene<'_> {
    /// What has become of an allocation that is not over by what its node said last.
    pub(super) fn fate(&self, alloc: &Allocation) -> Fate {
        if alloc.client.is_terminal() {
            return Fate::Here;
        }
        let Some(node) = self.state.node(alloc.node) else { return Fate::Lost };
        if matches!(node.status, NodeStatus::Ready | NodeStatus::Initializing) {
            return Fate::Here;
        }
        let group = self.own_version(alloc).job.group(&alloc.group);
        let Some((group, policy)) = group.and_then(|group| Some((group, group.disconnection()?)))
        else {
            return Fate::Lost;
        };
        let since = alloc.disconnected_at.unwrap_or(node.status_at);
        if let Some(lost_after) = policy.lost_after.filter(|wait| !wait.is_zero()) {
            let until = since + lost_after;
            // One that had not started has nothing to lose; but where none may run twice, it may have started since.
            let started = alloc.client != ClientStatus::Pending || !policy.replace;
            return if self.now < until && started {
                Fate::Away { since, until: Some(until), replace: policy.replace }
            } else {
                Fate::Lost
            };
        }
        if !policy.replace {
            return Fate::Away { since, until: None, replace: false };
        }
        if let Some(stop_after) = policy.stop_on_client_after {
            let longest = group.tasks.iter().map(|task| task.kill_timeout).max();
            let until = since + stop_after + longest.unwrap_or_default().max(LEAST_KILL_TIME);
            if self.now < until {
                return Fate::Fenced(until);
            }
        }
        Fate::Lost
    }
}

impl<'a> GroupWork<'a> {
    /// Notes that an allocation is waited for; it is unknown from then on.
    pub(super) fn wait_for(&mut self, alloc: &'a Allocation, fate: Fate) {
        match fate {
            Fate::Away { since, until, .. } => {
                if alloc.client != ClientStatus::Unknown {
                    self.unknown.push((alloc, since));
                }
                if let Some(until) = until {
                    self.wake_at(until);
                }
            }
            Fate::Fenced(until) => self.wake_at(until),
            Fate::Here | Fate::Lost => {}
        }
    }
}
