//! The evaluation loop: events make jobs dirty, the evaluator looks at them, its plan goes into the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::{Consensus, ProposeError, Subscription, SubscriptionError};
use evaluator::{Fleet, evaluate_with};
use model::{EvalTrigger, Evaluation, JobId, Timestamp};
use state::{Applied, Command, Plan, State};
use tokio_util::sync::CancellationToken;

use crate::dirty::Dirty;
use crate::server::Clock;
use crate::worker::Worker;

/// Events that are looked at together at most, so that one pass sees a bounded number.
const EVENTS_PER_PASS: usize = 4_096;
/// The wait after a plan that could not be committed.
const RETRY: Duration = Duration::from_millis(200);
/// Jobs in one pass, so that neither a pass nor its plan grows without bound.
const JOBS_PER_PASS: usize = 1_000;
/// Allocations that one command creates at most: each says in full why it is where it is.
const PLACED_PER_COMMAND: usize = 2_000;
/// The wait before a job is looked at again whose plan alone is more than the log takes.
const TOO_LARGE: Duration = Duration::from_secs(60);

type Received = Result<Arc<Applied>, SubscriptionError>;

pub(crate) struct Reconciler {
    pub(crate) consensus: Consensus,
    pub(crate) clock: Clock,
    pub(crate) worker: Arc<Worker>,
    pace: Pace,
    /// What passes have learned of the nodes. No plan depends on it: a server that comes to lead begins with nothing.
    fleet: Fleet,
}

/// How much one pass takes on.
struct Pace {
    jobs: usize,
    /// Plans in a row that were not applied.
    rejected: u32,
}

pub(crate) type Jobs = BTreeMap<JobId, EvalTrigger>;

