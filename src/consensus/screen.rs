//! What everybody else sees: the newest state, where it is, and what led there. It only ever goes forward, whoever
//! fills it: Raft, a stream from a server, or both for a while.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use state::{Applied, State};
use tokio::sync::{broadcast, watch};

use crate::subscription::{CAPACITY, Notice};

/// The state and who is told of it. When the last one who fills it lets go, followers learn that nothing more will come.
#[derive(Debug)]
pub(crate) struct Screen {
    published: Arc<ArcSwap<State>>,
    index: watch::Sender<u64>,
    /// One past the last entry of the log that is in the state; entries without a command count here.
    reached: watch::Sender<u64>,
    notices: broadcast::Sender<Notice>,
    turn: Mutex<()>,
}

/// What the handle keeps of a screen: enough to look, not enough to keep it lit.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) published: Arc<ArcSwap<State>>,
    pub(crate) index: watch::Receiver<u64>,
    pub(crate) reached: watch::Receiver<u64>,
    pub(crate) screen: Weak<Screen>,
}

/// A step of whoever fills the screen: entries `from..to` of the log were applied and `results` came of them.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a State,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) results: &'a [Arc<Applied>],
}

impl Screen {
    pub(crate) fn new(state: State, reached: u64) -> Arc<Self> {
        let (index, _) = watch::channel(state.index());
        let (reached, _) = watch::channel(reached);
        let (notices, _) = broadcast::channel(CAPACITY);
        let published = Arc::new(ArcSwap::from_pointee(state));
        Arc::new(Self { published, index, reached, notices, turn: Mutex::new(()) })
    }

    pub(crate) fn view(self: &Arc<Self>) -> View {
        View {
            published: self.published.clone(),
            index: self.index.subscribe(),
            reached: self.reached.subscribe(),
            screen: Arc::downgrade(self),
        }
    }

    /// One past the last entry that is shown.
    pub(crate) fn reached(&self) -> u64 {
        *self.reached.borrow()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Shows the state, then tells those who follow. What is not newer than what is shown is left out; a gap is told as
    /// a replacement. Whoever is answered after this can read what it wrote.
    pub(crate) fn show(&self, step: Step<'_>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.reached();
        if step.to <= shown {
            return;
        }
        self.published.store(Arc::new(step.state.clone()));
        self.index.send_if_modified(|index| {
            let now = step.state.index();
            std::mem::replace(index, now) != now
        });
        // Nobody may be following.
        if step.from > shown {
            let _ = self.notices.send(Notice::Replaced);
        } else {
            for applied in step.results.iter().filter(|applied| applied.index >= shown) {
                let _ = self.notices.send(Notice::Applied(applied.clone()));
            }
        }
        self.reached.send_replace(step.to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(index: u64) -> State {
        let mut state = State::default();
        state.apply(index, &state::Command::CollectGarbage(state::Garbage::default()));
        state
    }

    fn results(range: std::ops::Range<u64>) -> Vec<Arc<Applied>> {
        range.map(|index| Arc::new(Applied { index, ..Applied::default() })).collect()
    }

    fn show(screen: &Screen, range: std::ops::Range<u64>) {
        screen.show(Step {
            state: &state(range.end - 1),
            from: range.start,
            to: range.end,
            results: &results(range),
        });
    }

    fn told(receiver: &mut broadcast::Receiver<Notice>) -> Vec<Option<u64>> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|notice| match notice {
                Notice::Applied(applied) => Some(applied.index),
                Notice::Replaced => None,
            })
            .collect()
    }

    #[test]
    fn two_who_fill_it_tell_everything_once_and_in_order() {
        let screen = Screen::new(State::default(), 0);
        let mut notices = screen.subscribe();
        show(&screen, 0..5);
        show(&screen, 0..3);
        show(&screen, 3..7);
        show(&screen, 5..7);
        assert_eq!(told(&mut notices), (0..7).map(Some).collect::<Vec<_>>());
        assert_eq!(screen.reached(), 7);
        assert_eq!(screen.published.load().index(), 6);
    }

    #[test]
    fn a_gap_is_a_replacement_and_nothing_goes_back() {
        let screen = Screen::new(State::default(), 0);
        let mut notices = screen.subscribe();
        show(&screen, 0..2);
        show(&screen, 5..9);
        show(&screen, 2..5);
        assert_eq!(told(&mut notices), vec![Some(0), Some(1), None]);
        assert_eq!(screen.published.load().index(), 8);
    }
}
