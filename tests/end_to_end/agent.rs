//! An agent of its own for a test.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::Client;
use model::wire::{AllocListStub, DeploymentView, JobView, RepoView, RevisionEntry};
use model::{ClientStatus, RevisionOutcome};

use crate::jobs::HERDER;
use crate::repository::Repository;

/// How long anything may take on a loaded machine. Nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running agent with its data directory.
pub(crate) struct Agent {
    /// Followed by a flag; none where the configuration file says what is followed.
    repo: Option<PathBuf>,
    dir: tempfile::TempDir,
    pub(crate) flags: Vec<String>,
    child: Option<Child>,
    pub(crate) http: SocketAddr,
    pub(crate) catalog: SocketAddr,
    pub(crate) dns: SocketAddr,
}

impl Agent {
    /// Starts an agent that follows a repository on this machine.
    pub(crate) fn start(repo: &Repository, flags: &[&str]) -> Self {
        Self::start_in(repo, flags, |_| {})
    }

    /// The same, with a data directory that `prepare` made something of.
    pub(crate) fn start_in(repo: &Repository, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::begin(Some(repo.path().to_owned()), flags, "", prepare)
    }

    /// Starts an agent that follows what its configuration file says.
    pub(crate) fn start_configured(config: &str) -> Self {
        Self::begin(None, Vec::new(), config, |_| {})
    }

    fn begin(
        repo: Option<PathBuf>,
        mut flags: Vec<String>,
        config: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let dir = tempfile::tempdir().expect("a temporary directory");
        if !config.is_empty() {
            let path = dir.path().join("agent.hcl");
            std::fs::write(&path, config).expect("a configuration file");
            flags.push(format!("--config={}", path.display()));
        }
        let mut agent = Self { repo, dir, flags, child: None, http: any, catalog: any, dns: any };
        prepare(&agent.data_dir());
        agent.launch();
        agent
    }

