//! The life of a task that is kept apart.

use super::*;

pub(crate) async fn runs_in_its_own_root() {
    let place = Place::new();
    let script = "id -un; echo $COLOUR $HOME; pwd; ls -d /alloc /local /secrets /proc/self /usr /dev/null; \
        hostname >/dev/null; read x || echo no-stdin; echo kept > /local/file; echo shared > /alloc/data/file; \
        touch /usr/x 2>/dev/null || echo read-only; env | grep -c AGENT_ONLY";
    let (out, status) = place.script(script).await;
    assert!(status.code == Some(1), "grep finds nothing: {status}");
    let expected = "nobody\nblue /local\n/\n/alloc\n/dev/null\n/local\n/proc/self\n/secrets\n/usr\n\
                    no-stdin\nread-only\n0\n";
    assert_eq!(out, expected, "{}", place.logs(LogStream::Stderr).await);
    assert_eq!(fs::read_to_string(place.path().join("web/local/file")).expect("a file"), "kept\n");
    let shared = fs::read_to_string(place.path().join("alloc/data/file"));
    assert_eq!(shared.expect("a file"), "shared\n");
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
}

pub(crate) async fn tells_exit_codes_and_signals() {
    let place = Place::new();
    let (_, status) = place.script("exit 7").await;
    assert_eq!((status.code, status.signal, status.oom), (Some(7), None, false));
    let (_, status) = place.script("kill -SEGV $$").await;
    assert_eq!((status.code, status.signal), (None, Some(11)));
}

