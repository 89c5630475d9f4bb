//! Runs that somebody asks for: a parameterized job is dispatched, a periodic one is started out of turn.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{EvalId, JobId, Payload};
use state::{Command, Dispatch, Launch};

use crate::request::ServerError;
use crate::server::Server;

/// The longest prefix in the name of a dispatch, in bytes.
const PREFIX: usize = 128;
/// The wait after a second that has its run already.
const NEXT_SECOND: Duration = Duration::from_secs(1);
/// How long the first look at a new run is waited for, so that whoever asked can follow it.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// What a dispatch brings.
#[derive(Clone, Debug, Default)]
pub struct DispatchRequest {
    /// What its tasks are handed.
    pub payload: Payload,
    /// Metadata beside the job's own.
    pub meta: BTreeMap<String, String>,
    /// Another priority than the job's.
    pub priority: Option<u16>,
    /// A part of the child's name.
    pub id_prefix: String,
    /// The same token finds the same child.
    pub idempotency_token: String,
}

/// A run that was asked for.
#[derive(Clone, Debug)]
pub struct Started {
    /// The job that it is.
    pub child: JobId,
    /// The evaluation that looked at it first; none if that takes long.
    pub evaluation: Option<EvalId>,
    /// The state's index.
    pub index: u64,
}

impl Server {
    /// Dispatches a parameterized job.
    ///
    /// # Errors
    /// When there is no such job, or it does not take what the request brings.
    pub async fn dispatch(
        &self,
        job: JobId,
        request: DispatchRequest,
    ) -> Result<Started, ServerError> {
        let prefix = &request.id_prefix;
        if prefix.len() > PREFIX
            || prefix.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/')
        {
            return Err(ServerError::Invalid(format!(
                "the ID prefix may have up to {PREFIX} bytes, without spaces and slashes"
            )));
        }
        let now = self.now();
        // Any four bytes that others do not have in the same second.
        let chance = uuid::Uuid::new_v4().as_fields().0;
        let child = job.dispatch_child(prefix, now, chance);
        let token = request.idempotency_token.clone();
        let command = Command::DispatchJob(Box::new(Dispatch {
            job: job.clone(),
            child: child.clone(),
            payload: request.payload,
            meta: request.meta,
            priority: request.priority,
            idempotency_token: request.idempotency_token,
            at: now,
        }));
        let index = self.propose(command).await?;
        let state = self.state();
        let child = match state.dispatched_with(&job, &token) {
            Some(known) if !token.is_empty() => known.clone(),
            _ => child,
        };
        Ok(self.started(child, index).await)
    }

    /// Starts a periodic job now, whatever its schedule says and whatever of it still runs.
    ///
    /// # Errors
    /// When there is no such job, or it is not periodic or switched off.
    pub async fn force_periodic(&self, job: JobId) -> Result<Started, ServerError> {
        // Runs are named after their second: one that has its run already leaves this one the next.
        let mut attempts = 3;
        loop {
            let now = self.now();
            let launch = Launch {
                job: job.clone(),
                run_of: now,
                forced: true,
                at: now,
                ..Launch::default()
            };
            let child = job.periodic_child(now);
            let is_taken = attempts > 0 && self.state().job(&child).is_some();
            match self.propose(Command::LaunchPeriodic(launch)).await {
                Err(ServerError::Conflict(_)) if is_taken => {
                    attempts -= 1;
                    tokio::time::sleep(NEXT_SECOND).await;
                }
                answer => return Ok(self.started(child, answer?).await),
            }
        }
    }

    async fn started(&self, child: JobId, index: u64) -> Started {
        let mut changes = self.index();
        let looked = async {
            loop {
                let first = self.state().evaluations_of_job(&child).last().map(|eval| eval.id);
                if first.is_some() || changes.changed().await.is_err() {
                    return first;
                }
            }
        };
        let evaluation = tokio::time::timeout(FIRST_LOOK, looked).await.ok().flatten();
        Started { child, evaluation, index }
    }
}
