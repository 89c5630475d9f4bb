//! What must never happen, checked after each entry of the log and for each plan. The numbers are those of the list of
//! invariants that the project keeps: S for safety, L for liveness.

mod brake;
mod gate;
mod plans;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use model::{AllocId, Allocation, ClientStatus, JobId};
use state::{Applied, Command, Event, Plan, State};

use super::machine::Machine;
use super::world::{Check, moment};

/// What was seen so far.
#[derive(Default)]
pub(super) struct Watch {
    /// All allocations there ever were.
    ids: BTreeSet<AllocId>,
    placed: u64,
    stopped: u64,
    /// Versions that a job went back from.
    reverted: BTreeSet<(JobId, u64, u64)>,
    gate: gate::Ledger,
    brake: brake::Losses,
    /// How often each kind of thing was checked, so that a check that never looks at anything is noticed.
    pub(super) looks: BTreeMap<&'static str, u64>,
}

impl Watch {
    /// Allocations placed so far.
    pub(super) fn placed(&self) -> u64 {
        self.placed
    }

    /// Allocations placed or told to stop so far.
    pub(super) fn changes(&self) -> u64 {
        self.placed + self.stopped
    }

    pub(super) fn losses_approved(&mut self) {
        self.brake.approved();
    }

    /// An entry of the log, which was decided on in the term `of`, led from one state to the next.
    pub(super) fn applied(
        &mut self,
        before: &State,
        after: &State,
        command: &Command,
        applied: &Applied,
        of: u64,
    ) -> Check {
        let mut jobs: BTreeSet<&JobId> = BTreeSet::new();
        for event in &applied.events {
            match event {
                Event::Alloc { id, job, .. } => {
                    jobs.insert(job);
                    self.one_life(*id, before, after, command)?;
                }
                Event::Job(job) | Event::Deployment { job, .. } => {
                    jobs.insert(job);
                }
                Event::Node(_)
                | Event::Cluster
                | Event::Evaluation(_)
                | Event::Revision { .. }
                | Event::Scheduler => {}
            }
        }
        let nodes = applied.events.iter().filter_map(|event| match event {
            Event::Alloc { node, .. } | Event::Node(node) => Some(*node),
            _ => None,
        });
        for node in nodes.collect::<BTreeSet<_>>() {
            *self.looks.entry("S9").or_default() += 1;
            room::holds(after, node)?;
        }
        if let Command::ApplyPlan(plan) = command
            && applied.rejection.is_none()
        {
            self.plan_applied(before, after, plan)?;
        }
        // A node that falls silent or comes back changes what serves of all that is on it.
        if applied.events.iter().any(|event| matches!(event, Event::Node(_))) {
            jobs.extend(after.jobs().map(|record| &record.id));
        }
        let is_rejected = applied.rejection.is_some();
        for job in jobs {
            *self.looks.entry("S1").or_default() += 1;
            self.gate.look(
                before,
                after,
                job,
                matches!(command, Command::ApplyPlan(_)) && !is_rejected,
            )?;
        }
        if let Command::SetNodeStatuses { reason, at, .. } = command
            && !is_rejected
        {
            *self.looks.entry("S23").or_default() += 1;
            self.brake.spoken(of)?;
            if reason.starts_with("not heard of") {
                self.brake.given_up(before, after, moment(*at))?;
            }
        }
        Ok(())
    }

    /// S4: an allocation is placed once, ends once, and is not forgotten before.
    fn one_life(&mut self, id: AllocId, before: &State, after: &State, command: &Command) -> Check {
        match (before.alloc(id), after.alloc(id)) {
            (None, Some(alloc)) if !self.ids.insert(id) => {
                Err(format!("S4: the id of {} was used before", shown(alloc)))
            }
            (Some(alloc), None)
                if !matches!(command, Command::CollectGarbage(_))
                    || !alloc.client.is_terminal() =>
            {
                Err(format!("S4: {} vanished", shown(alloc)))
            }
            (Some(old), Some(new)) => {
                let is_same = old.client == new.client;
                let was_stopped_in_truth =
                    (old.client, new.client) == (ClientStatus::Lost, ClientStatus::Complete);
                if old.client.is_terminal() && !is_same && !was_stopped_in_truth {
                    return Err(format!("S4: {} ended twice, now {:?}", shown(old), new.client));
                }
                if old.server_terminal() && !new.server_terminal() {
                    return Err(format!("S4: {} was stopped and is to run again", shown(old)));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn plan_applied(&mut self, before: &State, after: &State, plan: &Plan) -> Check {
        self.placed += plan.place.len() as u64;
        self.stopped += plan.stop.len() as u64;
        for alloc in &plan.place {
            // S5, however late the plan comes.
            if after.job(&alloc.job).is_none_or(|record| record.stopped) {
                return Err(format!("S5: {} of a stopped job was placed", shown(alloc)));
            }
        }
        for revert in &plan.reverts {
            let Some(record) = before.job(&revert.job) else { continue };
            let current = record.current().map(|version| version.version);
            if record.stopped || current != Some(revert.from) {
                continue;
            }
            let from = record.version(revert.from);
            let created = from.map_or(0, |version| version.create_index);
            if !self.reverted.insert((revert.job.clone(), revert.from, created)) {
                return Err(format!("S11: {} went back from {} twice", revert.job, revert.from));
            }
            if from.is_some_and(|version| version.reverts_to.is_some()) {
                return Err(format!("S11: {} went back from a rollback", revert.job));
            }
            if record.version(revert.to).is_none_or(|version| !version.stable) {
                return Err(format!("S11: {} went back to what was never proven", revert.job));
            }
        }
        Ok(())
    }

    /// S3: of what is to be alone, no two run in truth.
    pub(super) fn alone(&mut self, machines: &[Machine]) -> Check {
        let mut there: BTreeMap<(&JobId, &str), AllocId> = BTreeMap::new();
        let tasks = machines.iter().flat_map(|machine| machine.tasks.values());
        for task in tasks.filter(|task| task.is_alone && task.runs()) {
            if let Some(other) = there.insert((&task.job, task.group.as_str()), task.alloc) {
                return Err(format!("S3: {} and {other} of {} run at once", task.alloc, task.job));
            }
        }
        Ok(())
    }
}

/// An allocation in one line.
pub(super) fn shown(alloc: &Allocation) -> String {
    format!(
        "{} {}[{}] v{} on {}, {:?} {} {}health {:?}{}{} {:?}",
        alloc.id.short(),
        alloc.job,
        alloc.index,
        alloc.job_version,
        alloc.node_name,
        alloc.desired,
        alloc.client.as_str(),
        if alloc.canary { "canary " } else { "" },
        alloc.health.as_ref().map(|health| health.healthy),
        if alloc.migrate.is_some() { " moves" } else { "" },
        if alloc.disconnected_at.is_some() { " away" } else { "" },
        alloc.desired_description,
    )
}
