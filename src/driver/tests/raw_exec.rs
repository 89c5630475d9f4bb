//! `raw_exec` with real processes. This binary has its own `main`, because it is also the shim that the driver starts,
//! and an agent that dies.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use driver::{
    Attached, Driver, DriverError, ExitStatus, LogStart, LogStream, Ours, RawExec, RawExecOptions,
    SHIM_ARG, TaskDirs, TaskHandle, TaskSpec, log_files, read_logs,
};
use model::{AllocId, JobId, LogConfig, Resources};
use serde_json::{Value, json};

/// Starts a task, prints its handle and dies without cleaning up.
const DYING_AGENT: &str = "dying-agent";

/// Writes numbered lines as fast as it can.
const CHATTER: &str = "chatter";

#[path = "raw_exec/hard_times.rs"]
mod hard_times;

type Case = (&'static str, fn());

const CASES: [Case; 29] = [
    ("runs_and_keeps_its_output", || run(runs_and_keeps_its_output())),
    ("tells_exit_codes_and_signals", || run(tells_exit_codes_and_signals())),
    ("a_missing_command_is_said_in_words", || run(a_missing_command_is_said_in_words())),
    ("wrong_settings_are_refused", || run(wrong_settings_are_refused())),
    ("stop_asks_first", || run(stop_asks_first())),
    ("stop_kills_the_stubborn_and_all_they_started", || run(stop_kills_the_stubborn())),
    ("what_a_task_leaves_behind_ends_with_it", || run(what_a_task_leaves_behind_ends())),
    ("a_new_agent_waits_for_an_old_task", || run(a_new_agent_waits_for_an_old_task())),
    ("an_end_while_no_agent_was_there_is_known", || run(an_end_without_agent_is_known())),
    ("another_process_of_the_same_number_is_left_alone", || {
        run(hard_times::reused_numbers_are_left_alone())
    }),
    ("a_task_whose_shim_was_killed_is_followed", || run(a_task_without_shim_is_followed())),
    ("a_second_start_ends_the_first", || run(hard_times::a_second_start_ends_the_first())),
    ("rotation_under_load_loses_nothing", || run(rotation_under_load_loses_nothing())),
    ("a_full_disk_neither_stops_a_task_nor_loses_its_end", || {
        run(hard_times::a_full_disk_is_survived())
    }),
    ("cores_are_its_own", || run(hard_times::cores_are_its_own())),
    ("signals_reach_the_task", || run(signals_reach_the_task())),
    ("commands_run_beside_the_task", || run(commands_run_beside_the_task())),
    ("destroy_is_idempotent_and_leaves_logs", || run(destroy_is_idempotent())),
    ("lists_what_is_ours", || run(lists_what_is_ours())),
    ("a_shim_that_has_not_written_its_record_is_waited_for", || {
        run(hard_times::a_young_shim_is_found())
    }),
    ("an_end_that_nobody_knows_of_is_found", || run(hard_times::an_unknown_end_is_found())),
    ("a_signal_without_meaning_does_not_save_a_task", || {
        run(hard_times::a_strange_signal_stops_too())
    }),
    ("what_cannot_be_looked_at_is_not_taken_for_dead", || {
        run(hard_times::no_descriptors_is_no_death())
    }),
    ("a_task_that_was_found_again_keeps_its_user", || {
        run(hard_times::a_found_task_keeps_its_user())
    }),
    ("a_run_that_was_never_begun_leaves_nothing", || {
        run(hard_times::a_run_that_was_never_begun_leaves_nothing())
    }),
    ("a_dead_zygote_is_replaced", || run(hard_times::a_dead_zygote_is_replaced())),
    ("a_zygote_ends_with_its_agent", hard_times::a_zygote_ends_with_its_agent),
    ("runs_as_another_user", || run(runs_as_another_user())),
    ("the_shim_is_small", || run(the_shim_is_small())),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let first = args.nth(1);
    match first.as_ref().and_then(|arg| arg.to_str()) {
        Some(SHIM_ARG) => return driver::shim_main(args),
        Some(DYING_AGENT) => die_as_an_agent(Path::new(&args.next().expect("a directory"))),
        Some(CHATTER) => return chatter(),
        _ => {}
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let list = std::env::args().any(|arg| arg == "--list");
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        let begin = Instant::now();
        let fine = std::panic::catch_unwind(case).is_ok();
        let word = if fine { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", begin.elapsed().as_millis());
        if fine { passed += 1 } else { failed += 1 }
    }
    if !list {
        println!("raw_exec: {passed} passed, {failed} failed");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), case).await };
    runtime.expect("a runtime").block_on(limited).expect("the case ends in time");
}

