//! Where an allocation stands: gone, failed, serving, proven.

use model::{Allocation, ClientStatus, Group, NodeStatus};

use super::moving::{Stands, stands};
use super::{Gate, GroupWork, Scene};

impl Scene<'_> {
    /// Whether the allocation is one of the deployment's that it was placed by or took over.
    pub(crate) fn in_deployment(&self, alloc: &Allocation) -> bool {
        self.deployment.is_some_and(|deployment| alloc.deployment == Some(deployment.id))
    }

    /// Whether it ran before the deployment began and was taken on in place.
    fn taken_over(&self, alloc: &Allocation) -> bool {
        self.deployment.is_some_and(|deployment| alloc.create_index < deployment.create_index)
    }

    /// Whether it is an unpromoted canary of a rollout that is over.
    pub(super) fn is_stale_canary(&self, alloc: &Allocation) -> bool {
        alloc.canary
            && !(self.in_deployment(alloc)
                && self.deployment.is_some_and(|deployment| deployment.status.is_active()))
    }

    /// Whether it serves now: running on a node that answers and, where the gate had to judge it, judged healthy.
    pub(crate) fn is_available(&self, alloc: &Allocation) -> bool {
        let answers =
            self.state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
        let judged = match &alloc.health {
            Some(health) => health.healthy,
            // Without a verdict it counts unless one is awaited that would be its first.
            None => {
                alloc.deployment.is_none()
                    || (self.in_deployment(alloc) && self.taken_over(alloc))
                    || self.verdict_is_moot(alloc)
            }
        };
        alloc.client == ClientStatus::Running && answers && judged
    }

    /// Whether it was taken on in place by an older deployment that ended before the verdict.
    fn verdict_is_moot(&self, alloc: &Allocation) -> bool {
        alloc
            .deployment
            .and_then(|id| self.state.deployment(id))
            .is_none_or(|deployment| alloc.create_index < deployment.create_index)
    }

    /// Whether it failed, or stopped by itself where it should run for ever.
    pub(crate) fn has_failed(&self, alloc: &Allocation) -> bool {
        match alloc.client {
            ClientStatus::Failed => true,
            ClientStatus::Complete => !self.version.job.kind.runs_to_completion(),
            ClientStatus::Lost => false,
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown => false,
        }
    }

    /// Whether a rollout that goes on will judge it, or finds out that it does not come up.
    pub(super) fn awaits_verdict(&self, alloc: &Allocation) -> bool {
        alloc.health.is_none()
            && !alloc.client.is_terminal()
            && self.in_deployment(alloc)
            && self.deployment.is_some_and(|deployment| deployment.status.is_active())
    }

    /// The gate over a group whose kept allocations are `kept`, while batches go through.
    pub(super) fn batch_gate<'k>(
        &self,
        max_parallel: u32,
        kept: impl Iterator<Item = &'k Allocation>,
    ) -> Gate {
        let mut unproven = 0;
        for alloc in kept.filter(|alloc| self.in_deployment(alloc)) {
            if alloc.is_unhealthy() || self.has_failed(alloc) {
                return Gate::Batch { room: 0, max_parallel };
            }
            if !alloc.is_healthy() && !self.taken_over(alloc) {
                unproven += 1;
            }
        }
        Gate::Batch { room: max_parallel.saturating_sub(unproven), max_parallel }
    }

    /// Where no rollout goes on that would judge what was replaced, that must stand before more is. `kept` are those that
    /// are not to be replaced themselves.
    pub(super) fn wait_for_unjudged<'k>(
        &self,
        group: &Group,
        kept: impl Iterator<Item = &'k Allocation>,
        work: &mut GroupWork<'_>,
    ) {
        let Some(update) = group.rollout() else { return };
        let judged = self.deployment.is_some_and(|deployment| deployment.status.is_active());
        if judged || !self.version.stable {
            return;
        }
        for alloc in kept {
            let standing = stands(self, alloc, update.health_check, update.min_healthy_time);
            if let Stands::At(at) = standing {
                work.wake_at(at);
            }
            if let Gate::Batch { room, .. } = &mut work.gate {
                *room = room.saturating_sub(u32::from(standing != Stands::Yes));
            }
        }
    }

    /// Whether it has the deployment's good verdict.
    pub(super) fn is_proven(&self, alloc: &Allocation) -> bool {
        self.in_deployment(alloc) && alloc.is_healthy() && !alloc.client.is_terminal()
    }
}
