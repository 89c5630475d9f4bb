//! Groups with a network of their own: containers that share it, its ports on the node, and nothing left of it.
//!
//! Each test has a bridge and a subnet of its own, because the machine's firewall is everybody's.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::agent::Agent;
use crate::docker::{HERDER_IMAGE, docker};
use crate::repository::Repository;

/// Whether networks can be made here.
fn available() -> bool {
    let there = |program: &str| Path::new("/usr/lib/cni").join(program).exists();
    let missing = if !nix_is_root() {
        "networks are made by root alone"
    } else if !["bridge", "firewall", "portmap", "host-local"].into_iter().all(there) {
        "the CNI plugins are not in /usr/lib/cni"
    } else {
        return crate::docker::available();
    };
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
    false
}

fn nix_is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn agent(repo: &Repository, number: u8) -> Agent {
    Agent::start_configured(&format!(
        "client {{\n  bridge_network_name = \"hd-e2e-{number}\"\n  bridge_network_subnet = \"{}\"\n  \
         host_network \"docker\" {{ interface = \"docker0\" }}\n}}\n\
         repo \"jobs\" {{ url = {:?} }}\n",
        subnet(number),
        repo.path().display().to_string()
    ))
}

fn subnet(number: u8) -> String {
    format!("172.31.{number}.0/24")
}

/// What an example server answers; nothing when it cannot be reached.
fn ask(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

/// The same from within the network of a process.
fn ask_within(pid: &str, port: u16) -> Option<String> {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1; \
         printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3"
    );
    let output = Command::new("nsenter")
        .args(["-t", pid, "-n", "timeout", "5", "bash", "-c", &script])
        .output()
        .expect("nsenter runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The containers of an allocation: a task's, or the one that holds the network for an empty name.
fn container(alloc: &str, task: &str) -> Option<(String, String)> {
    let label =
        if task.is_empty() { "herder.network".to_owned() } else { format!("herder.task={task}") };
    let filters = [format!("label=herder.alloc_id={alloc}"), format!("label={label}")];
    let id = docker(&["ps", "-q", "--no-trunc", "--filter", &filters[0], "--filter", &filters[1]])?;
    let id = id.trim().to_owned();
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    Some((id, pid.trim().to_owned())).filter(|(id, pid)| !id.is_empty() && pid != "0")
}

/// The process of a task that is not in a container, by its environment.
fn process_of(alloc: &str, task: &str) -> Option<String> {
    let marks = [format!("NOMAD_ALLOC_ID={alloc}"), format!("NOMAD_TASK_NAME={task}")];
    std::fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).ok()?;
        let has =
            |mark: &String| environ.split(|byte| *byte == 0).any(|text| text == mark.as_bytes());
        marks.iter().all(has).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// Where an agent's namespaces are.
fn namespaces_of(data_dir: &Path) -> PathBuf {
    let node = std::fs::read_to_string(data_dir.join("client/node-id")).unwrap_or_default();
    Path::new("/run/herder/netns").join(if node.is_empty() { "none" } else { node.trim() })
}

/// Removes the firewall rules of an agent's networks: those that speak of an address or a container that its records
/// name, and the chains that they lead to.
fn remove_rules_of(data_dir: &Path) {
    let records =
        std::fs::read_dir(data_dir.join("client/networks")).into_iter().flatten().flatten();
    let mut words = Vec::new();
    for record in records.map(|entry| entry.path()) {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        // Addresses with the length of their network, as plugins answer them.
        let parts = text.split('"').filter_map(|part| part.split_once('/'));
        let addresses = parts.filter(|(host, _)| host.parse::<std::net::Ipv4Addr>().is_ok());
        words.extend(addresses.map(|(host, _)| format!("{host}/32")));
        words.extend(record.file_stem().map(|alloc| alloc.to_string_lossy().into_owned()));
    }
    if words.is_empty() {
        return;
    }
    let run = |script: &str| {
        Command::new("sh")
            .args(["-c", script])
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default()
    };
    for table in ["nat", "filter"] {
        let rules =
            String::from_utf8_lossy(&run(&format!("iptables -w -t {table} -S"))).into_owned();
        for rule in rules.lines().filter(|rule| rule.starts_with("-A ")) {
            if !words.iter().any(|word| rule.contains(word.as_str())) {
                continue;
            }
            run(&format!("iptables -w -t {table} -D {}", rule.trim_start_matches("-A ")));
            if let Some(chain) = rule.split(' ').find(|word| word.starts_with("CNI-DN-")) {
                run(&format!(
                    "iptables -w -t {table} -F {chain}; iptables -w -t {table} -X {chain}"
                ));
            }
        }
    }
}

/// Removes what a test that failed left of an agent's networks.
pub(crate) fn remove_networks_of(data_dir: &Path) {
    remove_rules_of(data_dir);
    let namespaces = namespaces_of(data_dir);
    let Ok(entries) = std::fs::read_dir(&namespaces) else { return };
    let node = namespaces.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let label = format!("label=herder.instance={node}");
    let held = docker(&["ps", "-aq", "--filter", &label, "--filter", "label=herder.network"]);
    for id in held.unwrap_or_default().lines() {
        docker(&["rm", "-f", id]);
    }
    for entry in entries.flatten() {
        let _ = Command::new("umount").arg(entry.path()).output();
    }
    let _ = std::fs::remove_dir_all(namespaces);
}

fn network_of(pid: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap_or_default()
}

/// All that could be left of an agent's networks.
fn left(agent: &Agent, number: u8, allocs: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    for table in ["filter", "nat"] {
        let output = Command::new("iptables")
            .args(["-w", "-t", table, "-S"])
            .output()
            .expect("iptables runs");
        let rules = String::from_utf8_lossy(&output.stdout).into_owned();
        let prefix = format!("172.31.{number}.");
        let ours = |line: &&str| {
            line.contains(&format!("hd-e2e-{number}"))
                || line.contains(&prefix)
                || allocs.iter().any(|alloc| line.contains(alloc.as_str()))
        };
        left.extend(rules.lines().filter(ours).map(str::to_owned));
    }
    if Path::new("/sys/class/net").join(format!("hd-e2e-{number}")).exists() {
        left.push("the bridge".into());
    }
    let namespaces = namespaces_of(&agent.data_dir());
    let folders = [
        agent.data_dir().join("client/networks"),
        format!("/run/herder/ipam/hd-e2e-{number}").into(),
        namespaces.clone(),
    ];
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&namespaces.display().to_string()))
            .map(str::to_owned),
    );
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.path().display().to_string();
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            if allocs
                .iter()
                .any(|alloc| name.contains(alloc.as_str()) || text.contains(alloc.as_str()))
            {
                left.push(name);
            }
        }
    }
    for alloc in allocs {
        let label = format!("label=herder.alloc_id={alloc}");
        let held = docker(&["ps", "-aq", "--filter", &label, "--filter", "label=herder.network"]);
        left.extend(held.unwrap_or_default().lines().map(|id| format!("container {id}")));
    }
    left
}

