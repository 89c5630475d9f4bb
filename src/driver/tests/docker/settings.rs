//! What a file asks for arrives.

use std::fs;
use std::time::Duration;

use driver::{DockerOptions, Driver, GroupNetwork, LogStream, Propagation, Volume};
use model::{Dns, PortAssignment};
use serde_json::json;

use crate::place::{Host, LIMIT, Place, container};

#[tokio::test]
async fn ports_limits_and_settings_reach_docker() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = free.expect("a port").port();
    let mut task = place.spec(json!({
        "image": host.image(), "command": "/bin/httpd", "args": ["-f", "-p", "8080", "-h", "/www"],
        "ports": ["http"], "labels": [{"colour": "blue"}], "hostname": "front", "init": true,
        "volumes": ["local/www:/www:ro"], "extra_hosts": ["db:10.0.0.9"], "cap_drop": ["ALL"],
        "ulimit": {"nofile": "512:1024"}, "shm_size": 1048576, "readonly_rootfs": true,
        "mount": [{"type": "tmpfs", "target": "/tmp", "tmpfs_options": {"size": 65536}}],
        "logging": {"type": "journald"},
    }));
    task.ports = vec![PortAssignment {
        label: "http".into(),
        value: port,
        to: 8080,
        host_ip: "127.0.0.1".into(),
        host_network: None,
    }];
    fs::create_dir(place.path().join("web/local/www")).expect("makes");
    fs::write(place.path().join("web/local/www/index.html"), "hello").expect("writes");
    let handle = driver.start(&task).await.expect("starts");
    let inspected = host.inspect(&container(&handle));
    let host = &inspected["HostConfig"];
    assert_eq!(host["Memory"], 32 << 20);
    assert_eq!(host["CpuShares"], 100);
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostPort"], port.to_string());
    assert_eq!(host["Ulimits"][0]["Soft"], 512);
    assert_eq!(inspected["Config"]["Labels"]["colour"], "blue");
    assert_eq!(inspected["Config"]["Labels"]["herder.job"], "shop");
    assert_eq!(inspected["Config"]["Hostname"], "front");
    let page = async {
        loop {
            let fetched = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            if let Ok(mut stream) = fetched {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut answer = String::new();
                let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
                let _ = stream.read_to_string(&mut answer).await;
                if answer.ends_with("hello") {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, page).await.expect("the page is served");
}

#[tokio::test]
async fn limits_and_walls_reach_docker() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let options = DockerOptions {
        total_compute: 1_000,
        extra_labels: vec!["job_id".into()],
        no_new_privileges: true,
        ..place.options()
    };
    let driver = driver::Docker::new(options);
    let mut task = place.script_with(
        "exec sleep 1000",
        json!({
            "cpu_hard_limit": true, "cpu_cfs_period": 50_000, "cpuset_cpus": "0",
            "memory_hard_limit": 64, "pids_limit": 50, "ipc_mode": "none", "oom_score_adj": 100,
            "group_add": ["7"], "interactive": true, "runtime": "runc", "dns_servers": ["10.0.0.2"],
            "healthchecks": {"disable": true}, "dns_search_domains": ["example.org"],
            "dns_options": ["ndots:2"], "storage_opt": null, "mac_address": null,
        }),
    );
    task.volumes = vec![Volume {
        source: place.path().join("web/secrets"),
        target: "/more".into(),
        read_only: true,
        propagation: Propagation::Private,
    }];
    let handle = driver.start(&task).await.expect("starts");
    let inspected = host.inspect(&container(&handle));
    let found = &inspected["HostConfig"];
    let processors = std::thread::available_parallelism().expect("known").get() as u64;
    for (key, value) in [
        ("CpuPeriod", json!(50_000)),
        ("CpuQuota", json!(100 * 50_000 * processors / 1_000)),
        ("CpusetCpus", json!("0")),
        ("Memory", json!(64 << 20)),
        ("MemoryReservation", json!(32 << 20)),
        ("PidsLimit", json!(50)),
        ("IpcMode", json!("none")),
        ("OomScoreAdj", json!(100)),
        ("GroupAdd", json!(["7"])),
        ("Runtime", json!("runc")),
        ("CapDrop", json!(["NET_RAW"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("Dns", json!(["10.0.0.2"])),
        ("DnsSearch", json!(["example.org"])),
        ("DnsOptions", json!(["ndots:2"])),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!(inspected["Config"]["OpenStdin"], true);
    assert_eq!(inspected["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
    assert_eq!(inspected["Config"]["Labels"]["com.hashicorp.nomad.job_id"], "shop");
    let mounts = inspected["Mounts"].as_array().expect("a list");
    let more = mounts.iter().find(|mount| mount["Destination"] == "/more").expect("is mounted");
    assert_eq!((&more["RW"], &more["Propagation"]), (&json!(false), &json!("rprivate")));
    let stats = driver.stats(&handle).await.expect("answers").expect("it runs");
    assert!(stats.memory_bytes > 0 && stats.processes == 1, "{stats:?}");
    driver.destroy(&handle).await.expect("removes");
    assert_eq!(driver.stats(&handle).await.expect("answers"), None);
}

#[tokio::test]
async fn a_terminal_writes_to_one_stream() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let script = "tty >/dev/null && echo terminal; echo wrong >&2; printf end";
    let task = place.script_with(script, json!({"tty": true}));
    let handle = driver.start(&task).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    assert_eq!(place.logs(LogStream::Stdout).await, "terminal\r\nwrong\r\nend");
    assert_eq!(place.logs(LogStream::Stderr).await, "");
}

#[tokio::test]
async fn tasks_share_the_network_of_their_group() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let label = format!("herder.instance={}", place.instance());
    let image = host.image();
    let pause = host.says(&[
        "run",
        "-d",
        "--label",
        &label,
        "--hostname",
        "group",
        &image,
        "/bin/sleep",
        "1000",
    ]);
    let mut task = place.script_with(
        "hostname; cat /etc/resolv.conf; grep db /etc/hosts; ls -l /proc/self/ns/net | sed 's/.*net:/net:/'",
        json!({"ports": ["http"], "extra_hosts": ["db:10.9.9.9"], "hostname": "ignored"}),
    );
    task.ports = vec![PortAssignment {
        label: "http".into(),
        value: 1,
        to: 80,
        ..PortAssignment::default()
    }];
    task.dns = Some(Dns { servers: vec!["10.0.0.53".into()], ..Dns::default() });
    task.network = Some(GroupNetwork {
        container: Some(pause.clone()),
        hostname: "group".into(),
        address: "10.1.2.3".into(),
        ..GroupNetwork::default()
    });
    let handle = driver.start(&task).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    let all = place.logs(LogStream::Stdout).await;
    assert!(all.contains("nameserver 10.0.0.53\n10.9.9.9 db\n"), "{all}");
    let pid = host.inspect(&pause)["State"]["Pid"].to_string();
    let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).expect("runs");
    assert!(all.contains(&*namespace.to_string_lossy()), "{all}");
    host.says(&["rm", "-f", &pause]);
}

#[tokio::test]
async fn names_and_addresses_in_a_network_of_the_daemon() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let network = place.instance();
    // A range that is kept for tests (RFC 2544).
    let made =
        host.command(&["network", "create", "--subnet", "198.18.77.0/24", &network]).output();
    assert!(made.expect("runs").status.success(), "a network");
    let task = place.script_with(
        "exec sleep 1000",
        json!({"network_mode": network, "network_aliases": ["db"], "ipv4_address": "198.18.77.9"}),
    );
    let started = driver.start(&task).await;
    let found = started.as_ref().map(|handle| host.inspect(&container(handle)));
    if let Ok(handle) = &started {
        driver.destroy(handle).await.expect("removes");
    }
    host.says(&["network", "rm", &network]);
    let found = &found.expect("starts")["NetworkSettings"]["Networks"][&network];
    assert_eq!(found["IPAddress"], "198.18.77.9");
    assert!(found["Aliases"].as_array().expect("a list").contains(&json!("db")), "{found}");
}
