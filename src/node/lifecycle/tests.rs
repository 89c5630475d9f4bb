use model::{Lifecycle as Hook, Restart, RestartMode, Task, TaskEvent};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1000 + secs)
}

fn task(name: &str) -> Task {
    Task { name: name.into(), driver: "fake".into(), ..Task::default() }
}

fn hooked(name: &str, hook: LifecycleHook, sidecar: bool) -> Task {
    Task { lifecycle: Some(Hook { hook, sidecar }), ..task(name) }
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

/// A lifecycle with a driver that does at once what it is asked, but for what a test wants to end itself.
struct Sim {
    group: Group,
    kind: JobType,
    life: Lifecycle,
    log: Vec<String>,
}

impl Sim {
    fn new(kind: JobType, tasks: Vec<Task>) -> Self {
        let group = group(tasks);
        let life = Lifecycle::new(&group, false, at(0));
        Self { group, kind, life, log: Vec::new() }
    }

    fn rules(&self) -> (AllocId, JobType, Group) {
        (AllocId::default(), self.kind, self.group.clone())
    }

    fn handle(&mut self, task: &str, generation: Option<u64>, event: Event, now: i64) {
        let (alloc, kind, group) = self.rules();
        let rules = Rules { alloc, kind, group: &group };
        self.life.handle(rules, task, generation, event, at(now));
    }

    /// Advances and carries everything out until nothing more is to be done.
    fn run(&mut self, now: i64) -> &mut Self {
        let (alloc, kind, group) = self.rules();
        let rules = Rules { alloc, kind, group: &group };
        loop {
            let actions = self.life.advance(rules, at(now));
            if actions.is_empty() {
                return self;
            }
            for action in actions {
                let Action::Begin { task, op, generation } = action else { continue };
                let event = match op {
                    Op::Start => Event::Started(handle(&task)),
                    Op::Stop => Event::Exited(exit(143)),
                    Op::Destroy => Event::Destroyed,
                    Op::Recover => Event::Recovered(Recovery::Nothing),
                    Op::Attach => Event::Attached(Attached::Running),
                    Op::Wait => continue,
                };
                if matches!(op, Op::Start | Op::Stop) {
                    self.log.push(format!("{op:?} {task}"));
                }
                self.life.handle(rules, &task, Some(generation), event, at(now));
            }
        }
    }

    fn exit(&mut self, task: &str, code: i32, now: i64) -> &mut Self {
        self.handle(task, None, Event::Exited(exit(code)), now);
        self.life.tasks.get_mut(task).expect("a task").op = None;
        self.run(now)
    }

    fn order_stop(&mut self, grace: u64, now: i64) -> &mut Self {
        let grace = Duration::from_secs(grace);
        self.life.order_stop(StopOrder { at: at(now), grace, forced: false });
        self.run(now)
    }

    fn status(&self) -> ClientStatus {
        let (alloc, kind, group) = self.rules();
        self.life.status(Rules { alloc, kind, group: &group })
    }

    fn wake(&self, now: i64) -> Option<Timestamp> {
        let (alloc, kind, group) = self.rules();
        self.life.next_wake(Rules { alloc, kind, group: &group }, at(now))
    }

    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn kinds(&self, task: &str) -> Vec<&str> {
        self.life.tasks[task].state.events.iter().map(|event| event.kind.as_str()).collect()
    }
}

fn handle(task: &str) -> TaskHandle {
    TaskHandle { driver: "fake".into(), task_id: task.into(), state: Value::Null }
}

fn exit(code: i32) -> ExitStatus {
    ExitStatus { code: Some(code), ..ExitStatus::default() }
}

#[test]
fn hooks_start_in_order() {
    let mut sim = Sim::new(
        JobType::Service,
        vec![
            task("main"),
            hooked("post", LifecycleHook::Poststart, false),
            hooked("init", LifecycleHook::Prestart, false),
            hooked("side", LifecycleHook::Prestart, true),
            hooked("last", LifecycleHook::Poststop, false),
        ],
    );
    sim.run(1);
    assert_eq!(sim.take_log(), ["Start init", "Start side"]);
    sim.exit("init", 0, 2);
    assert_eq!(sim.take_log(), ["Start main", "Start post"]);
    assert_eq!(sim.status(), ClientStatus::Running);
    sim.order_stop(0, 5);
    assert_eq!(
        sim.take_log(),
        ["Stop main", "Stop post", "Stop side", "Start last"],
        "sidecars go after the main tasks, and poststop tasks run then"
    );
    assert_eq!(sim.status(), ClientStatus::Running);
    sim.exit("last", 0, 6);
    assert!(sim.life.is_clean());
    assert_eq!(sim.status(), ClientStatus::Complete);
}

#[test]
fn a_service_that_ends_well_is_started_again() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.run(1).exit("main", 0, 10);
    let Phase::Backoff { until } = sim.life.tasks["main"].phase else { panic!("no backoff") };
    assert!(until >= at(14) && until < at(15));
    assert_eq!(sim.wake(10), Some(until));
    assert_eq!(sim.status(), ClientStatus::Pending);
    sim.run(16);
    assert_eq!(sim.take_log(), ["Start main", "Start main"]);
    sim.exit("main", 7, 20);
    assert_eq!(sim.status(), ClientStatus::Failed);
    assert_eq!(
        sim.kinds("main"),
        [
            "Received",
            "Task Setup",
            "Started",
            "Terminated",
            "Restarting",
            "Started",
            "Terminated",
            "Not Restarting"
        ]
    );
    assert_eq!(sim.life.tasks["main"].state.restarts, 1);
}

