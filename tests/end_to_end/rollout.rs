//! Commits roll out in health-gated batches, and bad ones come back.

use model::{DeploymentStatus, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::{Driver, WebJob, sleeper};
use crate::load::Load;
use crate::repository::Repository;

/// Six instances, two at a time, under load: not one failed request, never fewer than four passing.
pub(crate) fn update_under_load(driver: Driver) {
    let repo = Repository::new();
    let mut job = WebJob::new("web", 6);
    job.driver = driver;
    repo.write("web.nomad.hcl", job.text());
    let first = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let old = agent.wait_running("web", 6);

    let load = Load::start(agent.catalog, "web", 3);
    repo.write("web.nomad.hcl", job.release("2").text());
    let second = repo.commit("web: release 2");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let result = load.stop();
    assert!(
        result.failures.is_empty(),
        "{} of {} failed: {:?}",
        result.failures.len(),
        result.requests,
        result.failures
    );
    assert!(result.fewest_passing >= 4, "only {} were passing", result.fewest_passing);
    assert!(result.requests > 50, "the load was no load: {} requests", result.requests);

    let new = agent.wait_running("web", 6);
    assert!(new.iter().all(|alloc| alloc.job_version == 1));
    assert!(new.iter().all(|alloc| old.iter().all(|old| old.id != alloc.id)), "each was replaced");
    for address in crate::load::passing(agent.catalog, "web").expect("the catalog answers") {
        assert_eq!(crate::load::get(address, "/version").expect("an answer").trim(), "2");
    }
}

#[test]
fn a_rollout_under_load_fails_no_request() {
    update_under_load(Driver::RawExec);
}

#[test]
fn a_commit_that_never_gets_healthy_goes_back_by_itself() {
    let repo = Repository::new();
    let job = WebJob::new("web", 4).update("auto_revert = true");
    repo.write("web.nomad.hcl", job.text());
    let good = repo.commit("web: good");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&good, RevisionOutcome::Deployed);
    let before = agent.wait_running("web", 4);

    let bad =
        job.clone().release("bad").argument("--unhealthy").text().replace("\"20s\"", "\"2s\"");
    repo.write("web.nomad.hcl", bad);
    let bad = repo.commit("web: bad");
    let entry = agent.wait_outcome(&bad, RevisionOutcome::Reverted);
    let words = &entry.jobs[0].description;
    assert!(
        words.contains("check") && words.contains("503"),
        "the log says which check failed: {words}"
    );
    let output = agent.herder(&["log"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("reverted"));

    agent.wait_deployment("web", "successful again", |deployment| {
        deployment.job_version == 2 && deployment.status == DeploymentStatus::Successful
    });
    let after = agent.wait_running("web", 4);
    let kept = after.iter().filter(|alloc| before.iter().any(|old| old.id == alloc.id)).count();
    assert_eq!(kept, 2, "only the first batch of two was touched");

    repo.write("web.nomad.hcl", job.release("3").text());
    let next = repo.commit("web: good again");
    agent.wait_outcome(&next, RevisionOutcome::Deployed);
}

#[test]
fn a_plan_right_after_a_deploy_is_empty() {
    let repo = Repository::new();
    repo.write("web.nomad.hcl", WebJob::new("web", 2).text())
        .write("sleep.nomad", sleeper("sleep"));
    let commit = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let path = repo.path().display().to_string();
    for arguments in [vec!["plan"], vec!["plan", &path], vec!["plan", "--rev", "HEAD"]] {
        let output = agent.herder(&arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
        assert!(text.contains("No changes"), "{arguments:?}: {text}");
    }
    repo.write("web.nomad.hcl", WebJob::new("web", 2).release("2").text());
    let output = agent.herder(&["plan", &path]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("forces create/destroy update"), "{text}");
    assert!(text.contains("Args") || text.contains("args"), "the first field that differs: {text}");
}

#[test]
fn batch_jobs_run_to_completion_and_system_jobs_run_on_each_node() {
    let repo = Repository::new();
    let batch = "job \"once\" {\n  type = \"batch\"\n  group \"g\" {\n    task \"t\" {\n      driver = \"raw_exec\"\n\
                 \x20     config {\n        command = \"sh\"\n        args = [\"-c\", \"echo done by $NOMAD_TASK_NAME\"]\n\
                 \x20     }\n    }\n  }\n}\n";
    let system = sleeper("everywhere").replacen("group", "type = \"system\"\n  group", 1);
    repo.write("once.nomad", batch).write("everywhere.nomad", system);
    let commit = repo.commit("batch and system");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_running("everywhere", 1);
    let alloc = agent.wait_for("the batch job to end", |agent| {
        let allocs = agent.client().job_allocations("once").ok()?.into_value();
        allocs.into_iter().find(|alloc| alloc.client_status == model::ClientStatus::Complete)
    });
    let logs = agent.herder(&["alloc", "logs", &alloc.id.to_string()]);
    assert_eq!(String::from_utf8_lossy(&logs.stdout), "done by t\n");
}