/// An allocation's directories; its tasks are killed at the end of the case.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["alloc/logs", "web/local", "web/secrets"] {
            fs::create_dir_all(root.path().join(dir)).expect("makes");
        }
        Self { root }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn spec(&self, script: &str) -> TaskSpec {
        spec(self.path(), json!({"command": "/bin/sh", "args": ["-c", script]}))
    }

    async fn logs(&self, stream: LogStream) -> String {
        let dir = self.path().join("alloc/logs");
        let mut reader =
            read_logs(&dir, "web", stream, LogStart::Offset(0), false).await.expect("opens");
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await.expect("reads") {
            all.extend(chunk.data);
        }
        String::from_utf8(all).expect("text")
    }

    /// Waits until the task has written this line to stdout.
    async fn said(&self, line: &str) {
        until(async || self.logs(LogStream::Stdout).await.lines().any(|said| said == line)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let root = self.path().to_owned();
        // On a thread of its own: this one is inside a runtime.
        let cleaning = std::thread::spawn(move || {
            run(async {
                let driver = driver(&root);
                for ours in driver.list_ours().await.unwrap_or_default() {
                    let _ = driver.destroy(&ours.handle).await;
                }
            });
        });
        let _ = cleaning.join();
    }
}

fn driver(root: &Path) -> RawExec {
    RawExec::new(RawExecOptions { enabled: true, ..RawExecOptions::new(root.join("states")) })
}

fn spec(root: &Path, config: Value) -> TaskSpec {
    let task_dir = root.join("web");
    let alloc = AllocId::new(model::seeded_uuid(&[root.as_os_str().as_encoded_bytes()]));
    TaskSpec {
        alloc,
        job: JobId::from("shop".to_owned()),
        group: "front".to_owned(),
        task: "web".to_owned(),
        driver_config: serde_json::from_value(config).expect("a map"),
        env: BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]),
        dirs: TaskDirs {
            alloc_dir: root.join("alloc"),
            local: task_dir.join("local"),
            secrets: task_dir.join("secrets"),
            logs: root.join("alloc/logs"),
            state: root.join("states").join(alloc.to_string()).join("web"),
            task_dir,
        },
        user: String::new(),
        resources: Resources::default(),
        ports: Vec::new(),
        kill_signal: String::new(),
        log: LogConfig::default(),
        labels: BTreeMap::new(),
        volumes: Vec::new(),
        network: None,
        dns: None,
        hardware: driver::Hardware::default(),
        progress: driver::Progress::default(),
    }
}

async fn listed(driver: &RawExec) -> Vec<Ours> {
    driver.list_ours().await.expect("lists")
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pid_of(handle: &TaskHandle, which: &str) -> i64 {
    handle.state[which]["pid"].as_i64().expect("a pid")
}

fn lives(pid: i64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

fn has_trace(pid: i64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn runs_and_keeps_its_output() {
    let place = Place::new();
    let driver = driver(place.path());
    let script = "echo out $COLOUR; echo err >&2; pwd; read x || echo no-stdin; ps -o sid= -p $$";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert!(status.is_success(), "{status}");
    assert!(!status.finished_at.is_zero());
    let (task_dir, pid) = (place.path().join("web"), pid_of(&handle, "task"));
    let expected = format!("out blue\n{}\nno-stdin\n", task_dir.display());
    let out = place.logs(LogStream::Stdout).await;
    assert!(out.starts_with(&expected), "{out}");
    assert!(out.trim().ends_with(&pid.to_string()), "leads its own session: {out}");
    assert_eq!(place.logs(LogStream::Stderr).await, "err\n");
    assert!(!has_trace(pid_of(&handle, "shim")), "the shim was collected");
    // Asked again, it knows it again.
    assert_eq!(driver.wait(&handle).await.expect("ends"), status);
}

async fn tells_exit_codes_and_signals() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("exit 7")).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert_eq!((status.code, status.signal), (Some(7), None));
    let handle = driver.start(&place.spec("kill -SEGV $$")).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert_eq!((status.code, status.signal, status.shell_code()), (None, Some(11), 139));
}

async fn a_missing_command_is_said_in_words() {
    let place = Place::new();
    let driver = driver(place.path());
    fs::write(place.path().join("web/local/plain"), "x").expect("writes");
    for (config, words) in [
        (json!({"command": "no-such-thing"}), "command `no-such-thing` does not exist in PATH"),
        (json!({"command": "/no/such"}), "command `/no/such` does not exist"),
        (json!({"command": "plain"}), "command `plain` is not executable"),
        (json!({"command": "sh", "work_dir": "nowhere"}), "is not a directory"),
    ] {
        let error = driver.start(&spec(place.path(), config)).await.expect_err("cannot start");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_recoverable(), "{error}");
    }
    // And the place is good for another try.
    let handle = driver.start(&place.spec("exit 0")).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
}

