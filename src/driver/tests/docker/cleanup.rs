//! Images and containers that are of no more use go, and nothing else does.

use std::time::{Duration, Instant};

use driver::{Cleanup, Docker, DockerOptions, Driver};
use serde_json::json;

use crate::place::{Host, LIMIT, Place, container};
use crate::registry::Registry;

/// A node that keeps which images are its own and removes them at once.
fn tidy(place: &Place<'_>) -> Docker {
    let record = Some(place.path().join("images.json"));
    let cleanup = Cleanup { image_delay: Duration::ZERO, record, ..Cleanup::default() };
    Docker::new(DockerOptions { cleanup, ..place.options() })
}

async fn until_gone(host: &Host, driver: &Docker, image: &str) {
    let begin = Instant::now();
    while host.exists(image) {
        assert!(begin.elapsed() < LIMIT, "{image} is removed");
        driver.fingerprint().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn only_images_that_came_because_of_us_go() {
    let (Some(host), Some(registry)) = (Host::docker(), Registry::start()) else { return };
    let place = Place::new(&host);
    let image = registry.image(&host, "ours:1");
    let auth = json!({"auth": {"username": "ann", "password": "hunter2"}, "image": &image});
    let driver = tidy(&place);
    let handle = driver.start(&place.script_with("exec sleep 1000", auth)).await.expect("starts");
    // While the task runs, its image stays; while a container of somebody else's uses it, too.
    let label = format!("herder.instance={}", place.instance());
    let other = host.says(&["create", "--label", &label, &image, "/bin/true"]);
    for _ in 0..3 {
        driver.fingerprint().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(host.exists(&image));
    }
    driver.destroy(&handle).await.expect("removes");
    for _ in 0..3 {
        driver.fingerprint().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(host.exists(&image));
    }
    host.says(&["rm", &other]);
    // The agent was restarted meanwhile.
    drop(driver);
    let driver = tidy(&place);
    until_gone(&host, &driver, &image).await;
    assert!(host.exists(&host.image()), "what was there before stays");
}

#[tokio::test]
async fn an_image_that_was_there_before_stays() {
    let (Some(host), Some(registry)) = (Host::docker(), Registry::start()) else { return };
    let place = Place::new(&host);
    let ours = registry.image(&host, "first:1");
    let image = registry.image(&host, "theirs:1");
    host.import(&image, "somebody's own");
    let auth = json!({"auth": {"username": "ann", "password": "hunter2"}});
    let mut config = auth.clone();
    config["image"] = json!(image);
    let driver = tidy(&place);
    let handle = driver.start(&place.script_with("true", config)).await.expect("starts");
    driver.destroy(&handle).await.expect("removes");
    // One of ours shows that it was looked.
    let mut config = auth;
    config["image"] = json!(ours);
    let handle = driver.start(&place.script_with("true", config)).await.expect("starts");
    driver.destroy(&handle).await.expect("removes");
    until_gone(&host, &driver, &ours).await;
    assert!(host.exists(&image));
    host.says(&["rmi", &image]);
}

#[tokio::test]
async fn a_node_can_keep_containers_to_look_at() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let cleanup = Cleanup { container: false, ..Cleanup::default() };
    let driver = Docker::new(DockerOptions { cleanup, ..place.options() });
    let first = driver.start(&place.script("exec sleep 1000")).await.expect("starts");
    driver.destroy(&first).await.expect("ends it");
    let state = &host.inspect(&container(&first))["State"];
    assert_eq!(state["Running"], false);
    assert_eq!(driver.list_ours().await.expect("lists"), Vec::new());
    // It is not in the way of the next.
    let next = driver.start(&place.script("exec sleep 1000")).await.expect("starts");
    assert!(!host.exists(&container(&first)));
    driver.destroy(&next).await.expect("ends it");
}
