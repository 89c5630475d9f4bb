//! A plan by itself, before it goes into the log: what it was made from is what it is judged by.

use std::collections::{BTreeMap, BTreeSet};

use evaluator::evaluate;
use model::{Allocation, DeploymentStatus, JobId, Timestamp};
use state::{Command, Plan, State};

use super::{Watch, shown};
use crate::reconciler::Jobs;
use crate::simulation::world::Check;

/// Passes in a row that one cause may need; more means that the loop spins.
const MOST_PASSES: usize = 6;

impl Watch {
    /// A plan that was just made.
    pub(crate) fn planned(
        &mut self,
        state: &State,
        jobs: &Jobs,
        plan: &Plan,
        now: Timestamp,
        is_thorough: bool,
    ) -> Check {
        if plan.wake.values().any(|wake| *wake <= now) {
            return Err("S8: a pass asks to be made again at once".to_owned());
        }
        if is_thorough {
            *self.looks.entry("S7").or_default() += 1;
            let bytes = |plan: &Plan| Command::ApplyPlan(Box::new(plan.clone())).to_bytes();
            if bytes(&evaluate(state, jobs, now)).ok() != bytes(plan).ok() {
                return Err("S7: equal inputs gave unequal plans".to_owned());
            }
        }
        if plan.is_empty() {
            return Ok(());
        }
        by_itself(state, plan)?;
        let mut after = state.clone();
        let command = Command::ApplyPlan(Box::new(plan.clone()));
        if after.apply(state.index() + 1, &command).rejection.is_some() {
            return Err("S8: a plan does not fit what it was made from".to_owned());
        }
        suits(state, &after, plan)?;
        if is_thorough {
            *self.looks.entry("S8").or_default() += 1;
            settles(after, jobs, now)?;
        }
        Ok(())
    }
}

/// S8: evaluating again what a plan led to adds nothing, at the latest once the versions that it brought back and the
/// deployments that it ended are seen to.
fn settles(mut state: State, jobs: &Jobs, now: Timestamp) -> Check {
    let mut last = Plan::default();
    for _ in 0..MOST_PASSES {
        let plan = evaluate(&state, jobs, now);
        if plan.is_empty() {
            return Ok(());
        }
        let index = state.index() + 1;
        state.apply(index, &Command::ApplyPlan(Box::new(plan.clone())));
        last = plan;
    }
    Err(format!("S8: the evaluator does not come to rest: {last:#?}"))
}

/// Never more than is asked for, nothing of what is stopped, nothing twice.
fn by_itself(state: &State, plan: &Plan) -> Check {
    let mut placed: BTreeMap<(&JobId, &str), (usize, usize)> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for alloc in &plan.place {
        let count = placed.entry((&alloc.job, &alloc.group)).or_default();
        if alloc.canary {
            count.1 += 1
        } else {
            count.0 += 1
        }
        if alloc.explanation.is_none() || alloc.origin.commit.as_str().is_empty() {
            return Err(format!("S4: {} does not say where it comes from", shown(alloc)));
        }
        if !ids.insert(alloc.id) || state.alloc(alloc.id).is_some() {
            return Err(format!("S4: the id of {} is not new", shown(alloc)));
        }
    }
    for ((id, name), (places, canaries)) in placed {
        let record = state.job(id).filter(|record| !record.stopped);
        let Some(job) = record.and_then(|record| record.job()) else {
            return Err(format!("S5: a plan places of {id}, which is not to run"));
        };
        let Some(group) = job.group(name) else {
            return Err(format!("S5: a plan places of {id} {name}, which is gone"));
        };
        let nodes = state.nodes_count();
        let wanted = if job.kind.per_node() { nodes } else { group.count as usize };
        let most = group.update.as_ref().map_or(0, |update| update.canary as usize);
        if places > wanted || canaries > most {
            return Err(format!(
                "S2: {id} {name}: {places} of {wanted} and {canaries} of {most} canaries at once"
            ));
        }
    }
    for deployment in &plan.deployments {
        let record = state.job(&deployment.job);
        let created = record.and_then(|record| record.current()).map_or(0, |v| v.create_index);
        let again = state.deployments_of_job(&deployment.job).any(|other| {
            other.job_version == deployment.job_version
                && other.create_index >= created
                && other.status != DeploymentStatus::Running
        });
        if record.is_none_or(|record| record.stopped) || again {
            return Err(format!("S11: a version of {} is rolled out again", deployment.job));
        }
    }
    let mut stopped = BTreeSet::new();
    for stop in &plan.stop {
        if !stopped.insert(stop.alloc) || stop.description.is_empty() {
            return Err(format!("S4: {} is stopped twice, or for no reason", stop.alloc));
        }
    }
    match plan.update.iter().find(|update| stopped.contains(&update.alloc)) {
        Some(update) => Err(format!("S4: {} is both stopped and changed", update.alloc)),
        None => Ok(()),
    }
}

/// S10: each placement is on a node that takes it and suits it.
fn suits(state: &State, after: &State, plan: &Plan) -> Check {
    for alloc in &plan.place {
        let Some(node) = state.node(alloc.node).filter(|node| node.is_ready()) else {
            return Err(format!("S10: {} is placed on a node that takes nothing", shown(alloc)));
        };
        let Some(version) = after.job_version(&alloc.job, alloc.job_version) else {
            return Err(format!("S10: {} is of an unknown version", shown(alloc)));
        };
        let job = &version.job;
        let group = job.group(&alloc.group);
        let of_group = group.into_iter().flat_map(|group| &group.constraints);
        for constraint in job.constraints.iter().chain(of_group) {
            let is_met = match constraint.operator.as_str() {
                "distinct_hosts" => neighbours(after, alloc) <= 1,
                _ => node.meta.get("rack") == Some(&constraint.value),
            };
            if !is_met {
                return Err(format!(
                    "S10: {} is placed where {constraint} does not hold",
                    shown(alloc)
                ));
            }
        }
    }
    Ok(())
}

/// Allocations of a group and a version on a node that are meant to run. Another version may bear neighbours, and come
/// after it in one plan.
fn neighbours(state: &State, alloc: &Allocation) -> usize {
    let all = state.allocs_on_node(alloc.node).filter(|other| !other.terminal());
    all.filter(|other| {
        (&other.job, &other.group, other.job_version)
            == (&alloc.job, &alloc.group, alloc.job_version)
    })
    .count()
}
