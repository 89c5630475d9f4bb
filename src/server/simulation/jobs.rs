//! The jobs that operators push, as small plain numbers, and what becomes of them in a file.

use std::time::Duration;

use model::{
    Constraint, Disconnect, Group, Job, JobId, JobType, Migrate, Network, Port, Reconcile,
    Reschedule, Resources, Task, Update,
};
use serde::{Deserialize, Serialize};

/// What each job is; its name goes with its place here.
const KINDS: [JobType; 7] = [
    JobType::Service,
    JobType::Service,
    JobType::Service,
    JobType::Service,
    JobType::Batch,
    JobType::System,
    JobType::Sysbatch,
];
/// How many jobs there may be.
pub(super) const JOBS: u8 = KINDS.len() as u8;

/// How a version's tasks behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    #[default]
    Good,
    /// Fails as soon as it starts.
    Crash,
    /// Runs and never becomes healthy.
    Sick,
    /// Becomes healthy, and falls ill again and again before it does.
    Flap,
    /// Becomes healthy and fails a while later.
    Fragile,
    /// Never gets as far as to start.
    Stuck,
}

/// What is asked for when a node falls silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Silent {
    #[default]
    Lost,
    /// Waited for this many seconds, with a stand-in.
    Wait(u8, u8),
    /// Waited for this many seconds, without one.
    Hold(u8),
    /// Never replaced: no two of a group of one may ever run.
    Alone,
    /// The node stops it after this many seconds.
    Fence(u8),
}

/// One version of a job. Whatever is not said is as simple as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    pub(super) content: u32,
    pub(super) mode: Mode,
    pub(super) count: u8,
    /// A second group with this many, if any.
    pub(super) second: u8,
    /// In hundreds of MHz; as many hundred MB of memory.
    pub(super) size: u8,
    pub(super) parallel: u8,
    pub(super) canary: u8,
    pub(super) auto_promote: bool,
    pub(super) auto_revert: bool,
    pub(super) port: bool,
    /// Only on nodes of this rack.
    pub(super) rack: Option<u8>,
    pub(super) spread: bool,
    pub(super) priority: u8,
    pub(super) silent: Silent,
    pub(super) moves: u8,
    pub(super) sticky: bool,
    /// Seconds until a deployment without progress fails.
    pub(super) progress: u16,
    /// Whether its tasks take their whole kill timeout to stop.
    pub(super) slow: bool,
    pub(super) all_at_once: bool,
}

pub(super) fn name(at: u8) -> JobId {
    let letter = char::from(b'a' + at % JOBS);
    JobId::from(format!("{letter}-{}", kind(at).as_str()))
}

pub(super) const fn kind(at: u8) -> JobType {
    KINDS[(at % JOBS) as usize]
}

/// How long a task must be well before its gate says so.
const MIN_HEALTHY: Duration = Duration::from_secs(2);

impl Spec {
    /// A version that comes up wherever there is any room.
    pub(super) fn good(content: u32) -> Self {
        Self { content, count: 2, size: 1, parallel: 1, moves: 1, progress: 60, ..Self::default() }
    }

    pub(super) fn job(&self, at: u8) -> Job {
        let kind = kind(at);
        let mut task_groups = vec![self.group(at, "web", self.count)];
        if self.second > 0 {
            task_groups.push(self.group(at, "aux", self.second));
        }
        Job {
            id: name(at),
            name: name(at).to_string(),
            namespace: "default".into(),
            region: "global".into(),
            kind,
            priority: if self.priority == 0 { 50 } else { self.priority.into() },
            all_at_once: self.all_at_once,
            datacenters: vec!["*".into()],
            node_pool: "default".into(),
            constraints: self.rack.into_iter().map(in_rack).collect(),
            task_groups,
            ..Job::default()
        }
    }

