//! Nodes that fall silent and come back.

use std::time::Duration;

use model::{NodeId, NodeStatus, seeded_uuid};
use server::{FleetOptions, HeartbeatOptions, HeartbeatStatus};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_lost_and_one_that_speaks_is_back() {
    let mut world = World::open(&[]).await;
    let own = NodeId::new(seeded_uuid(&[b"own"]));
    world.fleet = FleetOptions {
        node: Some(own),
        heartbeat: HeartbeatOptions {
            ttl: Duration::from_millis(500),
            grace: Duration::ZERO,
            ..HeartbeatOptions::default()
        },
        ..FleetOptions::default()
    };
    world.restart(&[]).await;
    assert_eq!(world.join("own").await, own);
    let other = world.join("other").await;
    let status = |state: &state::State, id| state.node(id).map(|node| node.status);
    world.until("the other is lost", |state| status(state, other) == Some(NodeStatus::Down)).await;
    assert_eq!(status(&world.server().state(), own), Some(NodeStatus::Ready));
    assert!(world.server().heard(&[other]), "it leads");
    world.until("the other is back", |state| status(state, other) == Some(NodeStatus::Ready)).await;
    assert_eq!(world.server().heartbeats().held, []);
    let server = world.server().clone();
    world.close().await;
    assert_eq!(server.heartbeats(), HeartbeatStatus::default(), "nobody listens any more");
    assert!(!server.heard(&[other]));
}
