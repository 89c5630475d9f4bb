//! Blocking queries: a read that names the index it has seen is answered when there is something newer.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::params::Ask;
use crate::refusal::Refusal;

/// How long a dialect lets its clients wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    default: Duration,
    max: Duration,
}

/// Nomad's limits.
pub(crate) const ORCHESTRATION: Limits =
    Limits { default: Duration::from_secs(300), max: Duration::from_secs(300) };
/// Consul's limits.
pub(crate) const DISCOVERY: Limits =
    Limits { default: Duration::from_secs(300), max: Duration::from_secs(600) };

/// A wait that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Only something newer than this is worth an answer.
    pub(crate) index: u64,
    /// The longest wait, jitter included.
    pub(crate) wait: Duration,
}

/// The wait that `ask` names; none if it wants an answer at once. `jitter` is from 0 up to 1 and adds up to a sixteenth.
pub(crate) fn hold(ask: &Ask, limits: Limits, jitter: f64) -> Result<Option<Hold>, Refusal> {
    let wait = match ask.filled("wait") {
        Some(text) => {
            model::parse_duration(text).map_err(|_| Refusal::invalid("Invalid wait time"))?
        }
        None => Duration::ZERO,
    };
    let index = match ask.filled("index") {
        Some(text) => text.parse().map_err(|_| Refusal::invalid("Invalid index"))?,
        None => 0,
    };
    if index == 0 {
        return Ok(None);
    }
    let wait = if wait.is_zero() { limits.default } else { wait.min(limits.max) };
    Ok(Some(Hold { index, wait: wait + (wait / 16).mul_f64(jitter.clamp(0.0, 1.0)) }))
}

/// Waits until `index_now` is beyond what the client has seen, the wait is over or the agent stops. `changes` tells when
/// it is worth looking again.
pub(crate) async fn until_newer<T>(
    hold: Option<Hold>,
    mut changes: watch::Receiver<T>,
    stop: &CancellationToken,
    index_now: impl Fn() -> u64,
) {
    let Some(hold) = hold else { return };
    let deadline = tokio::time::Instant::now() + hold.wait;
    loop {
        changes.mark_unchanged();
        if index_now() > hold.index {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(deadline) => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_spread() {
        let read = |params: &[(&str, &str)], jitter| hold(&Ask::of(params), DISCOVERY, jitter);
        assert_eq!(read(&[("wait", "10s")], 0.0), Ok(None));
        assert_eq!(read(&[("index", "0"), ("wait", "10s")], 0.0), Ok(None));
        let seconds = |index, secs| Ok(Some(Hold { index, wait: Duration::from_secs(secs) }));
        assert_eq!(read(&[("index", "7")], 0.0), seconds(7, 300));
        assert_eq!(read(&[("index", "7"), ("wait", "120000ms")], 0.0), seconds(7, 120));
        assert_eq!(read(&[("index", "7"), ("wait", "5h")], 0.0), seconds(7, 600));
        assert_eq!(read(&[("index", "7"), ("wait", "160s")], 1.0), seconds(7, 170));
        assert_eq!(read(&[("index", "x")], 0.0), Err(Refusal::invalid("Invalid index")));
        assert_eq!(read(&[("wait", "soon")], 0.0), Err(Refusal::invalid("Invalid wait time")));
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_for_what_is_newer_alone() {
        let (sender, receiver) = watch::channel(5_u64);
        let stop = CancellationToken::new();
        let hold = Some(Hold { index: 5, wait: Duration::from_secs(60) });
        let reader = receiver.clone();
        // Every second change concerns what is watched: 6 does not, 8 does.
        let watched = move || (*reader.borrow() / 4) * 4 + 1;
        let wait = until_newer(hold, receiver, &stop, watched);
        tokio::pin!(wait);
        sender.send_replace(6);
        let early = tokio::time::timeout(Duration::from_secs(1), wait.as_mut()).await;
        assert!(early.is_err(), "a change elsewhere must not wake");
        sender.send_replace(8);
        let woken = tokio::time::timeout(Duration::from_secs(1), wait).await;
        assert!(woken.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_wait_and_with_the_agent() {
        let (_sender, receiver) = watch::channel(5_u64);
        let stop = CancellationToken::new();
        let begin = tokio::time::Instant::now();
        // An index from the future waits to the end and is answered with what there is.
        let hold = Some(Hold { index: 99, wait: Duration::from_secs(60) });
        until_newer(hold, receiver.clone(), &stop, || 5).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(60));
        stop.cancel();
        until_newer(hold, receiver, &stop, || 5).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(60));
    }
}