fn task(name: &str, port: u16, bind: &str) -> String {
    format!(
        r#"
    task "{name}" {{
      driver = "docker"
      config {{
        image   = "{HERDER_IMAGE}"
        command = "/herder"
        args    = ["example-server", "--port", "{port}", "--bind", "{bind}", "--release", "{name}"]
      }}
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}"#
    )
}

#[test]
fn a_group_of_containers_shares_a_network_that_leaves_nothing() {
    if !available() {
        return;
    }
    let number = 201;
    let repo = Repository::new();
    let tool = r#"
    task "tool" {
      driver = "exec"
      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }"#;
    let tasks = task("web", 8080, "0.0.0.0") + &task("side", 8081, "127.0.0.1") + tool;
    repo.write(
        "shop.nomad.hcl",
        format!(
            r#"
job "shop" {{
  group "shop" {{
    network {{
      mode     = "bridge"
      hostname = "shop-${{NOMAD_ALLOC_INDEX}}"
      dns {{
        servers = ["192.0.2.53"]
      }}
      port "http" {{ to = 8080 }}
      port "out" {{
        to           = 8080
        host_network = "docker"
      }}
    }}
    restart {{
      attempts = 5
      delay    = "1s"
      interval = "10m"
    }}
    update {{ min_healthy_time = "1s" }}{tasks}
  }}
}}
"#
        ),
    );
    repo.commit("a group with a network");
    let mut agent = agent(&repo, number);
    let alloc = agent.wait_running("shop", 1).remove(0);
    let id = alloc.id.to_string();
    let (_, web) = agent.wait_for("a container", |_| container(&id, "web"));
    let (_, side) = agent.wait_for("a container", |_| container(&id, "side"));
    agent.wait_for("a process", |_| {
        process_of(&id, "tool").filter(|pid| network_of(pid) == network_of(&web))
    });
    let (holder, pause) = container(&id, "").expect("runs");
    assert_eq!(network_of(&web), network_of(&side), "one network");
    assert_eq!(network_of(&web), network_of(&pause));
    assert_ne!(network_of(&web), network_of("self"), "apart from the node's");
    agent.wait_for("the tasks to answer each other", |_| {
        ask_within(&side, 8080).zip(ask_within(&web, 8081))
    });
    let detail = agent.client().allocation(alloc.id).expect("known").into_value();
    let ports = detail.stub.allocated_resources.unwrap_or_default().shared.ports;
    let address = |label: &str| {
        let port = ports.iter().find(|port| *port.label == *label).expect("a port");
        format!("{}:{}", port.host_ip, port.value)
    };
    let (http, out) = (address("http"), address("out"));
    assert!(!out.starts_with("127."), "{out} is an address of another network");
    agent.wait_for("the mapped ports", |_| ask(&http).zip(ask(&out)));
    // Names: the container's own, and who resolves others.
    let inside = |file: &str| {
        docker(&["exec", &container(&id, "side").expect("runs").0, "/bin/busybox", "cat", file])
    };
    assert!(inside("/etc/resolv.conf").expect("is there").contains("192.0.2.53"));
    assert_eq!(inside("/etc/hostname").expect("is there").trim(), "shop-0");
    let resolv = agent.data_dir().join(format!("alloc/{id}/network/resolv.conf"));
    assert!(std::fs::read_to_string(resolv).expect("is there").contains("192.0.2.53"));
    let env =
        docker(&["inspect", "-f", "{{.Config.Env}}", &container(&id, "web").expect("runs").0])
            .expect("runs");
    assert!(env.contains("NOMAD_PORT_http=8080"), "{env}");
    assert!(env.contains(&format!("NOMAD_ALLOC_ADDR_http=172.31.{number}.")), "{env}");

    // The next agent finds it all again.
    agent.kill();
    assert!(ask(&http).is_some(), "nobody needs the agent");
    agent.launch();
    agent.wait_running("shop", 1);
    assert_eq!(container(&id, "").expect("still there").0, holder);
    assert_eq!(container(&id, "web").expect("still there").1, web);

    // The container that holds the network dies, then a task: its successor is in the same network.
    let before = network_of(&side);
    docker(&["rm", "-f", &holder]).expect("removed");
    assert!(ask(&http).is_some(), "the network is there without its holder");
    docker(&["kill", &container(&id, "web").expect("runs").0]).expect("killed");
    let restarted = agent.wait_for("the restart", |_| {
        container(&id, "web").map(|(_, pid)| pid).filter(|pid| *pid != web)
    });
    agent.wait_for("the network of the restarted task", |_| {
        (network_of(&restarted) == before).then_some(())
    });
    agent.wait_for("the mapped port again", |_| ask(&http));

    repo.remove("shop.nomad.hcl");
    repo.write("other.txt", "x");
    repo.commit("no job any more");
    agent.wait_for("nothing to be left", |agent| {
        left(agent, number, std::slice::from_ref(&id)).is_empty().then_some(())
    });
    assert_eq!(ask(&http), None);
}

#[test]
fn mode_none_is_loopback_alone() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    let tasks = task("web", 8080, "0.0.0.0");
    repo.write(
        "alone.nomad.hcl",
        format!("job \"alone\" {{\n  group \"alone\" {{\n    network {{ mode = \"none\" }}{tasks}\n  }}\n}}\n"),
    );
    repo.commit("a group without a network");
    let mut agent = agent(&repo, 202);
    let id = agent.wait_running("alone", 1).remove(0).id.to_string();
    let (_, pid) = container(&id, "web").expect("runs");
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).expect("is there");
    assert_eq!(read("route").lines().count(), 1, "no route but the heading");
    let devices = read("dev");
    let devices: Vec<_> =
        devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(devices, ["lo"]);
    agent.wait_for("loopback", |_| ask_within(&pid, 8080));
    repo.remove("alone.nomad.hcl");
    repo.write("other.txt", "x");
    repo.commit("no job any more");
    agent.wait_for("nothing to be left", |agent| {
        left(agent, 202, std::slice::from_ref(&id)).is_empty().then_some(())
    });
}

#[test]
fn a_network_that_no_node_has_is_named() {
    let repo = Repository::new();
    repo.write(
        "far.nomad.hcl",
        r#"
job "far" {
  group "far" {
    network { mode = "cni/no-such-network" }
    task "far" {
      driver = "raw_exec"
      config { command = "sleep" }
    }
  }
}
"#,
    );
    repo.commit("a network that is not there");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_for("what is missing to be named", |agent| {
        let output = agent.herder(&["job", "status", "far"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("missing network cni/no-such-network").then_some(())
    });
}
