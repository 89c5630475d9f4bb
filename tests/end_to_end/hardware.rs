//! What an agent's configuration says of placement, cores and devices, as operators and clients see it.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::load::get;

const CONFIG: &str = r#"
server {
  default_scheduler_config {
    scheduler_algorithm = "spread"
    preemption_config {
      batch_scheduler_enabled = true
    }
  }
}

client {
  reserved {
    cores = "4095"
  }

  device "acme/sink/full" {
    path = "/dev/fu?l"
    attributes {
      depth = "11 KiB"
    }
  }
}
"#;

fn said(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn config(agent: &Agent) -> Value {
    let output = agent.herder(&["operator", "scheduler", "get-config", "-json"]);
    assert!(output.status.success(), "{}", said(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    found["SchedulerConfig"].clone()
}

#[test]
fn a_configuration_is_used_once_and_changed_by_operators() {
    let mut agent = Agent::start_configured(CONFIG);
    let first = agent.wait_for("the configuration is written down", |agent| {
        Some(config(agent)).filter(|config| config["ModifyIndex"] != 0)
    });
    assert_eq!(first["SchedulerAlgorithm"], "spread");
    assert_eq!(first["PreemptionConfig"]["BatchSchedulerEnabled"], true);
    assert_eq!(first["PreemptionConfig"]["SystemSchedulerEnabled"], true);

    let set = ["operator", "scheduler", "set-config"];
    let index = first["ModifyIndex"].to_string();
    let change = ["-memory-oversubscription", "false", "-check-index", &index];
    let output = agent.herder(&[&set[..], &change].concat());
    assert!(output.status.success(), "{}", said(&output));
    let second = config(&agent);
    assert_eq!(second["MemoryOversubscriptionEnabled"], false);
    assert_eq!(second["SchedulerAlgorithm"], "spread", "what is not named stays");

    let late = agent.herder(&[&set[..], &change].concat());
    assert!(!late.status.success() && said(&late).contains("changed meanwhile"), "{}", said(&late));
    let nothing = agent.herder(&set);
    assert!(!nothing.status.success() && said(&nothing).contains("nothing to change"));
    let shown = said(&agent.herder(&["operator", "scheduler", "get-config"]));
    assert!(shown.contains("Scheduler Algorithm") && shown.contains("spread"), "{shown}");

    // The next start does not bring back what the file says.
    agent.kill();
    agent.launch();
    assert_eq!(config(&agent), second);
}

#[test]
fn cores_and_devices_are_on_the_wire() {
    let mut agent = Agent::start_configured(CONFIG);
    let node = agent.wait_for("the node", |agent| {
        let nodes: Value = serde_json::from_str(&get(agent.http, "/v1/nodes").ok()?).ok()?;
        let id = nodes[0]["ID"].as_str()?.to_owned();
        serde_json::from_str::<Value>(&get(agent.http, &format!("/v1/node/{id}")).ok()?).ok()
    });
    let resources = &node["NodeResources"];
    let cores = resources["Cpu"]["ReservableCpuCores"].as_array().expect("a list");
    assert!(!cores.is_empty());
    assert_eq!(node["Attributes"]["cpu.reservablecores"], cores.len().to_string());
    let devices = resources["Devices"].as_array().expect("a list");
    let sink = devices.iter().find(|device| device["Vendor"] == "acme").expect("it is there");
    assert_eq!((&sink["Type"], &sink["Name"]), (&json!("sink"), &json!("full")));
    assert_eq!(sink["Instances"][0]["ID"], "/dev/full");
    assert_eq!(sink["Attributes"]["depth"], json!({ "Int": 11, "Unit": "KiB" }));
}