    fn group(&self, at: u8, name: &str, count: u8) -> Group {
        let kind = kind(at);
        let count = if kind.per_node() { count.min(1) } else { count };
        let port = Port {
            label: "fixed".into(),
            value: 9_000 + u16::from(at) * 10 + u16::from(name == "aux"),
            ..Port::default()
        };
        let dynamic = Port { label: "http".into(), ..Port::default() };
        let distinct = Constraint { operator: "distinct_hosts".into(), ..Constraint::default() };
        let env = [
            ("MODE".to_owned(), format!("{:?}", self.mode)),
            ("CONTENT".to_owned(), self.content.to_string()),
        ];
        let mut group = Group {
            name: name.into(),
            count: count.into(),
            constraints: if self.spread { vec![distinct] } else { Vec::new() },
            tasks: vec![Task {
                name: "main".into(),
                driver: "raw_exec".into(),
                config: [("command".to_owned(), serde_json::json!("a"))].into(),
                env: env.into(),
                resources: Resources {
                    cpu: u64::from(self.size) * 100,
                    memory_mb: u64::from(self.size) * 100,
                    ..Resources::default()
                },
                kill_timeout: Duration::from_secs(if self.slow { 9 } else { 1 }),
                ..Task::default()
            }],
            networks: vec![Network {
                dynamic_ports: vec![dynamic],
                reserved_ports: if self.port { vec![port] } else { Vec::new() },
                ..Network::default()
            }],
            reschedule_policy: Reschedule::default_for(kind),
            migrate: (kind == JobType::Service).then(|| Migrate {
                max_parallel: u32::from(self.moves.max(1)),
                min_healthy_time: MIN_HEALTHY,
                healthy_deadline: Duration::from_secs(20),
                ..Migrate::default()
            }),
            disconnect: self.silent.policy(),
            ..Group::default()
        };
        group.ephemeral_disk.sticky = self.sticky;
        if !kind.runs_to_completion() {
            group.update = Some(Update {
                max_parallel: self.parallel.into(),
                min_healthy_time: MIN_HEALTHY,
                healthy_deadline: Duration::from_secs(15),
                progress_deadline: Duration::from_secs(u64::from(self.progress.max(20))),
                auto_revert: self.auto_revert,
                canary: if kind.per_node() { 0 } else { self.canary.into() },
                auto_promote: self.auto_promote && self.canary > 0 && !kind.per_node(),
                ..Update::default()
            });
        }
        group
    }
}

impl Silent {
    fn policy(self) -> Option<Disconnect> {
        let secs = |n: u8| Some(Duration::from_secs(n.into()));
        let plain = Disconnect::default();
        match self {
            Self::Lost => None,
            Self::Wait(wait, how) => {
                let ways = [
                    Reconcile::BestScore,
                    Reconcile::KeepOriginal,
                    Reconcile::KeepReplacement,
                    Reconcile::LongestRunning,
                ];
                let reconcile = ways[usize::from(how) % ways.len()];
                Some(Disconnect { lost_after: secs(wait), reconcile, ..plain })
            }
            Self::Hold(wait) => {
                Some(Disconnect { lost_after: secs(wait), replace: false, ..plain })
            }
            Self::Alone => Some(Disconnect { replace: false, ..plain }),
            Self::Fence(wait) => Some(Disconnect { stop_on_client_after: secs(wait), ..plain }),
        }
    }
}

fn in_rack(rack: u8) -> Constraint {
    Constraint { attribute: "${meta.rack}".into(), operator: "=".into(), value: rack.to_string() }
}

/// The mode that a job's file asks for.
pub(super) fn mode(job: &Job) -> Mode {
    let task = job.task_groups.first().and_then(|group| group.tasks.first());
    let word = task.and_then(|task| task.env.get("MODE")).map_or("Good", String::as_str);
    [Mode::Good, Mode::Crash, Mode::Sick, Mode::Flap, Mode::Fragile, Mode::Stuck]
        .into_iter()
        .find(|mode| format!("{mode:?}") == word)
        .unwrap_or_default()
}
