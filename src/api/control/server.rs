//! The real server behind the seam.

use std::time::Duration;

use async_trait::async_trait;
use model::wire::{
    DiffType, DrainSpec, GitopsError, JobDispatchRequest, JobDispatchResponse, LoopView,
    NewJoinToken, PeriodicForceResponse, PlanRequest, PlanResponse, PlannedJob, WaitsFor,
};
use model::{AllocId, DeploymentId, Eligibility, JobId, NodeId, Timestamp};
use server::{DispatchRequest, PlanOutcome, PlanSource, Server, ServerError, WorkerState};
use state::State;
use tokio::sync::watch;

use super::{Control, Heartbeats, RaftMember, RaftView, RepoPoll};
use crate::refusal::Refusal;

#[async_trait]
impl Control for Server {
    fn state(&self) -> State {
        Self::state(self)
    }

    fn index(&self) -> watch::Receiver<u64> {
        Self::index(self)
    }

    fn raft(&self) -> RaftView {
        let status = self.raft_status();
        RaftView {
            node: status.node,
            leader: status.leader,
            role: status.role.to_string(),
            voters: status.voters,
            term: status.term,
            last_log: status.last_log.unwrap_or_default(),
            committed: status.committed.unwrap_or_default(),
            applied: status.applied.unwrap_or_default(),
            last_contact: status.last_contact,
            elections: status.elections.terms,
            leader_changes: status.elections.leaders,
            won: status.elections.won,
        }
    }

    fn members(&self) -> Vec<RaftMember> {
        Self::members(self)
            .into_iter()
            .map(|member| RaftMember {
                node: member.node,
                address: member.address,
                voter: member.voter,
                leader: member.leader,
                last_contact: member.last_contact,
                matched: member.matched,
            })
            .collect()
    }

    fn heartbeats(&self) -> Heartbeats {
        let status = Self::heartbeats(self);
        Heartbeats {
            listening: status.listening,
            declared: status.declared,
            allowed: status.allowed,
            held: status.held,
            message: status.message,
        }
    }

    fn loops(&self) -> Vec<LoopView> {
        let loops = self.workers().into_iter().map(|(name, status)| LoopView {
            name,
            state: match status.state {
                WorkerState::Idle => "idle",
                WorkerState::Busy => "busy",
                WorkerState::Stopped => "stopped",
            }
            .to_owned(),
            steps: status.steps,
            last_step_at: status.last_step_at,
            error: status.error,
        });
        loops.collect()
    }

    async fn consistent(&self) -> Result<State, Refusal> {
        Ok(self.consistent_state().await?)
    }

    async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, Refusal> {
        Ok(Self::transfer_leadership(self, to).await?)
    }

    async fn remove_member(&self, number: u64) -> Result<(), Refusal> {
        Ok(Self::remove_member(self, number).await?)
    }

    fn approve_losses(&self) -> usize {
        Self::approve_losses(self)
    }

    fn repos(&self) -> Vec<RepoPoll> {
        Self::repos(self)
            .into_iter()
            .map(|repo| {
                let polling = repo.poll.error.map(|failure| GitopsError {
                    kind: failure.kind.to_owned(),
                    message: failure.message,
                });
                let intake = repo
                    .intake_error
                    .map(|message| GitopsError { kind: "intake".to_owned(), message });
                RepoPoll {
                    name: repo.name,
                    url: repo.url,
                    branch: repo.branch,
                    last_poll: repo.poll.last_poll_at.unwrap_or_default(),
                    last_success: repo.poll.last_success_at.unwrap_or_default(),
                    next_poll: repo.poll.next_poll_at.unwrap_or_default(),
                    seen: repo.poll.head.map(|commit| commit.id),
                    polls: repo.poll.polls,
                    fetches: repo.poll.fetches,
                    error: polling.or(intake),
                }
            })
            .collect()
    }

    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    async fn dispatch(
        &self,
        job: JobId,
        request: JobDispatchRequest,
        token: String,
    ) -> Result<JobDispatchResponse, Refusal> {
        let request = DispatchRequest {
            payload: request.payload,
            meta: request.meta.unwrap_or_default(),
            priority: (request.priority > 0).then_some(request.priority),
            id_prefix: request.id_prefix_template,
            idempotency_token: token,
        };
        let started = Self::dispatch(self, job, request).await?;
        let state = Self::state(self);
        let eval = started.evaluation.and_then(|id| state.evaluation(id));
        Ok(JobDispatchResponse {
            job_create_index: state.job(&started.child).map_or(0, |record| record.create_index),
            dispatched_job_id: started.child,
            eval_id: eval.map(|eval| eval.id.to_string()).unwrap_or_default(),
            eval_create_index: eval.map_or(0, |eval| eval.create_index),
            index: started.index,
        })
    }

