//! One pull for many: tasks that want the same image at once wait for one of them to get it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

/// When a piece of work ended, and what came of it.
type Last<T> = Option<(Instant, T)>;

/// Pieces of work under way, by what they are for.
#[derive(Debug)]
pub(super) struct Turns<K, T> {
    ongoing: Mutex<HashMap<K, Weak<tokio::sync::Mutex<Last<T>>>>>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { ongoing: Mutex::default() }
    }
}

impl<K: Eq + Hash, T: Clone> Turns<K, T> {
    /// Does the work, unless it ends at the hands of another caller while this one waits; then its result is theirs. If
    /// the one at work gives up, the next in line begins.
    pub(super) async fn once(&self, key: K, work: impl Future<Output = T>) -> T {
        let asked = Instant::now();
        let turn = self.turn(key);
        let mut last = turn.lock().await;
        if let Some((ended, result)) = last.as_ref()
            && *ended >= asked
        {
            return result.clone();
        }
        let result = work.await;
        *last = Some((Instant::now(), result.clone()));
        result
    }

    fn turn(&self, key: K) -> Arc<tokio::sync::Mutex<Last<T>>> {
        let mut ongoing = self.ongoing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ongoing.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = ongoing.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        ongoing.insert(key, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_at_once_do_it_once() {
        let turns = Turns::default();
        let (count, go) = (AtomicU32::new(0), Notify::new());
        let work = || async {
            count.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            count.load(Ordering::SeqCst)
        };
        let all = join_all((0..20).map(|_| turns.once("redis", work())));
        let release = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (all, ()) = tokio::join!(all, release);
        assert_eq!(all, vec![1; 20]);
        // Another name is another matter, and so is another time.
        go.notify_one();
        assert_eq!(turns.once("nginx", work()).await, 2);
        go.notify_one();
        assert_eq!(turns.once("redis", work()).await, 3);
    }

    #[tokio::test]
    async fn whoever_gives_up_holds_nobody_up() {
        let turns = Turns::default();
        let never = turns.once("redis", std::future::pending::<u32>());
        let mut never = Box::pin(never);
        let at_once = Duration::ZERO;
        assert!(tokio::time::timeout(at_once, &mut never).await.is_err());
        let mut next = Box::pin(turns.once("redis", async { 7 }));
        assert!(tokio::time::timeout(at_once, &mut next).await.is_err());
        drop(never);
        let next = tokio::time::timeout(Duration::from_secs(10), next).await;
        assert_eq!(next.expect("its turn"), 7);
    }
}
