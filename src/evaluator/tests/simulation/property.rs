//! Whatever happens in whatever order: the laws hold at every step, and in the end all is as desired.

use model::{DeploymentStatus, Job, JobId, JobType};
use proptest::prelude::*;
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, with_volume};

const NODES: u32 = 4;
const JOBS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Edit { job: usize, spec: Spec, content: u32, mode: Mode },
    Remove(usize),
    Down(u32),
    Up(u32),
    Crash(usize),
    Promote(usize),
    Fail(usize),
    Wait(u64),
}

#[derive(Clone, Debug)]
struct Spec {
    count: u32,
    max_parallel: u32,
    canary: u32,
    auto_promote: bool,
    auto_revert: bool,
    cpu: u64,
    fixed_port: bool,
    /// An access mode of a host volume; none when empty.
    volume: &'static str,
    sticky: bool,
}

fn spec() -> impl Strategy<Value = Spec> {
    let cpu = prop_oneof![Just(100u64), Just(1200)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let volume = prop_oneof![
        3 => Just(""),
        2 => Just("single-node-writer"),
        1 => Just("single-node-single-writer"),
        1 => Just("single-node-multi-writer"),
        1 => Just("single-node-reader-only"),
    ];
    (0..5u32, 1..3u32, 0..3u32, cpu, flags, volume, any::<bool>()).prop_map(
        |(count, max_parallel, canary, cpu, flags, volume, sticky)| Spec {
            count,
            max_parallel,
            canary,
            auto_promote: flags.0,
            auto_revert: flags.1,
            cpu,
            fixed_port: flags.2,
            volume,
            sticky,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![4 => Just(Mode::Good), 1 => Just(Mode::Crash), 1 => Just(Mode::Sick)];
    prop_oneof![
        4 => (0..JOBS.len(), spec(), 0..4u32, mode)
            .prop_map(|(job, spec, content, mode)| Step::Edit { job, spec, content, mode }),
        1 => (0..JOBS.len()).prop_map(Step::Remove),
        1 => (1..=NODES).prop_map(Step::Down),
        2 => (1..=NODES).prop_map(Step::Up),
        1 => (0..20usize).prop_map(Step::Crash),
        1 => (0..JOBS.len()).prop_map(Step::Promote),
        1 => (0..JOBS.len()).prop_map(Step::Fail),
        4 => (1..25u64).prop_map(Step::Wait),
    ]
}

fn build(at: usize, spec: &Spec) -> Job {
    let kind = if at == 2 { JobType::System } else { JobType::Service };
    let mut job = of_kind(JOBS[at], kind, spec.count);
    let group = &mut job.task_groups[0];
    if kind == JobType::System {
        group.count = group.count.min(1);
    }
    group.tasks[0].resources.cpu = spec.cpu;
    if spec.fixed_port {
        group.networks[0].reserved_ports = vec![model::Port {
            label: "fixed".into(),
            value: 9000 + at as u16,
            ..model::Port::default()
        }];
    }
    group.ephemeral_disk.sticky = spec.sticky;
    let update = group.update.as_mut().expect("has updates");
    update.max_parallel = spec.max_parallel;
    update.auto_revert = spec.auto_revert;
    update.progress_deadline = std::time::Duration::from_secs(60);
    if kind == JobType::Service {
        update.canary = spec.canary;
        update.auto_promote = spec.auto_promote && spec.canary > 0;
    }
    if spec.volume.is_empty() { job } else { with_volume(job, spec.volume) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold(steps in proptest::collection::vec(step(), 1..25)) {
        let mut cluster = Cluster::new(NODES);
        for step in steps {
            match step {
                Step::Edit { job, spec, content, mode } => {
                    cluster.commit(&with(build(job, &spec), mode, content));
                }
                Step::Remove(job) => cluster.remove(JOBS[job]),
                Step::Down(n) => cluster.node_down(n),
                Step::Up(n) => cluster.node_up(n),
                Step::Crash(at) => {
                    let running: Vec<_> =
                        JOBS.iter().flat_map(|job| cluster.running(job)).collect();
                    if let Some(alloc) = running.get(at % running.len().max(1)) {
                        cluster.crash(alloc.id);
                    }
                }
                // An operator may come too late; that is refused and changes nothing.
                Step::Promote(job) => {
                    let id = JobId::from(JOBS[job]);
                    if let Some(deployment) = cluster.state.latest_deployment(&id) {
                        let (deployment, at) = (deployment.id, cluster.now);
                        cluster.apply(&Command::Promote { deployment, groups: Vec::new(), at });
                    }
                }
                Step::Fail(job) => {
                    let id = JobId::from(JOBS[job]);
                    if let Some(deployment) = cluster.state.latest_deployment(&id) {
                        let (deployment, at) = (deployment.id, cluster.now);
                        cluster.apply(&Command::FailDeployment { deployment, at });
                    }
                }
                Step::Wait(secs) => cluster.run(secs),
            }
        }
        // Then all is well, and a good version that fits is desired of each.
        for n in 1..=NODES {
            cluster.join(node(n));
        }
        for at in 0..JOBS.len() {
            let spec = Spec {
                count: 3, max_parallel: 1, canary: 0, auto_promote: false, auto_revert: true, cpu: 100, fixed_port: false,
                volume: "", sticky: false,
            };
            cluster.commit(&with(build(at, &spec), Mode::Good, 99));
        }
        cluster.run(150);
        for (job, wanted) in JOBS.iter().zip([3, 3, NODES as usize]) {
            prop_assert_eq!(cluster.serving(job), wanted, "{}", job);
            let deployment = cluster.deployment(job);
            prop_assert_eq!(deployment.status, DeploymentStatus::Successful, "{}", job);
            let mut names: Vec<u32> =
                cluster.running(job).iter().map(|alloc| alloc.index).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert!(*job == "c" || names.len() == wanted, "names are unique");
        }
    }
}
