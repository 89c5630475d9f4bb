//! What a task gets of the node's hardware: its cores, its devices, and as much memory as it may have.

use driver::Hardware;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::*;

/// A device of zeros in a place of its own beneath `/dev`, removed with the test.
struct Zero(tempfile::TempDir);

impl Zero {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("herder-test-").tempdir_in("/dev");
        let dir = dir.expect("a directory beneath /dev");
        let one = Self(dir);
        mknod(&one.path(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5))
            .expect("a device");
        fs::set_permissions(one.path(), fs::Permissions::from_mode(0o666)).expect("a mode");
        one
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("zero")
    }
}

/// The cores that this process may run on.
fn cores() -> Vec<u16> {
    let status = fs::read_to_string("/proc/self/status").expect("is there");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    model::parse_cpuset(list.expect("is told").trim()).expect("a list").into_iter().collect()
}

/// Where a process may run, by its number.
fn cores_of(pid: i64) -> Vec<u16> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    model::parse_cpuset(list.expect("is told").trim()).expect("a list").into_iter().collect()
}

pub(crate) async fn cores_are_its_own() {
    let all = cores();
    let one = *all.last().expect("a core");
    let place = Place::new();
    let driver = place.driver();
    let mut spec = place.spec("sleep 1000 & echo go; sleep 1000");
    spec.hardware = Hardware { cores: vec![one], alone: true, ..Hardware::default() };
    let handle = driver.start(&spec).await.expect("starts");
    place.said("go").await;
    let pid = pid_of(&handle, "/task/pid");
    assert_eq!(cores_of(pid), [one]);
    // What it starts runs there too, and so do commands beside it.
    let script = ["-c".to_owned(), "grep Cpus_allowed_list /proc/self/status".to_owned()];
    let said = driver.exec(&handle, "/bin/sh", &script, Duration::from_secs(10)).await;
    let said = String::from_utf8(said.expect("runs").output).expect("text");
    assert_eq!(said.split_whitespace().last(), Some(one.to_string().as_str()), "{said}");
    driver.stop(&handle, "SIGKILL", Duration::ZERO).await.expect("stops");
    driver.destroy(&handle).await.expect("removes");
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
}

pub(crate) async fn shared_cores_change_while_it_runs() {
    let all = cores();
    let (first, last) = (*all.first().expect("a core"), *all.last().expect("a core"));
    let place = Place::new();
    let driver = place.driver();
    let mut spec = place.spec("echo go; sleep 1000");
    spec.hardware = Hardware { cores: vec![first], ..Hardware::default() };
    let handle = driver.start(&spec).await.expect("starts");
    place.said("go").await;
    let pid = pid_of(&handle, "/task/pid");
    assert_eq!(cores_of(pid), [first]);
    driver.set_cores(&handle, &[last]).await.expect("moves");
    assert_eq!(cores_of(pid), [last]);
    driver.set_cores(&handle, &all).await.expect("moves");
    assert_eq!(cores_of(pid), all);
    driver.stop(&handle, "SIGKILL", Duration::ZERO).await.expect("stops");
    driver.set_cores(&handle, &all).await.expect("nothing is left to move");
    driver.destroy(&handle).await.expect("removes");
}

pub(crate) async fn devices_are_given() {
    let (place, zero) = (Place::new(), Zero::new());
    let path = zero.path();
    let script = format!("head -c 7 {} | wc -c; ls /dev", path.display());
    let mut spec = place.spec(&script);
    let (out, _) = place.to_end(&spec).await;
    assert!(out.starts_with("0\n"), "it is not there: {out}");
    spec.hardware.devices = vec![path.clone()];
    let (out, status) = place.to_end(&spec).await;
    assert!(status.is_success() && out.starts_with("7\n"), "{status} {out}");
    assert!(!out.contains("kmsg"), "and nothing else: {out}");

    let missing = path.with_file_name("missing");
    for wrong in [missing, place.path().join("web"), PathBuf::from("/dev/shm")] {
        spec.hardware.devices = vec![wrong.clone()];
        let error = place.driver().start(&spec).await.expect_err("cannot be given").to_string();
        assert!(error.contains(&wrong.display().to_string()), "{error}");
    }
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
}

pub(crate) async fn memory_has_two_limits_or_none() {
    let limit = async |memory_max_mb| {
        let place = Place::new();
        let driver = place.driver();
        let mut spec = place.spec("echo go; sleep 1000");
        spec.resources.memory_mb = 32;
        spec.resources.memory_max_mb = memory_max_mb;
        let handle = driver.start(&spec).await.expect("starts");
        place.said("go").await;
        let groups = place.cgroups();
        let files = ["memory.limit_in_bytes", "memory.max"];
        let found = groups
            .iter()
            .flat_map(|group| files.map(|file| fs::read_to_string(group.join(file)).ok()))
            .flatten()
            .next()
            .expect("a limit");
        driver.stop(&handle, "SIGKILL", Duration::ZERO).await.expect("stops");
        driver.destroy(&handle).await.expect("removes");
        // Without one, version 1 tells a number beyond all memory.
        found.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 60)
    };
    assert_eq!(limit(0).await, Some(32 << 20));
    assert_eq!(limit(48).await, Some(48 << 20));
    assert_eq!(limit(-1).await, None);
}