    async fn force_periodic(&self, job: JobId) -> Result<PeriodicForceResponse, Refusal> {
        let started = Self::force_periodic(self, job).await?;
        let state = Self::state(self);
        let eval = started.evaluation.and_then(|id| state.evaluation(id));
        Ok(PeriodicForceResponse {
            job_id: started.child,
            eval_id: eval.map(|eval| eval.id.to_string()).unwrap_or_default(),
            eval_create_index: eval.map_or(0, |eval| eval.create_index),
            index: started.index,
        })
    }

    async fn promote(&self, id: DeploymentId, groups: Vec<String>) -> Result<u64, Refusal> {
        Ok(Self::promote(self, id, groups).await?)
    }

    async fn fail_deployment(&self, id: DeploymentId) -> Result<u64, Refusal> {
        Ok(Self::fail_deployment(self, id).await?)
    }

    async fn stop_allocation(&self, id: AllocId) -> Result<u64, Refusal> {
        Ok(Self::stop_allocation(self, id).await?)
    }

    async fn drain_node(
        &self,
        id: NodeId,
        drain: Option<DrainSpec>,
        mark_eligible: bool,
    ) -> Result<u64, Refusal> {
        Ok(Self::drain_node(self, id, drain, mark_eligible).await?)
    }

    async fn set_eligibility(&self, id: NodeId, eligibility: Eligibility) -> Result<u64, Refusal> {
        Ok(Self::set_eligibility(self, id, eligibility).await?)
    }

    async fn purge_node(&self, id: NodeId, force: bool) -> Result<u64, Refusal> {
        Ok(Self::purge_node(self, id, force).await?)
    }

    async fn set_scheduler_config(
        &self,
        config: model::SchedulerConfig,
        if_index: Option<u64>,
    ) -> Result<Option<u64>, Refusal> {
        Ok(Self::set_scheduler_config(self, config, if_index).await?)
    }

    async fn approve(&self, repo: Option<String>, jobs: Vec<JobId>) -> Result<u64, Refusal> {
        Ok(self.approve_removals(repo.as_deref(), jobs).await?)
    }

    async fn plan(&self, request: PlanRequest) -> Result<PlanResponse, Refusal> {
        let source = match (request.files, request.rev) {
            (Some(files), _) => PlanSource::Files {
                files: files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect(),
                under: request.under.unwrap_or_default(),
                gone: request.gone,
            },
            (None, Some(revision)) => PlanSource::Revision(revision),
            (None, None) => PlanSource::Head,
        };
        let outcome = Self::plan(self, server::PlanRequest { repo: request.repo, source }).await?;
        plan_response(outcome)
    }

    async fn make_join_token(&self, life: Duration) -> Result<NewJoinToken, Refusal> {
        let made = Self::make_join_token(self, life).await?;
        let token = made.text.reveal().to_owned();
        Ok(NewJoinToken { id: made.id, token, expires_at: made.expires_at })
    }

    async fn revoke_join_token(&self, id: String) -> Result<u64, Refusal> {
        Ok(Self::revoke_join_token(self, &id).await?)
    }