async fn wrong_settings_are_refused() {
    let place = Place::new();
    let error = driver(place.path())
        .start(&spec(place.path(), json!({"comand": "x"})))
        .await
        .expect_err("refused");
    assert!(matches!(error, DriverError::Config { .. }), "{error}");
    let options = RawExecOptions::new(place.path());
    let off = RawExec::new(options);
    assert!(!off.fingerprint().await.healthy);
    assert!(off.start(&place.spec("true")).await.is_err());
}

async fn stop_asks_first() {
    let place = Place::new();
    let driver = driver(place.path());
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let status = driver.stop(&handle, "SIGTERM", Duration::from_secs(30)).await.expect("stops");
    assert_eq!(status.code, Some(3));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\n");
    // Of a task that has ended, stop tells the end.
    assert_eq!(driver.stop(&handle, "", Duration::ZERO).await.expect("known"), status);
}

async fn stop_kills_the_stubborn() {
    let place = Place::new();
    let driver = driver(place.path());
    // A child in the group, a grandchild in a session of its own, and an orphan: all deaf to polite signals.
    let script = "trap '' TERM INT; \
        sh -c 'echo $$; exec sleep 1000' & \
        setsid sh -c 'sh -c \"echo \\$\\$; exec sleep 1000\" & wait' & \
        (setsid sleep 1000 & echo $!) & \
        sleep 0.2; echo ready; while :; do sleep 1; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let out = place.logs(LogStream::Stdout).await;
    let pids: Vec<i64> = out.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(pids.len(), 3, "{out}");
    assert!(pids.iter().all(|pid| lives(*pid)), "{out}");
    let begin = Instant::now();
    let status = driver.stop(&handle, "", Duration::from_millis(100)).await.expect("stops");
    assert_eq!(status.signal, Some(9));
    assert!(begin.elapsed() >= Duration::from_millis(100), "it was asked first");
    assert!(!pids.iter().any(|pid| lives(*pid)), "all of them are gone");
}

async fn what_a_task_leaves_behind_ends() {
    let place = Place::new();
    let driver = driver(place.path());
    let script = "setsid sleep 1000 & echo $!; exit 5";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    assert_eq!(driver.wait(&handle).await.expect("ends").code, Some(5));
    let pid = place.logs(LogStream::Stdout).await.trim().parse().expect("a pid");
    assert!(!lives(pid));
}

/// The agent is a process of its own here, and is gone when its handle arrives.
fn agent_that_dies(root: &Path, script: &str) -> TaskHandle {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .arg(DYING_AGENT)
        .arg(root)
        .env("SCRIPT", script)
        .stderr(Stdio::inherit())
        .output()
        .expect("runs");
    assert!(!output.status.success(), "it died");
    serde_json::from_slice(&output.stdout).expect("a handle")
}

fn die_as_an_agent(root: &Path) {
    let script = std::env::var("SCRIPT").expect("a script");
    let config = json!({"command": "/bin/sh", "args": ["-c", script]});
    run(async {
        let handle = driver(root).start(&spec(root, config)).await.expect("starts");
        print!("{}", serde_json::to_string(&handle).expect("serialises"));
        std::io::stdout().flush().expect("flushes");
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).expect("dies");
    });
}

async fn a_new_agent_waits_for_an_old_task() {
    let place = Place::new();
    let script = "echo one; while ! test -e local/go; do sleep 0.02; done; echo two; exit 9";
    let handle = agent_that_dies(place.path(), script);
    let driver = driver(place.path());
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    assert_eq!(driver.wait(&handle).await.expect("ends").code, Some(9));
    assert_eq!(place.logs(LogStream::Stdout).await, "one\ntwo\n");
}

