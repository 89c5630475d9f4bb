//! The node: restores what it remembers, follows its assignments, and hands each to its runner.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AllocId, Allocation, DeploymentId, DesiredStatus, NodeId, TaskRunState};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Found, Suspects};
use crate::dirs::Dirs;
use crate::ledger::Ledger;
use crate::lifecycle::Lifecycle;
use crate::networks;
use crate::record::{self, Record, RecordError, Store};
use crate::reports::Reports;
use crate::runner::{End, Runner, Shared, Wanted};
use crate::stats::Samples;
use crate::{AllocReport, Assignment, Options, Upstream};
use crate::{garbage, hardware};

/// The longest wait between attempts to read the assignments.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How long a node rests after one of its runners broke.
const REST: Duration = Duration::from_secs(1);

/// The node cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its records cannot be opened.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// A node that runs its allocations. Ended by the token it was started with; its tasks run on. Dropped without
/// [`Self::join`], it stops at once, as if the agent was killed.
pub struct NodeRuntime {
    loops: JoinSet<()>,
    shared: Arc<Shared>,
    damaged: Vec<String>,
}

impl NodeRuntime {
    /// Restores every allocation that this node remembers, then follows its assignments. Returns once the restored ones
    /// are running; needs no server for that.
    ///
    /// # Errors
    /// When the records' directory cannot be made or listed. A single damaged record is set aside and reported by
    /// [`Self::damaged`].
    pub async fn start(
        options: Options,
        upstream: Arc<dyn Upstream>,
        stop: CancellationToken,
    ) -> Result<Self, NodeError> {
        let data_dir = options.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&data_dir)?;
            let found = store.load()?;
            Ok::<_, RecordError>((store, found))
        });
        let (store, found) = opened.await.map_err(|_| RecordError::Io {
            act: "read",
            path: options.data_dir.clone(),
            source: std::io::Error::other("the reader ended early"),
        })??;
        let node = options.node.id;
        let shared = Arc::new(Shared {
            dirs: Dirs::new(&options.data_dir, options.secrets_in_memory),
            drivers: options.drivers.iter().map(|d| (d.name().to_owned(), d.clone())).collect(),
            store,
            reports: Arc::new(Reports::default()),
            ledger: Ledger::default(),
            samples: Samples::default(),
            overfull: Mutex::default(),
            kept: watch::Sender::default(),
            options,
        });
        let damaged: Vec<_> = found.damaged.iter().map(|(_, problem)| problem.clone()).collect();
        for problem in &damaged {
            tracing::error!(
                problem,
                "an allocation's record is damaged and was set aside; its tasks are left alone"
            );
        }
        let mut dispatcher = Dispatcher::new(shared.clone(), stop.clone());
        dispatcher.restore(found);
        let mut loops = JoinSet::new();
        if let Some(contact) = &shared.options.contact {
            loops.spawn(Arc::clone(contact).keep(stop.clone()));
        }
        loops.spawn(garbage::run(shared.clone(), stop.clone()));
        // The reporter ends last, so that what the runners say at their end is sent.
        let runners_ended = CancellationToken::new();
        loops.spawn({
            let (reports, upstream) = (shared.reports.clone(), upstream.clone());
            let (window, ended) = (shared.options.batch_window, runners_ended.clone());
            async move { reports.send_all(node, upstream, window, ended).await }
        });
        loops.spawn(networks::keep_whole(shared.clone(), stop.clone()));
        loops.spawn(async move {
            let _guard = runners_ended.drop_guard();
            dispatcher.run(node, upstream).await;
        });
        Ok(Self { loops, shared, damaged })
    }

    /// Waits until the node has ended.
    pub async fn join(mut self) {
        while self.loops.join_next().await.is_some() {}
    }

    /// Ends it with no chance to tidy up, as SIGKILL does.
    #[cfg(test)]
    pub(crate) async fn kill(mut self) {
        self.loops.shutdown().await;
        // Runners are dropped when the runtime next gets to them.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where a task's log files are: `<task>.stdout.N`, `<task>.stderr.N`. `None` if this node knows no such task.
    pub fn log_dir(&self, alloc: AllocId, task: &str) -> Option<PathBuf> {
        let report = self.shared.reports.of(alloc)?;
        report.tasks.contains_key(task).then(|| self.shared.dirs.logs(alloc))
    }

    /// Whether a task has ended for good, or is not known here any more.
    pub fn is_over(&self, alloc: AllocId, task: &str) -> bool {
        let report = self.shared.reports.of(alloc);
        let task = report.as_ref().and_then(|report| report.tasks.get(task));
        task.is_none_or(|task| task.state == TaskRunState::Dead)
    }

    /// What this node last said of each of its allocations, whether or not a server heard it.
    pub fn statuses(&self) -> Vec<AllocReport> {
        self.shared.reports.latest()
    }

    /// Records that were set aside at the start, in words.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }
}

