//! What operators of a fleet do by hand: look at the servers, hand over, remove, keep a backup, bring it back, and go on
//! after a quorum was lost.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use model::RevisionOutcome;
use model::wire::{AgentMembers, RaftConfiguration, SnapshotInfo};

use crate::agent::{Agent, PATIENCE};
use crate::jobs::{HERDER, WebJob};
use crate::load::get;
use crate::repository::Repository;

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(HERDER).args(arguments).stdin(Stdio::null()).output().expect("herder runs")
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// An agent of a cluster; killed with the test.
struct Server {
    dir: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
    http: String,
    rpc: String,
}

impl Server {
    fn start(dir: &Path, name: &str, flags: &[&str]) -> Self {
        let dir = dir.join(name);
        let flags = ["--name", name].iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        let mut server = Self { dir, flags, child: None, http: String::new(), rpc: String::new() };
        server.launch();
        server
    }

    fn data_dir(&self) -> String {
        self.dir.display().to_string()
    }

    fn launch(&mut self) {
        let file = self.dir.join("agent.json");
        let _ = std::fs::remove_file(&file);
        let log = self.dir.with_extension("log");
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.create(true).append(true).open(&log).expect("a log")
        };
        let mut command = Command::new(HERDER);
        command.arg("agent").arg("--data-dir").arg(&self.dir).args(&self.flags);
        for port in ["http", "catalog", "dns", "rpc"] {
            command.args([&format!("--{port}-port"), "0"]);
        }
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        self.child = Some(command.spawn().expect("the agent starts"));
        let info: serde_json::Value = wait_for("agent.json", || {
            let child = self.child.as_mut().expect("a child");
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("{status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
        });
        let text = |key: &str| info[key].as_str().expect("an address").to_owned();
        (self.http, self.rpc) = (text("http"), text("rpc"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    fn herder(&self, arguments: &[&str]) -> Output {
        let address = format!("http://{}", self.http);
        run(&[arguments, &["-address", &address]].concat())
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.herder(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn refused(&self, arguments: &[&str], words: &str) {
        let output = self.herder(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }

    fn members(&self) -> Option<AgentMembers> {
        let output = self.herder(&["server", "members", "-json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Names of those that vote.
    fn voters(&self) -> Vec<String> {
        let members = self.members().map(|found| found.members).unwrap_or_default();
        let voters = members.into_iter().filter(|one| one.tags["voter"] == "true");
        let mut names: Vec<String> = voters.map(|one| one.name).collect();
        names.sort();
        names
    }

    fn leader(&self) -> Option<String> {
        serde_json::from_str(&get(self.http.parse().ok()?, "/v1/status/leader").ok()?).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.with_extension("log"));
            eprintln!("--- {}\n{}", self.dir.display(), log.unwrap_or_default());
        }
    }
}

/// Three servers and a worker.
fn fleet(dir: &Path) -> (Vec<Server>, Server) {
    let first = Server::start(dir, "a", &["--bootstrap"]);
    let token = wait_for("a token", || {
        let output = first.herder(&["token", "join"]);
        output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
    });
    let file = dir.join("token");
    std::fs::write(&file, token).expect("written");
    let file = file.display().to_string();
    let join = ["--join", &first.rpc, "--token-file", &file];
    let second = Server::start(dir, "b", &join);
    let third = Server::start(dir, "c", &join);
    let worker = Server::start(dir, "w", &[&join[..], &["--role", "worker"]].concat());
    wait_for("three voters", || (first.voters() == ["a", "b", "c"]).then_some(()));
    wait_for("the worker", || {
        let workers = first.members()?.workers;
        (workers.len() == 1 && workers[0].name == "w").then_some(())
    });
    (vec![first, second, third], worker)
}

#[test]
fn servers_are_looked_at_from_everywhere_handed_over_removed_and_recovered() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut servers, worker) = fleet(dir.path());
    let leader = wait_for("a leader", || servers[0].leader());
    for server in servers.iter().chain([&worker]) {
        wait_for("all know the leader", || (server.leader()? == leader).then_some(()));
        wait_for("all know the servers", || {
            let peers = get(server.http.parse().ok()?, "/v1/status/peers").ok()?;
            let peers: Vec<String> = serde_json::from_str(&peers).ok()?;
            (peers.len() == 3 && peers.contains(&leader)).then_some(())
        });
        // What only the leader knows is asked of it. One that has just come to lead has not heard of all yet.
        wait_for("the leader has heard of all", || {
            let found = server.done(&["operator", "raft", "list-peers", "-json"]);
            let found: RaftConfiguration = serde_json::from_str(&found).expect("JSON");
            let heard = found.servers.iter().all(|one| one.voter && one.last_contact.is_some());
            heard.then_some(())
        });
        assert!(server.done(&["node", "lost"]).contains("Listening"));
    }
    worker.refused(&["operator", "raft", "transfer-leadership"], "ask the agent of a server");

    // From a server that does not lead, to one that is named.
    let now = servers.iter().position(|server| server.rpc == leader).expect("one of the three");
    let (next, other) = ((now + 1) % 3, (now + 2) % 3);
    let to = servers[next].rpc.clone();
    let asked = ["operator", "raft", "transfer-leadership", "-peer-address", &to, "-json"];
    assert!(servers[other].done(&asked).contains(&to));
    wait_for("the new leader", || (servers[now].leader()? == to).then_some(()));

    // Neither the leader nor one that answers is removed by accident.
    let name = |at: usize| ["a", "b", "c"][at];
    servers[now].refused(&["server", "remove", name(other)], "answers");
    servers[now].refused(&["node", "purge", "-force", name(next)], "hand the leadership over");
    servers[other].kill();
    wait_for("its loss to be seen", || {
        let members = servers[now].members()?.members;
        let lost = members.iter().find(|one| one.name == name(other))?;
        (lost.status == "failed").then_some(())
    });
    servers[now].done(&["server", "remove", name(other)]);
    wait_for("its vote to be gone", || (servers[now].voters().len() == 2).then_some(()));

    // Both are lost; one goes on with what it has.
    let data_dir = servers[now].data_dir();
    let held = run(&["operator", "raft", "recover", "-data-dir", &data_dir]);
    assert!(said(&held).contains("another agent"), "{}", said(&held));
    let nothing = run(&["operator", "raft", "recover", "-data-dir", &worker.data_dir()]);
    assert!(said(&nothing).contains("no server's log"), "{}", said(&nothing));
    servers[next].kill();
    servers[now].kill();
    let done = run(&["operator", "raft", "recover", "-data-dir", &data_dir]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("the only voter"), "{}", said(&done));
    servers[now].launch();
    wait_for("it leads alone", || (servers[now].voters() == [name(now)]).then_some(()));
    // Others join it, so its address is right again.
    wait_for("a token", || servers[now].herder(&["token", "join"]).status.success().then_some(()));
    wait_for("its address", || (servers[now].leader()? == servers[now].rpc).then_some(()));
}

#[test]
fn a_backup_is_kept_looked_into_and_brought_back() {
    let repo = Repository::new();
    repo.write("web.nomad.hcl", WebJob::new("web", 1).text());
    let commit = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup.snap").display().to_string();
    let data_dir = agent.data_dir().display().to_string();

    // Nobody but the agent's owner.
    let other = dir.path().display().to_string();
    let refused = agent.herder(&["operator", "snapshot", "save", &file, "-data-dir", &other]);
    assert!(said(&refused).contains("owner.key"), "{}", said(&refused));
    let save = ["operator", "snapshot", "save", &file, "-data-dir", &data_dir];
    let saved = agent.herder(&save);
    assert!(saved.status.success(), "{}", said(&saved));
    assert!(!agent.herder(&save).status.success(), "it is not overwritten");
    let inspected = run(&["operator", "snapshot", "inspect", &file, "-json"]);
    let info: SnapshotInfo = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!((info.contents["Jobs"], info.contents["Nodes"]), (1, 1));
    assert!(said(&run(&["operator", "snapshot", "inspect", &file])).contains("Jobs"));

    // A flipped byte is found.
    let broken = dir.path().join("broken.snap");
    let mut bytes = std::fs::read(&file).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&broken, bytes).expect("written");
    let broken = broken.display().to_string();
    let found = run(&["operator", "snapshot", "inspect", &broken]);
    assert!(!found.status.success() && said(&found).contains("checksum"), "{}", said(&found));

    let onto = run(&["operator", "snapshot", "restore", &file, "-data-dir", &data_dir]);
    assert!(said(&onto).contains("another agent"), "{}", said(&onto));
    agent.kill();
    let onto = run(&["operator", "snapshot", "restore", &file, "-data-dir", &data_dir]);
    assert!(said(&onto).contains("is there already"), "{}", said(&onto));

    let new = dir.path().join("new").display().to_string();
    let restored = run(&["operator", "snapshot", "restore", &file, "-data-dir", &new]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(said(&restored).contains("1 jobs"), "{}", said(&restored));
    let server = Server::start(dir.path(), "new", &["--bootstrap"]);
    assert!(server.done(&["job", "status", "web"]).contains("web"));
    assert!(server.done(&["log"]).contains("release 1"));
    // It is a cluster of its own, which others can join.
    wait_for("a token", || server.herder(&["token", "join"]).status.success().then_some(()));
    wait_for("its address", || (server.leader()? == server.rpc).then_some(()));
}
