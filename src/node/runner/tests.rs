use std::sync::Arc;
use std::time::Duration;

use model::{
    AllocId, Allocation, Check, CheckRestart, CheckStatus, CheckType, ClientStatus, DeploymentId,
    DesiredStatus, Group, Job, JobType, JobVersion, Lifecycle, LifecycleHook, Node, Restart,
    RestartMode, Service, Task, Timestamp, Update,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fake::{FakeUpstream, Hold, World};
use crate::{AllocReport, Assignment, DiskUse, NodeRuntime, Options};

mod checks;
mod fence;
mod hardware;
mod keeping;
mod lateness;

/// A machine with a node on it that can be stopped, killed and started again.
struct Stage {
    data: tempfile::TempDir,
    world: World,
    upstream: Arc<FakeUpstream>,
    stop: CancellationToken,
    began: Instant,
    runtime: Option<NodeRuntime>,
    node: Node,
    tune: fn(&mut Options),
}

impl Stage {
    fn new() -> Self {
        Self {
            data: tempfile::tempdir().expect("a directory"),
            world: World::default(),
            upstream: Arc::default(),
            stop: CancellationToken::new(),
            began: Instant::now(),
            runtime: None,
            node: Node::default(),
            tune: |_| (),
        }
    }

    async fn start(&mut self) {
        self.stop = CancellationToken::new();
        let node = Arc::new(self.node.clone());
        let mut options =
            Options::new(self.data.path().to_owned(), node, vec![self.world.driver()]);
        let began = self.began;
        options.clock = Arc::new(move || Timestamp::from_secs(1_000_000) + began.elapsed());
        // What a test mounted would outlive it.
        options.secrets_in_memory = false;
        // Nothing may depend on how full this machine's disk is.
        options.disk_use = Arc::new(|_| DiskUse { total: 100, ..DiskUse::default() });
        (self.tune)(&mut options);
        let upstream = self.upstream.clone();
        let runtime = NodeRuntime::start(options, upstream, self.stop.clone()).await;
        self.runtime = Some(runtime.expect("a node"));
    }

    async fn assign(&mut self, list: Vec<Assignment>) {
        self.upstream.assign(list);
        if self.runtime.is_none() {
            self.start().await;
        }
    }

    /// As SIGKILL does: nothing gets to tidy up.
    async fn kill(&mut self) {
        self.runtime.take().expect("a node").kill().await;
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.runtime.take().expect("a node").join().await;
    }

    async fn newest(&self, client: ClientStatus) -> AllocReport {
        self.upstream.newest(|report| report.client == client).await
    }
}

fn task(name: &str) -> Task {
    Task { name: name.into(), driver: "fake".into(), ..Task::default() }
}

fn group(tasks: Vec<Task>) -> Group {
    let restart_policy = Restart {
        attempts: 1,
        interval: Duration::from_secs(600),
        delay: Duration::from_secs(4),
        mode: RestartMode::Fail,
        render_templates: false,
    };
    Group { name: "g".into(), tasks, restart_policy, ..Group::default() }
}

fn assignment(kind: JobType, group: Group) -> Assignment {
    let alloc = Allocation {
        id: AllocId::new(model::seeded_uuid(&[b"alloc"])),
        group: group.name.as_str().into(),
        ..Allocation::default()
    };
    let job = Job { kind, task_groups: vec![group], ..Job::default() };
    let version = JobVersion { job: Arc::new(job), ..JobVersion::default() };
    Assignment { alloc: Arc::new(alloc), version: Arc::new(version) }
}

fn changed(assignment: &Assignment, change: impl FnOnce(&mut Allocation)) -> Assignment {
    let mut alloc = Allocation::clone(&assignment.alloc);
    change(&mut alloc);
    Assignment { alloc: Arc::new(alloc), version: assignment.version.clone() }
}

fn stopped(assignment: &Assignment) -> Assignment {
    changed(assignment, |alloc| alloc.desired = DesiredStatus::Stop)
}

fn service() -> Assignment {
    assignment(JobType::Service, group(vec![task("web")]))
}

fn scripted(check: Check) -> Service {
    let check = Check { kind: CheckType::Script, command: "probe".into(), ..check };
    Service { name: "web".into(), checks: vec![check], ..Service::default() }
}

#[tokio::test(start_paused = true)]
async fn tasks_start_in_order_and_stop_after_the_grace() {
    let mut stage = Stage::new();
    let hook = Lifecycle { hook: LifecycleHook::Prestart, sidecar: false };
    let init = Task { lifecycle: Some(hook), ..task("init") };
    let web =
        Task { services: vec![Service::default()], kill_signal: "SIGHUP".into(), ..task("web") };
    let assigned = assignment(JobType::Service, group(vec![web, init]));
    stage.assign(vec![assigned.clone()]).await;
    stage.world.until("start init", 1).await;
    assert_eq!(stage.world.running(), ["init"]);
    stage.world.exit("init", 0);
    stage.newest(ClientStatus::Running).await;
    let before = Instant::now();
    stage.assign(vec![stopped(&assigned)]).await;
    stage.world.until("stop web SIGHUP", 1).await;
    assert!(before.elapsed() >= Duration::from_millis(250));
    let report = stage.newest(ClientStatus::Complete).await;
    assert!(report.tasks["web"].events.iter().any(|event| event.kind == "Killed"));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_could_not_reach_the_node_are_told_again() {
    let mut stage = Stage::new();
    let assigned = assignment(JobType::Service, group(vec![task("web")]));
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    let told = |seen: &[AllocReport]| {
        seen.iter().filter(|report| report.client == ClientStatus::Running).count()
    };
    // The second time they took back what they were told the first time, and this node did not see that they had heard.
    for index in [7, 9] {
        let before = told(&stage.upstream.seen());
        let unknown = changed(&assigned, |alloc| {
            (alloc.client, alloc.modify_index) = (ClientStatus::Unknown, index);
        });
        stage.assign(vec![unknown]).await;
        stage.upstream.until(|seen| told(seen) > before).await;
    }
    assert_eq!(stage.world.running(), ["web"], "nothing else happens");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_forgot_that_it_is_over_are_told_again() {
    let mut stage = Stage::new();
    let assigned = assignment(JobType::Service, group(vec![task("web")]));
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.assign(vec![stopped(&assigned)]).await;
    stage.newest(ClientStatus::Complete).await;
    let told = |seen: &[AllocReport]| {
        seen.iter().filter(|report| report.client == ClientStatus::Complete).count()
    };
    let before = told(&stage.upstream.seen());
    // As a backup has it that was made before they heard of it.
    let running = changed(&stopped(&assigned), |alloc| alloc.client = ClientStatus::Running);
    stage.assign(vec![running]).await;
    stage.upstream.until(|seen| told(seen) > before).await;
    assert!(stage.world.running().is_empty(), "nothing is started again");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_is_started_again_and_then_fails() {
    let mut stage = Stage::new();
    stage.assign(vec![service()]).await;
    stage.world.until("start web", 1).await;
    stage.newest(ClientStatus::Running).await;
    let before = Instant::now();
    stage.world.exit("web", 1);
    stage.world.until("start web", 2).await;
    assert!(before.elapsed() >= Duration::from_secs(4));
    stage.newest(ClientStatus::Running).await;
    stage.world.exit("web", 1);
    let report = stage.newest(ClientStatus::Failed).await;
    assert_eq!(report.tasks["web"].restarts, 1);
    assert_eq!(report.client_description, "Failed tasks");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_heal_is_not_tried_again() {
    let mut stage = Stage::new();
    stage.world.refuse(&[true, false]);
    stage.assign(vec![service()]).await;
    let report = stage.newest(ClientStatus::Failed).await;
    assert_eq!(stage.world.count("ask web"), 2);
    assert!(report.tasks["web"].events.iter().any(|event| event.kind == "Driver Failure"));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_agent_leaves_tasks_and_the_next_finds_them() {
    let mut stage = Stage::new();
    stage.assign(vec![service()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.stop().await;
    assert_eq!(stage.world.running(), ["web"]);
    // With no server there at all.
    stage.upstream.down(true);
    stage.start().await;
    stage.world.exit("web", 1);
    stage.world.until("start web", 2).await;
    assert_eq!(stage.world.running(), ["web"]);
    stage.upstream.down(false);
    // Nothing is lost: what happened meanwhile is reported when somebody listens.
    let again = |report: &AllocReport| {
        report.client == ClientStatus::Running && report.tasks["web"].restarts == 1
    };
    stage.upstream.newest(again).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn killed_before_the_process_was_made_it_is_started_once() {
    let mut stage = Stage::new();
    stage.world.hold(Hold::Before);
    stage.assign(vec![service()]).await;
    stage.world.until("ask web", 1).await;
    stage.kill().await;
    stage.world.hold(Hold::Nowhere);
    stage.start().await;
    stage.newest(ClientStatus::Running).await;
    assert_eq!(stage.world.count("start web"), 1);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn killed_before_the_handle_was_written_it_is_found_and_not_doubled() {
    let mut stage = Stage::new();
    stage.world.hold(Hold::After);
    stage.assign(vec![service()]).await;
    stage.world.until("start web", 1).await;
    stage.kill().await;
    stage.world.hold(Hold::Nowhere);
    stage.start().await;
    stage.newest(ClientStatus::Running).await;
    assert_eq!(stage.world.count("ask web"), 1, "it was taken up without another start");
    let report = stage.newest(ClientStatus::Running).await;
    let kinds: Vec<_> = report.tasks["web"].events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["Received", "Task Setup", "Started"], "the story has no gap");
    stage.world.exit("web", 1);
    stage.world.until("start web", 2).await;
    stage.stop().await;
}

/// A task whose start was interrupted, and that is to stop by the time the next agent looks for it.
async fn stopped_while_nobody_was_there(hold: Hold) -> (Stage, AllocId) {
    let mut stage = Stage::new();
    stage.world.hold(hold);
    let assigned = service();
    stage.assign(vec![assigned.clone()]).await;
    stage.world.until(if hold == Hold::After { "start web" } else { "ask web" }, 1).await;
    stage.kill().await;
    stage.world.hold(Hold::Nowhere);
    stage.upstream.assign(vec![stopped(&assigned)]);
    (stage, assigned.alloc.id)
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_cannot_look_proves_nothing() {
    let (mut stage, _) = stopped_while_nobody_was_there(Hold::After).await;
    stage.world.blind(3);
    stage.start().await;
    stage.newest(ClientStatus::Complete).await;
    assert!(stage.world.running().is_empty(), "what could not be seen was not left running");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_made_and_never_ran_is_removed() {
    let (mut stage, alloc) = stopped_while_nobody_was_there(Hold::Before).await;
    stage.world.stray(alloc, "web", true);
    stage.start().await;
    stage.newest(ClientStatus::Complete).await;
    assert_eq!(stage.world.known(), 0);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_nobodys_is_removed_after_a_second_look() {
    let mut stage = Stage::new();
    let stray = AllocId::new(model::seeded_uuid(&[b"stray"]));
    stage.world.stray(stray, "old", false);
    let left = stage.data.path().join(format!("alloc/{stray}/old/local"));
    std::fs::create_dir_all(&left).expect("made");
    // Without a list there is no proof.
    stage.upstream.down(true);
    stage.start().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.world.running(), ["old"]);
    stage.upstream.down(false);
    stage.assign(vec![service()]).await;
    stage.newest(ClientStatus::Running).await;
    while stage.world.running() != ["web"] || left.exists() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stage.stop().await;
}

/// A daemon carried out the request of an agent that was killed after the next one had looked.
#[tokio::test(start_paused = true)]
async fn what_comes_late_for_a_task_that_is_over_is_removed() {
    let mut stage = Stage::new();
    let assigned = service();
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.assign(vec![stopped(&assigned)]).await;
    stage.newest(ClientStatus::Complete).await;
    while stage.world.known() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.world.stray(assigned.alloc.id, "web", true);
    let gone = async {
        while stage.world.known() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), gone).await.expect("it is removed");
    stage.stop().await;
}

/// The agent was away while the task died: what the record says of health is old, and no verdict.
#[tokio::test(start_paused = true)]
async fn a_verdict_waits_until_a_new_agent_has_looked() {
    let mut stage = Stage::new();
    let web = Task { services: vec![scripted(Check::default())], ..task("web") };
    let update = Update { min_healthy_time: Duration::from_secs(10), ..Update::default() };
    let group = Group { update: Some(update), ..group(vec![web]) };
    let assigned = changed(&assignment(JobType::Service, group), |alloc| {
        alloc.deployment = Some(DeploymentId::default());
    });
    let passing = |report: &AllocReport| {
        report.checks.get("0.0").is_some_and(|check| check.status == CheckStatus::Passing)
    };
    stage.assign(vec![assigned.clone()]).await;
    stage.upstream.newest(passing).await;
    stage.kill().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    stage.world.exit("web", 1);
    stage.start().await;
    stage.world.until("start web", 2).await;
    let verdict = |report: &AllocReport| report.health.is_some();
    assert!(!stage.upstream.seen().iter().any(verdict), "nobody has seen it healthy");
    stage.upstream.newest(verdict).await;
    stage.kill().await;

    // The same with a task that runs and a check that fails by now.
    let mut stage = Stage::new();
    stage.assign(vec![assigned]).await;
    stage.upstream.newest(passing).await;
    stage.kill().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    stage.world.exec_code(2);
    stage.start().await;
    let report = stage.upstream.newest(verdict).await;
    assert!(report.health.is_some_and(|health| !health.healthy));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_task_that_ended_unseen_is_not_run_again() {
    for hold in [Hold::After, Hold::Nowhere] {
        let mut stage = Stage::new();
        stage.world.hold(hold);
        stage.assign(vec![assignment(JobType::Batch, group(vec![task("job")]))]).await;
        stage.world.until("start job", 1).await;
        if hold == Hold::Nowhere {
            stage.newest(ClientStatus::Running).await;
        }
        stage.kill().await;
        stage.world.hold(Hold::Nowhere);
        stage.world.exit("job", 0);
        stage.start().await;
        let report = stage.newest(ClientStatus::Complete).await;
        assert_eq!(report.tasks["job"].events.iter().filter(|e| e.exit_code == Some(0)).count(), 1);
        assert_eq!(stage.world.count("ask job"), 1);
        stage.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_while_waiting_for_a_restart_it_waits_on() {
    let mut stage = Stage::new();
    stage.assign(vec![service()]).await;
    stage.newest(ClientStatus::Running).await;
    let before = Instant::now();
    stage.world.exit("web", 1);
    stage.newest(ClientStatus::Pending).await;
    stage.kill().await;
    stage.start().await;
    stage.world.until("start web", 2).await;
    assert!(before.elapsed() >= Duration::from_secs(4));
    stage.newest(ClientStatus::Running).await;
    // The attempts of the first agent count.
    stage.world.exit("web", 1);
    stage.newest(ClientStatus::Failed).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn killed_in_the_midst_of_a_stop_it_goes_on_stopping() {
    let mut stage = Stage::new();
    stage.world.deaf();
    let assigned = service();
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.assign(vec![stopped(&assigned)]).await;
    stage.world.until("stop web", 1).await;
    stage.kill().await;
    stage.start().await;
    let report = stage.newest(ClientStatus::Complete).await;
    assert_eq!(stage.world.running(), Vec::<String>::new());
    assert!(report.tasks["web"].events.iter().any(|event| event.signal == Some(9)));
    assert_eq!(stage.world.count("start web"), 1);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_everything_is_started_again() {
    let mut stage = Stage::new();
    stage.assign(vec![service()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.kill().await;
    stage.world.reboot();
    stage.start().await;
    stage.world.until("start web", 2).await;
    stage.newest(ClientStatus::Running).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_doubles_nothing() {
    let mut stage = Stage::new();
    let assigned = service();
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    stage.kill().await;
    let path = stage.data.path().join(format!("client/allocs/{}.json", assigned.alloc.id));
    std::fs::write(&path, "{ half").expect("written");
    stage.start().await;
    assert_eq!(stage.runtime.as_ref().map(|runtime| runtime.damaged().len()), Some(1));
    stage.newest(ClientStatus::Running).await;
    assert_eq!(stage.world.count("ask web"), 1);
    // And an order to stop reaches what was found.
    stage.assign(vec![stopped(&assigned)]).await;
    stage.newest(ClientStatus::Complete).await;
    assert!(stage.world.running().is_empty());
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_broke_is_replaced() {
    let mut stage = Stage::new();
    stage.world.brittle();
    stage.assign(vec![service()]).await;
    stage.world.until("start web", 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    stage.world.exit("web", 1);
    tokio::time::timeout(Duration::from_secs(60), stage.world.until("start web", 2))
        .await
        .expect("somebody looks after it");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_servers_forgot_is_removed() {
    let mut stage = Stage::new();
    let assigned = service();
    let other = changed(&assigned, |alloc| alloc.id = AllocId::new(model::seeded_uuid(&[b"2"])));
    stage.assign(vec![assigned.clone(), other.clone()]).await;
    stage.world.until("start web", 2).await;
    stage.newest(ClientStatus::Running).await;
    let runtime = stage.runtime.as_ref().expect("a node");
    let logs = runtime.log_dir(assigned.alloc.id, "web").expect("known");
    assert!(logs.is_dir());
    assert_eq!(runtime.log_dir(assigned.alloc.id, "nope"), None);
    // An empty list is no proof of anything.
    stage.assign(Vec::new()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.world.running().len(), 2);
    stage.assign(vec![other]).await;
    while logs.exists() || stage.world.known() > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let record = stage.data.path().join(format!("client/allocs/{}.json", assigned.alloc.id));
    while record.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stage.world.count("stop web"), 1);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn finished_allocations_are_not_started_anew() {
    let mut stage = Stage::new();
    let done = changed(&service(), |alloc| alloc.client = ClientStatus::Complete);
    let unknown = changed(&stopped(&service()), |alloc| {
        alloc.id = AllocId::new(model::seeded_uuid(&[b"2"]));
    });
    stage.assign(vec![done, unknown.clone()]).await;
    let report = stage.newest(ClientStatus::Complete).await;
    assert_eq!(report.alloc, unknown.alloc.id);
    assert!(stage.world.log().is_empty());
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_can_be_stopped() {
    let mut stage = Stage::new();
    stage.world.hold(Hold::After);
    let assigned = service();
    stage.assign(vec![assigned.clone()]).await;
    stage.world.until("start web", 1).await;
    stage.assign(vec![stopped(&assigned)]).await;
    stage.newest(ClientStatus::Complete).await;
    assert_eq!(stage.world.known(), 0, "what the start left behind is removed");
    stage.stop().await;
}
