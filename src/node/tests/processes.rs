//! A node with real processes: they outlive it, are found again, and are gone when their allocation is. This binary has
//! its own `main`, because it is also the shim that `raw_exec` starts.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use driver::{Driver, RawExec, RawExecOptions, SHIM_ARG};
use model::{
    AllocId, Allocation, Check, CheckStatus, CheckType, ClientStatus, DeploymentId, DesiredStatus,
    Group, Job, JobVersion, Node, NodeId, Service, Task, Update,
};
use node::{AllocReport, Assignment, NodeRuntime, Options, Upstream, UpstreamError};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|arg| arg == SHIM_ARG) {
        return driver::shim_main(args);
    }
    if std::env::args().any(|arg| arg == "--list") {
        println!("processes_outlive_their_node: test");
        return ExitCode::SUCCESS;
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(processes_outlive_their_node());
    println!("test processes_outlive_their_node ... ok");
    ExitCode::SUCCESS
}

/// Servers in memory.
struct Servers {
    list: watch::Sender<(u64, Vec<Assignment>)>,
    newest: watch::Sender<Option<AllocReport>>,
}

#[async_trait]
impl Upstream for Servers {
    async fn assignments(
        &self,
        _: NodeId,
        after: u64,
    ) -> Result<(u64, Vec<Assignment>), UpstreamError> {
        let mut list = self.list.subscribe();
        let list = list.wait_for(|(index, _)| *index > after).await;
        list.map(|list| list.clone()).map_err(|error| UpstreamError(error.to_string()))
    }

    async fn report(&self, _: NodeId, reports: Vec<AllocReport>) -> Result<(), UpstreamError> {
        for report in reports {
            self.newest.send_replace(Some(report));
        }
        Ok(())
    }
}

impl Servers {
    fn assign(&self, list: Vec<Assignment>) {
        self.list.send_modify(|now| *now = (now.0 + 1, list));
    }

    async fn newest(&self, holds: impl Fn(&AllocReport) -> bool) -> AllocReport {
        let mut newest = self.newest.subscribe();
        let found = newest.wait_for(|report| report.as_ref().is_some_and(&holds));
        let found = tokio::time::timeout(Duration::from_secs(60), found).await;
        found.expect("in time").expect("servers are there").clone().expect("a report")
    }
}

fn assignment() -> Assignment {
    let check = Check { kind: CheckType::Script, command: "/bin/sh".into(), ..Check::default() };
    let args = ["-c".into(), "test \"$GREETING\" = \"hello ${NOMAD_ALLOC_INDEX}\"".into()].to_vec();
    let service =
        Service { name: "web".into(), checks: vec![Check { args, ..check }], ..Service::default() };
    let script = "echo started; echo \"$GREETING\" > ${NOMAD_TASK_DIR}/pid; echo $$ >> ${NOMAD_TASK_DIR}/pid; exec sleep 600";
    let task = Task {
        name: "web".into(),
        driver: "raw_exec".into(),
        env: [("GREETING".to_owned(), "hello ${NOMAD_ALLOC_INDEX}".to_owned())].into(),
        config: [
            ("command".to_owned(), json!("/bin/sh")),
            ("args".to_owned(), json!(["-c", script])),
        ]
        .into(),
        services: vec![service],
        ..Task::default()
    };
    let update = Update { min_healthy_time: Duration::from_millis(200), ..Update::default() };
    let group =
        Group { name: "g".into(), tasks: vec![task], update: Some(update), ..Group::default() };
    let alloc = Allocation {
        id: AllocId::new(model::seeded_uuid(&[b"processes"])),
        group: "g".into(),
        deployment: Some(DeploymentId::default()),
        ..Allocation::default()
    };
    let job = Job { task_groups: vec![group], ..Job::default() };
    let version = JobVersion { job: Arc::new(job), ..JobVersion::default() };
    Assignment { alloc: Arc::new(alloc), version: Arc::new(version) }
}

async fn start(data: &Path, servers: &Arc<Servers>, stop: &CancellationToken) -> NodeRuntime {
    let options = RawExecOptions { enabled: true, ..RawExecOptions::new(data.join("client/shim")) };
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(RawExec::new(options))];
    let mut options = Options::new(data.to_owned(), Arc::new(Node::default()), drivers);
    // What a test mounted would outlive it.
    options.secrets_in_memory = false;
    NodeRuntime::start(options, servers.clone(), stop.clone()).await.expect("a node")
}

async fn processes_outlive_their_node() {
    let data = tempfile::tempdir().expect("a directory");
    let servers = Arc::new(Servers {
        list: watch::channel((0, Vec::new())).0,
        newest: watch::channel(None).0,
    });
    let stop = CancellationToken::new();
    let assigned = assignment();
    servers.assign(vec![assigned.clone()]);

    let first = start(data.path(), &servers, &stop).await;
    let report = servers.newest(|report| report.health.is_some()).await;
    assert!(report.health.as_ref().is_some_and(|health| health.healthy), "{report:?}");
    assert_eq!(report.checks["0.0"].status, CheckStatus::Passing, "{report:?}");
    let root = data.path().join("alloc").join(assigned.alloc.id.to_string());
    let written = std::fs::read_to_string(root.join("web/local/pid")).expect("written");
    let (greeting, pid) = written.trim().split_once('\n').expect("two lines");
    assert_eq!(greeting, "hello 0");
    let process = Path::new("/proc").join(pid);

    // As if the agent was killed; then another.
    drop(first);
    assert!(process.exists());
    servers.newest.send_replace(None);
    let second = start(data.path(), &servers, &stop).await;
    let report = servers.newest(|report| report.client == ClientStatus::Running).await;
    assert_eq!(report.tasks["web"].restarts, 0);
    assert!(process.exists());

    let mut alloc = Allocation::clone(&assigned.alloc);
    alloc.desired = DesiredStatus::Stop;
    servers.assign(vec![Assignment { alloc: Arc::new(alloc), ..assigned }]);
    let report = servers.newest(|report| report.client == ClientStatus::Complete).await;
    assert!(!process.exists(), "{report:?}");
    let logs = second.log_dir(report.alloc, "web").expect("known");
    assert!(logs.join("web.stdout.0").exists(), "logs stay until the allocation is forgotten");

    servers.assign(Vec::new());
    while root.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    second.join().await;
}