async fn an_end_without_agent_is_known() {
    let place = Place::new();
    let handle = agent_that_dies(place.path(), "echo said; exit 4");
    let shim = pid_of(&handle, "shim");
    until(async || !lives(shim)).await;
    let driver = driver(place.path());
    let Attached::Exited(status) = driver.reattach(&handle).await.expect("looks") else {
        panic!("it has ended");
    };
    assert_eq!(status.code, Some(4));
    assert_eq!(place.logs(LogStream::Stdout).await, "said\n");
    driver.destroy(&handle).await.expect("removes");
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Gone);
}

/// A process that is not ours; ends with the case, however that ends.
struct Stranger(std::process::Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

async fn a_task_without_shim_is_followed() {
    let place = Place::new();
    let driver = driver(place.path());
    let script = "sleep 1000 & echo ready; while ! test -e local/go; do sleep 0.02; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    let shim = i32::try_from(pid_of(&handle, "shim")).expect("a pid");
    let kill = nix::sys::signal::Signal::SIGKILL;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), kill).expect("kills");
    until(async || !lives(shim.into())).await;
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
    let found = listed(&driver).await;
    assert!(found.iter().any(|ours| ours.running && ours.task == "web"), "{found:?}");
    let waiting = driver.wait(&handle);
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let status: ExitStatus = waiting.await.expect("ends");
    assert_eq!((status.code, status.signal), (None, None));
    assert!(status.message.contains("shim was killed"), "{status}");
    driver.destroy(&handle).await.expect("ends the orphaned sleep too");
    assert_eq!(listed(&driver).await, Vec::new());
}

/// How many lines [`CHATTER`] writes: about 60 MB.
const LINES: u32 = 600_000;

fn chatter() -> ExitCode {
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    for line in 0..LINES {
        writeln!(out, "{line:0>99}").expect("writes");
    }
    ExitCode::SUCCESS
}

async fn rotation_under_load_loses_nothing() {
    let place = Place::new();
    let driver = driver(place.path());
    let binary = std::env::current_exe().expect("this binary");
    let mut task = spec(place.path(), json!({"command": binary, "args": [CHATTER]}));
    task.log = LogConfig { max_files: 100, max_file_size_mb: 1, ..LogConfig::default() };
    let begin = Instant::now();
    let handle = driver.start(&task).await.expect("starts");
    let dir = place.path().join("alloc/logs");
    // Followed while it is written.
    let mut reader =
        read_logs(&dir, "web", LogStream::Stdout, LogStart::Offset(0), true).await.expect("opens");
    let mut seen = 0;
    while seen < u64::from(LINES) * 100 {
        seen += reader.next().await.expect("reads").expect("more").data.len() as u64;
    }
    let status = driver.wait(&handle).await.expect("ends");
    let elapsed = begin.elapsed();
    assert!(status.is_success(), "{status}");
    let files = log_files(&dir, "web", LogStream::Stdout).expect("lists");
    assert!(files.len() > 50, "it was rotated: {}", files.len());
    assert!(files.iter().all(|file| file.size <= 1024 * 1024));
    let all = place.logs(LogStream::Stdout).await;
    assert_eq!(seen, all.len() as u64);
    let mut lines = all.lines();
    for line in 0..LINES {
        assert_eq!(lines.next().and_then(|text| text.parse().ok()), Some(line));
    }
    println!("    60 MB of log in {} ms", elapsed.as_millis());
}

