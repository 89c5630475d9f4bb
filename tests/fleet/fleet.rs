//! Several agents that are one cluster, and what is asked of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::wire::AllocListStub;
use model::{NodeId, NodeStatus};

use crate::agent::{Agent, HERDER, signal, unmount};
use crate::audit::{self, Watch, runs};
use crate::network::{self, Machine, Network};
use crate::repository::Repository;

/// How long anything may take on a loaded machine. Nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may be silent before it is lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(3);

const CONFIG: &str = r#"
server {
  lost_after = "3s"
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
plugin "docker" {
  config {
    enabled = false
  }
}
"#;

/// Those who watch catalogs ask faster than they could shake hands.
const PLAIN_CATALOG: &str = "tls {\n  catalog = false\n}\n";

/// A job of example servers, in some release.
pub(crate) fn web(count: usize, release: &str) -> String {
    format!(
        r#"
job "web" {{
  group "web" {{
    count = {count}
    network {{
      port "http" {{}}
    }}
    update {{
      max_parallel      = 1
      min_healthy_time  = "200ms"
      healthy_deadline  = "40s"
      progress_deadline = "80s"
    }}
    migrate {{
      max_parallel     = 1
      min_healthy_time = "200ms"
    }}
    service {{
      name = "web"
      port = "http"
      check {{
        type     = "http"
        path     = "/health"
        interval = "200ms"
        timeout  = "2s"
      }}
    }}
    task "server" {{
      driver = "raw_exec"
      config {{
        command = {HERDER:?}
        args    = ["example-server", "--bind", "0.0.0.0", "--port", "${{NOMAD_PORT_http}}", "--release", {release:?}]
      }}
      kill_timeout = "2s"
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

/// A cluster. Its agents and tasks end with it.
pub(crate) struct Fleet {
    pub(crate) agents: Vec<Agent>,
    pub(crate) repo: Repository,
    pub(crate) token: String,
    pub(crate) jobs: BTreeMap<String, usize>,
    /// Where agents find the repository, and how often they look.
    url: String,
    interval: &'static str,
    /// What new agents are started with.
    binary: PathBuf,
    pub(crate) network: Network,
    dir: tempfile::TempDir,
}

/// The number that somebody set for this run, or another.
pub(crate) fn rounds(otherwise: u64) -> u64 {
    let set = std::env::var("HERDER_FLEET_ROUNDS").ok().and_then(|text| text.parse().ok());
    set.unwrap_or(otherwise)
}

impl Fleet {
    /// Three servers with `count` example servers on them. None where networks cannot be made.
    pub(crate) fn start(count: usize) -> Option<Self> {
        let mut fleet = Self::bare(|_| {})?;
        fleet.grow(count);
        Some(fleet)
    }

    /// The same, of agents of another version.
    pub(crate) fn start_by(binary: PathBuf, count: usize) -> Option<Self> {
        if !network::available() {
            return None;
        }
        let mut fleet = Self::empty();
        fleet.binary = binary;
        fleet.begin(|_| {});
        fleet.grow(count);
        Some(fleet)
    }

    /// The first agent alone, after something was made of its data directory.
    pub(crate) fn bare(prepare: impl FnOnce(&Agent)) -> Option<Self> {
        Self::found("2s", |_, repo| repo.path().display().to_string(), prepare)
    }

    /// The same, with a repository elsewhere, which everybody looks at so often.
    pub(crate) fn following(
        interval: &'static str,
        serve: impl FnOnce(&Network, &Repository) -> String,
    ) -> Option<Self> {
        Self::found(interval, serve, |_| {})
    }

    fn found(
        interval: &'static str,
        serve: impl FnOnce(&Network, &Repository) -> String,
        prepare: impl FnOnce(&Agent),
    ) -> Option<Self> {
        if !network::available() {
            return None;
        }
        let mut fleet = Self::with(interval, serve);
        fleet.begin(prepare);
        Some(fleet)
    }

    fn begin(&mut self, prepare: impl FnOnce(&Agent)) {
        self.add("a", &["--bootstrap"]);
        prepare(&self.agents[0]);
        self.agents[0].launch();
        self.wait_for("the first agent", |fleet| fleet.agents[0].is_ready().then_some(()));
    }

    /// A network and a repository, and nobody who follows it.
    pub(crate) fn empty() -> Self {
        Self::with("2s", |_, repo| repo.path().display().to_string())
    }

    fn with(interval: &'static str, serve: impl FnOnce(&Network, &Repository) -> String) -> Self {
        let (network, repo) = (Network::new().expect("a network"), Repository::new());
        let fleet = Self {
            agents: Vec::new(),
            token: String::new(),
            jobs: BTreeMap::new(),
            url: serve(&network, &repo),
            interval,
            binary: crate::agent::HERDER.into(),
            repo,
            network,
            dir: tempfile::tempdir().expect("a directory"),
        };
        fleet.repo.write("README", "jobs of a fleet");
        fleet.repo.commit("nothing yet");
        fleet
    }

    /// The address of the machine that is added next.
    pub(crate) fn next_address(&self) -> std::net::Ipv4Addr {
        self.network.next_address()
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Two more servers, and a job.
    pub(crate) fn grow(&mut self, count: usize) {
        self.token = self.wait_for("a join token", |fleet| {
            let made = fleet.agents[0].client().make_join_token("1h").ok()?;
            Some(made.token)
        });
        self.join("b", &[]);
        self.join("c", &[]);
        self.wait_for("three voters", |fleet| fleet.has_voters(3).then_some(()));
        self.deploy(count, "1");
    }

    /// The example servers in this release, and that they run so.
    pub(crate) fn deploy(&mut self, count: usize, release: &str) {
        self.commit(count, release);
        self.wait_settled();
    }

    pub(crate) fn commit(&mut self, count: usize, release: &str) {
        self.push(count, release);
        self.check_now();
    }

    /// A commit that nobody is told of; its ID.
    pub(crate) fn push(&mut self, count: usize, release: &str) -> String {
        self.jobs.insert("web".to_owned(), count);
        self.repo.write("web.nomad.hcl", web(count, release));
        self.repo.commit(&format!("web: release {release}"))
    }

    /// Has whoever leads look at the repository now rather than at its next turn.
    pub(crate) fn check_now(&self) {
        for agent in self.living() {
            let _ = agent.client().with_timeout(Duration::from_secs(1)).check_now(None);
        }
    }

    /// A new agent that is not started yet.
    pub(crate) fn add(&mut self, name: &str, flags: &[&str]) -> usize {
        self.add_configured(name, flags, PLAIN_CATALOG)
    }

    /// The same, with this in its configuration.
    pub(crate) fn add_configured(&mut self, name: &str, flags: &[&str], more: &str) -> usize {
        let machine = self.network.add().expect("a machine");
        self.add_with(machine, name, flags, more)
    }

    /// The same on a machine that is there already.
    pub(crate) fn add_on(&mut self, machine: Machine, name: &str, flags: &[&str]) -> usize {
        self.add_with(machine, name, flags, PLAIN_CATALOG)
    }

    fn add_with(&mut self, machine: Machine, name: &str, flags: &[&str], more: &str) -> usize {
        let dir = self.dir.path().join(name);
        let config = self.config(name);
        std::fs::write(&config, format!("{CONFIG}{more}")).expect("a configuration");
        let own = ["--interval", self.interval, "--repo"].map(str::to_owned);
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        all.extend(own);
        all.push(self.url.clone());
        all.push(format!("--config={}", config.display()));
        let mut agent = Agent::new(name, machine, dir, all);
        agent.binary.clone_from(&self.binary);
        self.agents.push(agent);
        self.agents.len() - 1
    }

    /// The configuration of the agent of this name.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.hcl"))
    }

    /// The flags by which an agent joins with a token.
    pub(crate) fn add_with_token(&mut self, name: &str, token: &str, flags: &[&str]) -> usize {
        let file = self.dir.path().join(format!("{name}.token"));
        std::fs::write(&file, format!("{token}\n")).expect("a token");
        let first = self.agents[0].machine.address.to_string();
        let file = file.display().to_string();
        let mut all = vec!["--join", &first, "--token-file", &file];
        all.extend(flags);
        self.add(name, &all)
    }

    /// A new agent joins, by one line.
    pub(crate) fn join(&mut self, name: &str, flags: &[&str]) -> usize {
        let token = self.token.clone();
        let number = self.add_with_token(name, &token, flags);
        self.agents[number].launch();
        self.wait_ready(number);
        number
    }

    pub(crate) fn wait_ready(&mut self, number: usize) {
        let name = self.agents[number].name.clone();
        self.wait_for(&format!("{name} to be ready"), |fleet| {
            fleet.agents[number].is_ready().then_some(())
        });
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().filter(|agent| agent.lives())
    }

    pub(crate) fn machines(&self) -> Vec<Machine> {
        self.agents.iter().map(|agent| agent.machine.clone()).collect()
    }

    pub(crate) fn catalogs(&self) -> Vec<SocketAddr> {
        self.living().map(Agent::catalog).collect()
    }

    /// Looks at the whole machine from now on, and at these catalogs.
    pub(crate) fn watch(&self, catalogs: &[SocketAddr]) -> Watch {
        Watch::start(self.dir.path().to_owned(), "web", catalogs.to_vec())
    }

    pub(crate) fn processes(&self) -> BTreeMap<String, Vec<u32>> {
        audit::processes(self.dir.path())
    }

    /// Who leads, by its own word; of two the one that was chosen last.
    pub(crate) fn leader(&self) -> Option<usize> {
        let says = |agent: &Agent| agent.raft().filter(|raft| raft.leads).map(|raft| raft.term);
        let leaders = self.agents.iter().enumerate().filter(|(_, agent)| agent.lives());
        leaders
            .filter_map(|(number, agent)| Some((says(agent)?, number)))
            .max()
            .map(|(_, number)| number)
    }

    pub(crate) fn wait_leader(&mut self) -> usize {
        self.wait_for("a leader", |fleet| fleet.leader())
    }

    pub(crate) fn has_voters(&self, number: u64) -> bool {
        let mut all = self.living().map(Agent::raft);
        all.all(|raft| raft.is_some_and(|raft| raft.voters == number && raft.term > 0))
    }

    /// A write, at one agent: whether it was accepted.
    pub(crate) fn write(agent: &Agent, limit: Duration) -> Result<String, String> {
        let made = agent.client().with_timeout(limit).make_join_token("1m");
        made.map(|made| made.id).map_err(|error| error.to_string())
    }

    /// The time until any agent that lives accepts a write.
    pub(crate) fn next_write(&self) -> Duration {
        let begin = Instant::now();
        loop {
            for agent in self.living() {
                if Self::write(agent, Duration::from_secs(1)).is_ok() {
                    return begin.elapsed();
                }
            }
            assert!(begin.elapsed() < PATIENCE, "no write for {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn running(&self, agent: &Agent) -> Vec<AllocListStub> {
        let all = agent.allocations().unwrap_or_default();
        all.into_iter().filter(runs).collect()
    }

    pub(crate) fn node_status(&self, by: usize, node: NodeId) -> Option<NodeStatus> {
        let nodes = self.agents[by].nodes()?;
        nodes.into_iter().find(|one| one.id == node).map(|one| one.status)
    }

    /// Every agent that lives knows the same, and that is as it should be: see [`audit::settled`].
    pub(crate) fn wait_settled(&mut self) {
        let mut why = String::new();
        let deadline = Instant::now() + 2 * PATIENCE;
        while let Err(error) = self.look() {
            if error != why {
                why = error;
            }
            if Instant::now() >= deadline {
                panic!("not settled: {why}\n{}", self.overview());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn look(&self) -> Result<(), String> {
        // What runs where no agent is, is known to nobody, and stays until one comes back.
        let mut processes = BTreeMap::new();
        for agent in self.living() {
            processes.append(&mut audit::processes(&agent.data_dir()));
        }
        let mut first: Option<Vec<AllocListStub>> = None;
        for agent in self.living() {
            let name = &agent.name;
            let all = agent.allocations().ok_or_else(|| format!("{name} does not answer"))?;
            audit::settled(&all, &self.jobs, &processes).map_err(|why| format!("{name}: {why}"))?;
            match &first {
                None => first = Some(all),
                Some(first) if *first != all => return Err(format!("{name} knows something else")),
                Some(_) => {}
            }
        }
        for agent in self.living() {
            for (service, count) in &self.jobs {
                let found = crate::load::passing(agent.catalog(), service);
                let found = found.map_err(|error| format!("{}: {error}", agent.name))?.len();
                if found != *count {
                    return Err(format!(
                        "{} of {count} pass in the catalog of {}",
                        found, agent.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every agent that lives answers with the same index and the same jobs.
    pub(crate) fn wait_agreement(&mut self) {
        self.wait_for("all agents to agree", |fleet| {
            let known = fleet.living().map(|agent| {
                let jobs = agent.client().jobs(&client::Listing::default()).ok()?;
                Some((jobs.index, format!("{:?} {:?}", jobs.into_value(), agent.nodes()?)))
            });
            let known: Option<Vec<_>> = known.collect();
            known?.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        });
    }

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
                panic!("waited {PATIENCE:?} for {what}\n{}", self.overview());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn overview(&self) -> String {
        let mut text = String::new();
        for agent in self.living() {
            let _ = writeln!(text, "--- {}: {:?}", agent.name, agent.raft());
            for node in agent.nodes().unwrap_or_default() {
                let _ = writeln!(text, "  node {} {:?}", node.name, node.status);
            }
            for alloc in agent.allocations().unwrap_or_default() {
                let _ = writeln!(
                    text,
                    "  {} {} v{} on {}: {:?} {:?} {}",
                    alloc.id,
                    alloc.name,
                    alloc.job_version,
                    alloc.node_name,
                    alloc.desired_status,
                    alloc.client_status,
                    alloc.client_description
                );
            }
        }
        let _ = writeln!(text, "processes: {:?}", self.processes());
        text
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            agent.kill();
        }
        for _ in 0..20 {
            let pids = audit::all_processes(self.dir.path());
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                signal(pid, "KILL");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.map(std::path::Path::new) {
            if point.starts_with(self.dir.path()) {
                unmount(point);
            }
        }
        if std::thread::panicking() && std::env::var_os("HERDER_FLEET_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}
