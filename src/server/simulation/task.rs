//! One allocation on its machine: what runs in truth, and what its machine says of it.

use std::time::Duration;

use model::{
    AllocHealth, AllocId, AllocReport, Allocation, CheckState, CheckStatus, ClientStatus,
    DeploymentId, Job, JobId, JobType, TaskRunState, TaskState,
};

use super::chance::draw;
use super::jobs::{self, Mode};
use super::world::stamp;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Started then.
    Waiting(u64),
    Running,
    /// Over then.
    Stopping(u64),
    Over,
}

/// The gate that judges it for a deployment.
#[derive(Clone, Copy, Debug)]
struct Gate {
    deployment: DeploymentId,
    since: u64,
    began: u64,
    verdict: Option<(bool, u64)>,
    flaps: u64,
}

/// One allocation on its machine.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) alloc: AllocId,
    pub(super) job: JobId,
    pub(super) group: String,
    kind: JobType,
    version: u64,
    mode: Mode,
    /// Whether no two of it may ever run at once.
    pub(super) is_alone: bool,
    pub(super) fence: Option<u64>,
    min_healthy: u64,
    healthy_deadline: u64,
    kill: u64,
    pub(super) phase: Phase,
    pub(super) client: ClientStatus,
    started: u64,
    finished: u64,
    gate: Option<Gate>,
    /// Whether the servers want it gone.
    pub(super) is_unwanted: bool,
    /// Whether its check passes, and since when.
    passes: (bool, u64),
    /// What the servers were last seen to know of it.
    seen: Option<Gist>,
    /// What was last said of it.
    pub(super) said: Option<AllocReport>,
}