    async fn check_now(&self, repo: Option<String>) -> Result<(), Refusal> {
        Ok(Self::check_now(self, repo.as_deref()).await?)
    }
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        let words = error.to_string();
        match error {
            ServerError::NotFound { .. } => Self::not_found(words),
            ServerError::Conflict(_) => Self::conflict(words),
            ServerError::Invalid(_) => Self::invalid(words),
            ServerError::Unavailable(_) => Self::unavailable(words),
        }
    }
}

fn plan_response(outcome: PlanOutcome) -> Result<PlanResponse, Refusal> {
    let PlanOutcome { repo, commit, preview, mut paths, launches, problems, notes } = outcome;
    if let Some(rejection) = preview.rejection {
        return Err(Refusal::conflict(rejection.to_string()));
    }
    let jobs: Vec<PlannedJob> = preview
        .jobs
        .into_iter()
        .map(|job| PlannedJob {
            path: paths.remove(&job.job).unwrap_or_default(),
            change: job.change,
            diff: (job.diff.kind != DiffType::None).then_some(job.diff),
            changes: job.changes,
            updates: job.updates,
            reasons: job.reasons,
            batches: job.batches,
            failures: job.failures,
            next_periodic_launch: launches.get(&job.job).copied(),
            waits_for: job
                .waits
                .into_iter()
                .map(|waiting| WaitsFor { job_id: waiting.on, reason: waiting.why })
                .collect(),
            placements: job.placements,
            evicts: job.evicts,
            job_id: job.job,
        })
        .collect();
    let acts = !(preview.plan.place.is_empty()
        && preview.plan.stop.is_empty()
        && preview.plan.update.is_empty());
    Ok(PlanResponse {
        repo,
        commit,
        changes: acts || jobs.iter().any(|job| job.diff.is_some()),
        disruptive: jobs
            .iter()
            .flat_map(|job| job.updates.values())
            .any(model::DesiredUpdates::is_disruptive),
        jobs,
        problems,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use evaluator::{JobPreview, Preview};
    use model::{DesiredUpdates, FileChangeKind};
    use state::Rejection;

    use super::*;

    fn outcome(preview: Preview) -> PlanOutcome {
        PlanOutcome {
            repo: "fleet".to_owned(),
            commit: None,
            preview,
            paths: [("web".into(), "jobs/web.hcl".to_owned())].into(),
            launches: [("web".into(), Timestamp::from_secs(9))].into(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn preview(kind: DiffType, updates: DesiredUpdates) -> Preview {
        let mut job = JobPreview {
            job: "web".into(),
            change: Some(FileChangeKind::Changed),
            updates: [("app".to_owned(), updates)].into(),
            ..JobPreview::default()
        };
        job.diff.kind = kind;
        Preview { jobs: vec![job], ..Preview::default() }
    }

    #[test]
    fn a_plan_says_whether_it_changes_and_disturbs() {
        let facts = |preview| {
            let plan = plan_response(outcome(preview)).expect("a plan");
            (plan.changes, plan.disruptive)
        };
        let kept = DesiredUpdates { ignore: 3, ..DesiredUpdates::default() };
        let renewed = DesiredUpdates { destructive_update: 3, ..DesiredUpdates::default() };
        assert_eq!(facts(Preview::default()), (false, false));
        assert_eq!(facts(preview(DiffType::None, kept.clone())), (false, false));
        assert_eq!(facts(preview(DiffType::Edited, kept)), (true, false));
        assert_eq!(facts(preview(DiffType::Edited, renewed.clone())), (true, true));
        let plan = plan_response(outcome(preview(DiffType::None, renewed))).expect("a plan");
        assert_eq!(plan.jobs[0].path, "jobs/web.hcl");
        assert_eq!(plan.jobs[0].diff, None);
        assert_eq!(plan.jobs[0].next_periodic_launch, Some(Timestamp::from_secs(9)));
    }

    #[test]
    fn a_rejected_revision_is_a_conflict() {
        let rejection = Some(Rejection::Conflict("two files declare `web`".to_owned()));
        let refused = plan_response(outcome(Preview { rejection, ..Preview::default() }));
        assert_eq!(refused, Err(Refusal::conflict("two files declare `web`")));
    }
}