#[test]
fn a_batch_task_that_ends_well_is_done_and_takes_its_sidecar_along() {
    let tasks = vec![task("main"), hooked("side", LifecycleHook::Poststart, true)];
    let mut sim = Sim::new(JobType::Batch, tasks);
    sim.run(1).exit("main", 0, 2);
    assert_eq!(sim.take_log(), ["Start main", "Start side", "Stop side"]);
    assert_eq!(sim.status(), ClientStatus::Complete);
    assert!(sim.kinds("side").contains(&"Main Tasks Dead"));
}

#[test]
fn a_failed_task_takes_its_siblings_along() {
    let mut sim = Sim::new(JobType::Service, vec![task("a"), task("b")]);
    sim.group.restart_policy.attempts = 0;
    sim.run(1).exit("a", 1, 2);
    assert_eq!(sim.take_log(), ["Start a", "Start b", "Stop b"]);
    assert!(sim.kinds("b").contains(&"Sibling Task Failed"));
    assert!(!sim.life.tasks["b"].state.failed);
    assert_eq!(sim.status(), ClientStatus::Failed);
}

#[test]
fn a_failed_prestart_task_lets_nothing_start() {
    let tasks = vec![hooked("init", LifecycleHook::Prestart, false), task("main")];
    let mut sim = Sim::new(JobType::Service, tasks);
    sim.group.restart_policy.attempts = 0;
    sim.run(1).exit("init", 1, 2);
    assert_eq!(sim.take_log(), ["Start init"]);
    assert!(sim.life.is_clean());
    assert_eq!(sim.status(), ClientStatus::Failed);
}

#[test]
fn the_leader_goes_first_and_its_end_is_the_groups() {
    let leader = Task { leader: true, ..task("lead") };
    let mut sim = Sim::new(JobType::Service, vec![task("helper"), leader.clone()]);
    sim.run(1).order_stop(0, 2);
    assert_eq!(sim.take_log(), ["Start helper", "Start lead", "Stop lead", "Stop helper"]);
    let mut sim = Sim::new(JobType::Batch, vec![task("helper"), leader]);
    sim.run(1).exit("lead", 0, 2);
    assert_eq!(sim.take_log(), ["Start helper", "Start lead", "Stop helper"]);
    assert!(sim.kinds("helper").contains(&"Leader Task Dead"));
}