pub(crate) async fn what_cannot_run_is_said() {
    let place = Place::new();
    let driver = place.driver();
    fs::write(place.path().join("web/local/plain"), "x").expect("writes");
    // On the node and not in the task's root.
    let outside = tempfile::NamedTempFile::new().expect("a file");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for (config, words) in [
        (json!({"command": "no-such-thing"}), "does not exist in the task's PATH"),
        (json!({"command": outside.path()}), "does not exist in the task's root"),
        (json!({"command": "plain"}), "is not executable in the task's root"),
        (json!({"command": "sh", "work_dir": "nowhere"}), "`work_dir` /nowhere cannot be entered"),
    ] {
        let error = driver.start(&place.spec_of(config)).await.expect_err("cannot start");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
    // And the place is good for another try.
    assert!(place.script("exit 0").await.1.is_success());
}

pub(crate) async fn a_polite_end_reaches_the_task() {
    let place = Place::new();
    let driver = place.driver();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let status = driver.stop(&handle, "SIGTERM", Duration::from_secs(30)).await.expect("stops");
    assert_eq!(status.code, Some(3));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\n");
    // A task without a handler ends on a signal too: it is not the first process of its namespace.
    let handle = driver.start(&place.spec("echo up; exec sleep 1000")).await.expect("starts");
    place.said("up").await;
    let status = driver.stop(&handle, "SIGINT", Duration::from_secs(30)).await.expect("stops");
    assert_eq!(status.signal, Some(2));
}

pub(crate) async fn nothing_is_left() {
    let place = Place::new();
    let driver = place.driver();
    let script = "trap '' TERM INT; setsid sleep 1000 & (setsid sleep 1000 &); echo ready; \
                  while :; do sleep 1; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let holder = pid_of(&handle, "/isolated/holder/pid");
    assert!(lives(holder) && !place.cgroups().is_empty());
    let inside = processes(&place);
    assert!(inside.len() >= 4, "{inside:?}");
    let status = driver.stop(&handle, "", Duration::from_millis(50)).await.expect("stops");
    assert_eq!(status.signal, Some(9));
    assert!(!inside.iter().any(|pid| lives(*pid)), "all of them are gone");
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
    driver.destroy(&handle).await.expect("removes");
    driver.destroy(&handle).await.expect("removes what is gone");
    assert_eq!(fs::read_dir(place.path().join("states")).expect("lists").count(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let name = place.path().to_string_lossy().into_owned();
    assert!(!mounts.contains(&name), "no mount is left on the node");
}

fn processes(place: &Place) -> Vec<i64> {
    let group = place.cgroups().pop().expect("a group");
    let text = fs::read_to_string(group.join("cgroup.procs")).expect("processes");
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

pub(crate) async fn a_later_driver_finds_the_task() {
    let place = Place::new();
    let handle = place.driver().start(&place.spec("sleep 0.3; exit 4")).await.expect("starts");
    let later = place.driver();
    let ours = later.list_ours().await.expect("lists");
    assert_eq!(ours.len(), 1);
    assert_eq!((ours[0].handle.clone(), ours[0].running), (handle.clone(), true));
    assert_eq!(later.reattach(&handle).await.expect("looks"), Attached::Running);
    assert_eq!(later.wait(&handle).await.expect("ends").code, Some(4));
    // Its own tasks only: the other driver of processes does not take it for one of its.
    let java = Java::new(place.options());
    assert!(java.list_ours().await.expect("lists").is_empty());
}

pub(crate) async fn a_task_outlives_its_shim() {
    let place = Place::new();
    let driver = place.driver();
    let handle = driver.start(&place.spec("echo up; exec sleep 1000")).await.expect("starts");
    place.said("up").await;
    kill(pid_of(&handle, "/shim/pid"));
    until(async || !lives(pid_of(&handle, "/shim/pid"))).await;
    assert!(lives(pid_of(&handle, "/task/pid")));
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
    let status = driver.stop(&handle, "SIGTERM", Duration::from_secs(20)).await.expect("stops");
    assert!(!status.is_success() && status.code.is_none(), "{status}");
    // What held its surroundings ends with it.
    until(async || !lives(pid_of(&handle, "/isolated/holder/pid"))).await;
    driver.destroy(&handle).await.expect("removes");
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
}

fn kill(pid: i64) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
}

pub(crate) async fn commands_run_inside() {
    let place = Place::new();
    let driver = place.driver();
    let script = "echo here > /local/file; echo ready; exec sleep 1000";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let exec = async |script: &str| {
        let args = ["-c".to_owned(), script.to_owned()];
        driver.exec(&handle, "/bin/sh", &args, Duration::from_secs(20)).await.expect("runs")
    };
    let look = exec("cat /local/file; id -un; echo $COLOUR; pwd; ls /proc | grep -c '^[0-9]'; mount -t tmpfs x /tmp || echo refused").await;
    let text = String::from_utf8_lossy(&look.output).into_owned();
    assert!(text.starts_with("here\nnobody\nblue\n/\n"), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert_eq!(exec("exit 9").await.exit_code, 9);
    assert_eq!(exec("kill -9 $$").await.exit_code, 137);
    let args = ["1000".to_owned()];
    let slow = driver.exec(&handle, "sleep", &args, Duration::from_millis(200)).await;
    assert!(slow.expect_err("too slow").to_string().contains("took longer"));
    let inside = async || processes(&place).len();
    // The holder and the task.
    until(async || inside().await == 2).await;
    let missing =
        driver.exec(&handle, "no-such", &[], Duration::from_secs(20)).await.expect("runs");
    assert_eq!(missing.exit_code, 127);
    assert!(String::from_utf8_lossy(&missing.output).contains("does not exist"), "{missing:?}");
}

pub(crate) async fn volumes_are_there() {
    let place = Place::new();
    let data = tempfile::tempdir().expect("a directory");
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    fs::write(data.path().join("old"), "old\n").expect("writes");
    let volume = |target: &str, read_only| driver::Volume {
        source: data.path().to_owned(),
        target: target.to_owned(),
        read_only,
        propagation: driver::Propagation::Private,
    };
    let mut spec = place.spec(
        "cat /srv/data/old; echo new > /srv/data/new; touch /ro/x 2>/dev/null || echo ro; \
         touch /alloc/logs/x 2>/dev/null || echo logs-ro; touch /alloc/data/x && echo data-rw",
    );
    spec.volumes = vec![volume("/srv/data", false), volume("ro", true)];
    let (out, status) = place.to_end(&spec).await;
    assert_eq!(out, "old\nro\nlogs-ro\ndata-rw\n");
    assert!(status.is_success(), "{status}");
    assert_eq!(fs::read_to_string(data.path().join("new")).expect("written"), "new\n");
    spec.volumes = vec![driver::Volume {
        propagation: driver::Propagation::Bidirectional,
        ..volume("/x", false)
    }];
    let error = place.driver().start(&spec).await.expect_err("refused");
    assert!(error.to_string().contains("bidirectional"), "{error}");
}

pub(crate) async fn java_runs() {
    let place = Place::new();
    let java = Java::new(place.options());
    let info = java.fingerprint().await;
    if !info.healthy {
        assert!(std::env::var_os("CI").is_none(), "java is needed: {}", info.description);
        println!("java: skipped, {}", info.description);
        return;
    }
    assert!(!info.attributes["driver.java.version"].is_empty());
    let source = "public class Hello { public static void main(String[] a) throws Exception { \
        System.out.println(\"hello \" + a[0] + \" \" + System.getProperty(\"user.name\")); \
        System.exit(new java.io.File(\"/etc/shadow\").canRead() ? 1 : 6); } }";
    fs::write(place.path().join("web/local/Hello.java"), source).expect("writes");
    // The single-file form needs no compiler of its own.
    let mut spec = place.spec_of(json!({
        "class": "/local/Hello.java", "jvm_options": ["-Xmx128m", "-Xshare:auto"], "args": ["you"],
    }));
    spec.resources.memory_mb = 512;
    let handle = java.start(&spec).await.expect("starts");
    let status = java.wait(&handle).await.expect("ends");
    let told = place.logs(LogStream::Stderr).await;
    assert_eq!(status.code, Some(6), "{told}");
    assert_eq!(place.logs(LogStream::Stdout).await, "hello you nobody\n");
    java.destroy(&handle).await.expect("removes");
}

pub(crate) async fn the_cost_is_small() {
    let place = Place::new();
    let driver = place.driver();
    let handle = driver.start(&place.spec("echo up; exec sleep 1000")).await.expect("starts");
    place.said("up").await;
    let private = |pid: i64| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
        text.lines()
            .filter(|line| line.starts_with("Private_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum()
    };
    let shim = private(pid_of(&handle, "/shim/pid"));
    let holder = private(pid_of(&handle, "/isolated/holder/pid"));
    println!("private memory: shim {shim} KiB, holder {holder} KiB");
    assert!(shim + holder < 1024, "shim {shim} KiB, holder {holder} KiB");
}
