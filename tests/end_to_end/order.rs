//! Jobs that start after others, with the real binary.

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::repository::Repository;

fn job(name: &str, gitops: &str, command: &str, min_healthy_time: &str) -> String {
    format!(
        r#"
job "{name}" {{
  {gitops}
  group "g" {{
    update {{
      min_healthy_time  = "{min_healthy_time}"
      healthy_deadline  = "5s"
      progress_deadline = "10s"
      health_check      = "task_states"
    }}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "{command}"]
      }}
    }}
  }}
}}
"#
    )
}

const AFTER_DB: &str = "gitops {\n    after = [\"db\"]\n  }";

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_job_starts_when_the_one_it_names_is_healthy() {
    let repo = Repository::new();
    repo.write("db.nomad.hcl", job("db", "", "exec sleep 3600", "3s"));
    repo.write("web.nomad.hcl", job("web", AFTER_DB, "exec sleep 3601", "100ms"));
    let first = repo.commit("both");
    let mut agent = Agent::start(&repo, &[]);
    // It says what it waits for while it does.
    agent.wait_for("web waits", |agent| {
        let status = text(&agent.herder(&["job", "status", "web"]));
        status.contains("waits for db: its ").then_some(())
    });
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let (db, web) = (agent.wait_running("db", 1), agent.wait_running("web", 1));
    assert!(
        web[0].create_time.since(db[0].create_time) >= std::time::Duration::from_secs(3),
        "db must be healthy for three seconds first"
    );

    // A rollout that fails holds what is after it.
    repo.write("db.nomad.hcl", job("db", "", "exit 1", "3s"));
    repo.write("web.nomad.hcl", job("web", AFTER_DB, "exec sleep 3602", "100ms"));
    let plan = agent.herder(&["plan", &repo.path().display().to_string()]);
    let plan = text(&plan);
    assert!(plan.contains("waits for db") && plan.contains("Order: db; then web"), "{plan}");
    repo.commit("db: broken");
    agent.wait_for("web is held", |agent| {
        let status = text(&agent.herder(&["job", "status", "web"]));
        status.contains("waits for db: its deployment failed").then_some(())
    });
    let still = agent.wait_running("web", 1);
    assert_eq!(still[0].id, web[0].id, "what runs goes on");

    // One that succeeds lets it start.
    repo.write("db.nomad.hcl", job("db", "", "exec sleep 3603", "100ms"));
    repo.commit("db: mended");
    agent.wait_for("web is replaced", |agent| {
        let running = agent.wait_running("web", 1);
        (running[0].id != web[0].id && running[0].job_version == 1).then_some(())
    });

    // Without the job that it names, the file keeps what it said.
    std::fs::remove_file(repo.path().join("db.nomad.hcl")).expect("removed");
    let validated = text(&agent.herder(&["validate", &repo.path().display().to_string()]));
    assert!(validated.contains("unknown-job"), "{validated}");
    repo.commit("db: gone");
    agent.wait_for("the file is told of", |agent| {
        let log = text(&agent.herder(&["log"]));
        log.contains("no file of this repository declares `db`").then_some(())
    });
    assert_eq!(agent.wait_running("web", 1)[0].job_version, 1);
}
