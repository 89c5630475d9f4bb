//! Cores, devices and memory of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use driver::{Driver, Hardware, LogStream};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::place::{Host, Place, container};

fn cores() -> Vec<u16> {
    let status = fs::read_to_string("/proc/self/status").expect("is there");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    model::parse_cpuset(list.expect("is told").trim()).expect("a list").into_iter().collect()
}

#[tokio::test]
async fn a_container_runs_on_its_cores_and_is_moved() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let all = cores();
    let (first, last) = (*all.first().expect("a core"), *all.last().expect("a core"));
    let mut task = place.script_with("exec sleep 1000", json!({ "cpuset_cpus": "0" }));
    task.hardware = Hardware { cores: vec![last], alone: true, ..Hardware::default() };
    let handle = driver.start(&task).await.expect("starts");
    let set = || host.inspect(&container(&handle))["HostConfig"]["CpusetCpus"].clone();
    assert_eq!(set(), json!(last.to_string()), "its own cores come before what the file says");
    driver.set_cores(&handle, &[first]).await.expect("moves");
    assert_eq!(set(), json!(first.to_string()));
    driver.set_cores(&handle, &all).await.expect("moves");
    assert_eq!(set(), json!(model::format_cpuset(all.iter().copied())));
    driver.destroy(&handle).await.expect("removes");
    driver.set_cores(&handle, &all).await.expect("nothing is left to move");
}

#[tokio::test]
async fn a_container_is_given_devices() {
    let Some(host) = Host::docker() else { return };
    if !nix::unistd::geteuid().is_root() {
        return crate::place::missing("the right to make a device");
    }
    let place = Place::new(&host);
    let driver = place.driver();
    let dir = tempfile::Builder::new().prefix("herder-test-").tempdir_in("/dev").expect("a place");
    let path = dir.path().join("zero");
    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).expect("made");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    let mut task = place.script(&format!("head -c 7 {} | wc -c", path.display()));
    task.hardware.devices = vec![path];
    let handle = driver.start(&task).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    assert_eq!(place.logs(LogStream::Stdout).await.trim(), "7");
    driver.destroy(&handle).await.expect("removes");
}

#[tokio::test]
async fn a_container_has_two_limits_of_memory_or_none() {
    let Some(host) = Host::docker() else { return };
    for (most, expected) in [(0, 32_u64 << 20), (48, 48 << 20), (-1, 0)] {
        let place = Place::new(&host);
        let driver = place.driver();
        let mut task = place.script("exec sleep 1000");
        task.resources.memory_max_mb = most;
        let handle = driver.start(&task).await.expect("starts");
        let found: Value = host.inspect(&container(&handle))["HostConfig"]["Memory"].clone();
        assert_eq!(found, json!(expected), "memory_max = {most}");
        driver.destroy(&handle).await.expect("removes");
    }
}
