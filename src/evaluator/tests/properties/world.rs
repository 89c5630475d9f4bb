//! States as commands make them: revisions, plans, reports of nodes and operators' orders in any order, and among them
//! allocations that were found in a condition that only chance brings about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evaluator::evaluate;
use model::{
    AllocHealth, AllocId, AllocReport, AllocResources, Allocation, BlobId, ClientStatus, CommitId,
    DeploymentStatus, DesiredStatus, DrainStrategy, Eligibility, EvalTrigger, Job, JobId, Move,
    NodeStatus, PlacementAlgorithm, Preemption, RescheduleEvent, SchedulerConfig, Timestamp,
    seeded_uuid,
};
use proptest::prelude::*;
use state::{
    Command, DeploymentChange, FileOutcome, JobSubmission, Plan, State, StopAlloc, TakeRevision,
};

use crate::asked::{KINDS, Machine, NODES, Spec, machine, spec};
use crate::samples::node;

/// Passes in a row that a single cause may need; more means that the loop spins.
pub(crate) const MOST_PASSES: usize = 12;

/// What happens to a cluster. A job is named by its place in [`KINDS`], an allocation by its job and a number.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Commit(usize, Spec),
    Remove(usize),
    Pass,
    Report { job: usize, at: usize, client: ClientStatus, healthy: Option<bool> },
    Reports { client: ClientStatus, healthy: Option<bool> },
    Status(u32, NodeStatus),
    Eligible(u32, bool),
    Drain(u32, Option<Option<u64>>),
    Rejoin(u32, Machine),
    Mark { job: usize, at: usize },
    Promote(usize),
    End(usize, DeploymentStatus),
    Stable(usize),
    Evict { job: usize, at: usize },
    Find(Found),
    Wait(u64),
}

/// An allocation in any condition.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    job: usize,
    node: u32,
    index: u32,
    /// How many versions before the desired one.
    behind: usize,
    client: ClientStatus,
    desired: DesiredStatus,
    healthy: Option<bool>,
    deployed: bool,
    canary: bool,
    migrate: bool,
    tried: usize,
}

/// A cluster and what happened to it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    config: SchedulerConfig,
    machines: Vec<Machine>,
    jobs: Vec<Spec>,
    steps: Vec<Step>,
}

fn client() -> impl Strategy<Value = ClientStatus> {
    prop_oneof![
        1 => Just(ClientStatus::Pending),
        4 => Just(ClientStatus::Running),
        1 => Just(ClientStatus::Complete),
        2 => Just(ClientStatus::Failed),
    ]
}

