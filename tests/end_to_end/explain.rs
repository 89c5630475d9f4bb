//! `herder explain` with the real binary: what will never fit, what is too big, and what runs.

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::jobs::WebJob;
use crate::repository::Repository;

fn said(agent: &Agent, arguments: &[&str]) -> (Option<i32>, String) {
    let output = agent.herder(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_job_says_why_it_does_not_run_and_one_that_runs_why_it_does() {
    let repo = Repository::new();
    let web = WebJob::new("web", 1).text();
    let never = WebJob::new("never", 1).text().replace(
        "group \"web\" {",
        "constraint {\n    attribute = \"${attr.kernel.name}\"\n    value = \"plan9\"\n  }\n  group \"web\" {",
    );
    let big = WebJob::new("big", 1).text().replace("memory = 32", "memory = 900000000");
    repo.write("web.nomad.hcl", web);
    repo.write("never.nomad.hcl", never);
    repo.write("big.nomad.hcl", big);
    repo.commit("three jobs");
    let mut agent = Agent::start(&repo, &[]);
    let alloc = agent.wait_running("web", 1).remove(0).id.to_string();

    let (code, never) = agent.wait_for("the constraint is named", |agent| {
        let told = said(agent, &["explain", "never"]);
        told.1.contains("finds no node").then_some(told)
    });
    assert!(never.contains("- 1 node: constraint ${attr.kernel.name} = plan9"), "{never}");
    assert!(never.contains("fits on 0 of 1 node\n"), "{never}");
    assert!(never.contains("(since "), "{never}");
    assert_eq!(code, Some(1), "{never}");

    let (code, big) = said(&agent, &["explain", "big", "-verbose"]);
    assert!(big.contains("- 1 node: memory exhausted"), "{big}");
    assert!(big.contains("MB of 900,000,000 memory ("), "{big}");
    assert_eq!(code, Some(1), "{big}");

    agent.wait_for("the rollout of what runs is over", |agent| {
        let deployment = agent.client().job_deployment("web").ok()?.into_value()?;
        (deployment.status == model::DeploymentStatus::Successful).then_some(())
    });
    let (code, web) = said(&agent, &["explain", "web", "-group", "web"]);
    assert!(web.contains("it waits for nothing") && web.contains("same node"), "{web}");
    assert_eq!(code, Some(0), "{web}");
    let (code, one) = said(&agent, &["explain", &alloc[..8]]);
    assert_eq!(code, Some(0), "{one}");
    for words in ["- reason: new", "because a commit added or changed the job", "chosen again"] {
        assert!(one.contains(words), "{words}: {one}");
    }
    let (_, status) = said(&agent, &["alloc", "status", "-verbose", &alloc[..8]]);
    assert!(status.contains("1 node looked at") && status.contains("binpack "), "{status}");
    let (code, json) = said(&agent, &["explain", "big", "-json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    assert_eq!(json["Groups"][0]["Nodes"][0]["Lacks"][0]["Dimension"], "memory");
    assert_eq!(code, Some(1));

    for arguments in
        [&["explain", "nobody"][..], &["explain", "web", "-group", "x"], &["explain", "ffffffff"]]
    {
        let (code, told) = said(&agent, arguments);
        assert_eq!(code, Some(255), "{arguments:?}: {told}");
        assert!(told.contains(arguments.last().expect("there is one")), "{told}");
    }

    // A plan says where it would go, and for what there is no room.
    repo.write("more.nomad.hcl", WebJob::new("more", 2).text());
    let folder = repo.path().to_string_lossy().into_owned();
    let (code, plan) = said(&agent, &["plan", "-verbose", &folder]);
    assert_eq!(code, Some(1), "{plan}");
    assert!(plan.contains("- more.web[1] goes to node ") && plan.contains("(binpack "), "{plan}");
    let commit = repo.commit("more");
    agent.wait_running("more", 2);
    assert_ne!(agent.wait_revision(&commit).outcome, RevisionOutcome::Superseded);
}
