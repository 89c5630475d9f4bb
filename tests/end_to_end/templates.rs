//! Templates: rendered before a task starts, from the job file or from the repository at the allocation's commit.

use std::path::PathBuf;

use model::{DeploymentStatus, RevisionOutcome};

use crate::agent::Agent;
use crate::repository::Repository;

/// A job that writes down what it found.
fn job(count: u32, extra: &str) -> String {
    format!(
        r#"
job "t" {{
  group "g" {{
    count = {count}
    update {{
      max_parallel      = 1
      min_healthy_time  = "100ms"
      healthy_deadline  = "60s"
      health_check      = "task_states"
    }}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "echo \"$GREETING\" > $NOMAD_TASK_DIR/seen; exec sleep 3600"]
      }}
      env {{
        COLOR = "blue"
      }}
      template {{
        destination = "local/data.txt"
        data        = <<EOF
{{{{ env "COLOR" | toUpper }}}} {{{{ env "NOMAD_ALLOC_INDEX" }}}} {{{{ env "meta.rack" }}}}{{{{ env "attr.kernel.name" }}}}
EOF
      }}
      template {{
        destination = "secrets/env"
        env         = true
        data        = "GREETING=\"hello from {{{{ env \"NOMAD_JOB_NAME\" }}}}\""
      }}
      {extra}
    }}
  }}
}}
"#
    )
}

const FROM_REPOSITORY: &str = r#"
      template {
        source      = "repo://config/app.tpl"
        destination = "${NOMAD_TASK_DIR}/app.conf"
        perms       = "0600"
      }
"#;

fn local(agent: &Agent, alloc: impl std::fmt::Display, file: &str) -> PathBuf {
    agent.data_dir().join("alloc").join(alloc.to_string()).join("t/local").join(file)
}

fn text(agent: &mut Agent, alloc: impl std::fmt::Display, file: &str) -> String {
    let path = local(agent, alloc, file);
    agent
        .wait_for(file, |_| std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
}

#[test]
fn templates_are_rendered_before_the_task_starts() {
    let repo = Repository::new();
    repo.write("t.nomad.hcl", job(1, ""));
    let commit = repo.commit("t: templates");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let alloc = agent.wait_running("t", 1)[0].id;
    assert_eq!(text(&mut agent, alloc, "data.txt"), "BLUE 0 linux\n");
    assert_eq!(text(&mut agent, alloc, "seen"), "hello from t\n");
}

#[test]
fn a_commit_that_changes_a_template_of_the_repository_rolls_out_and_back() {
    let repo = Repository::new();
    repo.write("config/app.tpl", "one {{ env \"COLOR\" }}\n");
    repo.write("jobs/t.nomad.hcl", job(2, FROM_REPOSITORY));
    let first = repo.commit("t: one");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let old = agent.wait_running("t", 2);
    for alloc in &old {
        assert_eq!(text(&mut agent, alloc.id, "app.conf"), "one blue\n");
    }

    // A file that nobody uses changes no job.
    repo.write("config/other.tpl", "x");
    let idle = repo.commit("other: new");
    agent.wait_outcome(&idle, RevisionOutcome::Unchanged);

    // What lies in the work tree does not count, what was committed does.
    repo.write("config/app.tpl", "two {{ env \"COLOR\" }}\n");
    let second = repo.commit("app: two");
    repo.write("config/app.tpl", "never committed\n");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let new = agent.wait_running("t", 2);
    assert!(new.iter().all(|alloc| alloc.job_version == 1));
    assert!(new.iter().all(|alloc| old.iter().all(|old| old.id != alloc.id)), "each was replaced");
    for alloc in &new {
        assert_eq!(text(&mut agent, alloc.id, "app.conf"), "two blue\n");
    }
    // Each says what differed, also where that is a file beside the job file.
    for alloc in &new {
        let status = agent.herder(&["alloc", "status", &alloc.id.to_string()]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains("source_blob changed"), "{status}");
    }

    // A template that cannot be read changes nothing.
    repo.write("config/app.tpl", "three {{ colour }}\n");
    repo.commit("app: broken");
    agent.wait_for("the broken commit is seen", |agent| {
        let log = agent.herder(&["log"]);
        String::from_utf8_lossy(&log.stdout).contains("app: broken").then_some(())
    });
    assert_eq!(agent.wait_running("t", 2).iter().filter(|alloc| alloc.job_version == 1).count(), 2);

    // The older content comes back with the older commit's text.
    repo.write("config/app.tpl", "one {{ env \"COLOR\" }}\n");
    let back = repo.commit("app: one again");
    agent.wait_outcome(&back, RevisionOutcome::Deployed);
    for alloc in agent.wait_running("t", 2) {
        assert_eq!(text(&mut agent, alloc.id, "app.conf"), "one blue\n");
    }
}

#[test]
fn a_job_that_goes_back_gets_the_template_of_its_commit() {
    let repo = Repository::new();
    let job = job(1, FROM_REPOSITORY)
        .replace("max_parallel      = 1", "max_parallel = 1\n      auto_revert = true");
    // The second content keeps the task from starting.
    repo.write("config/app.tpl", "good\n");
    repo.write("t.nomad.hcl", &job);
    let good = repo.commit("t: good");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&good, RevisionOutcome::Deployed);
    repo.write("config/app.tpl", "bad {{ mustEnv \"NOBODY\" }}\n");
    let bad = repo.commit("t: bad");
    let entry = agent.wait_outcome(&bad, RevisionOutcome::Reverted);
    assert!(!entry.jobs.is_empty());
    agent.wait_deployment("t", "successful again", |deployment| {
        deployment.job_version == 2 && deployment.status == DeploymentStatus::Successful
    });
    let alloc = agent.wait_running("t", 1)[0].id;
    assert_eq!(text(&mut agent, alloc, "app.conf"), "good\n");
}

#[test]
fn a_node_that_says_something_else_replaces_what_was_told_the_old() {
    let repo = Repository::new();
    repo.write("t.nomad.hcl", job(2, ""));
    let commit = repo.commit("t: templates");
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("client.hcl");
    let rack = |rack: &str| {
        let text = format!("client {{\n  meta {{\n    rack = \"{rack}\"\n  }}\n}}\n");
        std::fs::write(&config, text).expect("written");
    };
    rack("a");
    let mut agent = Agent::start(&repo, &[&format!("--config={}", config.display())]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let old = agent.wait_running("t", 2);
    for alloc in &old {
        assert!(text(&mut agent, alloc.id, "data.txt").ends_with(" alinux\n"));
    }
    // An agent that starts again as it was replaces nothing; one whose node is another does.
    agent.kill();
    agent.launch();
    agent.wait_running("t", 2);
    agent.kill();
    rack("b");
    agent.launch();
    agent.wait_for("both are replaced", |agent| {
        let now = agent.running("t");
        let new = now.iter().filter(|alloc| old.iter().all(|old| old.id != alloc.id)).count();
        (now.len() == 2 && new == 2).then_some(())
    });
    for alloc in agent.wait_running("t", 2) {
        assert!(text(&mut agent, alloc.id, "data.txt").ends_with(" blinux\n"));
        let status = agent.herder(&["alloc", "status", &alloc.id.to_string()]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains("node attribute meta.rack changed"), "{status}");
        assert_eq!(alloc.job_version, 0, "the job is what it was");
    }
}
