//! Tasks outlive the agent, however it ends.

use std::collections::BTreeSet;

use model::RevisionOutcome;

use crate::agent::{Agent, processes_in};
use crate::jobs::{WebJob, sleeper};
use crate::repository::Repository;

#[test]
fn stop_and_start_keeps_tasks_state_and_logs() {
    let repo = Repository::new();
    let talker = sleeper("talk").replace("command = \"sleep\"", "command = \"sh\"").replace(
        "args    = [\"1000\"]",
        "args = [\"-c\", \"echo before; while [ ! -e $NOMAD_ALLOC_DIR/go ]; do sleep 0.05; done; echo after; exec sleep 1000\"]",
    );
    repo.write("talk.nomad", talker).write("sleep.nomad", sleeper("sleep"));
    let commit = repo.commit("talk and sleep");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let before = agent.wait_running("talk", 1);
    let processes: BTreeSet<_> = tasks(&agent);
    agent.terminate();
    assert_eq!(tasks(&agent), processes, "all tasks run on");
    // What is written while no agent is there is not lost.
    let go = agent.data_dir().join("alloc").join(before[0].id.to_string()).join("alloc").join("go");
    std::fs::write(go, "").expect("told to go on");
    agent.launch();
    let after = agent.wait_running("talk", 1);
    assert_eq!(after[0].id, before[0].id);
    assert_eq!(
        agent.revision(&commit).expect("the state is there").outcome,
        RevisionOutcome::Deployed
    );
    agent.wait_for("the whole output", |agent| {
        let logs = agent.herder(&["alloc", "logs", &after[0].id.to_string()]);
        (String::from_utf8_lossy(&logs.stdout) == "before\nafter\n").then_some(())
    });
    let restarts: u32 =
        after.iter().flat_map(|alloc| alloc.task_states.values()).map(|task| task.restarts).sum();
    assert_eq!(restarts, 0);
}

#[test]
fn exit_codes_of_what_ended_meanwhile_are_known() {
    let repo = Repository::new();
    let text = sleeper("ends")
        .replacen("group", "type = \"batch\"\n  group", 1)
        .replace("command = \"sleep\"", "command = \"sh\"")
        .replace(
            "args    = [\"1000\"]",
            "args = [\"-c\", \"while [ ! -e $NOMAD_ALLOC_DIR/go ]; do sleep 0.05; done; exit 7\"]",
        );
    let start = text.find("    update {").expect("an update block");
    let end = start + text[start..].find("    }\n").expect("its end") + 6;
    let text = format!(
        "{}restart {{\n attempts = 0\n}}\nreschedule {{\n attempts = 0\n unlimited = false\n}}\n{}",
        &text[..start],
        &text[end..]
    );
    repo.write("ends.nomad", text);
    repo.commit("ends");
    let mut agent = Agent::start(&repo, &[]);
    let alloc = agent.wait_running("ends", 1).remove(0);
    agent.kill();
    let go = agent.data_dir().join("alloc").join(alloc.id.to_string()).join("alloc").join("go");
    std::fs::write(go, "").expect("told to go on");
    while !tasks(&agent).is_empty() {
        std::thread::yield_now();
    }
    agent.launch();
    let event = agent.wait_for("the exit code", |agent| {
        let alloc = agent.client().allocation(alloc.id).ok()?.into_value();
        let task = alloc.stub.task_states.get("sleep")?;
        task.events.iter().find(|event| event.kind == "Terminated").cloned()
    });
    assert_eq!(event.exit_code, 7, "{event:?}");
}

/// With `--stop-tasks` the agent takes its tasks with it. They neither failed nor finished: the next agent starts them
/// again at once, whatever the job says of failures.
#[test]
fn tasks_that_went_with_the_agent_come_back_with_the_next() {
    let repo = Repository::new();
    let never = "reschedule {\n attempts = 0\n unlimited = false\n}\n";
    let service = sleeper("serve").replacen("    task ", &format!("{never}    task "), 1);
    let batch = service.replacen("serve", "work", 1);
    let start = batch.find("    update {").expect("an update block");
    let end = start + batch[start..].find("    }\n").expect("its end") + 6;
    let batch = format!("{}{}", &batch[..start], &batch[end..]);
    repo.write("serve.nomad", service)
        .write("work.nomad", batch.replacen("group", "type = \"batch\"\n  group", 1));
    repo.commit("two jobs that are never rescheduled");
    let mut agent = Agent::start(&repo, &["--stop-tasks"]);
    let before =
        [agent.wait_running("serve", 1).remove(0), agent.wait_running("work", 1).remove(0)];
    agent.terminate();
    assert_eq!(tasks(&agent), BTreeSet::new(), "nothing runs on");
    agent.launch();
    for before in before {
        let after = agent.wait_running(&before.job_id.to_string(), 1).remove(0);
        assert_ne!(after.id, before.id);
    }
}

/// `kill -9` in the middle of a rollout: after a restart it ends as if nothing had happened.
#[test]
fn a_rollout_survives_kill_9() {
    let repo = Repository::new();
    let job = WebJob::new("web", 6);
    repo.write("web.nomad.hcl", job.text());
    let first = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.write("web.nomad.hcl", job.release("2").text());
    let second = repo.commit("web: release 2");
    for healthy in [0, 2, 3] {
        agent.wait_for("the rollout to get on", |agent| {
            let deployment = agent.client().job_deployment("web").ok()?.into_value()?;
            let group = deployment.task_groups.get("web")?;
            (deployment.job_version == 1
                && group.placed_allocs > 0
                && group.healthy_allocs >= healthy)
                .then_some(())
        });
        agent.kill();
        agent.launch();
    }
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let running = agent.wait_running("web", 6);
    assert!(running.iter().all(|alloc| alloc.job_version == 1));
    // No task ran twice: each allocation started its task once, and as many processes run as there are allocations.
    for alloc in agent.client().job_allocations("web").expect("allocations").into_value() {
        for (name, task) in &alloc.task_states {
            let starts = task.events.iter().filter(|event| event.kind == "Started").count();
            assert!(starts <= 1, "{name} of {} started {starts} times", alloc.id);
        }
    }
    agent.wait_for("the old tasks to be gone", |agent| (servers(agent).len() == 6).then_some(()));
}

/// Processes of tasks, without their helpers.
fn tasks(agent: &Agent) -> BTreeSet<u32> {
    processes_in(&agent.data_dir())
        .into_iter()
        .filter(|pid| *pid != agent_pid(agent))
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains("NOMAD_ALLOC_ID=")
                && !std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                    .unwrap_or_default()
                    .contains("shim")
        })
        .filter(|pid| {
            // A shell's children come and go; its first process stays.
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|command| !command.starts_with("sleep\x000.05"))
        })
        .collect()
}

fn servers(agent: &Agent) -> BTreeSet<u32> {
    tasks(agent)
        .into_iter()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|command| command.contains("example-server"))
        })
        .collect()
}

fn agent_pid(agent: &Agent) -> u32 {
    std::fs::read(agent.data_dir().join("agent.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|info| info["pid"].as_u64())
        .and_then(|pid| u32::try_from(pid).ok())
        .unwrap_or_default()
}