#[test]
fn an_order_to_stop_waits_for_the_longer_delay() {
    let slow = Task { shutdown_delay: Duration::from_secs(9), ..task("slow") };
    let mut sim = Sim::new(JobType::Service, vec![task("quick"), slow]);
    sim.run(1);
    sim.take_log();
    sim.order_stop(3, 10);
    assert!(sim.take_log().is_empty());
    assert_eq!(sim.wake(10), Some(at(13)));
    sim.run(13);
    assert_eq!(sim.take_log(), ["Stop quick"]);
    assert_eq!(sim.wake(13), Some(at(19)));
    sim.run(19);
    assert_eq!(sim.take_log(), ["Stop slow"]);
    assert!(sim.life.is_clean());
}

#[test]
fn a_task_that_waits_for_its_restart_is_stopped_at_once() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.run(1).exit("main", 1, 2).order_stop(60, 3);
    assert!(sim.life.is_clean());
    assert_eq!(sim.status(), ClientStatus::Complete);
}

#[test]
fn what_never_ran_needs_no_poststop() {
    let tasks = vec![task("main"), hooked("last", LifecycleHook::Poststop, false)];
    let mut sim = Sim::new(JobType::Service, tasks);
    sim.order_stop(60, 1);
    assert!(sim.take_log().is_empty());
    assert!(sim.life.is_clean());
}

#[test]
fn a_check_that_wants_a_restart_counts_as_a_failure() {
    let mut sim = Sim::new(JobType::Batch, vec![task("main")]);
    sim.run(1);
    sim.handle("main", None, Event::RestartWanted("unhealthy".into()), 5);
    sim.run(5);
    assert_eq!(sim.take_log(), ["Start main", "Stop main"]);
    sim.run(11);
    assert_eq!(sim.take_log(), ["Start main"]);
    sim.handle("main", None, Event::RestartWanted("unhealthy".into()), 20);
    sim.run(20);
    assert_eq!(sim.status(), ClientStatus::Failed);
    assert!(sim.kinds("main").contains(&"Restart Signaled"));
}

#[test]
fn results_of_overtaken_acts_are_dropped() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.run(1);
    let generation = sim.life.tasks["main"].generation;
    sim.handle("main", Some(generation - 1), Event::Exited(exit(1)), 2);
    assert_eq!(sim.life.tasks["main"].phase, Phase::Running);
    sim.handle("main", Some(generation), Event::Exited(exit(1)), 2);
    assert!(matches!(sim.life.tasks["main"].phase, Phase::Backoff { .. }));
}

#[test]
fn a_driver_that_fails_is_asked_again_later() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.run(1);
    let generation = sim.life.tasks["main"].generation;
    sim.handle("main", Some(generation), Event::Failed, 2);
    sim.run(2);
    assert_eq!(sim.life.tasks["main"].op, None);
    assert_eq!(sim.wake(2), Some(at(3)));
    sim.run(3);
    assert_eq!(sim.life.tasks["main"].op, Some(Op::Wait), "found again, then waited for");
    assert_eq!(sim.take_log(), ["Start main"]);
}

#[test]
fn an_unrecoverable_start_is_never_tried_again() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    let (alloc, kind, group) = sim.rules();
    let rules = Rules { alloc, kind, group: &group };
    let actions = sim.life.advance(rules, at(1));
    let Some(Action::Begin { task, generation, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    let event = Event::StartFailed {
        kind: "Driver Failure",
        message: "no image".into(),
        recoverable: false,
    };
    sim.life.handle(rules, task, Some(*generation), event, at(1));
    sim.run(100);
    assert_eq!(sim.status(), ClientStatus::Failed);
    assert!(sim.kinds("main").ends_with(&["Driver Failure", "Not Restarting"]));
}

#[test]
fn a_machine_that_was_restarted_counts_no_failure() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.group.restart_policy.attempts = 0;
    sim.run(1);
    let generation = sim.life.tasks["main"].generation;
    sim.handle("main", Some(generation), Event::Attached(Attached::Gone), 5);
    sim.run(5);
    assert_eq!(sim.take_log(), ["Start main", "Start main"]);
    assert_eq!(sim.status(), ClientStatus::Running);
}

