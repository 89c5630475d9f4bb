//! What a task may use, and that the end it meets by using more is told for what it is.

use super::*;

pub(crate) async fn memory_is_limited() {
    let place = Place::new();
    // A pipe through a shell that keeps all it reads.
    let mut spec = place.spec("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived");
    spec.resources.memory_mb = 32;
    let (out, status) = place.to_end(&spec).await;
    assert!(!out.contains("survived"));
    assert!(status.oom && !status.is_success(), "{status}");
    assert!(status.to_string().contains("out of memory"), "{status}");
    // A plain kill is no lack of memory.
    let (_, status) = place.script("kill -9 $$").await;
    assert_eq!((status.signal, status.oom), (Some(9), false));
}

pub(crate) async fn a_fork_bomb_is_held() {
    let place = Place::new();
    let options = IsolationOptions { max_processes: 40, ..place.options() };
    let driver = Exec::new(options);
    // A shell that cannot fork ends. So what holds the places sleeps, and the task itself waits without a fork.
    let script = "mkfifo /local/never; exec 3<>/local/never; b() { sleep 1000 & b & b; }; \
                  echo go; (b); read never <&3";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("go").await;
    until(async || {
        driver.stats(&handle).await.expect("stats").is_some_and(|stats| stats.processes >= 30)
    })
    .await;
    for _ in 0..20 {
        let stats = driver.stats(&handle).await.expect("stats").expect("it runs");
        assert!(stats.processes <= 40, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    driver.stop(&handle, "SIGKILL", Duration::ZERO).await.expect("stops");
    driver.destroy(&handle).await.expect("removes");
    assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
}

pub(crate) async fn use_is_known() {
    let place = Place::new();
    let driver = place.driver();
    let script = "x=$(head -c 8000000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
                  echo done; sleep 1000";
    let handle = driver.start(&place.spec(script)).await.expect("starts");
    place.said("done").await;
    let stats = driver.stats(&handle).await.expect("stats").expect("it runs");
    assert!(stats.cpu_nanos > 1_000_000 && stats.rss_bytes > 8_000_000, "{stats:?}");
    assert!(stats.memory_peak_bytes >= stats.rss_bytes && stats.processes >= 2, "{stats:?}");
    driver.stop(&handle, "SIGKILL", Duration::ZERO).await.expect("stops");
    assert_eq!(driver.stats(&handle).await.expect("asked"), None);
}
