//! A driver and servers that live in memory. A [`World`] outlives the drivers made from it, as processes outlive agents.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use driver::{
    Attached, Driver, DriverError, ExecOutput, ExitStatus, Ours, TaskHandle, TaskSpec, TaskStats,
};
use model::{DriverInfo, NodeId};
use serde_json::Value;
use tokio::sync::watch;

use crate::{AllocReport, Assignment, Upstream, UpstreamError};

/// How long a test waits for something, by its own clock, before it says what it has seen instead.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a start is held up, as if the agent died there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    #[default]
    Nowhere,
    /// Before anything is made.
    Before,
    /// After the process runs, before the handle is handed back.
    After,
}

#[derive(Default)]
struct Inner {
    /// By task id.
    procs: BTreeMap<String, Proc>,
    /// Everything that happened, such as `start web`.
    log: Vec<String>,
    next: u64,
    hold: Hold,
    /// Errors for the next starts, and whether another attempt may work.
    refuse: VecDeque<bool>,
    /// Tasks that do not end on a signal but only at the kill.
    deaf: bool,
    /// What commands answer in a task.
    exec_code: i32,
    /// How many more times nothing can be listed.
    blind: u32,
    /// Whether the next wait for a task breaks.
    brittle: bool,
    /// What each task was last started with.
    specs: BTreeMap<String, TaskSpec>,
}

struct Proc {
    number: u64,
    alloc: model::AllocId,
    task: String,
    end: Option<ExitStatus>,
    /// Made and never started, as a container can be.
    made_only: bool,
}

/// The machine.
#[derive(Clone)]
pub(crate) struct World {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
    began: tokio::time::Instant,
}

impl Default for World {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            began: tokio::time::Instant::now(),
        }
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let result = act(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(FakeDriver { world: self.clone() })
    }

    pub(crate) fn hold(&self, hold: Hold) {
        self.change(|inner| inner.hold = hold);
    }

    pub(crate) fn refuse(&self, recoverable: &[bool]) {
        self.change(|inner| inner.refuse.extend(recoverable));
    }

    pub(crate) fn deaf(&self) {
        self.change(|inner| inner.deaf = true);
    }

    pub(crate) fn exec_code(&self, code: i32) {
        self.change(|inner| inner.exec_code = code);
    }

    pub(crate) fn blind(&self, times: u32) {
        self.change(|inner| inner.blind = times);
    }

    pub(crate) fn brittle(&self) {
        self.change(|inner| inner.brittle = true);
    }

    /// Something of ours that no agent remembers.
    pub(crate) fn stray(&self, alloc: model::AllocId, task: &str, made_only: bool) {
        self.change(|inner| {
            inner.next += 1;
            let proc = Proc { number: inner.next, alloc, task: task.into(), end: None, made_only };
            inner.procs.insert(TaskHandle::id(alloc, task), proc);
        });
    }

    /// A task ends by itself.
    pub(crate) fn exit(&self, task: &str, code: i32) {
        self.change(|inner| {
            for proc in inner.procs.values_mut() {
                if proc.task == task && proc.end.is_none() {
                    proc.end = Some(ExitStatus { code: Some(code), ..ExitStatus::default() });
                }
            }
            inner.log.push(format!("exit {task}"));
        });
    }

    /// A task is ended for want of memory.
    pub(crate) fn starve(&self, task: &str) {
        self.change(|inner| {
            for proc in inner.procs.values_mut() {
                if proc.task == task && proc.end.is_none() {
                    let end = ExitStatus { signal: Some(9), oom: true, ..ExitStatus::default() };
                    proc.end = Some(end);
                }
            }
        });
    }

    /// The machine is restarted: nothing runs and nobody knows how it ended.
    pub(crate) fn reboot(&self) {
        self.change(|inner| inner.procs.clear());
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.lock().log.iter().filter(|line| *line == what).count()
    }

    /// What a task was last started with.
    pub(crate) fn spec(&self, task: &str) -> TaskSpec {
        self.lock().specs.get(task).expect("it was started").clone()
    }

    pub(crate) fn running(&self) -> Vec<String> {
        let inner = self.lock();
        let running = inner.procs.values().filter(|proc| proc.end.is_none() && !proc.made_only);
        running.map(|proc| proc.task.clone()).collect()
    }

    pub(crate) fn known(&self) -> usize {
        self.lock().procs.len()
    }

    /// Waits until the log holds `what` `times` times.
    pub(crate) async fn until(&self, what: &str, times: usize) {
        let heard = tokio::time::timeout(LONGEST, self.when(|_| self.count(what) >= times)).await;
        assert!(heard.is_ok(), "no `{what}` for the {times}th time in {:#?}", self.log());
    }

    async fn when(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(self) {
            changed.changed().await.expect("the world holds the sender");
        }
    }

    fn find(&self, handle: &TaskHandle) -> Option<Option<ExitStatus>> {
        let inner = self.lock();
        let proc = inner.procs.get(&handle.task_id)?;
        (handle.state == proc.number && !proc.made_only).then(|| proc.end.clone())
    }

    async fn end_of(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError> {
        let mut changed = self.changed.subscribe();
        loop {
            match self.find(handle) {
                None => return Err(DriverError::NotRunning(handle.task_id.clone())),
                Some(Some(end)) => return Ok(end),
                Some(None) => {}
            }
            changed.changed().await.expect("the world holds the sender");
        }
    }
}