/// A runner and how to reach it.
struct Entry {
    wanted: watch::Sender<Wanted>,
    /// What the servers were last known to want of it.
    desired: DesiredStatus,
    /// What the runner was last told.
    told: Option<Gist>,
}

/// What of an assignment matters to a runner; the rest mostly echoes what this node reported.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Gist {
    desired: DesiredStatus,
    job_version: u64,
    version_index: u64,
    deployment: Option<DeploymentId>,
    /// Which time the servers could not reach this node: then they are told again, each time. What they are told while
    /// they hold it for cut off still, they take back.
    unknown: Option<u64>,
}

impl Gist {
    fn of(assignment: &Assignment) -> Self {
        let Assignment { alloc, version } = assignment;
        Self {
            desired: alloc.desired,
            job_version: alloc.job_version,
            version_index: version.create_index,
            deployment: alloc.deployment,
            unknown: (alloc.client == model::ClientStatus::Unknown).then_some(alloc.modify_index),
        }
    }
}

/// Whether the servers hold that something runs of which they were told that it is over: they were restored from a backup,
/// or what they were told is on its way still.
fn forgot(shared: &Shared, alloc: &Allocation) -> bool {
    let over = |report: AllocReport| report.client.is_terminal();
    !alloc.client.is_terminal() && shared.reports.of(alloc.id).is_some_and(over)
}

/// Hands assignments to runners.
struct Dispatcher {
    shared: Arc<Shared>,
    stop: CancellationToken,
    entries: BTreeMap<AllocId, Entry>,
    runners: JoinSet<(AllocId, End)>,
    ids: BTreeMap<Id, AllocId>,
    damaged: BTreeSet<AllocId>,
    index: u64,
    /// What the last list that can be relied on named; `None` before the first.
    listed: Option<BTreeSet<AllocId>>,
    suspects: Suspects,
}