fn found() -> impl Strategy<Value = Found> {
    let any_client = prop_oneof![
        4 => client(),
        1 => Just(ClientStatus::Lost),
        2 => Just(ClientStatus::Unknown),
    ];
    let desired = prop_oneof![
        4 => Just(DesiredStatus::Run),
        1 => Just(DesiredStatus::Stop),
        1 => Just(DesiredStatus::Evict),
    ];
    let place = (0..KINDS.len(), 1..=NODES, 0..6u32, 0..3usize);
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2));
    let health = proptest::option::of(any::<bool>());
    (place, any_client, desired, health, flags, 0..4usize).prop_map(
        |((job, node, index, behind), client, desired, healthy, flags, tried)| Found {
            job,
            node,
            index,
            behind,
            client,
            desired,
            healthy,
            deployed: flags.0,
            canary: flags.1,
            migrate: flags.2,
            tried,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let job = || 0..KINDS.len();
    let healthy = || proptest::option::weighted(0.8, proptest::bool::weighted(0.8));
    let status = prop_oneof![
        Just(NodeStatus::Ready),
        Just(NodeStatus::Down),
        Just(NodeStatus::Disconnected),
        Just(NodeStatus::Initializing),
    ];
    let ends = prop_oneof![
        2 => Just(DeploymentStatus::Failed),
        1 => Just(DeploymentStatus::Paused),
        1 => Just(DeploymentStatus::Successful),
        1 => Just(DeploymentStatus::Cancelled),
    ];
    let of_node = prop_oneof![
        2 => (1..=NODES, status).prop_map(|(node, status)| Step::Status(node, status)),
        1 => (1..=NODES, any::<bool>()).prop_map(|(node, may)| Step::Eligible(node, may)),
        1 => (1..=NODES, proptest::option::of(proptest::option::of(0..100u64)))
            .prop_map(|(node, drain)| Step::Drain(node, drain)),
        1 => (1..=NODES, machine()).prop_map(|(node, machine)| Step::Rejoin(node, machine)),
    ];
    let of_job = prop_oneof![
        5 => (job(), spec()).prop_map(|(job, spec)| Step::Commit(job, spec)),
        1 => job().prop_map(Step::Remove),
        1 => job().prop_map(Step::Promote),
        1 => (job(), ends).prop_map(|(job, status)| Step::End(job, status)),
        1 => job().prop_map(Step::Stable),
    ];
    let of_alloc = prop_oneof![
        3 => (job(), 0..9usize, client(), healthy())
            .prop_map(|(job, at, client, healthy)| Step::Report { job, at, client, healthy }),
        3 => (client(), healthy()).prop_map(|(client, healthy)| Step::Reports { client, healthy }),
        1 => (job(), 0..9usize).prop_map(|(job, at)| Step::Mark { job, at }),
        1 => (job(), 0..9usize).prop_map(|(job, at)| Step::Evict { job, at }),
        4 => found().prop_map(Step::Find),
    ];
    prop_oneof![6 => Just(Step::Pass), 2 => (1..90u64).prop_map(Step::Wait), 5 => of_node, 9 => of_job, 12 => of_alloc]
}

fn config() -> impl Strategy<Value = SchedulerConfig> {
    let all = Preemption { system: true, sysbatch: true, batch: true, service: true };
    let preemption = prop_oneof![2 => Just(all), 1 => Just(Preemption::default())];
    let algorithm =
        prop_oneof![Just(PlacementAlgorithm::Binpack), Just(PlacementAlgorithm::Spread)];
    (preemption, algorithm).prop_map(|(preemption, algorithm)| SchedulerConfig {
        preemption,
        algorithm,
        ..SchedulerConfig::default()
    })
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    (
        config(),
        proptest::collection::vec(machine(), NODES as usize),
        proptest::collection::vec(spec(), 1..=KINDS.len()),
        proptest::collection::vec(step(), 0..14),
    )
        .prop_map(|(config, machines, jobs, steps)| World { config, machines, jobs, steps })
}

/// How a world is built other than it says.
pub(crate) struct Building<'a> {
    /// Whether a job is left out, with all that happens to it. Time and the log go on as if it were not.
    pub(crate) without: &'a dyn Fn(usize) -> bool,
    pub(crate) name: &'a dyn Fn(usize) -> String,
    pub(crate) node: &'a dyn Fn(u32, &mut model::Node),
    pub(crate) job: &'a dyn Fn(usize, &mut Job),
}

const AS_IT_SAYS: Building<'_> = Building {
    without: &|_| false,
    name: &|job| KINDS[job].0.to_owned(),
    node: &|_, _| {},
    job: &|_, _| {},
};

/// A state, and when.
pub(crate) struct Now {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn build(&self) -> Now {
        self.build_as(&AS_IT_SAYS)
    }

    /// The same, and somebody looks on after each step.
    pub(crate) fn build_watched(&self, watch: &mut dyn FnMut(&mut Now)) -> Now {
        self.build_with(&AS_IT_SAYS, watch)
    }

    pub(crate) fn build_as(&self, how: &Building<'_>) -> Now {
        self.build_with(how, &mut |_| {})
    }

    fn build_with(&self, how: &Building<'_>, watch: &mut dyn FnMut(&mut Now)) -> Now {
        let mut now = Now { state: State::default(), now: Timestamp::from_secs(1_000_000) };
        now.apply(&Command::SetSchedulerConfig { config: self.config, if_index: None });
        for (n, machine) in (1..).zip(&self.machines) {
            now.join(n, machine, how);
        }
        for (job, spec) in self.jobs.iter().enumerate() {
            now.take(&Step::Commit(job, spec.clone()), how);
        }
        for step in &self.steps {
            now.take(step, how);
            watch(&mut now);
        }
        now
    }
}

impl Now {
    pub(crate) fn apply(&mut self, command: &Command) -> bool {
        self.state.apply(self.state.index() + 1, command).rejection.is_none()
    }

    pub(crate) fn everything(&self) -> BTreeMap<JobId, EvalTrigger> {
        self.state.jobs().map(|job| (job.id.clone(), EvalTrigger::JobRegister)).collect()
    }

    pub(crate) fn plan(&self) -> Plan {
        evaluate(&self.state, &self.everything(), self.now)
    }

