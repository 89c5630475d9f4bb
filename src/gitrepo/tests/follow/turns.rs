//! Several followers of one remote that take turns.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gitrepo::{FetchError, Head, History, Poller, RepoConfig, Turns};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, PATIENCE};
use crate::http_server::{Mood, Server};

const FOLLOWERS: u32 = 4;
/// The time between two turns.
const APART: Duration = Duration::from_millis(100);

type Seen = (u32, Result<Head, FetchError>);

/// One of several, whose turns lie evenly in a round. Who is limited tells all.
struct Turn {
    own: u32,
    begun: Instant,
    limited: Arc<Mutex<bool>>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Turns for Turn {
    fn wait(&self, _: &RepoConfig, _: &History, alone: Duration) -> Duration {
        if *self.limited.lock().expect("no panic") {
            return Duration::from_secs(3600);
        }
        assert!(alone > Duration::from_secs(3500), "alone it would look once an hour");
        let round = (APART * FOLLOWERS).as_nanos();
        let since = self.begun.elapsed().as_nanos();
        let first = (APART * self.own).as_nanos();
        let next = (since + 1).saturating_sub(first).div_ceil(round) * round + first;
        Duration::from_nanos(u64::try_from(next - since).expect("soon"))
    }

    fn saw(&self, _: &RepoConfig, result: &Result<Head, FetchError>) {
        if matches!(result, Err(FetchError::RateLimited { .. })) {
            *self.limited.lock().expect("no panic") = true;
        }
        drop(self.seen.send((self.own, result.clone())));
    }
}

#[tokio::test]
async fn many_followers_see_a_push_early_and_ask_no_more_often_than_agreed() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.dir.path(), Mood::Open);
    let (sender, mut seen) = mpsc::unbounded_channel();
    let (stop, limited, begun) = (CancellationToken::new(), Arc::default(), Instant::now());
    let mut unread = Vec::new();
    for own in 0..FOLLOWERS {
        let mut config = fixture.config_for(&server.url());
        config.interval = Duration::from_secs(3600);
        let data = fixture.data().join(own.to_string());
        let turn = Turn { own, begun, limited: Arc::clone(&limited), seen: sender.clone() };
        let (events, observations) = mpsc::channel(16);
        Poller::start(config, data, 7, Arc::new(turn), events, stop.clone())
            .map(|handle| unread.push((handle, observations)))
            .expect("started");
    }
    let mut next = async || timeout(PATIENCE, seen.recv()).await.expect("in time").expect("a look");
    let asks = || server.asked().iter().filter(|line| line.contains("info/refs")).count();
    let mut looks = [0_usize; FOLLOWERS as usize];
    while looks.iter().any(|count| *count < 5) {
        let (who, result) = next().await;
        looks[who as usize] += 1;
        result.expect("a head");
    }
    // Each begins with a look of its own; from then on they ask as often as there are turns, however late they are.
    let turns = usize::try_from(begun.elapsed().as_nanos() / APART.as_nanos()).expect("few") + 1;
    let asked = asks();
    let most = 2 * FOLLOWERS as usize + turns;
    assert!(asked <= most, "{asked} requests in {turns} turns");
    // Nobody waits for their own interval of an hour: whoever is next sees it.
    let pushed = fixture.commit("jobs/web.hcl", "two");
    while next().await.1.expect("a head").commit.id.as_str() != pushed {}
    let says = "HTTP/1.1 429 Too Many\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n";
    server.set(Mood::Says(says.into()));
    while next().await.1.is_ok() {}
    stop.cancel();
    for (handle, _) in unread {
        timeout(PATIENCE, handle.ended()).await.expect("ended");
    }
}
