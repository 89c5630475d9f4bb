//! A machine so slow that time passes between any two looks at the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::ClientStatus;

use super::{Stage, service};
use crate::Options;

/// Each look finds the clock so many milliseconds further on.
fn leaps<const MILLIS: u64>(options: &mut Options) {
    let (clock, looks) = (options.clock.clone(), AtomicU64::new(0));
    options.clock = Arc::new(move || {
        clock() + Duration::from_millis(MILLIS * looks.fetch_add(1, Ordering::Relaxed))
    });
}

/// A restart that became due while the record was written was waited for no more.
#[tokio::test(start_paused = true)]
async fn what_becomes_due_between_two_looks_is_done() {
    let all: [fn(&mut Options); 8] = [
        leaps::<150>,
        leaps::<400>,
        leaps::<700>,
        leaps::<1000>,
        leaps::<1300>,
        leaps::<1700>,
        leaps::<2300>,
        leaps::<3100>,
    ];
    for tune in all {
        let mut stage = Stage::new();
        stage.tune = tune;
        stage.assign(vec![service()]).await;
        stage.world.until("start web", 1).await;
        stage.newest(ClientStatus::Running).await;
        stage.world.exit("web", 1);
        let again =
            tokio::time::timeout(Duration::from_secs(60), stage.world.until("start web", 2));
        again.await.expect("it is started again");
        stage.stop().await;
    }
}
