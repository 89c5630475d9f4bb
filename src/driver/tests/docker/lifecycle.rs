//! What holds for every daemon: Docker's and Podman's.

use std::fs;
use std::time::{Duration, Instant};

use driver::{Attached, Driver, DriverError, Engine, LogStream};
use model::AllocId;
use serde_json::json;

use crate::place::{Host, LIMIT, Place, container};

/// Each of these on both.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test]
            async fn $name() {
                if let Some(host) = crate::place::Host::docker() {
                    super::$name(&host).await;
                }
            })*
        }
        mod podman {
            $(#[tokio::test]
            async fn $name() {
                if let Some(host) = crate::place::Host::podman() {
                    super::$name(&host).await;
                }
            })*
        }
    };
}

on_both! {
    runs_and_keeps_its_output,
    stop_asks_and_then_kills,
    a_new_agent_goes_on_without_gap_or_repetition,
    no_task_runs_twice,
    a_container_that_is_only_found_in_the_list_keeps_its_output,
    a_signal_without_meaning_does_not_save_a_container,
    a_container_that_is_not_ours_is_left_alone,
    a_container_of_another_agent_is_left_alone,
    commands_run_in_the_container,
    too_much_memory_is_told_from_a_signal,
    the_daemon_is_described,
    a_missing_image_or_command_is_said_in_words,
    output_is_kept_as_soon_as_there_is_a_place_for_it,
}

async fn runs_and_keeps_its_output(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    fs::write(place.path().join("web/local/in"), "from the node\n").expect("writes");
    let script = "echo out $COLOUR; echo err >&2; cat /local/in; echo x > /alloc/made; exit 7";
    let handle = driver.start(&place.script(script)).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert_eq!((status.code, status.signal, status.oom), (Some(7), None, false));
    assert!(!status.finished_at.is_zero());
    assert_eq!(place.logs(LogStream::Stdout).await, "out blue\nfrom the node\n");
    assert_eq!(place.logs(LogStream::Stderr).await, "err\n");
    assert_eq!(fs::read_to_string(place.path().join("alloc/made")).expect("reads"), "x\n");
    assert_eq!(driver.wait(&handle).await.expect("known"), status);
    driver.destroy(&handle).await.expect("removes");
    driver.destroy(&handle).await.expect("removes nothing");
    assert!(!host.exists(&container(&handle)));
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Gone);
}

async fn stop_asks_and_then_kills(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    let polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let handle = driver.start(&place.script(polite)).await.expect("starts");
    place.said("ready").await;
    let status = driver.stop(&handle, "", LIMIT).await.expect("stops");
    assert_eq!(status.code, Some(3));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\n");
    // A restart of the same task: the name is free again, the log goes on.
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let handle = driver.start(&place.script(deaf)).await.expect("starts");
    place.said("deaf").await;
    let begin = Instant::now();
    let status = driver.stop(&handle, "SIGTERM", Duration::from_millis(300)).await.expect("stops");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!((status.code, status.signal), (Some(137), Some(9)));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\ndeaf\n");
}

async fn a_new_agent_goes_on_without_gap_or_repetition(host: &Host) {
    let place = Place::new(host);
    let first = place.driver();
    let script =
        "i=0; while ! test -e /local/go; do i=$((i+1)); echo $i; sleep 0.01; done; echo end";
    let handle = first.start(&place.script(script)).await.expect("starts");
    place.said("20").await;
    drop(first);
    let after = place.logs(LogStream::Stdout).await.lines().count();
    // Time in which no agent is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = place.driver();
    assert_eq!(second.reattach(&handle).await.expect("looks"), Attached::Running);
    place.said(&(after + 5).to_string()).await;
    drop(second);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let third = place.driver();
    while third.reattach(&handle).await.expect("looks") == Attached::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It ended; whoever comes now finds the end and the last output.
    drop(third);
    let last = place.driver();
    let Attached::Exited(status) = last.reattach(&handle).await.expect("looks") else {
        panic!("it has ended");
    };
    assert!(status.is_success(), "{status}");
    let all = place.logs(LogStream::Stdout).await;
    let lines: Vec<&str> = all.lines().collect();
    let (end, numbers) = lines.split_last().expect("lines");
    assert_eq!(*end, "end");
    let expected: Vec<String> = (1..=numbers.len()).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
}