impl Reconciler {
    pub(crate) fn new(consensus: Consensus, clock: Clock, worker: Arc<Worker>) -> Self {
        let pace = Pace { jobs: JOBS_PER_PASS, rejected: 0 };
        Self { consensus, clock, worker, pace, fleet: Fleet::default() }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut subscription = self.consensus.subscribe();
        let mut dirty = Dirty::all(&self.consensus.state());
        loop {
            if dirty.is_due() || dirty.next().is_some_and(|at| at <= self.now()) {
                self.worker.busy();
                let error = self.pass(&mut dirty).await.err();
                if error.is_some() {
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = stop.cancelled() => return,
                    }
                }
                self.worker.done(self.now(), error);
            }
            let wait = dirty.next().map(|at| at.since(self.now()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = subscription.next() => {
                    if !self.note(received, &mut dirty, &mut subscription) {
                        tracing::error!("the log is closed: nothing is evaluated any more");
                        return;
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() && !dirty.is_due() => {}
                () = std::future::ready(()), if dirty.is_due() => {}
            }
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Takes in what was received and whatever else is there already. `false` when the log is closed.
    fn note(&self, first: Received, dirty: &mut Dirty, subscription: &mut Subscription) -> bool {
        let mut received = Some(first);
        let mut taken = 0;
        while let Some(next) = received {
            match next {
                Ok(applied) => dirty.note(&self.consensus.state(), &applied.events),
                Err(SubscriptionError::Lagged) => *dirty = Dirty::all(&self.consensus.state()),
                Err(SubscriptionError::Closed) => return false,
            }
            taken += 1;
            received =
                if taken < EVENTS_PER_PASS { subscription.try_next().transpose() } else { None };
        }
        true
    }

    /// Puts a plan into the log, whole or in parts. Answers for the last part that was tried.
    async fn carry_out(&self, plan: Plan) -> Result<Applied, ProposeError> {
        let mut last = Applied { index: plan.basis, ..Applied::default() };
        for mut part in in_parts(plan, PLACED_PER_COMMAND) {
            // Only this loop makes plans, so what the part before led to is what this one was made for.
            part.basis = last.index;
            last = self.consensus.propose(Command::ApplyPlan(Box::new(part))).await?;
            if last.rejection.is_some() {
                break;
            }
        }
        Ok(last)
    }

    async fn pass(&mut self, dirty: &mut Dirty) -> Result<(), String> {
        let now = self.now();
        let state = self.consensus.state();
        let (jobs, rest) = first(&state, dirty.take(now), self.pace.jobs);
        dirty.put_back(rest);
        if jobs.is_empty() {
            return Ok(());
        }
        // A pass over many jobs takes longer than the leader's peers wait for a sign of life.
        let mut fleet = std::mem::take(&mut self.fleet);
        let pass = tokio::task::spawn_blocking(move || {
            let plan = evaluate_with(&mut fleet, &state, &jobs, now);
            (plan, jobs, fleet)
        });
        let (plan, jobs) = match pass.await {
            Ok((plan, jobs, fleet)) => {
                self.fleet = fleet;
                (plan, jobs)
            }
            Err(error) => {
                // What was taken is lost with the pass; everything is looked at anew.
                *dirty = Dirty::all(&self.consensus.state());
                return Err(format!("the pass did not end: {error}"));
            }
        };
        dirty.schedule(&jobs, &plan);
        if plan.is_empty() {
            return Ok(());
        }
        for evaluation in &plan.evaluations {
            tracing::info!(
                job = %evaluation.job,
                version = evaluation.job_version,
                trigger = ?evaluation.trigger,
                "planned: {}",
                in_words(evaluation)
            );
        }
        match self.carry_out(plan).await {
            Ok(Applied { rejection: Some(rejection), .. }) => {
                tracing::debug!(%rejection, "plan was not applied; evaluating again");
                dirty.put_back(jobs);
                self.pace.rejected = self.pace.rejected.saturating_add(1);
                // Once is the way of things. More than that must not become a loop that spins.
                if self.pace.rejected > 1 { Err(rejection.to_string()) } else { Ok(()) }
            }
            Ok(_) => {
                self.pace.rejected = 0;
                self.pace.jobs = (self.pace.jobs * 2).min(JOBS_PER_PASS);
                Ok(())
            }
            Err(error @ ProposeError::TooLarge { .. }) => match jobs.first_key_value() {
                Some((job, _)) if jobs.len() == 1 => {
                    dirty.delay(job, now + TOO_LARGE);
                    Err(format!("job `{job}`: {error}"))
                }
                _ => {
                    self.pace.jobs = jobs.len() / 2;
                    dirty.put_back(jobs);
                    Ok(())
                }
            },
            Err(error) => {
                dirty.put_back(jobs);
                Err(error.to_string())
            }
        }
    }
}

/// Splits a plan that starts a great many allocations. The first part holds everything else; each part is a plan of its
/// own, so one that is refused leaves a gap that the next pass fills.
pub(crate) fn in_parts(mut plan: Plan, limit: usize) -> Vec<Plan> {
    let mut rest = plan.place.split_off(limit.min(plan.place.len()));
    let at = plan.at;
    let mut parts = vec![plan];
    while !rest.is_empty() {
        let later = rest.split_off(limit.min(rest.len()));
        let place = std::mem::replace(&mut rest, later);
        parts.push(Plan { at, place, ..Plan::default() });
    }
    parts
}

/// The first `limit` jobs, the more important ones first, and the rest.
pub(crate) fn first(state: &State, jobs: Jobs, limit: usize) -> (Jobs, Jobs) {
    if jobs.len() <= limit {
        return (jobs, Jobs::new());
    }
    let priority = |id: &JobId| {
        state.job(id).and_then(|record| Some(record.job()?.priority)).unwrap_or_default()
    };
    let mut order: Vec<_> = jobs.into_iter().collect();
    order.sort_by_key(|(id, _)| std::cmp::Reverse(priority(id)));
    let rest = order.split_off(limit.max(1));
    (order.into_iter().collect(), rest.into_iter().collect())
}

/// What a pass does to a job, for the log: `web: 2 replace, 4 ignore`.
fn in_words(evaluation: &Evaluation) -> String {
    let mut words: Vec<String> = Vec::new();
    for (group, updates) in &evaluation.updates {
        let counts = [
            (updates.place, "create"),
            (updates.canary, "canary"),
            (updates.destructive_update, "replace"),
            (updates.in_place_update, "update in place"),
            (updates.migrate, "move"),
            (updates.stop, "stop"),
            (updates.ignore, "keep"),
        ];
        let counts: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what} {count}"))
            .collect();
        if !counts.is_empty() {
            words.push(format!("{group}: {}", counts.join(", ")));
        }
    }
    if !evaluation.description.is_empty() {
        words.push(evaluation.description.clone());
    }
    for (group, failure) in &evaluation.failures {
        words.push(format!("{group}: no room for {}", failure.unplaced));
    }
    if words.is_empty() { "nothing to do".to_owned() } else { words.join("; ") }
}

#[cfg(test)]
mod tests {
    use model::Job;
    use state::{FileOutcome, JobSubmission, TakeRevision};

    use super::*;

    #[test]
    fn a_pass_takes_on_the_important_jobs_first() {
        let mut state = State::default();
        let file = |id: &str, priority| FileOutcome::Job {
            blob: id.into(),
            submission: JobSubmission {
                job: Arc::new(Job { id: id.into(), priority, ..Job::default() }),
            },
            problems: Vec::new(),
        };
        let files = [("a", 10), ("b", 90), ("c", 50)];
        let taken = TakeRevision {
            files: files.iter().map(|(id, p)| ((*id).to_owned(), file(id, *p))).collect(),
            ..TakeRevision::default()
        };
        state.apply(1, &Command::TakeRevision(Box::new(taken)));
        let jobs: Jobs =
            files.iter().map(|(id, _)| ((*id).into(), EvalTrigger::JobRegister)).collect();
        let (now, rest) = first(&state, jobs.clone(), 2);
        assert_eq!(now.into_keys().collect::<Vec<_>>(), ["b".into(), "c".into()]);
        assert_eq!(rest.into_keys().collect::<Vec<_>>(), ["a".into()]);
        assert_eq!(first(&state, jobs.clone(), 3), (jobs.clone(), Jobs::new()));
        assert_eq!(first(&state, jobs, 0).0.len(), 1, "a pass never takes on nothing");
    }
}