async fn signals_reach_the_task() {
    let place = Place::new();
    let driver = driver(place.path());
    let script = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.02; done";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("ready").await;
    driver.signal(&handle, "SIGHUP").await.expect("sends");
    place.said("hup").await;
    assert!(matches!(driver.signal(&handle, "SIGNOPE").await, Err(DriverError::Signal(_))));
    driver.stop(&handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
}

async fn commands_run_beside_the_task() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("echo ready; exec sleep 1000")).await.expect("starts");
    place.said("ready").await;
    let limit = Duration::from_secs(30);
    let script = |text: &str| ["-c".to_owned(), text.to_owned()];
    let exec = |text: &str| script(text);
    let said = driver.exec(&handle, "sh", &exec("echo $COLOUR; pwd >&2; exit 2"), limit).await;
    let said = said.expect("runs");
    let expected = format!("blue\n{}\n", place.path().join("web").display());
    assert_eq!((said.exit_code, String::from_utf8_lossy(&said.output)), (2, expected.into()));
    let said = driver.exec(&handle, "nope", &[], limit).await.expect("runs");
    assert_eq!(said.exit_code, 127);
    assert!(String::from_utf8_lossy(&said.output).contains("`nope` does not exist in PATH"));
    let said = driver.exec(&handle, "sh", &exec("yes | head -c 100000"), limit).await;
    assert_eq!(said.expect("runs").output.len(), driver::MAX_EXEC_OUTPUT);
    // What a command leaves behind neither delays it nor lives on.
    let said =
        driver.exec(&handle, "sh", &exec("sleep 1000 & echo $!"), limit).await.expect("runs");
    let left: i64 = String::from_utf8_lossy(&said.output).trim().parse().expect("a pid");
    until(async || !lives(left)).await;
    let short = Duration::from_millis(100);
    let late = driver.exec(&handle, "sleep", &["1000".to_owned()], short).await;
    assert!(matches!(late, Err(DriverError::Timeout { .. })), "{late:?}");
    driver.stop(&handle, "SIGKILL", limit).await.expect("stops");
    let gone = driver.exec(&handle, "true", &[], limit).await;
    assert!(matches!(gone, Err(DriverError::NotRunning(_))), "{gone:?}");
}

async fn destroy_is_idempotent() {
    let place = Place::new();
    let driver = driver(place.path());
    let handle = driver.start(&place.spec("echo here; sleep 1000")).await.expect("starts");
    place.said("here").await;
    driver.destroy(&handle).await.expect("removes");
    driver.destroy(&handle).await.expect("removes nothing");
    assert!(!lives(pid_of(&handle, "task")) && !lives(pid_of(&handle, "shim")));
    assert_eq!(place.logs(LogStream::Stdout).await, "here\n");
    assert_eq!(fs::read_dir(place.path().join("states")).expect("lists").count(), 0);
}

async fn lists_what_is_ours() {
    let (place, other) = (Place::new(), Place::new());
    let driver = driver(place.path());
    let task = place.spec("sleep 1000");
    let handle = driver.start(&task).await.expect("starts");
    driver.start(&other.spec("sleep 1000")).await.expect("starts");
    let ours = listed(&driver).await;
    let [only] = ours.as_slice() else { panic!("one task is below this root: {ours:?}") };
    assert_eq!((only.alloc, only.task.as_str(), only.running), (task.alloc, "web", true));
    driver.stop(&only.handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
    assert_eq!(driver.wait(&handle).await.expect("ends").signal, Some(9));
    assert!(listed(&driver).await.iter().all(|ours| !ours.running), "its end is still known");
    driver.destroy(&handle).await.expect("removes");
    assert_eq!(listed(&driver).await, Vec::new());
}

async fn runs_as_another_user() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("    skipped: only root can switch users");
        return;
    }
    let place = Place::new();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("opens");
    let driver = driver(place.path());
    let mut task = place.spec("id -u; id -G; echo ready; sleep 1000");
    task.driver_config.insert("oom_score_adj".into(), json!(500));
    task.user = "nobody".to_owned();
    let handle = driver.start(&task).await.expect("starts");
    place.said("ready").await;
    assert_eq!(place.logs(LogStream::Stdout).await, "65534\n65534\nready\n");
    let adjusted = format!("/proc/{}/oom_score_adj", pid_of(&handle, "task"));
    assert_eq!(fs::read_to_string(adjusted).expect("reads"), "500\n");
    let said = driver.exec(&handle, "id", &["-u".to_owned()], Duration::from_secs(30)).await;
    assert_eq!(said.expect("runs").output, b"65534\n");
    driver.stop(&handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
}

async fn the_shim_is_small() {
    let place = Place::new();
    let driver = driver(place.path());
    let begin = Instant::now();
    let handle = driver.start(&place.spec("echo ready; sleep 1000")).await.expect("starts");
    println!("    started in {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    place.said("ready").await;
    let shim = pid_of(&handle, "shim");
    let rollup = fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).expect("reads");
    let kb = |key: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let private = kb("Private_Clean:") + kb("Private_Dirty:");
    println!(
        "    shim: {private} KiB private ({} dirty), {} KiB resident",
        kb("Private_Dirty:"),
        kb("Rss:")
    );
    let fds = fs::read_dir(format!("/proc/{shim}/fd")).expect("reads").count();
    assert!(fds <= 8, "it holds {fds} descriptors");
    assert!(private < 512, "private memory");
    driver.stop(&handle, "SIGKILL", Duration::from_secs(30)).await.expect("stops");
}
