//! Runs of periodic and parameterized jobs.

use std::process::{Command, Stdio};

use model::{ClientStatus, JobStatus, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::HERDER;
use crate::repository::Repository;

/// A batch job with a block, and a script that its task runs.
fn batch(name: &str, block: &str, script: &str) -> String {
    format!(
        r#"job "{name}" {{
  type = "batch"
  {block}
  group "g" {{
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "{script}"]
      }}
      dispatch_payload {{
        file = "in/it.txt"
      }}
    }}
  }}
}}
"#
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The runs of a job, oldest first.
fn runs(agent: &Agent, job: &str) -> Vec<model::wire::JobListStub> {
    let all = agent.client().jobs(&client::Listing::default()).expect("an answer").into_value();
    let mut runs: Vec<_> = all.into_iter().filter(|run| run.parent_id == job).collect();
    runs.sort_by_key(|run| run.create_index);
    runs
}

fn output_of(agent: &mut Agent, job: &str) -> String {
    agent.wait_for(&format!("`{job}` to end"), |agent| {
        let allocs = agent.client().job_allocations(job).ok()?.into_value();
        let done = allocs.iter().any(|alloc| alloc.client_status == ClientStatus::Complete);
        done.then_some(())
    });
    text(&agent.herder(&["logs", "-job", job]).stdout)
}

#[test]
fn a_periodic_job_runs_each_second_until_its_file_is_gone() {
    let repo = Repository::new();
    let block = "periodic {\n    crons = [\"* * * * * * *\"]\n  }";
    let off = "periodic {\n    crons = [\"@daily\"]\n    enabled = false\n  }";
    repo.write("tick.nomad", batch("tick", block, "echo $NOMAD_JOB_PARENT_ID"))
        .write("off.nomad", batch("off", off, "true"))
        .write(
            "slow.nomad",
            batch("slow", "periodic {\n    crons = [\"@yearly\"]\n  }", "sleep 600"),
        );
    let first = repo.commit("periodic jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let seen = agent.wait_for("three runs", |agent| {
        let runs = runs(agent, "tick");
        (runs.len() >= 3).then_some(runs)
    });
    for run in &seen {
        assert_eq!(run.origin.commit.as_str(), first, "a run comes from its job's commit");
        assert!(run.id.as_str().starts_with("tick/periodic-"), "{}", run.id);
    }
    let id = seen[0].id.to_string();
    assert_eq!(output_of(&mut agent, &id), "tick\n");
    agent.wait_for("the run to be over", |agent| {
        (agent.client().job(&id).ok()?.into_value().status == JobStatus::Dead).then_some(())
    });
    // As clients that do not escape write it.
    let plain = format!("http://{}/v1/job/{id}/allocations", agent.http);
    let listed = ureq::get(&plain).call().expect("an answer").body_mut().read_to_string();
    assert!(listed.expect("text").contains(&format!("\"JobID\":\"{id}\"")));

    let status = text(&agent.herder(&["job", "status", "tick"]).stdout);
    assert!(status.contains("Next Periodic Launch") && status.contains(&id), "{status}");
    let list = text(&agent.herder(&["job", "status"]).stdout);
    assert!(list.contains("batch/periodic"), "{list}");
    let refused = agent.herder(&["job", "periodic", "force", "off"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("switched off"), "{}", text(&refused.stderr));

    let forced = agent.herder(&["job", "periodic", "force", "slow"]);
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    assert!(text(&forced.stdout).contains("slow/periodic-"), "{}", text(&forced.stdout));
    let slow = runs(&agent, "slow")[0].id.to_string();
    agent.wait_running(&slow, 1);

    // A crash in between loses no run and repeats none.
    agent.kill();
    agent.launch();
    let before = runs(&agent, "tick").len();
    agent.wait_for("runs to go on", |agent| (runs(agent, "tick").len() > before).then_some(()));
    assert_eq!(runs(&agent, "slow").len(), 1);

    // One after the other: more than half of the files at once would be held.
    repo.remove("slow.nomad");
    let second = repo.commit("slow: no more");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    agent.wait_running(&slow, 0);
    let slow = agent.client().job(&slow).expect("is there").into_value();
    assert!(slow.stop && slow.status_description.contains("`slow` was stopped"), "{slow:?}");
    repo.remove("tick.nomad");
    let third = repo.commit("tick: no more");
    agent.wait_outcome(&third, RevisionOutcome::Deployed);
    assert!(agent.job("tick").stop);
}

#[test]
fn a_dispatch_brings_its_payload_and_metadata() {
    let repo = Repository::new();
    let block = "parameterized {\n    payload = \"required\"\n    meta_required = [\"to\"]\n  }";
    let script = "echo $NOMAD_META_to; cat local/in/it.txt";
    repo.write("send.nomad", batch("send", block, script));
    let first = repo.commit("a job to dispatch");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    assert!(runs(&agent, "send").is_empty());
    for (wrong, words) in [
        (vec!["job", "dispatch", "send"], "needs a payload"),
        (vec!["job", "dispatch", "-meta", "to=x", "-meta", "cc=y", "send", "-"], "needs a payload"),
        (vec!["job", "dispatch", "-meta", "to", "send"], "KEY=VALUE"),
        (vec!["job", "dispatch", "nothing"], "no job `nothing`"),
    ] {
        let refused = agent.herder(&wrong);
        assert!(!refused.status.success(), "{wrong:?}");
        assert!(text(&refused.stderr).contains(words), "{wrong:?}: {}", text(&refused.stderr));
    }

    let file = agent.data_dir().with_file_name("payload");
    std::fs::write(&file, "hunter2").expect("a file");
    let file = file.to_str().expect("text").to_owned();
    let dispatch = ["job", "dispatch", "-json", "-meta", "to=ops", "-idempotency-token", "one"];
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let done = agent.herder(&[&dispatch[..], &["send", &file]].concat());
            assert!(done.status.success(), "{}", text(&done.stderr));
            let answer: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
            answer["DispatchedJobID"].as_str().expect("an ID").to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1], "the token finds it");
    assert_eq!(runs(&agent, "send").len(), 1);
    assert_eq!(output_of(&mut agent, &ids[0]), "ops\nhunter2");

    let mut piped = Command::new(HERDER)
        .args(["job", "dispatch", "-detach", "-meta", "to=dev", "-id-prefix-template", "ci"])
        .args(["send", "-"])
        .env("HERDER_ADDR", format!("http://{}", agent.http))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("herder runs");
    std::io::Write::write_all(&mut piped.stdin.take().expect("a pipe"), b"from a pipe")
        .expect("is read");
    let done = piped.wait_with_output().expect("ends");
    assert!(done.status.success() && text(&done.stdout).contains("send/dispatch-ci-"));
    let second = runs(&agent, "send").pop().expect("a run").id.to_string();
    assert_eq!(output_of(&mut agent, &second), "dev\nfrom a pipe");

    let view = agent.client().job(&ids[0]).expect("is there").into_value();
    assert!(view.dispatched && view.parent_id == "send");
    assert_eq!(view.payload.as_deref(), Some(&b"hunter2"[..]));
    let list = ureq::get(format!("http://{}/v1/jobs?meta=true", agent.http)).call();
    let list = list.expect("an answer").body_mut().read_to_string().expect("text");
    assert!(!list.contains("aHVudGVyMg") && !list.contains("Payload"), "{list}");
    assert!(!agent.log().contains("hunter2") && !agent.log().contains("aHVudGVyMg"));
    let status = text(&agent.herder(&["job", "status", "send"]).stdout);
    assert!(status.contains("Dispatched Jobs") && status.contains(&second), "{status}");
}