impl Dispatcher {
    fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self {
            shared,
            stop,
            entries: BTreeMap::new(),
            runners: JoinSet::new(),
            ids: BTreeMap::new(),
            damaged: BTreeSet::new(),
            index: 0,
            listed: None,
            suspects: Suspects::default(),
        }
    }

    fn restore(&mut self, found: record::Found) {
        self.damaged = found.damaged.into_iter().filter_map(|(alloc, _)| alloc).collect();
        let now = (self.shared.options.clock)();
        let kept = hardware::kept(found.records.iter().map(|record| &*record.alloc));
        self.shared.kept.send_replace(kept);
        // A successor may look for what it replaces before that one's runner is there.
        for record in &found.records {
            self.shared.ledger.expect(record.alloc.id);
        }
        for mut record in found.records {
            let Some(group) = record.job.job.group(&record.alloc.group) else {
                self.shared.ledger.forget(record.alloc.id);
                continue;
            };
            record.lifecycle = record.lifecycle.restored(group, now);
            record.gate = record.gate.map(|gate| gate.restored(now));
            self.spawn(record, Wanted::Unsaid);
        }
    }

    fn spawn(&mut self, record: Record, wanted: Wanted) {
        let (id, desired) = (record.alloc.id, record.alloc.desired);
        let told = match &wanted {
            Wanted::Assigned(assignment) => Some(Gist::of(assignment)),
            Wanted::Unsaid | Wanted::Gone => None,
        };
        let (sender, receiver) = watch::channel(wanted);
        let runner = Runner::new(self.shared.clone(), record, receiver);
        let stop = self.stop.clone();
        let handle = self.runners.spawn(async move { (id, runner.run(stop).await) });
        self.ids.insert(handle.id(), id);
        self.entries.insert(id, Entry { wanted: sender, desired, told });
    }

    async fn run(mut self, node: NodeId, upstream: Arc<dyn Upstream>) {
        let stop = self.stop.clone();
        let mut fetch: BoxFuture<'static, _> = Box::pin(fetch(upstream.clone(), node, self.index));
        let mut pause = audit::FIRST;
        let mut audit = Box::pin(audit::round(self.shared.clone(), Vec::new(), pause));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.runners.join_next_with_id() => {
                    if self.ended(ended) {
                        // The list has not changed, so it has to be asked for as a whole.
                        fetch = Box::pin(fetch_anew(upstream.clone(), node));
                    }
                }
                (index, list) = &mut fetch => {
                    self.dispatch(index, list);
                    fetch = Box::pin(self::fetch(upstream.clone(), node, self.index));
                }
                found = &mut audit => {
                    let strays = self.strays(found);
                    pause = audit::next_pause(pause);
                    audit = Box::pin(audit::round(self.shared.clone(), strays, pause));
                }
            }
        }
        drop((fetch, audit));
        while self.runners.join_next().await.is_some() {}
    }

    /// Of what was found on the machine, what is certainly nobody's.
    fn strays(&mut self, found: Vec<Found>) -> Vec<Found> {
        let Self { entries, listed: Some(listed), damaged, suspects, shared, .. } = self else {
            return Vec::new();
        };
        let ended: BTreeSet<AllocId> = shared
            .reports
            .latest()
            .into_iter()
            .filter(|report| report.client.is_terminal())
            .map(|report| report.alloc)
            .collect();
        let over: BTreeSet<(AllocId, String)> = shared
            .reports
            .latest()
            .into_iter()
            .flat_map(|report| report.tasks.into_iter().map(move |task| (report.alloc, task)))
            .filter(|(_, (_, state))| state.state == TaskRunState::Dead)
            .map(|(alloc, (task, _))| (alloc, task))
            .collect();
        suspects.convict(found, |found| {
            let alloc = found.alloc();
            // A daemon may carry out what an agent asked for before it was killed after the next one has looked.
            let is_over = match found {
                Found::Task { task, .. } => over.contains(&(alloc, task.clone())),
                Found::Dir(_) => false,
                // Its runner could not release it.
                Found::Network(alloc) => ended.contains(alloc),
            };
            !is_over
                && (entries.contains_key(&alloc)
                    || listed.contains(&alloc)
                    || damaged.contains(&alloc))
        })
    }

    /// Takes in a runner's end. Returns whether its allocation needs another one.
    fn ended(&mut self, ended: Result<(Id, (AllocId, End)), tokio::task::JoinError>) -> bool {
        match ended {
            Ok((id, (alloc, _))) => {
                self.ids.remove(&id);
                self.entries.remove(&alloc);
                false
            }
            Err(error) => {
                let Some(alloc) = self.ids.remove(&error.id()) else { return false };
                tracing::error!(%alloc, %error, "an allocation's runner broke; its tasks run on");
                self.entries.remove(&alloc);
                // The next list brings it back; whatever runs must then be found and not started again.
                self.damaged.insert(alloc);
                true
            }
        }
    }

    fn dispatch(&mut self, index: u64, list: Vec<Assignment>) {
        let suspicious = list.is_empty() || index < self.index;
        self.keep_cores(&list, suspicious);
        self.index = index;
        let mut listed = BTreeSet::new();
        for assignment in list {
            let id = assignment.alloc.id;
            listed.insert(id);
            match self.entries.get_mut(&id) {
                Some(entry) => {
                    let gist = Some(Gist::of(&assignment));
                    if entry.told != gist || forgot(&self.shared, &assignment.alloc) {
                        entry.told = gist;
                        entry.desired = assignment.alloc.desired;
                        entry.wanted.send_replace(Wanted::Assigned(assignment));
                    }
                }
                None => self.begin(assignment),
            }
        }
        for (id, entry) in &mut self.entries {
            if listed.contains(id) || matches!(*entry.wanted.borrow(), Wanted::Gone) {
                continue;
            }
            // Servers stop an allocation before they forget it. One that is to run and is missing from an empty or an
            // older list is more likely a server that lost its memory than a wish.
            if suspicious && entry.desired == DesiredStatus::Run {
                tracing::warn!(alloc = %id, index, "the servers do not know this allocation; it runs on");
                continue;
            }
            entry.told = None;
            entry.wanted.send_replace(Wanted::Gone);
        }
        self.listed = (!suspicious).then_some(listed);
    }

    /// Cores that tasks have alone are known before any of them is started. What a list says that cannot be relied on
    /// comes on top.
    fn keep_cores(&self, list: &[Assignment], suspicious: bool) {
        let mut kept = hardware::kept(list.iter().map(|assignment| &*assignment.alloc));
        self.shared.kept.send_if_modified(|known| {
            if suspicious {
                kept.extend(known.iter().copied());
            }
            std::mem::replace(known, kept.clone()) != kept
        });
    }

    /// An allocation that this node has no record of.
    fn begin(&mut self, assignment: Assignment) {
        let Assignment { alloc, version } = &assignment;
        if alloc.client.is_terminal() {
            return;
        }
        let Some(group) = version.job.group(&alloc.group) else {
            tracing::error!(alloc = %alloc.id, group = %alloc.group, "the assigned job has no such group");
            return;
        };
        // It may have been started before: by an agent whose record is lost, or whose last report was not the last word.
        let maybe_running = alloc.client != model::ClientStatus::Pending
            || alloc.desired != DesiredStatus::Run
            || self.damaged.contains(&alloc.id);
        let now = (self.shared.options.clock)();
        let lifecycle = Lifecycle::new(group, maybe_running, now);
        let record = Record::new(alloc.clone(), version.clone(), lifecycle);
        self.spawn(record, Wanted::Assigned(assignment));
    }
}

/// Asks for the whole list after a rest: what broke a runner may break the next one too.
async fn fetch_anew(upstream: Arc<dyn Upstream>, node: NodeId) -> (u64, Vec<Assignment>) {
    tokio::time::sleep(REST).await;
    fetch(upstream, node, 0).await
}

/// Asks until there is an answer.
async fn fetch(upstream: Arc<dyn Upstream>, node: NodeId, after: u64) -> (u64, Vec<Assignment>) {
    let mut backoff = Duration::from_millis(100);
    loop {
        match upstream.assignments(node, after).await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(%error, "assignments cannot be read; what runs, runs on");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}
