//! One agent of a fleet, on a machine of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use client::{Answer, Client, Listing, Tls};
use model::NodeId;
use model::wire::{AllocListStub, NodeListStub};

use crate::network::Machine;

/// The binary under test.
pub(crate) const HERDER: &str = env!("CARGO_BIN_EXE_herder");
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);

pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) machine: Machine,
    /// Its data directory, log and configuration.
    dir: PathBuf,
    /// Those it is started with each time.
    flags: Vec<String>,
    /// What it is started with: the binary under test, or one of another version.
    pub(crate) binary: PathBuf,
    child: Option<Child>,
}

/// What an agent says of Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raft {
    pub(crate) leads: bool,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) voters: u64,
}

impl Agent {
    pub(crate) fn new(name: &str, machine: Machine, dir: PathBuf, flags: Vec<String>) -> Self {
        std::fs::create_dir_all(&dir).expect("a directory");
        Self { name: name.to_owned(), machine, dir, flags, binary: HERDER.into(), child: None }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from((self.machine.address, 4646))
    }

    /// Where people reach it.
    pub(crate) fn address(&self) -> String {
        format!("https://{}", self.http())
    }

    /// The certificate of the cluster's authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.data_dir().join("tls/ca.pem")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn catalog(&self) -> SocketAddr {
        SocketAddr::from((self.machine.address, 8500))
    }

    /// Starts it without waiting for anything.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let _ = std::fs::remove_file(self.data_dir().join("agent.json"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("agent.log"))
            .expect("a log");
        let child = self
            .machine
            .command(&self.binary)
            .args(["agent", "--log-level=debug", "--name", &self.name, "--bind"])
            .arg(self.machine.address.to_string())
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(&self.flags)
            .env_remove("HERDER_JOIN_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.child = Some(child);
    }

    /// Whether all its faces are there.
    pub(crate) fn is_ready(&mut self) -> bool {
        if let Some(status) = self.ended() {
            panic!("{} ended ({status}):\n{}", self.name, self.log());
        }
        self.data_dir().join("agent.json").exists()
    }

    /// How it ended, if it was started and ended by itself.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("a child"))
    }

    pub(crate) fn lives(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `nsenter` becomes what it starts, so this is the agent itself.
            let _ = child.kill();
            child.wait().expect("reaped");
        }
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "TERM");
            let status = child.wait().expect("reaped");
            assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.log());
        }
    }

    /// Waits until the log says this.
    pub(crate) fn wait_log(&self, words: &str) {
        let begin = std::time::Instant::now();
        while !self.log().contains(words) {
            assert!(begin.elapsed() < crate::fleet::PATIENCE, "no `{words}`:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> Client {
        // Before it is ready there is no authority yet, and nobody is believed.
        let authority = std::fs::read_to_string(self.authority()).ok();
        let tls = Tls { authority, ..Tls::default() };
        Client::with_tls(&self.address(), None, &tls).expect("a client").with_timeout(ANSWER)
    }

    /// Runs a command of the binary on this agent's machine, against it.
    pub(crate) fn herder(&self, arguments: &[&str]) -> Output {
        self.machine
            .command(HERDER)
            .args(arguments)
            .env("HERDER_ADDR", self.address())
            .env("HERDER_CACERT", self.authority())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("herder runs")
    }

    pub(crate) fn raft(&self) -> Option<Raft> {
        let own = self.client().with_timeout(Duration::from_secs(1)).agent_self().ok()?;
        let figure = |part: &str, name: &str| own.stats.get(part)?.get(name).cloned();
        Some(Raft {
            leads: figure("nomad", "leader")? == "true",
            role: figure("raft", "state")?,
            term: figure("raft", "term")?.parse().ok()?,
            voters: figure("raft", "num_peers")?.parse::<u64>().ok()? + 1,
        })
    }

    pub(crate) fn node_id(&self) -> NodeId {
        let text = std::fs::read_to_string(self.data_dir().join("agent.json")).expect("agent.json");
        let info: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        info["node_id"].as_str().and_then(|id| id.parse().ok()).expect("the node's ID")
    }

    /// All allocations, as this agent knows them.
    pub(crate) fn allocations(&self) -> Option<Vec<AllocListStub>> {
        self.client().allocations(&Listing::default()).ok().map(Answer::into_value)
    }

    /// All nodes, as this agent knows them.
    pub(crate) fn nodes(&self) -> Option<Vec<NodeListStub>> {
        self.client().nodes(&Listing::default()).ok().map(Answer::into_value)
    }

    /// The instances of a service that pass, as its DNS server names them.
    pub(crate) fn dns(&self, service: &str) -> Vec<String> {
        let output = self
            .machine
            .command("dig")
            .args(["+short", "+tries=1", "+time=2", "-p", "8600"])
            .arg(format!("@{}", self.machine.address))
            .args([&format!("{service}.service.consul"), "SRV"])
            .output()
            .expect("dig runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("DEBUG")).collect();
            let last = lines.len().saturating_sub(60);
            eprintln!("--- {} ({})\n{}", self.name, self.dir.display(), lines[last..].join("\n"));
        }
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Takes off what is mounted there.
pub(crate) fn unmount(dir: &Path) {
    let _ = Command::new("umount").arg("-l").arg(dir).stderr(Stdio::null()).status();
}