#[test]
fn only_the_newest_events_are_kept() {
    let mut run = TaskRun::default();
    for number in 0..50 {
        let message = "é".repeat(5000);
        run.push(TaskEvent {
            kind: number.to_string().into(),
            message: message.into(),
            ..TaskEvent::default()
        });
    }
    assert_eq!(run.state.events.len(), 10);
    assert_eq!(run.state.events.last().map(|event| event.kind.as_str()), Some("49"));
    assert!(run.state.events.iter().all(|event| event.message.len() <= 1024));
}

fn any_tasks() -> impl Strategy<Value = Vec<Task>> {
    use LifecycleHook::{Poststart, Poststop, Prestart};
    let hook = prop::option::of((
        prop::sample::select(vec![Prestart, Poststart, Poststop]),
        any::<bool>(),
    ));
    prop::collection::vec((hook, any::<bool>()), 1..5).prop_map(|kinds| {
        let mut tasks: Vec<_> = kinds
            .into_iter()
            .enumerate()
            .map(|(place, (hook, leader))| {
                let lifecycle = hook.map(|(hook, sidecar)| Hook { hook, sidecar });
                Task {
                    leader: leader && lifecycle.is_none(),
                    lifecycle,
                    ..task(&format!("t{place}"))
                }
            })
            .collect();
        tasks.push(task("main"));
        tasks
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, at most one act is under way for a task, an order to stop ends everything, and a
    /// lifecycle that goes through the disk at any step starts nothing that runs.
    #[test]
    fn an_order_to_stop_ends_everything(
        tasks in any_tasks(), batch: bool, steps in prop::collection::vec((0_usize..6, 0_i32..3), 0..12),
    ) {
        let kind = if batch { JobType::Batch } else { JobType::Service };
        let names: Vec<_> = tasks.iter().map(|task| task.name.clone()).collect();
        let mut sim = Sim::new(kind, tasks);
        let mut now = 1;
        sim.run(now);
        for (place, code) in steps {
            now += 2;
            sim.run(now);
            let name = names[place % names.len()].clone();
            if sim.life.tasks[&name].phase == Phase::Running {
                sim.exit(&name, code, now);
            }
            let before: Vec<_> = sim.life.tasks.values().map(|run| run.phase).collect();
            let text = serde_json::to_string(&sim.life).expect("JSON");
            let read: Lifecycle = serde_json::from_str(&text).expect("JSON");
            sim.life = read.restored(&sim.group, at(now));
            sim.take_log();
            sim.run(now);
            let after: Vec<_> = sim.life.tasks.values().map(|run| run.phase).collect();
            prop_assert_eq!(before, after);
            prop_assert!(sim.take_log().is_empty());
        }
        sim.order_stop(3, now);
        for wait in [3, 60, 600] {
            sim.run(now + wait);
            for name in &names {
                if sim.life.tasks[name].phase == Phase::Running {
                    // Only a poststop task is let finish.
                    sim.exit(name, 0, now + wait);
                }
            }
        }
        prop_assert!(sim.life.is_clean(), "{:#?}", sim.life);
    }
}

/// The machine's clock was set back while no agent ran: nothing waits for a time that will not come for years.
#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let year = 365 * 24 * 3600;
    let mut sim = Sim::new(JobType::Service, vec![task("web")]);
    sim.run(year).handle("web", None, Event::Exited(exit(1)), year + 1);
    assert!(matches!(sim.life.tasks["web"].phase, Phase::Backoff { .. }));
    sim.life.tasks.get_mut("web").expect("known").window.count = 0;
    let order = StopOrder { at: at(year + 2), grace: Duration::from_secs(3), forced: false };
    let mut stopping = sim.life.clone();
    stopping.order_stop(order);

    sim.life = sim.life.clone().restored(&sim.group, at(0));
    sim.run(0).run(600);
    assert_eq!(sim.life.tasks["web"].phase, Phase::Running);
    assert!(sim.life.tasks["web"].window.start <= at(600));

    stopping.tasks.get_mut("web").expect("known").phase = Phase::Running;
    sim.life = stopping.restored(&sim.group, at(0));
    sim.run(0).run(3);
    assert_eq!(sim.log.last().map(String::as_str), Some("Stop web"));
}

#[test]
fn a_batch_that_runs_too_long_is_ended_and_fails() {
    let tasks = vec![task("main"), hooked("last", LifecycleHook::Poststop, false)];
    let mut sim = Sim::new(JobType::Batch, tasks);
    sim.group.max_run_duration = Some(Duration::from_secs(60));
    sim.run(1);
    assert_eq!(sim.wake(1), Some(at(61)));
    // The time that was run counts, not the time since the last start.
    sim.exit("main", 1, 50).run(56);
    assert_eq!(sim.wake(56), Some(at(61)));
    sim.run(60);
    assert_eq!(sim.status(), ClientStatus::Running);
    sim.run(61);
    assert_eq!(sim.take_log(), ["Start main", "Start main", "Stop main", "Start last"]);
    assert_eq!(sim.status(), ClientStatus::Running, "what comes after the run is let finish");
    assert_eq!(sim.wake(61), None);
    sim.exit("last", 0, 70);
    assert_eq!(sim.status(), ClientStatus::Failed);
    let words = sim.life.describe(ClientStatus::Failed);
    assert_eq!(words, "Allocation ran longer than max_run_duration");
    assert!(!sim.life.tasks["main"].state.failed, "the task did nothing wrong");
    let killing = sim.life.tasks["main"].state.events.iter().find(|event| event.kind == "Killing");
    assert_eq!(killing.expect("an event").message, words);
}

#[test]
fn a_run_that_ends_in_time_and_a_service_never_expire() {
    let mut sim = Sim::new(JobType::Batch, vec![task("main")]);
    sim.group.max_run_duration = Some(Duration::from_secs(60));
    sim.run(1).exit("main", 0, 59).run(100);
    assert_eq!((sim.status(), sim.wake(100)), (ClientStatus::Complete, None));
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    sim.group.max_run_duration = Some(Duration::from_secs(60));
    sim.run(1).run(1000);
    assert_eq!(sim.status(), ClientStatus::Running);
}

#[test]
fn the_time_run_goes_on_under_another_agent() {
    let mut sim = Sim::new(JobType::Sysbatch, vec![task("main")]);
    sim.group.max_run_duration = Some(Duration::from_secs(60));
    sim.run(1);
    sim.life.began = Timestamp::ZERO;
    let text = serde_json::to_string(&sim.life).expect("JSON");
    let life: Lifecycle = serde_json::from_str(&text).expect("a record of an older version");
    sim.life = life.restored(&sim.group, at(30));
    sim.run(30);
    assert_eq!(sim.wake(30), Some(at(61)));
    sim.run(61);
    assert_eq!(sim.status(), ClientStatus::Failed);
}

#[test]
fn a_restart_that_somebody_asks_for_counts_as_nothing() {
    let mut sim = Sim::new(JobType::Service, vec![task("main")]);
    for n in 1..=5 {
        sim.run(n);
        sim.handle("main", None, Event::RestartOrdered, n);
        sim.run(n);
        assert_eq!(sim.status(), ClientStatus::Running);
    }
    assert_eq!(sim.life.tasks["main"].window.count, 0);
    assert_eq!(sim.life.tasks["main"].state.restarts, 5);
    assert!(sim.kinds("main").contains(&"Restart Signaled"));
}

#[test]
fn ends_are_told_apart() {
    let say = |status: ExitStatus| words::terminated(&status, at(0)).message;
    assert_eq!(say(exit(3)), "Exit Code: 3");
    let killed = ExitStatus { code: Some(137), signal: Some(9), ..ExitStatus::default() };
    assert_eq!(say(killed.clone()), "Exit Code: 137, Signal: 9");
    assert_eq!(say(ExitStatus { oom: true, ..killed }), "Exit Code: 137, Signal: 9, OOM Killed");
}