/// What of an assignment matters to whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gist {
    is_unwanted: bool,
    version: u64,
    deployment: Option<DeploymentId>,
    /// Which time nobody knows what became of it.
    unknown: Option<u64>,
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Task {
    /// An allocation that its machine hears of for the first time, and may start then.
    pub(super) fn new(alloc: &Allocation, job: &Job, now: u64, starts: u64) -> Self {
        let is_unwanted = alloc.server_terminal();
        let phase = if is_unwanted { Phase::Over } else { Phase::Waiting(starts) };
        let mut this = Self {
            alloc: alloc.id,
            job: alloc.job.clone(),
            group: alloc.group.to_string(),
            kind: job.kind,
            version: alloc.job_version,
            mode: jobs::mode(job),
            is_alone: false,
            fence: None,
            min_healthy: 0,
            healthy_deadline: 0,
            kill: 0,
            phase,
            client: if is_unwanted { ClientStatus::Complete } else { ClientStatus::Pending },
            started: 0,
            finished: 0,
            gate: None,
            is_unwanted,
            passes: (false, 0),
            seen: None,
            said: None,
        };
        this.heed(alloc, job, now);
        this
    }

    /// Takes in what the servers want of it.
    pub(super) fn heed(&mut self, alloc: &Allocation, job: &Job, now: u64) {
        let gist = Gist {
            is_unwanted: alloc.server_terminal(),
            version: alloc.job_version,
            deployment: alloc.deployment,
            unknown: (alloc.client == ClientStatus::Unknown).then_some(alloc.modify_index),
        };
        // They hold that it runs, and were told or will be that it is over.
        let forgot = self.phase == Phase::Over && !alloc.client.is_terminal();
        if self.seen == Some(gist) && !forgot {
            return;
        }
        self.seen = Some(gist);
        if self.client != alloc.client {
            self.said = None;
        }
        if let Some(group) = job.group(&alloc.group) {
            let policy = group.disconnection();
            let waits = policy.as_ref().is_some_and(|policy| policy.lost_after.is_some());
            // Where it is given up after a while, it may run still: the node was to stop it, if anybody minds.
            self.is_alone = group.is_alone() && !waits && !job.kind.per_node();
            self.fence = policy.and_then(|policy| policy.stop_on_client_after).map(millis);
            let update = group.update.clone().unwrap_or_default();
            self.min_healthy = millis(update.min_healthy_time);
            self.healthy_deadline = millis(update.healthy_deadline);
            self.kill =
                millis(group.tasks.iter().map(|task| task.kill_timeout).max().unwrap_or_default());
        }
        self.version = alloc.job_version;
        if self.gate.map(|gate| gate.deployment) != alloc.deployment {
            self.gate = alloc.deployment.map(|deployment| Gate {
                deployment,
                since: now,
                began: now,
                verdict: None,
                flaps: 0,
            });
        }
        if gist.is_unwanted {
            self.is_unwanted = true;
            self.stop(now);
        }
    }

    /// Ends it as gently as its group asks.
    pub(super) fn stop(&mut self, now: u64) {
        match self.phase {
            Phase::Waiting(_) => self.end(ClientStatus::Complete, now),
            Phase::Running => {
                // A slow one takes all the time that it is given.
                let takes = if self.kill > 5_000 { self.kill } else { 150 };
                self.phase = Phase::Stopping(now + takes);
            }
            Phase::Stopping(_) | Phase::Over => {}
        }
    }

    /// No server was heard for longer than its group bears.
    pub(super) fn cut_off(&mut self, now: u64) {
        if self.phase != Phase::Over {
            let client = if self.is_unwanted { ClientStatus::Complete } else { ClientStatus::Lost };
            self.end(client, now);
        }
    }

    fn end(&mut self, client: ClientStatus, now: u64) {
        self.phase = Phase::Over;
        self.client = client;
        self.finished = now;
    }

    /// Whether something of it runs in truth.
    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping(_))
    }

    /// It fails for good.
    pub(super) fn fail(&mut self, now: u64) {
        if self.phase == Phase::Running {
            self.end(ClientStatus::Failed, now);
        }
    }

    /// It ends, and starts again where it is.
    pub(super) fn bounce(&mut self, now: u64, starts: u64) {
        match self.phase {
            Phase::Running | Phase::Waiting(_) => {
                self.phase = Phase::Waiting(starts);
                self.client = ClientStatus::Pending;
                self.passes = (false, now);
            }
            Phase::Stopping(_) => self.end(ClientStatus::Complete, now),
            Phase::Over => {}
        }
    }

    /// Moves on to `now`.
    pub(super) fn step(&mut self, now: u64, is_stuck: bool, seed: u64) {
        match self.phase {
            Phase::Waiting(at) if at <= now => match self.mode {
                _ if is_stuck => self.phase = Phase::Waiting(now + 1_000),
                Mode::Stuck => self.phase = Phase::Waiting(u64::MAX),
                Mode::Crash => self.end(ClientStatus::Failed, now),
                _ => {
                    self.phase = Phase::Running;
                    self.client = ClientStatus::Running;
                    self.started = now;
                    self.passes = (self.mode != Mode::Sick, now);
                }
            },
            Phase::Stopping(at) if at <= now => self.end(ClientStatus::Complete, now),
            Phase::Running if self.ends_at().is_some_and(|at| at <= now) => {
                let well = self.kind.runs_to_completion() && self.mode != Mode::Fragile;
                self.end(if well { ClientStatus::Complete } else { ClientStatus::Failed }, now);
            }
            Phase::Waiting(_) | Phase::Stopping(_) | Phase::Running | Phase::Over => {}
        }
        self.judge(now, seed);
    }

    /// When it ends by itself.
    fn ends_at(&self) -> Option<u64> {
        match self.mode {
            _ if self.kind.runs_to_completion() => Some(self.started + 6_000),
            Mode::Fragile => Some(self.started + 14_000),
            _ => None,
        }
    }

    fn judge(&mut self, now: u64, seed: u64) {
        let (started, runs, passes) = (self.started, self.phase == Phase::Running, self.passes);
        let Some(gate) = self.gate.as_mut().filter(|gate| gate.verdict.is_none()) else { return };
        if self.kind.runs_to_completion() {
            return;
        }
        if runs && passes.0 && now >= started.max(gate.since).max(passes.1) + self.min_healthy {
            let words = [30, self.alloc.uuid().as_u128() as u64, gate.flaps];
            if self.mode == Mode::Flap && !draw(seed, &words).is_multiple_of(3) {
                // It falls ill for a moment, and has to be well for the whole time again.
                gate.flaps += 1;
                self.passes = (true, now);
            } else {
                gate.verdict = Some((true, now));
            }
        } else if now >= gate.began + self.healthy_deadline || self.phase == Phase::Over {
            gate.verdict = Some((false, now));
        }
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Waiting(at) | Phase::Stopping(at) => Some(at),
            Phase::Running => self.ends_at(),
            Phase::Over => None,
        };
        let gate = self.gate.filter(|gate| gate.verdict.is_none() && self.phase != Phase::Over);
        let judged = gate.filter(|_| !self.kind.runs_to_completion()).map(|gate| {
            let late = gate.began + self.healthy_deadline;
            let well = self.started.max(gate.since).max(self.passes.1) + self.min_healthy;
            if self.phase == Phase::Running && self.passes.0 { well.min(late) } else { late }
        });
        phase.into_iter().chain(judged).min().filter(|at| *at < u64::MAX)
    }

    /// What its machine says of it.
    pub(super) fn report(&self) -> AllocReport {
        let time = |at: u64| if at == 0 { model::Timestamp::ZERO } else { stamp(at) };
        let state = match self.phase {
            Phase::Waiting(_) => TaskRunState::Pending,
            Phase::Running | Phase::Stopping(_) => TaskRunState::Running,
            Phase::Over => TaskRunState::Dead,
        };
        let task = TaskState {
            state,
            failed: self.client == ClientStatus::Failed,
            started_at: time(self.started),
            finished_at: time(self.finished),
            ..TaskState::default()
        };
        let status = if self.passes.0 { CheckStatus::Passing } else { CheckStatus::Critical };
        let check = CheckState { status, since: time(self.passes.1), ..CheckState::default() };
        let verdict = self.gate.and_then(|gate| gate.verdict);
        AllocReport {
            alloc: self.alloc,
            client: self.client,
            client_description: String::new(),
            tasks: [("main".to_owned(), task)].into(),
            checks: [("alive".to_owned(), check)].into(),
            health: verdict.map(|(healthy, at)| AllocHealth {
                healthy,
                at: stamp(at),
                reason: if healthy { "" } else { "not healthy in time" }.into(),
            }),
            deployment: self.gate.map(|gate| gate.deployment),
        }
    }
}
