//! Canaries wait for a word, or for their own health.

use model::{DeploymentStatus, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::WebJob;
use crate::repository::Repository;

#[test]
fn canaries_wait_for_promotion() {
    let repo = Repository::new();
    let job = WebJob::new("web", 3).update("canary = 1");
    repo.write("web.nomad.hcl", job.text());
    let first = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.write("web.nomad.hcl", job.release("2").text());
    let second = repo.commit("web: release 2");
    let deployment = agent.wait_deployment("web", "waiting for promotion", |deployment| {
        deployment.job_version == 1 && deployment.task_groups["web"].healthy_allocs == 1
    });
    let running = agent.wait_running("web", 4);
    assert_eq!(
        running.iter().filter(|alloc| alloc.job_version == 1).count(),
        1,
        "one canary beside the old ones"
    );
    assert_eq!(deployment.status, DeploymentStatus::Running);
    let output = agent.herder(&["deployment", "promote", "web"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let running = agent.wait_running("web", 3);
    assert!(running.iter().all(|alloc| alloc.job_version == 1));
}

#[test]
fn a_deployment_that_is_failed_by_hand_stops() {
    let repo = Repository::new();
    let job = WebJob::new("web", 2).update("canary = 1");
    repo.write("web.nomad.hcl", job.text());
    let first = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.write("web.nomad.hcl", job.release("2").text());
    let second = repo.commit("web: release 2");
    agent.wait_deployment("web", "started", |deployment| deployment.job_version == 1);
    let output = agent.herder(&["deployment", "fail", "web"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    agent.wait_outcome(&second, RevisionOutcome::Failed);
    let old = agent.wait_for("the canary to go", |agent| {
        let running = agent.running("web");
        (running.len() == 2 && running.iter().all(|alloc| alloc.job_version == 0))
            .then_some(running)
    });
    assert_eq!(old.len(), 2);
}