    /// Applies plans until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        for pass in 0.. {
            let plan = self.plan();
            if plan.is_empty() {
                break;
            }
            assert!(pass < MOST_PASSES, "the loop spins: {plan:#?}");
            assert!(self.apply(&Command::ApplyPlan(Box::new(plan))));
        }
    }

    pub(crate) fn revision(&self, file: String, outcome: FileOutcome) -> TakeRevision {
        TakeRevision {
            repo: "infra".into(),
            branch: "main".into(),
            expected_head: self.state.repo("infra").and_then(|repo| repo.head.clone()),
            commit: CommitId::from(format!("{:040}", self.state.index() + 1)),
            files: [(file, outcome)].into(),
            at: self.now,
            ..TakeRevision::default()
        }
    }

    fn join(&mut self, n: u32, machine: &Machine, how: &Building<'_>) {
        let mut node = machine.build(n);
        (how.node)(n, &mut node);
        let at = self.now;
        self.apply(&Command::RegisterNode { node: Box::new(node), at });
    }

    fn nth(&self, job: &JobId, at: usize) -> Option<&Arc<Allocation>> {
        let all: Vec<_> = self.state.allocs_of_job(job).collect();
        all.get(at % all.len().max(1)).copied()
    }

    fn take(&mut self, step: &Step, how: &Building<'_>) {
        let at = self.now;
        let id = |job: &usize| JobId::from((how.name)(*job).as_str());
        let of = match step {
            Step::Commit(job, _)
            | Step::Remove(job)
            | Step::Report { job, .. }
            | Step::Mark { job, .. }
            | Step::Promote(job)
            | Step::End(job, _)
            | Step::Stable(job)
            | Step::Evict { job, .. } => Some(*job),
            Step::Find(found) => Some(found.job),
            _ => None,
        };
        // An order that changes nothing takes the place of what is left out.
        let nothing = Command::SetNodeStatuses {
            nodes: Vec::new(),
            at,
            reason: String::new(),
            follows: None,
        };
        let command = match step {
            _ if of.is_some_and(how.without) => nothing,
            Step::Commit(job, spec) => {
                let mut built = spec.build(&(how.name)(*job), KINDS[*job].1);
                (how.job)(*job, &mut built);
                let (file, outcome) = file(&built);
                Command::TakeRevision(Box::new(self.revision(file, outcome)))
            }
            Step::Remove(job) => {
                let file = format!("{}.hcl", id(job));
                Command::TakeRevision(Box::new(self.revision(file, FileOutcome::Removed)))
            }
            Step::Pass => Command::ApplyPlan(Box::new(self.plan())),
            Step::Report { job, at: pick, client, healthy } => {
                let reports =
                    self.nth(&id(job), *pick).map(|alloc| report(alloc, *client, *healthy, at));
                Command::UpdateAllocs { updates: reports.into_iter().collect(), at }
            }
            Step::Reports { client, healthy } => {
                let heard = |alloc: &&Arc<Allocation>| {
                    let node = self.state.node(alloc.node);
                    node.is_some_and(|node| node.status == NodeStatus::Ready)
                };
                let all = self.state.allocs().filter(heard);
                let over = |alloc: &Allocation| {
                    if alloc.server_terminal() { ClientStatus::Complete } else { *client }
                };
                let updates = all.map(|alloc| report(alloc, over(alloc), *healthy, at)).collect();
                Command::UpdateAllocs { updates, at }
            }
            Step::Status(n, status) => {
                let nodes = vec![(node(*n).id, *status)];
                Command::SetNodeStatuses { nodes, at, reason: "a test".into(), follows: None }
            }
            Step::Eligible(n, may) => Command::SetEligibility {
                node: node(*n).id,
                eligibility: if *may { Eligibility::Eligible } else { Eligibility::Ineligible },
                at,
            },
            Step::Drain(n, drain) => {
                let strategy = drain.map(|deadline| DrainStrategy {
                    deadline: deadline.map(|wait| at + Duration::from_secs(wait)),
                    started_at: at,
                    ..DrainStrategy::default()
                });
                Command::SetDrain { node: node(*n).id, drain: strategy, mark_eligible: true, at }
            }
            Step::Rejoin(n, machine) => return self.join(*n, machine, how),
            Step::Mark { job, at: pick } => {
                let allocs = self.nth(&id(job), *pick).map(|alloc| alloc.id);
                Command::MarkMigrate {
                    allocs: allocs.into_iter().collect(),
                    at,
                    reason: String::new(),
                }
            }
            Step::Promote(job) => match self.state.latest_deployment(&id(job)) {
                Some(known) => Command::Promote { deployment: known.id, groups: Vec::new(), at },
                None => nothing,
            },
            Step::End(job, status) => {
                let change = self.state.latest_deployment(&id(job)).map(|known| DeploymentChange {
                    id: known.id,
                    status: Some(*status),
                    ..DeploymentChange::default()
                });
                self.planned(|plan| plan.deployment_changes.extend(change))
            }
            Step::Stable(job) => {
                let current = self.state.job(&id(job)).and_then(|record| record.current());
                let version = current.map(|version| (id(job), version.version));
                self.planned(|plan| plan.stable.extend(version))
            }
            Step::Evict { job, at: pick } => {
                let stop = self.nth(&id(job), *pick).map(|alloc| StopAlloc {
                    alloc: alloc.id,
                    description: "alloc was evicted".into(),
                    evicted_for: Some(JobId::from("other")),
                    ..StopAlloc::default()
                });
                self.planned(|plan| plan.stop.extend(stop))
            }
            Step::Find(found) => {
                let alloc = self.found(found, &id(&found.job));
                self.planned(|plan| plan.place.extend(alloc))
            }
            Step::Wait(secs) => {
                self.now = self.now + Duration::from_secs(*secs);
                return;
            }
        };
        self.apply(&command);
    }

    fn planned(&self, fill: impl FnOnce(&mut Plan)) -> Command {
        let mut plan = Plan { basis: self.state.index(), at: self.now, ..Plan::default() };
        fill(&mut plan);
        Command::ApplyPlan(Box::new(plan))
    }

    /// One of the job's first group. It is a canary only where one is still wanted.
    fn found(&self, found: &Found, id: &JobId) -> Option<Allocation> {
        let record = self.state.job(id)?;
        let version =
            record.versions.iter().rev().nth(found.behind).or_else(|| record.versions.first())?;
        let group = version.job.task_groups.first()?;
        let deployment = self
            .state
            .deployments_of_job(id)
            .find(|known| found.deployed && known.job_version == version.version);
        let part = deployment.and_then(|known| known.groups.get(&group.name));
        let canaries = self.state.allocs_of_job(id).filter(|alloc| {
            alloc.canary && deployment.is_some_and(|known| alloc.deployment == Some(known.id))
        });
        let wanted = part.filter(|part| !part.promoted).map_or(0, |part| part.desired_canaries);
        let node = self.state.node(node(found.node).id)?;
        // It was placed once, where its job may be.
        let placed = |place: &String| place == "*" || *place == node.datacenter;
        if !version.job.datacenters.iter().any(placed) {
            return None;
        }
        let earlier = |at: usize| RescheduleEvent {
            at: self.now,
            previous: AllocId::new(seeded_uuid(&[b"earlier", &at.to_be_bytes()])),
            node: node.id,
            delay: 5_000_000_000 << at,
        };
        let resources = &group.tasks.first()?.resources;
        let away = found.client == ClientStatus::Unknown;
        Some(Allocation {
            id: AllocId::new(seeded_uuid(&[
                b"found",
                id.as_str().as_bytes(),
                &self.state.index().to_be_bytes(),
            ])),
            index: if version.job.kind.per_node() { 0 } else { found.index },
            job: id.clone(),
            job_version: version.version,
            group: group.name.as_str().into(),
            node: node.id,
            node_name: node.name.as_str().into(),
            deployment: deployment.map(|known| known.id),
            canary: found.canary && canaries.count() < wanted as usize,
            origin: Arc::clone(&version.origin),
            resources: AllocResources {
                cpu: resources.cpu,
                memory_mb: resources.memory_mb,
                disk_mb: group.ephemeral_disk.size_mb,
                ..AllocResources::default()
            },
            desired: found.desired,
            client: found.client,
            health: deployment.and(found.healthy).map(|healthy| AllocHealth {
                healthy,
                at: self.now,
                ..AllocHealth::default()
            }),
            migrate: found.migrate.then(|| Box::new(Move { since: self.now, ..Move::default() })),
            disconnected_at: away.then_some(self.now),
            reschedules: (0..found.tried).map(earlier).collect(),
            created_at: self.now,
            modified_at: self.now,
            ..Allocation::default()
        })
    }
}

/// A job in a file of its own.
pub(crate) fn file(job: &Job) -> (String, FileOutcome) {
    let outcome = FileOutcome::Job {
        blob: BlobId::default(),
        submission: JobSubmission { job: Arc::new(job.clone()) },
        problems: Vec::new(),
    };
    (format!("{}.hcl", job.id), outcome)
}

fn report(
    alloc: &Allocation,
    client: ClientStatus,
    healthy: Option<bool>,
    at: Timestamp,
) -> AllocReport {
    let verdict = |healthy| AllocHealth { healthy, at, reason: "".into() };
    AllocReport {
        alloc: alloc.id,
        client,
        health: healthy.filter(|_| alloc.deployment.is_some()).map(verdict),
        deployment: alloc.deployment,
        ..AllocReport::default()
    }
}
