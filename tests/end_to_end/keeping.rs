//! What a node keeps and clears away: files of what is over, sticky disks, host volumes, time limits; and what is asked
//! of it and told to it from outside.

use crate::agent::Agent;
use crate::docker;
use crate::load::get;
use crate::repository::Repository;
use model::{ClientStatus, RevisionOutcome};

fn batch(name: &str, command: &str, more: &str) -> String {
    format!(
        r#"
job "{name}" {{
  type = "batch"
  group "g" {{
    {more}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    task "work" {{
      driver = "raw_exec"
      config {{
        command = "sh"
        args    = ["-c", "{command}"]
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

fn configured(repo: &Repository, client: &str) -> Agent {
    Agent::start_configured(&format!(
        "client {{\n{client}\n}}\nrepo \"r\" {{\n  url = {:?}\n}}\n",
        repo.path().display().to_string()
    ))
}

fn said(output: &std::process::Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

#[test]
fn the_oldest_files_go_when_there_are_too_many() {
    let repo = Repository::new();
    let mut agent = configured(
        &repo,
        // Nothing may depend on how full this machine's disk is.
        "gc_interval = \"1s\"\ngc_max_allocs = 2\ngc_disk_usage_threshold = 100\ngc_inode_usage_threshold = 100",
    );
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        repo.write(&format!("{name}.nomad.hcl"), batch(name, &format!("echo {name}"), ""));
        repo.commit(name);
        let id = agent.wait_for(&format!("the end of {name}"), |agent| {
            let alloc = agent.client().job_allocations(name).ok()?.into_value().pop()?;
            (alloc.client_status == ClientStatus::Complete).then_some(alloc.id)
        });
        ids.push(id.to_string());
    }
    let words = agent.wait_for("the files of the first to go", |agent| {
        let words = said(&agent.herder(&["alloc", "logs", &ids[0]]));
        words.contains("removed by its node to free disk space").then_some(words)
    });
    assert!(!words.contains("one\n"), "{words}");
    assert!(!agent.data_dir().join("alloc").join(&ids[0]).exists());
    assert_eq!(said(&agent.herder(&["alloc", "logs", &ids[2]])), "three\n");
    agent.wait_for("the servers to know of it", |agent| {
        let words = said(&agent.herder(&["alloc", "status", &ids[0]]));
        words.contains("its files were removed to free disk space").then_some(())
    });
    // It knows that also after a crash, and nothing runs twice.
    agent.kill();
    agent.launch();
    agent.wait_for("the same words", |agent| {
        let words = said(&agent.herder(&["alloc", "logs", &ids[0]]));
        words.contains("removed by its node to free disk space").then_some(())
    });
    for name in ["one", "two", "three"] {
        let allocs = agent.client().job_allocations(name).expect("an answer").into_value();
        assert_eq!(allocs.len(), 1, "{name}");
    }
    let metrics = get(agent.http, "/v1/metrics?format=prometheus").expect("metrics");
    assert!(metrics.contains("nomad_client_allocs_complete 3"), "{metrics}");
}

fn counting(release: u32) -> String {
    format!(
        r#"
job "count" {{
  group "g" {{
    ephemeral_disk {{
      sticky = true
    }}
    update {{
      min_healthy_time  = "50ms"
      healthy_deadline  = "20s"
      progress_deadline = "60s"
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "sh"
        args    = ["-c", "echo {release} >> $NOMAD_ALLOC_DIR/data/lines; echo {release} >> $NOMAD_TASK_DIR/lines; exec sleep 1000"]
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

#[test]
fn a_sticky_disk_survives_updates() {
    let repo = Repository::new();
    repo.write("count.nomad.hcl", counting(1));
    let commit = repo.commit("first");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    for release in 2..=3 {
        repo.write("count.nomad.hcl", counting(release));
        let commit = repo.commit("next");
        agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    }
    let id = agent.wait_running("count", 1).remove(0).id.to_string();
    for path in ["alloc/data/lines", "t/local/lines"] {
        agent.wait_for(&format!("three lines in {path}"), |agent| {
            let words = said(&agent.herder(&["alloc", "fs", &id, path]));
            (words == "1\n2\n3\n").then_some(())
        });
    }
    let listed = said(&agent.herder(&["alloc", "fs", &id, "t"]));
    assert!(listed.contains("local/") && !listed.contains("secrets"), "{listed}");
    let refused = agent.herder(&["alloc", "fs", &id, "t/secrets"]);
    assert!(!refused.status.success() && said(&refused).contains("not allowed"));
    let refused = agent.herder(&["alloc", "fs", &id, "../../client/node-id"]);
    assert!(!refused.status.success() && said(&refused).contains("must stay"));
}

#[test]
fn a_run_that_takes_too_long_fails() {
    let repo = Repository::new();
    let limit = "max_run_duration = \"1s\"";
    repo.write("slow.nomad.hcl", batch("slow", "sleep 1000", limit));
    repo.commit("slow");
    let mut agent = Agent::start(&repo, &[]);
    let alloc = agent.wait_for("the failure", |agent| {
        let alloc = agent.client().job_allocations("slow").ok()?.into_value().pop()?;
        (alloc.client_status == ClientStatus::Failed).then_some(alloc)
    });
    assert_eq!(alloc.client_description, "Allocation ran longer than max_run_duration");
    let words = said(&agent.herder(&["alloc", "status", &alloc.id.to_string()]));
    assert!(words.contains("Killing"), "{words}");
}

#[test]
fn tasks_are_told_and_asked_over_http() {
    let repo = Repository::new();
    repo.write("told.nomad.hcl", crate::jobs::sleeper("told"));
    let commit = repo.commit("told");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let id = agent.wait_running("told", 1).remove(0).id;
    let text = id.to_string();
    assert!(agent.herder(&["alloc", "restart", &text]).status.success());
    agent.wait_for("the restart", |agent| {
        let alloc = agent.client().allocation(id).ok()?.into_value();
        (alloc.stub.task_states.get("sleep")?.restarts == 1).then_some(())
    });
    agent.wait_running("told", 1);
    let wrong = agent.herder(&["alloc", "signal", "-s", "SIGNONE", &text]);
    assert!(
        !wrong.status.success() && said(&wrong).contains("is not a signal"),
        "{}",
        said(&wrong)
    );
    assert!(agent.herder(&["alloc", "signal", "-s", "SIGCONT", &text]).status.success());
    agent.wait_for("the event", |agent| {
        said(&agent.herder(&["alloc", "status", &text])).contains("Signaling").then_some(())
    });
    let usage = agent.client().allocation_usage(id).expect("an answer");
    assert!(!usage.timestamp.is_zero());
    let node = agent.client().allocation(id).expect("an answer").into_value().stub.node_id;
    let host = agent.client().host_usage(node).expect("an answer");
    assert!(host.memory.total > 0 && !host.cpu.is_empty() && host.alloc_dir_stats.size > 0);
    let words = said(&agent.herder(&["node", "status", &node.to_string()]));
    for part in ["Allocated Resources", "10 / ", "Host Resource Utilization"] {
        assert!(words.contains(part), "{part}\n{words}");
    }
    let metrics = get(agent.http, "/v1/metrics?format=prometheus").expect("metrics");
    for line in ["nomad_client_allocs_running 1", "nomad_client_allocs_restart_total 1"] {
        assert!(metrics.lines().any(|have| have == line), "{line}\n{metrics}");
    }
    assert!(agent.herder(&["alloc", "stop", &text]).status.success());
    agent.wait_for("another one in its place", |agent| {
        let running = agent.running("told");
        running.iter().any(|alloc| alloc.id != id).then_some(())
    });
}

fn with_volume(image: &str) -> String {
    format!(
        r#"
job "db" {{
  type = "batch"
  group "g" {{
    volume "data" {{
      type   = "host"
      source = "disk"
    }}
    task "t" {{
      driver = "docker"
      config {{
        image   = "{image}"
        command = "/bin/sh"
        args    = ["-c", "cat /data/in && echo out > /data/out"]
      }}
      volume_mount {{
        volume      = "data"
        destination = "/data"
      }}
      resources {{
        cpu    = 10
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

#[test]
fn a_job_waits_for_a_node_that_has_its_volume() {
    if !docker::available() {
        return;
    }
    let repo = Repository::new();
    repo.write("db.nomad.hcl", with_volume(docker::HERDER_IMAGE));
    repo.commit("db");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_for("the reason", |agent| {
        let words = said(&agent.herder(&["job", "status", "db"]));
        words.contains("missing host volume disk").then_some(())
    });
}

#[test]
fn a_container_sees_a_directory_of_its_node() {
    if !docker::available() {
        return;
    }
    let disk = tempfile::tempdir().expect("a directory");
    std::fs::write(disk.path().join("in"), "from the node\n").expect("a file");
    let repo = Repository::new();
    repo.write("db.nomad.hcl", with_volume(docker::HERDER_IMAGE));
    repo.commit("db");
    let volume =
        format!("host_volume \"disk\" {{\n  path = {:?}\n}}", disk.path().display().to_string());
    let mut agent = configured(&repo, &volume);
    let id = agent.wait_for("its end", |agent| {
        let alloc = agent.client().job_allocations("db").ok()?.into_value().pop()?;
        (alloc.client_status == ClientStatus::Complete).then_some(alloc.id.to_string())
    });
    assert_eq!(said(&agent.herder(&["alloc", "logs", &id])), "from the node\n");
    let written = std::fs::read_to_string(disk.path().join("out")).expect("what the task wrote");
    assert_eq!(written, "out\n");
}
