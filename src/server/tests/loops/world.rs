//! A server over a log on disk, with repositories that are maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use consensus::{Consensus, Options};
use gitrepo::{CommitInfo, FileKind, Head, Observation, PollStatus, TreeFile};
use model::{BlobId, CommitId, DriverInfo, Node, NodeId, NodeResources, Timestamp, seeded_uuid};
use server::{
    FleetOptions, IntakeOptions, Repository, RevisionSource, Server, ServerOptions, SourceError,
};
use state::{Command, State};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// A job file with nothing to place: no node is there.
pub(crate) fn job(id: &str, content: u32) -> String {
    format!(
        "job \"{id}\" {{\n  group \"g\" {{\n    task \"t\" {{\n      driver = \"raw_exec\"\n      config {{\n        \
         command = \"true{content}\"\n      }}\n    }}\n  }}\n}}\n"
    )
}

/// The same with this many bytes of data in it.
pub(crate) fn long_job(id: &str, size: usize) -> String {
    let data = "x".repeat(size);
    job(id, 1).replacen("group", &format!("meta {{\n data = \"{data}\"\n }}\n group"), 1)
}

#[derive(Default)]
struct Content {
    /// Each commit with the one before and its files.
    commits: BTreeMap<String, (Option<String>, BTreeMap<String, String>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    head: Option<String>,
    prefix: String,
}

/// A repository in memory.
#[derive(Clone, Default)]
struct Map(Arc<Mutex<Content>>);

impl Map {
    fn with<T>(&self, look: impl FnOnce(&mut Content) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Map {
    fn files(
        &self,
        commit: &CommitId,
        selects: impl Fn(&str) -> bool,
    ) -> Result<Vec<TreeFile>, SourceError> {
        self.with(|map| {
            let (_, files) = map.commits.get(commit.as_str()).ok_or_else(unknown)?;
            let selected = files.iter().filter(|(path, _)| selects(path));
            Ok(selected
                .map(|(path, blob)| TreeFile {
                    path: path.clone(),
                    blob: blob.as_str().into(),
                    kind: match map.blobs.get(blob) {
                        Some(bytes) if bytes.starts_with(b"link: ") => FileKind::Symlink,
                        _ => FileKind::File,
                    },
                })
                .collect())
        })
    }
}

fn unknown() -> SourceError {
    SourceError::Failed("there is no such object".to_owned())
}

fn info(id: &str) -> CommitInfo {
    CommitInfo {
        id: id.into(),
        parents: Vec::new(),
        author: "A <a@example.org>".into(),
        subject: "a commit".into(),
        committed_at: Timestamp::ZERO,
        tree: "a tree".into(),
    }
}

#[async_trait]
impl RevisionSource for Map {
    async fn commit(&self, commit: &CommitId) -> Result<CommitInfo, SourceError> {
        self.with(|map| map.commits.contains_key(commit.as_str()))
            .then(|| info(commit.as_str()))
            .ok_or_else(unknown)
    }

    async fn tree(&self, commit: &CommitId) -> Result<Vec<TreeFile>, SourceError> {
        let prefix = self.with(|map| map.prefix.clone());
        self.files(commit, |path| path.starts_with(&prefix))
    }

    async fn beside(
        &self,
        commit: &CommitId,
        folders: &BTreeSet<String>,
    ) -> Result<Vec<TreeFile>, SourceError> {
        let folder_of = |path: &str| path.rsplit_once('/').map_or("", |(f, _)| f).to_owned();
        self.files(commit, |path| folders.contains(&folder_of(path)))
    }

    async fn beneath(&self, commit: &CommitId, folder: &str) -> Result<Vec<TreeFile>, SourceError> {
        self.files(commit, |path| path.starts_with(&format!("{folder}/")))
    }

    async fn blob(&self, blob: &BlobId, _: u64) -> Result<Vec<u8>, SourceError> {
        self.with(|map| map.blobs.get(blob.as_str()).cloned().ok_or_else(unknown))
    }

    async fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, SourceError> {
        self.with(|map| {
            let mut at = Some(new.as_str().to_owned());
            while let Some(commit) = at {
                if commit == old.as_str() {
                    return Ok(true);
                }
                at = map.commits.get(&commit).ok_or_else(unknown)?.0.clone();
            }
            Ok(false)
        })
    }

    async fn resolve(&self, revision: &str) -> Result<CommitId, SourceError> {
        Ok(revision.into())
    }

    fn selects(&self, path: &str) -> bool {
        self.with(|map| path.starts_with(&map.prefix))
    }

    fn selects_all(&self) -> bool {
        self.with(|map| map.prefix.is_empty())
    }

    async fn check_now(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn status(&self) -> PollStatus {
        PollStatus::default()
    }
}

struct Running {
    server: Server,
    consensus: Consensus,
    stop: CancellationToken,
    observers: BTreeMap<String, mpsc::Sender<Observation>>,
}

pub(crate) struct World {
    dir: TempDir,
    repos: BTreeMap<String, Map>,
    running: Option<Running>,
    commits: u32,
    /// What every repository's files are read with, after the next restart.
    pub(crate) inputs: jobfile::Inputs,
    /// What the server knows of its fleet, after the next restart.
    pub(crate) fleet: FleetOptions,
}

impl World {
    pub(crate) async fn open(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut world = Self {
            dir,
            repos: BTreeMap::new(),
            running: None,
            commits: 0,
            inputs: jobfile::Inputs::default(),
            fleet: FleetOptions::default(),
        };
        world.start(names).await;
        world
    }

    async fn start(&mut self, names: &[&str]) {
        let options = Options::new(self.dir.path().join("raft"), 1);
        let consensus = Consensus::open(options).await.expect("the log opens");
        let stop = CancellationToken::new();
        let mut observers = BTreeMap::new();
        let mut repositories = Vec::new();
        for name in names {
            let (sender, observations) = mpsc::channel(16);
            let source = self.repos.entry((*name).to_owned()).or_default().clone();
            repositories.push(Repository {
                name: (*name).to_owned(),
                url: String::new(),
                source: Arc::new(source),
                observations,
                intake: IntakeOptions { inputs: self.inputs.clone(), ..IntakeOptions::default() },
            });
            observers.insert((*name).to_owned(), sender);
        }
        let options = ServerOptions {
            consensus: consensus.clone(),
            repositories,
            clock: Arc::new(|| Timestamp::from_secs(1_000)),
            stop: stop.clone(),
        };
        let server = Server::start_in_fleet(options, self.fleet.clone());
        self.running = Some(Running { server, consensus, stop, observers });
        for name in names {
            if self.repos[*name].with(|map| map.head.is_some()) {
                self.observe(name).await;
            }
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.running.as_ref().expect("it runs").server
    }

    async fn stop(&mut self) {
        let Running { server, consensus, stop, .. } = self.running.take().expect("it runs");
        stop.cancel();
        timeout(LONG, server.join()).await.expect("the loops end");
        drop(server);
        consensus.close().await;
    }

    pub(crate) async fn restart(&mut self, names: &[&str]) {
        self.stop().await;
        self.start(names).await;
    }

    pub(crate) async fn close(mut self) {
        self.stop().await;
    }

    /// Registers a node with room for thousands.
    pub(crate) async fn large_node(&self) {
        let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
        let node = Node {
            id: NodeId::new(seeded_uuid(&[b"node"])),
            name: "n1".into(),
            datacenter: "dc1".into(),
            pool: "default".into(),
            drivers: [("raw_exec".to_owned(), driver)].into(),
            resources: NodeResources {
                cpu: 100_000_000,
                memory_mb: 100_000_000,
                disk_mb: 100_000_000,
                ..NodeResources::default()
            },
            ..Node::default()
        };
        let command = Command::RegisterNode { node: Box::new(node), at: Timestamp::ZERO };
        self.server().propose(command).await.expect("is registered");
    }

    /// Registers a node that is nothing but there.
    pub(crate) async fn join(&self, name: &str) -> NodeId {
        let id = NodeId::new(seeded_uuid(&[name.as_bytes()]));
        let node = Node { id, name: name.to_owned(), ..Node::default() };
        let command = Command::RegisterNode { node: Box::new(node), at: Timestamp::ZERO };
        self.server().propose(command).await.expect("is registered");
        id
    }

    /// Only paths that begin so are followed from now on.
    pub(crate) fn paths(&self, repo: &str, prefix: &str) {
        self.repos[repo].with(|map| map.prefix = prefix.to_owned());
    }

    /// Commits on top of the head, and waits until that is taken in.
    pub(crate) async fn commit(&mut self, repo: &str, files: &[(&str, String)]) -> String {
        let parent = self.repos[repo].with(|map| map.head.clone());
        self.take(repo, parent, files).await
    }

    /// The same as a history of its own.
    pub(crate) async fn rewrite(&mut self, repo: &str, files: &[(&str, String)]) -> String {
        self.take(repo, None, files).await
    }

    async fn take(
        &mut self,
        repo: &str,
        parent: Option<String>,
        files: &[(&str, String)],
    ) -> String {
        self.commits += 1;
        let id = format!("{:040x}", self.commits);
        self.repos[repo].with(|map| {
            let mut tree = BTreeMap::new();
            for (path, text) in files {
                let blob = seeded_uuid(&[text.as_bytes()]).to_string();
                tree.insert((*path).to_owned(), blob.clone());
                map.blobs.insert(blob, text.clone().into_bytes());
            }
            map.commits.insert(id.clone(), (parent, tree));
            map.head = Some(id.clone());
        });
        self.observe(repo).await;
        let head = Some(CommitId::from(id.as_str()));
        self.until("the commit is taken in", |state| {
            state.repo(repo).is_some_and(|record| record.head == head)
        })
        .await;
        id
    }

    async fn observe(&self, repo: &str) {
        let head = self.repos[repo].with(|map| map.head.clone()).expect("there is a commit");
        let head = Head { commit: info(&head), branch: "main".into() };
        let observation =
            Observation { repo: repo.to_owned(), at: Timestamp::from_secs(999), result: Ok(head) };
        let observer = &self.running.as_ref().expect("it runs").observers[repo];
        observer.send(observation).await.expect("somebody looks");
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&State) -> bool) {
        let mut index = self.server().index();
        let wait = async {
            while !done(&self.server().state()) {
                index.changed().await.expect("the log is open");
            }
        };
        timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}, in time"));
    }

    /// The jobs that are not to stop.
    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.server().state();
        state.jobs().filter(|job| !job.stopped).map(|job| job.id.to_string()).collect()
    }

    /// The jobs whose removal is held.
    pub(crate) fn held(&self) -> Vec<String> {
        let state = self.server().state();
        let files = state.repos().flat_map(|record| record.files.values());
        let mut held: Vec<String> = files
            .filter(|file| file.removal_held)
            .flat_map(|file| file.jobs.iter().map(ToString::to_string))
            .collect();
        held.sort();
        held
    }

    pub(crate) fn version(&self, job: &str) -> u64 {
        let state = self.server().state();
        let record = state.job(&job.into()).expect("is known");
        record.current().expect("has a version").version
    }

    /// What is wrong with a file, in words.
    pub(crate) fn problems(&self, repo: &str, path: &str) -> String {
        let state = self.server().state();
        let file = state.repo(repo).and_then(|record| record.files.get(path)).expect("is known");
        let words: Vec<&str> =
            file.problems.iter().map(|problem| problem.message.as_str()).collect();
        words.join("; ")
    }
}
