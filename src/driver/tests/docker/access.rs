//! What leads out of a container is refused, in words, before anything is done.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use driver::{Docker, DockerOptions, Driver, DriverError, LogStream};
use serde_json::json;

use crate::place::{Host, LIMIT, Place};

#[tokio::test]
async fn ways_out_are_refused_in_words() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    for (more, words) in [
        (json!({"privileged": true}), "`privileged` is not allowed on this node"),
        (json!({"cap_add": ["SYS_ADMIN"]}), "SYS_ADMIN is not allowed on this node"),
        (json!({"volumes": ["/etc:/host"]}), "volumes are not enabled on this node"),
        (
            json!({"mount": {"type": "volume", "source": "v", "target": "/v"}}),
            "volumes are not enabled on this node",
        ),
        (json!({"devices": [{"host_path": "/dev/sda"}]}), "/dev/sda is not allowed on this node"),
        (json!({"pid_mode": "host"}), "`pid_mode`: `host` is not allowed on this node"),
        (json!({"ipc_mode": "host"}), "`ipc_mode`: `host` is not allowed on this node"),
        (json!({"uts_mode": "host"}), "`uts_mode`: `host` is not allowed on this node"),
        (json!({"userns_mode": "host"}), "`userns_mode`: `host` is not allowed on this node"),
        (json!({"cgroupns": "host"}), "`cgroupns`: `host` is not allowed on this node"),
        (json!({"network_mode": "container:x"}), "`container:x` is not allowed on this node"),
        (json!({"security_opt": ["seccomp=unconfined"]}), "is not allowed on this node"),
        (json!({"runtime": "other"}), "which allows: runc"),
    ] {
        let error = driver.start(&place.script_with("true", more)).await.expect_err("refused");
        assert!(matches!(error, DriverError::Config { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(driver.list_ours().await.expect("lists"), Vec::new());
    // A node that allows it gets what was asked for.
    let driver = Docker::new(DockerOptions {
        allow_host_namespaces: true,
        allow_devices: vec!["/dev/null".into()],
        ..place.options()
    });
    let more = json!({"pid_mode": "host", "devices": [{"host_path": "/dev/null", "container_path": "/dev/x"}]});
    let script = "test -c /dev/x && test $$ -gt 1";
    let handle = driver.start(&place.script_with(script, more)).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
}

#[tokio::test]
async fn raw_packets_are_not_to_be_had() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let handle =
        driver.start(&place.script("grep CapEff /proc/self/status")).await.expect("starts");
    driver.wait(&handle).await.expect("ends");
    let said = place.logs(LogStream::Stdout).await;
    let mask = said.split_whitespace().last().expect("a mask");
    let mask = u64::from_str_radix(mask, 16).expect("a number");
    // CAP_NET_RAW has the number 13, CAP_CHOWN 0.
    assert_eq!((mask >> 13 & 1, mask & 1), (0, 1), "{said}");
}

/// A neighbour with write access to `alloc/` swaps a directory for a link, again and again, while a task that mounts it is
/// started: whatever the task sees is never what the link means.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_appears_in_between_leads_nowhere() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let (data, link) = (place.path().join("alloc/data"), place.path().join("alloc/link"));
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), "of the node").expect("writes");
    fs::create_dir(&data).expect("makes");
    symlink(outside.path(), &link).expect("links");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = {
        let (stop, data, link) = (stop.clone(), data.clone(), link.clone());
        std::thread::spawn(move || {
            use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat2(AT_FDCWD, &data, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE)
                    .expect("swaps");
                std::thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let (mut started, mut refused) = (0, 0);
    let begin = std::time::Instant::now();
    while started < 6 || refused == 0 {
        assert!(begin.elapsed() < LIMIT, "both happen: {started} {refused}");
        let more = json!({"volumes": ["../alloc/data:/data"], "network_mode": "none"});
        match driver.start(&place.script_with("ls /data", more)).await {
            Ok(handle) => {
                started += 1;
                driver.wait(&handle).await.expect("ends");
                driver.destroy(&handle).await.expect("removes");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("goes through a link"), "{error}");
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().expect("ends");
    assert_eq!(place.logs(LogStream::Stdout).await, "", "nothing of the node was seen");
}
