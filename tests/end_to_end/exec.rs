//! Tasks that are kept apart, with the real agent. Skipped, with a word, without root; with `CI=true` that is a failure.

use std::path::Path;

use model::{ClientStatus, RevisionOutcome, TaskRunState};

use crate::agent::{Agent, processes_in};
use crate::repository::Repository;

/// Whether tasks can be kept apart here.
pub(crate) fn available() -> bool {
    let root = nix_is_root();
    assert!(root || std::env::var_os("CI").is_none(), "it takes root");
    if !root {
        eprintln!("skipped: it takes root");
    }
    root
}

fn nix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt as _;
        meta.uid() == 0
    })
}

/// A page server of busybox's, its page in its own directory, with checks from outside and inside.
fn server(name: &str, page: &str) -> String {
    format!(
        r#"
job "{name}" {{
  group "web" {{
    count = 2
    network {{
      port "http" {{}}
    }}
    update {{
      max_parallel      = 1
      min_healthy_time  = "100ms"
      healthy_deadline  = "20s"
      progress_deadline = "60s"
    }}
    service {{
      name = "{name}"
      port = "http"
      check {{
        type     = "http"
        path     = "/page"
        interval = "200ms"
        timeout  = "2s"
      }}
      check {{
        type     = "script"
        task     = "server"
        command  = "/bin/sh"
        args     = ["-c", "test \"$(id -un)\" = nobody && grep -q {page} /local/page"]
        interval = "1s"
        timeout  = "5s"
      }}
    }}
    task "server" {{
      driver = "exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "echo {page} > /local/page; exec busybox httpd -f -p $NOMAD_PORT_http -h /local"]
      }}
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

/// A batch job of one command.
fn batch(name: &str, driver: &str, config: &str) -> String {
    format!(
        r#"
job "{name}" {{
  type = "batch"
  group "g" {{
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    task "t" {{
      driver = "{driver}"
      config {{
        {config}
      }}
      resources {{
        cpu    = 20
        memory = 64
      }}
    }}
  }}
}}
"#
    )
}

/// Control groups and mounts of an agent's tasks.
fn traces(agent: &Agent) -> Vec<String> {
    let id = std::fs::read_to_string(agent.data_dir().join("client/node-id")).expect("an identity");
    let mut found = Vec::new();
    let trees = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let trees = trees.map(|tree| tree.path()).chain([Path::new("/sys/fs/cgroup").to_owned()]);
    for tree in trees {
        let groups = std::fs::read_dir(tree.join("herder.slice").join(id.trim()));
        let groups = groups.into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(groups.filter(|path| path.is_dir()).map(|path| path.display().to_string()));
    }
    let data = agent.data_dir().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    found.extend(mounts.lines().filter(|line| line.contains(&data)).map(str::to_owned));
    found
}

/// The page servers. Checks come and go, and so do the children a server forks, one for each request.
fn servers(agent: &Agent) -> Vec<u32> {
    let serves = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("httpd"))
    };
    let all: Vec<u32> = processes_in(&agent.data_dir()).into_iter().filter(serves).collect();
    let parent = |pid: &u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    // Who ended while this looked has no parent any more and was no server.
    let stands = |pid: &u32| parent(pid).is_some_and(|parent| !all.contains(&parent));
    all.iter().copied().filter(stands).collect()
}

#[test]
fn a_server_rolls_out_outlives_the_agent_and_leaves_nothing() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    repo.write("web.nomad", server("web", "one"));
    let first = repo.commit("web: one");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let before: Vec<_> = agent.wait_running("web", 2).iter().map(|alloc| alloc.id).collect();
    let servers = servers(&agent);
    assert_eq!(servers.len(), 2);
    agent.kill();
    agent.launch();
    let after: Vec<_> = agent.wait_running("web", 2).iter().map(|alloc| alloc.id).collect();
    assert_eq!(before, after);
    assert_eq!(self::servers(&agent), servers, "the same processes run on");
    repo.write("web.nomad", server("web", "two"));
    let second = repo.commit("web: two");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    agent.wait_running("web", 2);
    assert!(!traces(&agent).is_empty());
    repo.remove("web.nomad");
    repo.write("other.nomad", batch("other", "exec", "command = \"true\""));
    repo.commit("web: gone");
    agent.wait_for("an approval to be asked for or the end", |agent| {
        agent.herder(&["hold", "approve", "web"]);
        agent.running("web").is_empty().then_some(())
    });
    agent.wait_for("nothing to be left of its processes", |agent| {
        // The agent itself is called with the directory's name.
        (processes_in(&agent.data_dir()).len() <= 1).then_some(())
    });
    let groups = |agent: &Agent| traces(agent).iter().any(|trace| trace.starts_with("/sys/fs"));
    agent.wait_for("its control groups to be gone", |agent| (!groups(agent)).then_some(()));
}

#[test]
fn how_a_task_ended_is_told_apart() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    let shell =
        |script: &str| format!("command = \"/bin/sh\"\n        args = [\"-c\", {script:?}]");
    let hungry = "x=$(head -c 400000000 /dev/zero | tr '\\0' x); echo no";
    repo.write("hungry.nomad", batch("hungry", "exec", &shell(hungry)))
        .write("fails.nomad", batch("fails", "exec", &shell("exit 3")))
        .write("killed.nomad", batch("killed", "exec", &shell("kill -9 $$")))
        .write(
            "root.nomad",
            batch("root", "exec", &shell("id"))
                .replace("driver =", "user = \"root\"\n      driver ="),
        )
        .write(
            "java.nomad",
            batch(
                "java",
                "java",
                "class = \"/local/No\"\n        jvm_options = [\"-Xmx32m\", \"-Xshare:auto\"]",
            ),
        );
    repo.commit("ends of all kinds");
    let mut agent = Agent::start(&repo, &[]);
    for (job, words) in [
        ("hungry", "OOM Killed"),
        ("fails", "Exit Code: 3"),
        ("killed", "Signal: 9"),
        ("root", "user `root` is not allowed on this node"),
        ("java", "Exit Code: 1"),
    ] {
        let said = agent.wait_for(&format!("the end of `{job}`"), |agent| {
            let allocs = agent.client().job_allocations(job).ok()?.into_value();
            let alloc =
                allocs.into_iter().find(|alloc| alloc.client_status == ClientStatus::Failed)?;
            let task = alloc.task_states.get("t")?.clone();
            (task.state == TaskRunState::Dead).then_some(task)
        });
        let events: Vec<_> =
            said.events.iter().map(|event| event.display_message.clone()).collect();
        assert!(events.iter().any(|event| event.contains(words)), "{job}: {words} in {events:?}");
        let oom = events.iter().any(|event| event.contains("OOM"));
        assert_eq!(oom, job == "hungry", "{job}: {events:?}");
    }
}
