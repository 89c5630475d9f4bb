//! Many tasks at once, and what they cost.

use std::time::{Duration, Instant};

use crate::agent::{Agent, signal};
use crate::process::{Cost, helpers};
use crate::repository::Repository;
use crate::{docker, is_root, load};

/// How long the agent is watched at rest.
const REST: Duration = Duration::from_secs(10);

pub(crate) fn measure(tasks: usize, containers: usize) {
    println!("\nMany tasks at once");
    let sleeper = "command = \"sleep\"\n        args = [\"100000\"]";
    many("raw_exec", tasks, sleeper);
    if is_root() {
        many("exec", tasks, sleeper);
    } else {
        println!("exec: not measured, it takes root");
    }
    if docker::available() {
        let config = format!(
            "image = {:?}\n        command = \"/stamp\"\n        args = [\"--sleep\"]\n        network_mode = \"none\"",
            docker::IMAGE
        );
        many("docker", containers, &config);
    } else {
        println!("docker: not measured, no daemon answers");
    }
}

fn many(driver: &str, tasks: usize, config: &str) {
    let repo = Repository::new();
    repo.write("README", "jobs for a measurement");
    repo.commit("nothing yet");
    // More than this machine has: the tasks do nothing.
    let mut agent = Agent::start_configured(&format!(
        "log_level = \"error\"\nclient {{\n  cpu_total_compute = 1000000\n  memory_total_mb   = 1000000\n}}\nrepo \"bench\" {{\n  url = \"{}\"\n}}\n",
        repo.path().display()
    ));
    let data_dir = agent.data_dir().display().to_string();
    let info = std::fs::read(agent.data_dir().join("agent.json")).expect("an account");
    let info: serde_json::Value = serde_json::from_slice(&info).expect("JSON");
    let pid = u32::try_from(info["pid"].as_u64().expect("a pid")).expect("fits");
    std::thread::sleep(Duration::from_secs(3));
    let empty = Cost::of(pid);
    let before = load();
    repo.write("many.nomad", job(driver, tasks, config));
    let begin = Instant::now();
    repo.commit("many tasks");
    agent.wait_running("many", tasks);
    let all_run = begin.elapsed();
    let start_cost = Cost::of(pid).cpu - empty.cpu;
    // What follows a start, such as looking at healths, is over by then.
    std::thread::sleep(Duration::from_secs(15));
    let full = Cost::of(pid);
    let found = helpers(&data_dir);
    let sums =
        |pids: &[u32]| pids.iter().map(|pid| Cost::of(*pid)).fold(Cost::default(), Cost::plus);
    let helpers: Vec<(String, usize, Cost)> =
        found.iter().map(|(name, pids)| (name.clone(), pids.len(), sums(pids))).collect();
    std::thread::sleep(REST);
    let rested = Cost::of(pid).cpu - full.cpu;
    let helpers_rested: u64 = found
        .iter()
        .zip(&helpers)
        .map(|((_, pids), (_, _, before))| sums(pids).cpu - before.cpu)
        .sum();
    println!("\n{tasks} tasks of {driver} at once, load {before} before, {} after", load());
    println!("  commit → all run                         {:9.1} s", all_run.as_secs_f64());
    println!(
        "  agent's CPU for it, for each task        {:9.1} ms",
        start_cost as f64 / tasks as f64
    );
    let each = |kib: u64| kib as f64 / tasks as f64;
    for (name, count, cost) in &helpers {
        println!(
            "  {name:12} ({count}): for each task {:6.0} KiB own (USS), {:6.0} KiB share (PSS), {:4.1} descriptors, {:3.1} threads",
            each(cost.own),
            each(cost.share),
            each(cost.descriptors),
            each(cost.threads),
        );
    }
    let all = helpers.iter().map(|(_, _, cost)| *cost).fold(Cost::default(), Cost::plus);
    let agent_own = full.own.saturating_sub(empty.own);
    let agent_open = full.descriptors.saturating_sub(empty.descriptors);
    println!(
        "  agent        : for each task {:6.0} KiB own more than without tasks, {:4.1} descriptors more",
        each(agent_own),
        each(agent_open),
    );
    println!(
        "  together     : for each task {:6.0} KiB own, {:6.0} KiB share, {:4.1} descriptors",
        each(all.own + agent_own),
        each(all.share + full.share.saturating_sub(empty.share)),
        each(all.descriptors + agent_open),
    );
    println!(
        "  agent in all : {:.1} MiB own, {:.1} MiB share, {} descriptors, {} threads",
        full.own as f64 / 1024.0,
        full.share as f64 / 1024.0,
        full.descriptors,
        full.threads,
    );
    println!(
        "  CPU in {} s at rest: agent {rested} ms, all helpers {helpers_rested} ms",
        REST.as_secs()
    );
    agent.terminate();
    for pid in found.values().flatten() {
        signal(*pid, "KILL");
    }
}

fn job(driver: &str, count: usize, config: &str) -> String {
    format!(
        r#"
job "many" {{
  group "g" {{
    count = {count}
    ephemeral_disk {{
      size = 10
    }}
    update {{
      min_healthy_time  = "1s"
      healthy_deadline  = "200s"
      progress_deadline = "300s"
      max_parallel      = {count}
    }}
    task "t" {{
      driver = "{driver}"
      config {{
        {config}
      }}
      logs {{
        max_files     = 1
        max_file_size = 1
      }}
      resources {{
        cpu    = 10
        memory = 16
      }}
    }}
  }}
}}
"#
    )
}