    /// Starts the agent again, on the same data and any free ports.
    pub(crate) fn launch(&mut self) {
        let file = self.data_dir().join("agent.json");
        let _ = std::fs::remove_file(&file);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("agent.log"))
            .expect("a log");
        let said = self.flags.iter().any(|flag| flag.starts_with("--log-level"));
        let level = if said { None } else { Some("--log-level=debug") };
        let repo = self.repo.iter().flat_map(|repo| [OsStr::new("--repo"), repo.as_os_str()]);
        let child = Command::new(HERDER)
            .args(["agent", "--dev", "--http-port=0", "--catalog-port=0", "--dns-port=0"])
            .args(level)
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(repo)
            .args(&self.flags)
            // What somebody's shell holds never counts when an agent reads.
            .envs(["NOMAD_VAR_seconds", "HERDER_VAR_seconds"].map(|name| (name, "77")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.child = Some(child);
        let info: serde_json::Value = self.wait_for("agent.json", |agent| {
            if let Some(child) = &mut agent.child
                && let Some(status) = child.try_wait().expect("a child")
            {
                panic!("the agent ended with {status}:\n{}", agent.log());
            }
            std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        });
        let address =
            |key: &str| info[key].as_str().expect("an address").parse().expect("an address");
        (self.http, self.catalog, self.dns) = (address("http"), address("catalog"), address("dns"));
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.http), None).expect("a client")
    }

    /// What the agent logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// Ends the agent at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Asks the agent to end, and waits for it.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "TERM");
            let status = child.wait().expect("reaped");
            assert!(status.success(), "the agent ended with {status}:\n{}", self.log());
        }
    }

    /// Waits until `look` gives something; says what it waited for, and what the agent logged, when it takes too long.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if Instant::now() >= deadline {
                panic!("waited {PATIENCE:?} for {what}\n{}\n{}", self.overview(), self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn overview(&self) -> String {
        let parts = [&["status"][..], &["log"], &["deployment", "list"]];
        let said =
            parts.map(|part| String::from_utf8_lossy(&self.herder(part).stdout).into_owned());
        said.join("\n")
    }

    /// Runs a command of the binary against this agent.
    pub(crate) fn herder(&self, arguments: &[&str]) -> Output {
        Command::new(HERDER)
            .args(arguments)
            .env("HERDER_ADDR", format!("http://{}", self.http))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("herder runs")
    }

    /// A job's allocations that are to run and do.
    pub(crate) fn running(&self, job: &str) -> Vec<AllocListStub> {
        let allocs =
            self.client().job_allocations(job).map(client::Answer::into_value).unwrap_or_default();
        allocs
            .into_iter()
            .filter(|alloc| {
                alloc.client_status == ClientStatus::Running
                    && alloc.desired_status == model::DesiredStatus::Run
            })
            .collect()
    }

    pub(crate) fn wait_running(&mut self, job: &str, count: usize) -> Vec<AllocListStub> {
        self.wait_for(&format!("{count} running allocations of `{job}`"), |agent| {
            Some(agent.running(job)).filter(|running| running.len() == count)
        })
    }

    /// A job in its desired version.
    pub(crate) fn job(&self, id: &str) -> JobView {
        self.client().job(id).unwrap_or_else(|error| panic!("job `{id}`: {error}")).into_value()
    }

    /// The only repository that is followed, and how it is.
    pub(crate) fn repo_view(&self) -> RepoView {
        let status = self.client().gitops_status(None).expect("an answer").into_value();
        status.repos.into_iter().next().expect("a repository is followed")
    }

    /// The revision of a commit, once the agent took it in.
    pub(crate) fn revision(&self, commit: &str) -> Option<RevisionEntry> {
        let revisions = self
            .client()
            .revisions(None, Some(100))
            .map(client::Answer::into_value)
            .unwrap_or_default();
        revisions.into_iter().find(|entry| entry.revision.commit.as_str() == commit)
    }

    pub(crate) fn wait_revision(&mut self, commit: &str) -> RevisionEntry {
        self.wait_for(&format!("revision {commit}"), |agent| agent.revision(commit))
    }

    pub(crate) fn wait_outcome(&mut self, commit: &str, outcome: RevisionOutcome) -> RevisionEntry {
        self.wait_for(&format!("revision {commit} to be {}", outcome.as_str()), |agent| {
            agent.revision(commit).filter(|entry| entry.outcome == outcome)
        })
    }

    pub(crate) fn wait_deployment(
        &mut self,
        job: &str,
        what: &str,
        is: impl Fn(&DeploymentView) -> bool,
    ) -> DeploymentView {
        self.wait_for(&format!("the deployment of `{job}` to be {what}"), |agent| {
            agent
                .client()
                .job_deployment(job)
                .ok()
                .and_then(client::Answer::into_value)
                .filter(|deployment| is(deployment))
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}", self.log());
        }
        crate::docker::remove_containers_of(&self.data_dir());
        crate::network::remove_networks_of(&self.data_dir());
        kill_what_lives_in(&self.data_dir());
        unmount_what_lies_in(&self.data_dir());
    }
}

/// Takes off what the agent mounted, so that the directory can be removed.
fn unmount_what_lies_in(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| point.starts_with(dir)) {
        let _ = Command::new("umount").arg("-l").arg(point).stderr(Stdio::null()).status();
    }
}

/// Ends every process that was started with a directory beneath `dir` as its `NOMAD_ALLOC_DIR`, or runs in it.
fn kill_what_lives_in(dir: &Path) {
    for _ in 0..20 {
        let pids = processes_in(dir);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            signal(pid, "KILL");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that belong to the tasks of a data directory, helpers included.
pub(crate) fn processes_in(dir: &Path) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let text = dir.display().to_string();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let read =
                |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let mentions = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(&text);
            cwd.starts_with(dir) || mentions(read("environ")) || mentions(read("cmdline"))
        })
        .filter(|pid| {
            // A zombie is dead already; its parent reaps it.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
        })
        .collect()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}
