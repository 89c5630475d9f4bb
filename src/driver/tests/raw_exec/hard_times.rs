//! Agents that die at a bad moment, and machines that are out of something.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// The agent died a moment after it had started a shim, and the next one is faster than the shim.
pub(super) async fn a_young_shim_is_found() {
    let place = Place::new();
    let driver = driver(place.path());
    let task = place.spec("sleep 1000");
    let state_dir = task.dirs.state.clone();
    fs::create_dir_all(&state_dir).expect("makes");
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

/// The agent died before it had told a shim what to run: what it made for the run goes, unless it is being made just now.
pub(super) async fn a_run_that_was_never_begun_leaves_nothing() {
    let place = Place::new();
    let driver = driver(place.path());
    let state = place.spec("true").dirs.state;
    fs::create_dir_all(&state).expect("makes");
    fs::write(state.join("exit.reserve"), " ").expect("writes");
    let states = state.parent().and_then(Path::parent).expect("a folder").to_owned();
    assert_eq!(listed(&driver).await, Vec::new());
    assert!(!state.exists(), "it is removed");
    let (starts, lists) = (async { driver.start(&place.spec("sleep 1000")).await }, async {
        for _ in 0..50 {
            listed(&driver).await;
        }
    });
    let (handle, ()) = tokio::join!(starts, lists);
    let handle = handle.expect("what begins is left alone");
    assert!(states.exists() && lives(pid_of(&handle, "task")));
    driver.stop(&handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
}

/// The agent died before it stored the handle, and the task ended before the next one came.
pub(super) async fn an_unknown_end_is_found() {
    let place = Place::new();
    let handle = agent_that_dies(place.path(), "exit 4");
    until(async || !lives(pid_of(&handle, "shim"))).await;
    let driver = driver(place.path());
    let found = listed(&driver).await.pop().expect("it is listed");
    assert!(!found.running, "{found:?}");
    let Attached::Exited(status) = driver.reattach(&found.handle).await.expect("looks") else {
        panic!("it has ended");
    };
    assert_eq!(status.code, Some(4));
    driver.destroy(&found.handle).await.expect("removes");
    assert_eq!(listed(&driver).await, Vec::new());
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

pub(super) async fn a_full_disk_is_survived() {
    let place = Place::new();
    let mount = |program: &str, args: &[&str]| {
        let done =
            Command::new(program).args(args).arg(place.path()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=1m", "small"]) {
        println!("    skipped: a small disk cannot be mounted here");
        return;
    }
    fs::create_dir_all(place.path().join("alloc/logs")).expect("makes");
    fs::create_dir_all(place.path().join("web/local")).expect("makes");
    let driver = driver(place.path());
    let script = "yes | head -c 3000000; rm filler; echo after; exit 3";
    fs::write(place.path().join("web/filler"), [0; 65536]).expect("writes");
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    let out = place.logs(LogStream::Stdout).await;
    assert_eq!(status.code, Some(3), "{status}");
    assert!(status.message.contains("bytes of output were lost"), "{status}");
    assert!(out.starts_with("y\ny\n") && out.len() < 1024 * 1024, "{}", out.len());
    assert!(mount("umount", &["-l"]));
}

pub(super) async fn a_second_start_ends_the_first() {
    let place = Place::new();
    let first = agent_that_dies(place.path(), "sleep 1000");
    let driver = driver(place.path());
    let second = driver.start(&place.spec("exit 6")).await.expect("starts");
    assert!(!lives(pid_of(&first, "task")), "no task runs twice");
    assert_eq!(driver.wait(&second).await.expect("ends").code, Some(6));
    assert_eq!(driver.reattach(&first).await.expect("looks"), Attached::Gone);
    // The handle of the first run does not remove the second one's state.
    driver.destroy(&first).await.expect("nothing to do");
    assert!(matches!(driver.reattach(&second).await, Ok(Attached::Exited(_))));
}

/// The processes that shims are forked from, of this process.
fn own_zygotes() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").expect("reads").flatten();
    let children: String = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default())
        .collect();
    let numbers = children.split_whitespace().map(|pid| pid.parse::<i32>().expect("a pid"));
    let named = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "herder-zygote"
    };
    numbers.filter(named).collect()
}

/// Somebody ended what shims are forked from, between two tasks.
pub(super) async fn a_dead_zygote_is_replaced() {
    let place = Place::new();
    let driver = driver(place.path());
    let first = driver.start(&place.spec("sleep 1000")).await.expect("starts");
    let before = own_zygotes();
    for zygote in &before {
        let pid = nix::unistd::Pid::from_raw(*zygote);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    }
    assert!(!before.is_empty());
    let other = Place::new();
    let next = driver.start(&other.spec("sleep 1000")).await.expect("starts");
    assert!(lives(pid_of(&first, "task")) && lives(pid_of(&next, "task")));
    let after = own_zygotes();
    assert!(!after.is_empty() && after.iter().all(|zygote| !before.contains(zygote)), "{after:?}");
    for handle in [first, next] {
        driver.stop(&handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
    }
    drop(driver);
    assert_eq!(own_zygotes(), Vec::<i32>::new(), "it ends with the driver");
}

pub(super) fn a_zygote_ends_with_its_agent() {
    let (ours, its) = nix::sys::socket::socketpair(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::SeqPacket,
        None,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
    )
    .expect("a pair");
    let mut zygote = Command::new(std::env::current_exe().expect("this binary"))
        .args([SHIM_ARG, "zygote"])
        .arg("-".repeat(4096))
        .stdin(its)
        .spawn()
        .expect("runs");
    drop(ours);
    assert!(zygote.wait().expect("collected").success());
}

pub(super) async fn cores_are_its_own() {
    let allowed = |status: &str| {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        model::parse_cpuset(list.expect("is told").trim()).expect("a list")
    };
    let all = allowed(&fs::read_to_string("/proc/self/status").expect("is there"));
    let one = *all.last().expect("a core");
    for (alone, expected) in [(true, [one].into()), (false, all.clone())] {
        let place = Place::new();
        let driver = driver(place.path());
        let mut spec = place.spec("cat /proc/self/status");
        spec.hardware = driver::Hardware { cores: vec![one], alone, ..Default::default() };
        let handle = driver.start(&spec).await.expect("starts");
        driver.wait(&handle).await.expect("ends");
        assert_eq!(allowed(&place.logs(LogStream::Stdout).await), expected, "alone: {alone}");
    }
}

pub(super) async fn reused_numbers_are_left_alone() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("exit 0")).await.expect("starts");
    driver.wait(&handle).await.expect("ends");
    // A stranger with the numbers of the handle, in a session of its own.
    let mut stranger =
        Stranger(Command::new("sleep").arg("1000").process_group(0).spawn().expect("runs"));
    let mut stale = handle.clone();
    for which in ["shim", "task"] {
        stale.state[which]["pid"] = stranger.0.id().into();
        // Ticks are 10 ms long, and the stranger may have started in the very one of the task.
        let ticks = stale.state[which]["ticks"].as_u64().expect("ticks");
        stale.state[which]["ticks"] = (ticks - 1).into();
    }
    assert_eq!(driver.reattach(&stale).await.expect("looks"), Attached::Gone);
    assert!(matches!(driver.signal(&stale, "SIGKILL").await, Err(DriverError::NotRunning(_))));
    let status = driver.stop(&stale, "SIGKILL", Duration::ZERO).await.expect("nothing to stop");
    assert_eq!(status.code, None);
    driver.destroy(&stale).await.expect("nothing to remove");
    // The same of another boot.
    stale = handle;
    stale.state["boot_id"] = "another".into();
    stale.state["task"] = json!({"pid": stranger.0.id(), "ticks": 0});
    driver.stop(&stale, "SIGKILL", Duration::ZERO).await.expect("nothing to stop");
    assert_eq!(stranger.0.try_wait().expect("asks"), None, "the stranger lives");
}