/// A driver over a [`World`].
#[derive(Default)]
pub(crate) struct FakeDriver {
    world: World,
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn fingerprint(&self) -> DriverInfo {
        DriverInfo { detected: true, healthy: true, ..DriverInfo::default() }
    }

    fn validate(&self, _: &BTreeMap<String, Value>) -> Vec<String> {
        Vec::new()
    }

    async fn start(&self, spec: &TaskSpec) -> Result<TaskHandle, DriverError> {
        let task_id = TaskHandle::id(spec.alloc, &spec.task);
        assert!(spec.dirs.secrets.is_dir(), "the node makes the directories first");
        self.world.change(|inner| inner.log.push(format!("ask {}", spec.task)));
        self.world.when(|world| world.lock().hold != Hold::Before).await;
        let number = self.world.change(|inner| {
            if let Some(recoverable) = inner.refuse.pop_front() {
                return Err(if recoverable {
                    DriverError::Start("try again".into())
                } else {
                    DriverError::StartNever("never".into())
                });
            }
            if let Some(proc) = inner.procs.get(&task_id)
                && proc.end.is_none()
                && !proc.made_only
            {
                return Ok(proc.number);
            }
            inner.next += 1;
            let number = inner.next;
            let (alloc, task) = (spec.alloc, spec.task.clone());
            let proc = Proc { number, alloc, task, end: None, made_only: false };
            inner.procs.insert(task_id.clone(), proc);
            inner.specs.insert(spec.task.clone(), spec.clone());
            inner.log.push(format!("start {}", spec.task));
            Ok(number)
        })?;
        self.world.when(|world| world.lock().hold != Hold::After).await;
        Ok(TaskHandle { driver: "fake".into(), task_id, state: Value::from(number) })
    }

    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError> {
        Ok(match self.world.find(handle) {
            None => Attached::Gone,
            Some(None) => Attached::Running,
            Some(Some(end)) => Attached::Exited(end),
        })
    }

