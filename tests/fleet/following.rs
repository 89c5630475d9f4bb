//! Output that is followed by way of another agent than the one that runs the task.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use model::AllocId;

use crate::agent::{Agent, HERDER};
use crate::fleet::Fleet;

/// More than fits into one file of a log.
const LINES: usize = 300_000;

/// A task that says something when it is told to, on this node.
fn teller(job: &str, node: &str, dir: &Path) -> String {
    let script = format!(
        "wait() {{ while [ ! -e {dir}/{job}.$1 ]; do sleep 0.02; done; }}; \
         echo begin; wait many; seq 1 {LINES}; wait end; echo end",
        dir = dir.display()
    );
    format!(
        r#"
job {job:?} {{
  type = "batch"
  constraint {{
    attribute = "$${{node.unique.name}}"
    value     = {node:?}
  }}
  group "g" {{
    reschedule {{
      attempts = 0
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", {script:?}]
      }}
      logs {{
        max_files     = 10
        max_file_size = 1
      }}
    }}
  }}
}}
"#
    )
    .replace("$$", "$")
}

struct Follower {
    what: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(agent: &Agent, alloc: AllocId) -> Self {
        let mut child = agent
            .machine
            .command(HERDER)
            .args(["alloc", "logs", "-f", &alloc.to_string()])
            .env("HERDER_ADDR", agent.address())
            .env("HERDER_CACERT", agent.authority())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("herder runs");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { what: format!("{alloc} by {}", agent.name), child, lines }
    }

    fn expect(&mut self, wanted: &str) {
        let line = self.lines.next().map(|line| line.expect("a line"));
        if line.as_deref() != Some(wanted) {
            let _ = self.child.kill();
            let mut said = String::new();
            let stderr = self.child.stderr.take().expect("its errors");
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                said += &line;
            }
            panic!("{}: {line:?} instead of {wanted:?}; {said}", self.what);
        }
    }

    /// Whether it says that all was well.
    fn ends(mut self) -> bool {
        assert!(self.lines.next().is_none(), "{}: there is more", self.what);
        self.child.wait().expect("reaped").success()
    }
}

fn allocation(fleet: &mut Fleet, job: &str) -> AllocId {
    fleet.wait_for(&format!("{job} to run"), |fleet| {
        let running = fleet.running(&fleet.agents[0]);
        running.into_iter().find(|alloc| alloc.job_id.as_str() == job).map(|alloc| alloc.id)
    })
}

#[test]
fn logs_are_followed_by_way_of_any_agent_to_the_end() {
    let Some(mut fleet) = Fleet::start(1) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    let other = fleet.join("e", &["--role", "worker"]);
    let dir = tempfile::tempdir().expect("a directory");
    let go = |job: &str, step: &str| {
        std::fs::write(dir.path().join(format!("{job}.{step}")), "").expect("a file");
    };
    for (job, node) in [("on-server", "c"), ("on-worker", "d")] {
        fleet.repo.write(&format!("{job}.nomad.hcl"), teller(job, node, dir.path()));
    }
    fleet.repo.commit("tellers");
    fleet.check_now();
    for job in ["on-server", "on-worker"] {
        let alloc = allocation(&mut fleet, job);
        // Servers ask the node; workers ask a server, whoever's the allocation is; the node itself answers at once.
        let mut followers: Vec<Follower> = [0, 1, 2, worker, other]
            .map(|asked| Follower::start(&fleet.agents[asked], alloc))
            .into_iter()
            .collect();
        followers.iter_mut().for_each(|follower| follower.expect("begin"));
        // One that goes away holds up nobody.
        followers.swap_remove(0).child.kill().expect("killed");
        go(job, "many");
        for follower in &mut followers {
            (1..=LINES).for_each(|number| follower.expect(&number.to_string()));
        }
        go(job, "end");
        for mut follower in followers {
            follower.expect("end");
            assert!(follower.ends());
        }
        // Whole, and longer than what goes from agent to agent at once.
        for asked in [0, other] {
            let output = fleet.agents[asked].herder(&["alloc", "logs", &alloc.to_string()]);
            let text = String::from_utf8(output.stdout).expect("text");
            assert!(output.status.success() && text.lines().count() == LINES + 2);
        }
    }
}

#[test]
fn a_follower_hears_of_the_end_of_the_node_and_a_worker_changes_nothing() {
    let Some(mut fleet) = Fleet::start(1) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    let dir = tempfile::tempdir().expect("a directory");
    fleet.repo.write("mute.nomad.hcl", teller("mute", "c", dir.path()));
    fleet.repo.commit("one that waits");
    fleet.check_now();
    let alloc = allocation(&mut fleet, "mute");
    let id = alloc.to_string();
    for order in [&["alloc", "restart", &id][..], &["alloc", "signal", "-s", "SIGUSR1", &id]] {
        let output = fleet.agents[worker].herder(order);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("agent of a server"), "{said}");
    }
    let mut followers: Vec<Follower> =
        [0, worker].map(|asked| Follower::start(&fleet.agents[asked], alloc)).into_iter().collect();
    followers.iter_mut().for_each(|follower| follower.expect("begin"));
    fleet.agents[2].kill();
    for follower in followers {
        assert!(!follower.ends(), "it was not told that there is no more");
    }
}