async fn no_task_runs_twice(host: &Host) {
    let place = Place::new(host);
    let task = place.script("echo ready; sleep 1000");
    let first = place.driver().start(&task).await.expect("starts");
    // The agent died before it stored the handle, and starts the task again: it is the same one.
    let driver = place.driver();
    let again = driver.start(&task).await.expect("starts");
    assert_eq!(container(&first), container(&again));
    // Another version of it is another container, and the only one.
    let other = driver.start(&place.script("echo other; sleep 1000")).await.expect("starts");
    assert_ne!(container(&first), container(&other));
    let ours = driver.list_ours().await.expect("lists");
    let [only] = ours.as_slice() else { panic!("one container: {ours:?}") };
    assert_eq!((only.alloc, only.task.as_str(), only.running), (task.alloc, "web", true));
    assert_eq!(container(&only.handle), container(&other));
    driver.destroy(&only.handle).await.expect("removes");
    assert_eq!(driver.list_ours().await.expect("lists"), Vec::new());
}

/// The agent died before it stored the handle: all that the next one has is the list.
async fn a_container_that_is_only_found_in_the_list_keeps_its_output(host: &Host) {
    let place = Place::new(host);
    let task = place.script("while ! test -e /local/go; do sleep 0.05; done; echo done; exit 7");
    place.driver().start(&task).await.expect("starts");
    let driver = place.driver();
    let found = driver.list_ours().await.expect("lists").pop().expect("it is listed");
    assert_eq!(driver.reattach(&found.handle).await.expect("looks"), Attached::Running);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let waiting = tokio::time::timeout(LIMIT, driver.wait(&found.handle));
    let status = waiting.await.expect("in time").expect("ends");
    assert_eq!(status.code, Some(7));
    assert_eq!(place.logs(LogStream::Stdout).await, "done\n");
}

async fn a_signal_without_meaning_does_not_save_a_container(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    let handle = driver.start(&place.script("exec sleep 1000")).await.expect("starts");
    let stop = driver.stop(&handle, "SIGNOPE", Duration::from_millis(100));
    let status = tokio::time::timeout(LIMIT, stop).await.expect("in time").expect("stops");
    assert_eq!(status.signal, Some(9));
}

async fn a_container_that_is_not_ours_is_left_alone(host: &Host) {
    let place = Place::new(host);
    let task = place.script("sleep 1000");
    let driver = place.driver();
    let handle = driver.start(&task).await.expect("starts");
    let mut stale = handle.clone();
    stale.state["alloc"] = json!(AllocId::default());
    for result in [
        driver.destroy(&stale).await,
        driver.signal(&stale, "SIGKILL").await,
        driver.stop(&stale, "", Duration::ZERO).await.map(|_| ()),
        driver.wait(&stale).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(DriverError::NotOurs { .. })), "{result:?}");
    }
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
}

/// Two agents on a machine may give an allocation the same id.
async fn a_container_of_another_agent_is_left_alone(host: &Host) {
    let (place, other) = (Place::new(host), Place::new(host));
    let task = place.script("echo ready; sleep 1000");
    let mut same = other.script("echo ready; sleep 1000");
    same.alloc = task.alloc;
    let (driver, neighbour) = (place.driver(), other.driver());
    let first = driver.start(&task).await.expect("starts");
    let second = neighbour.start(&same).await.expect("starts");
    assert_ne!(container(&first), container(&second));
    for (driver, handle) in [(&driver, &first), (&neighbour, &second)] {
        assert_eq!(driver.reattach(handle).await.expect("looks"), Attached::Running);
    }
    // Started again, each finds its own.
    let again = neighbour.start(&same).await.expect("starts");
    assert_eq!(container(&again), container(&second));
    neighbour.destroy(&second).await.expect("removes");
    assert_eq!(driver.reattach(&first).await.expect("looks"), Attached::Running);
    driver.destroy(&first).await.expect("removes");
}

