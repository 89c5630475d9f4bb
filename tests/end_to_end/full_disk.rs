//! A disk that a task's own writes fill: tasks run on, the agent says so in words, and once there is room
//! again (and it was restarted, if it asked for that) it does what it could not do before. Skipped, with a word, without root, which it takes to mount a small disk; with `CI=true` that is
//! a failure.

use std::path::Path;
use std::process::Command;

use model::RevisionOutcome;

use crate::agent::{Agent, processes_in};
use crate::exec::available;
use crate::repository::Repository;

/// Megabytes of the agent's disk.
const SIZE: u64 = 64;

fn mount(dir: &Path) {
    std::fs::create_dir_all(dir).expect("a directory");
    let options = format!("size={SIZE}m,mode=700");
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "herder-test"])
        .arg(dir)
        .status()
        .expect("mount runs");
    assert!(status.success(), "mount {}", dir.display());
}

/// A job that runs a script for ever.
fn job(name: &str, script: &str) -> String {
    format!(
        r#"
job "{name}" {{
  group "g" {{
    ephemeral_disk {{
      size = 10
    }}
    update {{
      min_healthy_time  = "50ms"
      healthy_deadline  = "80s"
      progress_deadline = "85s"
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", {script:?}]
      }}
      logs {{
        max_files     = 1
        max_file_size = 1
      }}
      resources {{
        cpu    = 10
        memory = 10
      }}
    }}
  }}
}}
"#
    )
}

/// The process of a job's only task, without its helper.
fn process(agent: &Agent, job: &str) -> Vec<u32> {
    let name = format!("NOMAD_JOB_NAME={job}");
    let is = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair == name.as_bytes())
    };
    processes_in(&agent.data_dir()).into_iter().filter(is).collect()
}

fn is_full(agent: &Agent) -> bool {
    let probe = agent.data_dir().join("probe");
    let full = std::fs::write(&probe, vec![0; 4096]).is_err();
    let _ = std::fs::remove_file(probe);
    full
}

#[test]
fn a_full_disk_stops_no_task_and_is_recovered_from() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    let outside = tempfile::tempdir().expect("a directory");
    let (fill, free) = (outside.path().join("fill"), outside.path().join("free"));
    let filler = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; cat /dev/zero > $NOMAD_ALLOC_DIR/data/waste; \
         while [ ! -e {} ]; do cat /dev/zero >> $NOMAD_ALLOC_DIR/data/waste; sleep 0.2; done; \
         rm $NOMAD_ALLOC_DIR/data/waste; exec sleep 100000",
        fill.display(),
        free.display()
    );
    repo.write("steady.nomad", job("steady", "exec sleep 100000"))
        .write("filler.nomad", job("filler", &filler));
    let first = repo.commit("one that is steady and one that fills");
    let mut agent = Agent::start_in(&repo, &[], mount);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let steady = agent.wait_running("steady", 1).remove(0);
    let pid = process(&agent, "steady");
    assert_eq!(pid.len(), 1);
    std::fs::write(&fill, "").expect("told to fill");
    agent.wait_for("the disk to be full", |agent| is_full(agent).then_some(()));

    repo.write("late.nomad", job("late", "exec sleep 100000"));
    let late = repo.commit("one more, for which there is no room");
    agent.wait_for("the agent to say what is wrong", |agent| {
        let log = agent.log().to_lowercase();
        (log.contains("no space left") || log.contains("disk is full")).then_some(())
    });
    assert_eq!(process(&agent, "steady"), pid, "what runs runs on");
    assert!(process(&agent, "late").is_empty(), "nothing is started that could not be remembered");
    // Reading needs no disk.
    assert_eq!(agent.running("steady").len(), 1);

    std::fs::write(&free, "").expect("told to free");
    agent.wait_for("room", |agent| (!is_full(agent)).then_some(()));
    // The log of decisions is closed once it could not be written to; the agent has said what to do then. What could not
    // be fetched from the repository is fetched again.
    if agent.log().contains("make room and restart the agent") {
        agent.kill();
        agent.launch();
    }
    agent.wait_outcome(&late, RevisionOutcome::Deployed);
    agent.wait_running("late", 1);
    assert_eq!(process(&agent, "steady"), pid);
    // All of it was written down.
    agent.kill();
    agent.launch();
    assert_eq!(agent.wait_running("steady", 1).remove(0).id, steady.id);
    agent.wait_running("late", 1);
    agent.wait_running("filler", 1);
    assert_eq!(process(&agent, "steady"), pid);
    assert_eq!(process(&agent, "late").len(), 1);
}
