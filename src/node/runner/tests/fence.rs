//! What is stopped because no server is heard.

use model::Disconnect;

use super::*;
use crate::Contact;

const BEARABLE: Duration = Duration::from_secs(30);

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.tune = |options| {
        let contact = Contact::open(&options.data_dir, options.clock.clone());
        options.contact = Some(Arc::new(contact));
    };
    stage
}

fn fenced(kind: JobType) -> Assignment {
    let disconnect = Disconnect { stop_on_client_after: Some(BEARABLE), ..Disconnect::default() };
    let web = Task { shutdown_delay: Duration::from_secs(60), ..task("web") };
    assignment(kind, Group { disconnect: Some(disconnect), ..group(vec![web]) })
}

fn hear(stage: &Stage) {
    let runtime = stage.runtime.as_ref().expect("a node");
    runtime.shared().options.contact.as_ref().expect("contact").hear();
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_is_too_long_stops_what_must_not_outlive_it() {
    let mut stage = stage();
    stage.assign(vec![fenced(JobType::Batch)]).await;
    stage.newest(ClientStatus::Running).await;
    for _ in 0..4 {
        tokio::time::sleep(BEARABLE * 9 / 10).await;
        hear(&stage);
    }
    assert_eq!(stage.world.running(), ["web"], "it was never silent for that long");
    let before = Instant::now();
    let report = stage.newest(ClientStatus::Lost).await;
    let took = before.elapsed();
    assert!(took >= BEARABLE && took < BEARABLE + Duration::from_secs(1), "{took:?}");
    assert!(stage.world.running().is_empty(), "nor does it wait for its shutdown_delay");
    let told = |kind: &str| report.tasks["web"].events.iter().any(|event| event.kind == kind);
    assert!(told("Disconnected") && told("Killed"), "{report:?}");
    // Servers that are back do not make it run again.
    hear(&stage);
    tokio::time::sleep(BEARABLE).await;
    assert!(stage.world.running().is_empty());
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn others_run_on_through_any_silence() {
    let mut stage = stage();
    stage.assign(vec![service()]).await;
    stage.newest(ClientStatus::Running).await;
    tokio::time::sleep(BEARABLE * 100).await;
    assert_eq!(stage.world.running(), ["web"]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn silence_goes_on_while_the_agent_is_started_anew() {
    let mut stage = stage();
    stage.assign(vec![fenced(JobType::Service)]).await;
    stage.newest(ClientStatus::Running).await;
    tokio::time::sleep(BEARABLE / 2).await;
    // Real threads write it down.
    while !stage.data.path().join("client/contact").exists() {
        tokio::task::yield_now().await;
    }
    stage.stop().await;
    tokio::time::sleep(BEARABLE / 4).await;
    assert_eq!(stage.world.running(), ["web"]);
    let before = Instant::now();
    stage.start().await;
    stage.newest(ClientStatus::Lost).await;
    assert!(before.elapsed() <= BEARABLE / 4 + Duration::from_secs(1), "{:?}", before.elapsed());
    stage.stop().await;
}