async fn commands_run_in_the_container(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    let handle = driver.start(&place.script("echo ready; exec sleep 1000")).await.expect("starts");
    place.said("ready").await;
    let script = |text: &str| ["-c".to_owned(), text.to_owned()];
    let said = driver.exec(&handle, "sh", &script("echo $COLOUR; exit 2"), LIMIT).await;
    let said = said.expect("runs");
    assert_eq!((said.exit_code, said.output.as_slice()), (2, &b"blue\n"[..]));
    let said = driver.exec(&handle, "sh", &script("yes | head -c 100000"), LIMIT).await;
    assert_eq!(said.expect("runs").output.len(), driver::MAX_EXEC_OUTPUT);
    let short = Duration::from_millis(500);
    let late = driver.exec(&handle, "sh", &script("exec sleep 777"), short).await;
    assert!(matches!(late, Err(DriverError::Timeout { .. })), "{late:?}");
    let count = script("ps | grep -c '[s]leep 777'");
    let gone = async {
        while driver.exec(&handle, "sh", &count, LIMIT).await.expect("runs").output != b"0\n" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("what took too long is killed");
    driver.signal(&handle, "KILL").await.expect("sends");
    assert_eq!(driver.wait(&handle).await.expect("ends").signal, Some(9));
    let gone = driver.exec(&handle, "true", &[], LIMIT).await;
    assert!(matches!(gone, Err(DriverError::NotRunning(_))), "{gone:?}");
}

async fn too_much_memory_is_told_from_a_signal(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    let script = "x=a; while :; do x=$x$x; done";
    let mut task = place.script(script);
    task.resources.memory_mb = 16;
    let handle = driver.start(&task).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert!(!status.is_success(), "{status}");
    // Podman does not see it with the older kind of control groups; then the signal is all there is to tell.
    let can_see = host.engine == Engine::Docker
        || fs::exists("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|there| there);
    assert!(status.oom || !can_see, "{status}");
}

async fn the_daemon_is_described(host: &Host) {
    let place = Place::new(host);
    let info = place.driver().fingerprint().await;
    assert!(info.healthy, "{info:?}");
    assert!(
        info.attributes.contains_key(&format!("driver.{}.version", host.engine.name())),
        "{info:?}"
    );
}

async fn output_is_kept_as_soon_as_there_is_a_place_for_it(host: &Host) {
    let place = Place::new(host);
    let logs = place.path().join("alloc/logs");
    fs::remove_dir(&logs).expect("removes");
    fs::write(&logs, "in the way").expect("writes");
    let driver = place.driver();
    let handle = driver.start(&place.script("echo early; sleep 1000")).await.expect("starts");
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::remove_file(&logs).expect("removes");
    fs::create_dir(&logs).expect("makes");
    place.said("early").await;
    driver.destroy(&handle).await.expect("removes");
}

async fn a_missing_image_or_command_is_said_in_words(host: &Host) {
    let place = Place::new(host);
    let driver = place.driver();
    let image = "localhost:1/herder-test/nope:9";
    let error = driver.start(&place.spec(json!({"image": image}))).await.expect_err("no image");
    assert!(error.to_string().contains(&format!("the image {image} cannot be pulled")), "{error}");
    let config = json!({"image": host.image(), "command": "no-such-command"});
    let error = driver.start(&place.spec(config)).await.expect_err("no command");
    assert!(error.to_string().contains("no-such-command"), "{error}");
    assert!(!error.is_recoverable(), "{error}");
    assert_eq!(
        driver.list_ours().await.expect("lists"),
        Vec::new(),
        "nothing is left of the attempt"
    );
    // The registry cannot be reached, a copy is at hand.
    let config = json!({"image": host.image(), "command": "/bin/true", "force_pull": true,
        "image_pull_timeout": "10s"});
    let handle = driver.start(&place.spec(config)).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
}
