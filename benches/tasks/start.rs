//! How long it takes from the call to the task's first command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driver::{Driver, Exec, IsolationOptions, RawExec, RawExecOptions, TaskDirs, TaskSpec};
use model::{AllocId, JobId, LogConfig, Resources};
use serde_json::json;

use crate::{is_root, load};

/// What a large agent holds, in bytes.
const LARGE: usize = 1 << 30;

/// Rounds that load what later ones find loaded.
const WARM: usize = 5;

pub(crate) fn measure(rounds: usize) {
    println!("\nFrom a driver's `start` to the task's first command, {rounds} rounds, ms");
    println!("  {:44}{:>8}{:>8}{:>8}   load", "", "p50", "p99", "max");
    let root = tempfile::tempdir().expect("a directory");
    let mut raw = RawExecOptions::new(root.path().join("states"));
    raw.enabled = true;
    let raw = RawExec::new(raw);
    let exec = Exec::new(IsolationOptions::new(root.path().join("states"), "bench"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut held: Vec<u8> = Vec::new();
    for size in ["a small process", "one of 1 GiB"] {
        row(&runtime, &format!("raw_exec, from {size}"), &raw, root.path(), rounds);
        if is_root() {
            row(&runtime, &format!("exec, from {size}"), &exec, root.path(), rounds);
        }
        if held.is_empty() {
            held = vec![1; LARGE];
        }
    }
    let touched = held.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>();
    assert_eq!(touched, LARGE / 4096);
}

fn row(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    driver: &dyn Driver,
    root: &Path,
    rounds: usize,
) {
    let mut times: Vec<f64> = (0..rounds + WARM)
        .map(|round| runtime.block_on(once(driver, root, round)).as_secs_f64() * 1e3)
        .skip(WARM)
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!("  {name:44}{:8.2}{:8.2}{:8.2}   {}", at(0.5), at(0.99), at(1.0), load());
}

/// Starts a task that notes the time, and ends it.
async fn once(driver: &dyn Driver, root: &Path, round: usize) -> Duration {
    let alloc = root.join(format!("{round}"));
    let task_dir = alloc.join("t");
    for dir in ["alloc/logs", "t/local", "t/tmp", "t/secrets"] {
        fs::create_dir_all(alloc.join(dir)).expect("directories");
    }
    for dir in ["t", "t/local", "t/tmp"] {
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(alloc.join(dir), mode).expect("a mode");
    }
    let local = driver
        .paths_in_task(&TaskDirs { local: task_dir.join("local"), ..TaskDirs::default() })[1]
        .display()
        .to_string();
    let script =
        format!("echo $EPOCHREALTIME > {local}/stamp.new; mv {local}/stamp.new {local}/stamp");
    let config = json!({"command": "/bin/bash", "args": ["-c", script]});
    let spec = TaskSpec {
        alloc: AllocId::new(model::seeded_uuid(&[alloc.as_os_str().as_encoded_bytes()])),
        job: JobId::from("bench".to_owned()),
        group: "g".to_owned(),
        task: "t".to_owned(),
        driver_config: serde_json::from_value(config).expect("a map"),
        env: BTreeMap::new(),
        dirs: TaskDirs {
            alloc_dir: alloc.join("alloc"),
            local: task_dir.join("local"),
            secrets: task_dir.join("secrets"),
            logs: alloc.join("alloc/logs"),
            state: root.join("states").join(round.to_string()),
            task_dir: task_dir.clone(),
        },
        user: String::new(),
        resources: Resources { cpu: 100, memory_mb: 64, ..Resources::default() },
        ports: Vec::new(),
        kill_signal: String::new(),
        log: LogConfig::default(),
        labels: BTreeMap::new(),
        volumes: Vec::new(),
        network: None,
        dns: None,
        hardware: driver::Hardware::default(),
        progress: driver::Progress::default(),
    };
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let handle = driver.start(&spec).await.expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    let stamp = loop {
        if let Ok(text) = fs::read_to_string(task_dir.join("local/stamp")) {
            break text.trim().replace(',', ".");
        }
        assert!(Instant::now() < deadline, "the task notes the time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    driver.wait(&handle).await.expect("it ends");
    driver.destroy(&handle).await.expect("nothing is left");
    fs::remove_dir_all(&alloc).expect("removed");
    let (seconds, micros) = stamp.split_once('.').expect("a time");
    let stamp = Duration::new(
        seconds.parse().expect("seconds"),
        micros.parse::<u32>().expect("microseconds") * 1000,
    );
    stamp.saturating_sub(begin)
}
