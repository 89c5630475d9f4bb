//! Agents that die at a bad moment, and machines that are out of something.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// The agent died a moment after it had started a shim, and the next one is faster than the shim.
pub(super) async fn a_young_shim_is_found() {
    let place = Place::new();
    let driver = driver(place.path());
    let task = place.spec("sleep 1000");
    let state_dir = place.path().join("web/.shim");
    fs::create_dir(&state_dir).expect("makes");
    let mut shim = Command::new(std::env::current_exe().expect("this binary"))
        .arg0("herder")
        .args([SHIM_ARG, "run"])
        .arg(&state_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    let message = json!({
        "task_id": TaskHandle::id(task.alloc, "web"),
        "task": "web",
        "logs": place.path().join("alloc/logs"),
        "log": LogConfig::default(),
        "command": {
            "command": "/bin/sleep", "args": ["1000"], "env": {}, "user": "", "cwd": "/",
            "task_dir": place.path().join("web"), "oom_score_adj": null, "own_dir": null,
        },
    });
    let mut stdin = shim.stdin.take().expect("a pipe");
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stdin.write_all(&serde_json::to_vec(&message).expect("JSON")).expect("writes");
        drop(stdin);
    };
    let (ours, ()) = tokio::join!(listed(&driver), late);
    let [only] = ours.as_slice() else { panic!("it is found: {ours:?}") };
    assert!(only.running && only.alloc == task.alloc, "{only:?}");
    driver.destroy(&only.handle).await.expect("removes");
    shim.wait().expect("collected");
}

pub(super) async fn a_strange_signal_stops_too() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("exec sleep 1000")).await.expect("starts");
    let status = driver.stop(&handle, "SIGRTMIN+3", Duration::from_secs(30)).await.expect("stops");
    assert_eq!(status.signal, Some(2), "the driver's own signal stands in");
}

pub(super) async fn no_descriptors_is_no_death() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("echo ready; exec sleep 1000")).await.expect("starts");
    place.said("ready").await;
    let files = Resource::RLIMIT_NOFILE;
    let (soft, hard) = getrlimit(files).expect("a limit");
    setrlimit(files, 3, hard).expect("nothing more can be opened");
    let found = driver.reattach(&handle).await;
    let waited = tokio::time::timeout(Duration::from_millis(300), driver.wait(&handle)).await;
    let ours = driver.list_ours().await;
    setrlimit(files, soft, hard).expect("as before");
    assert!(!matches!(found, Ok(Attached::Gone | Attached::Exited(_))), "{found:?}");
    assert!(waited.is_err(), "it runs: {waited:?}");
    assert!(ours.is_err(), "an absence that nobody saw: {ours:?}");
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
}

pub(super) async fn a_found_task_keeps_its_user() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("    skipped: only root can switch users");
        return;
    }
    let place = Place::new();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("opens");
    let driver = driver(place.path());
    let mut task = place.spec("echo ready; sleep 1000");
    task.driver_config.insert("work_dir".into(), json!("local"));
    task.user = "nobody".to_owned();
    driver.start(&task).await.expect("starts");
    place.said("ready").await;
    let found = listed(&driver).await.pop().expect("it is listed").handle;
    let args = ["-c".to_owned(), "id -u; pwd".to_owned()];
    let said = driver.exec(&found, "sh", &args, Duration::from_secs(30)).await.expect("runs");
    let expected = format!("65534\n{}\n", place.path().join("web/local").display());
    assert_eq!(String::from_utf8_lossy(&said.output), expected);
    driver.stop(&found, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
}
