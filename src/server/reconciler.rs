//! The evaluation loop: events make jobs dirty, the evaluator looks at them, its plan goes into the log.

use std::sync::Arc;
use std::time::Duration;

use consensus::{Consensus, Subscription, SubscriptionError};
use evaluator::evaluate;
use model::{Evaluation, Timestamp};
use state::{Applied, Command};
use tokio_util::sync::CancellationToken;

use crate::dirty::Dirty;
use crate::server::Clock;
use crate::worker::Worker;

/// Events that are looked at together at most, so that one pass sees a bounded number.
const EVENTS_PER_PASS: usize = 4_096;
/// The wait after a plan that could not be committed.
const RETRY: Duration = Duration::from_millis(200);

type Received = Result<Arc<Applied>, SubscriptionError>;

pub(crate) struct Reconciler {
    pub(crate) consensus: Consensus,
    pub(crate) clock: Clock,
    pub(crate) worker: Worker,
}

impl Reconciler {
    pub(crate) async fn run(self, stop: CancellationToken) {
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

    async fn pass(&self, dirty: &mut Dirty) -> Result<(), String> {
        let now = self.now();
        let jobs = dirty.take(now);
        if jobs.is_empty() {
            return Ok(());
        }
        let state = self.consensus.state();
        let plan = evaluate(&state, &jobs, now);
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
        match self.consensus.propose(Command::ApplyPlan(Box::new(plan))).await {
            Ok(applied) => {
                if let Some(rejection) = applied.rejection {
                    tracing::debug!(%rejection, "plan was not applied; evaluating again");
                    dirty.put_back(jobs);
                }
                Ok(())
            }
            Err(error) => {
                dirty.put_back(jobs);
                Err(error.to_string())
            }
        }
    }
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