    async fn wait(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError> {
        let breaks = self.world.change(|inner| std::mem::take(&mut inner.brittle));
        assert!(!breaks, "this is what a mistake in a driver does");
        self.world.end_of(handle).await
    }

    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError> {
        if signal == "SIGNONE" {
            return Err(DriverError::Signal(signal.to_owned()));
        }
        let task = handle.task_id.rsplit('/').next().unwrap_or_default();
        self.world.change(|inner| inner.log.push(format!("signal {task} {signal}")));
        Ok(())
    }

    async fn set_cores(&self, handle: &TaskHandle, cores: &[u16]) -> Result<(), DriverError> {
        let task = handle.task_id.rsplit('/').next().unwrap_or_default();
        let cores = model::format_cpuset(cores.iter().copied());
        self.world.change(|inner| inner.log.push(format!("cores {task} {cores}")));
        Ok(())
    }

    /// Half a core, by the runtime's clock.
    async fn stats(&self, handle: &TaskHandle) -> Result<Option<TaskStats>, DriverError> {
        let cpu = self.world.began.elapsed().as_nanos() / 2;
        Ok(self.world.find(handle).filter(Option::is_none).map(|_| TaskStats {
            cpu_nanos: u64::try_from(cpu).unwrap_or_default(),
            rss_bytes: 1 << 20,
            ..TaskStats::default()
        }))
    }

    async fn stop(
        &self,
        handle: &TaskHandle,
        signal: &str,
        timeout: Duration,
    ) -> Result<ExitStatus, DriverError> {
        let task = handle.task_id.rsplit('/').next().unwrap_or_default().to_owned();
        let deaf = self.world.change(|inner| {
            inner.log.push(format!("stop {task} {signal}").trim_end().to_owned());
            inner.deaf
        });
        if deaf {
            tokio::time::sleep(timeout).await;
        }
        self.world.change(|inner| {
            let end =
                ExitStatus { signal: Some(if deaf { 9 } else { 15 }), ..ExitStatus::default() };
            if let Some(proc) = inner.procs.get_mut(&handle.task_id) {
                proc.end.get_or_insert(end);
            }
            inner.log.push(format!("stopped {task}"));
        });
        self.world.end_of(handle).await
    }

    async fn destroy(&self, handle: &TaskHandle) -> Result<(), DriverError> {
        self.world.change(|inner| {
            if inner.procs.get(&handle.task_id).is_some_and(|proc| handle.state == proc.number) {
                inner.procs.remove(&handle.task_id);
            }
        });
        Ok(())
    }

    async fn exec(
        &self,
        _: &TaskHandle,
        command: &str,
        _: &[String],
        _: Duration,
    ) -> Result<ExecOutput, DriverError> {
        let exit_code = self.world.change(|inner| {
            inner.log.push(format!("exec {command}"));
            inner.exec_code
        });
        Ok(ExecOutput { exit_code, output: b"out".to_vec() })
    }

    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError> {
        let mut inner = self.world.lock();
        if let Some(left) = inner.blind.checked_sub(1) {
            inner.blind = left;
            return Err(DriverError::Start("blind".into()));
        }
        let ours = inner.procs.iter().map(|(task_id, proc)| Ours {
            handle: TaskHandle {
                driver: "fake".into(),
                task_id: task_id.clone(),
                state: Value::from(proc.number),
            },
            alloc: proc.alloc,
            task: proc.task.clone(),
            running: proc.end.is_none() && !proc.made_only,
        });
        Ok(ours.collect())
    }
}

#[derive(Default)]
struct Desk {
    index: u64,
    list: Vec<Assignment>,
    seen: Vec<AllocReport>,
    calls: usize,
    refuse: usize,
    /// No server answers.
    down: bool,
}

/// Servers that hand out a list and collect reports.
pub(crate) struct FakeUpstream {
    desk: Mutex<Desk>,
    changed: watch::Sender<u64>,
}

impl Default for FakeUpstream {
    fn default() -> Self {
        Self { desk: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl FakeUpstream {
    fn change<R>(&self, act: impl FnOnce(&mut Desk) -> R) -> R {
        let result = act(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn assign(&self, list: Vec<Assignment>) {
        self.change(|desk| {
            desk.index += 1;
            desk.list = list;
        });
    }

    pub(crate) fn down(&self, down: bool) {
        self.change(|desk| desk.down = down);
    }

    pub(crate) fn refuse_reports(&self, times: usize) {
        self.change(|desk| desk.refuse = times);
    }

    pub(crate) fn seen(&self) -> Vec<AllocReport> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).calls
    }

    /// Waits until what was reported satisfies `holds`.
    pub(crate) async fn until(&self, holds: impl Fn(&[AllocReport]) -> bool) {
        let mut changed = self.changed.subscribe();
        let heard = async {
            while !holds(&self.seen()) {
                changed.changed().await.expect("the desk holds the sender");
            }
        };
        let heard = tokio::time::timeout(LONGEST, heard).await;
        assert!(heard.is_ok(), "what was awaited is not in {:#?}", self.seen());
    }

    /// Waits until the newest report satisfies `holds`, and hands it back.
    pub(crate) async fn newest(&self, holds: impl Fn(&AllocReport) -> bool) -> AllocReport {
        self.until(|seen| seen.last().is_some_and(&holds)).await;
        self.seen().pop().expect("it was just there")
    }
}

#[async_trait]
impl Upstream for FakeUpstream {
    async fn assignments(
        &self,
        _: NodeId,
        after: u64,
    ) -> Result<(u64, Vec<Assignment>), UpstreamError> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
                if desk.down {
                    return Err(UpstreamError("down".into()));
                }
                if desk.index > after {
                    return Ok((desk.index, desk.list.clone()));
                }
            }
            changed.changed().await.expect("the desk holds the sender");
        }
    }

    async fn report(&self, _: NodeId, reports: Vec<AllocReport>) -> Result<(), UpstreamError> {
        self.change(|desk| {
            desk.calls += 1;
            if desk.down || desk.refuse > 0 {
                desk.refuse = desk.refuse.saturating_sub(1);
                return Err(UpstreamError("refused".into()));
            }
            desk.seen.extend(reports);
            Ok(())
        })
    }
}
