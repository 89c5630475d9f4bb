//! The calls of one connection that wait for their answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{Code, Refused};

/// What becomes of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    Answered(Bytes),
    Refused(Refused),
    Broken { detail: String, sent: bool },
}

/// Waiting calls by their number, and after the end, why there can be none.
pub(super) struct Calls(Mutex<State>);

struct State {
    waiting: HashMap<u64, Waiting>,
    next: u64,
    /// No new calls are taken: why.
    closed: Option<String>,
}

struct Waiting {
    tell: oneshot::Sender<Outcome>,
    sent: bool,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { waiting: HashMap::new(), next: 1, closed: None }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call.
    ///
    /// # Errors
    /// Why the connection takes none any more.
    pub(super) fn add(&self) -> Result<(u64, oneshot::Receiver<Outcome>), String> {
        let mut state = self.state();
        if let Some(why) = &state.closed {
            return Err(why.clone());
        }
        let id = state.next;
        state.next += 1;
        let (tell, told) = oneshot::channel();
        state.waiting.insert(id, Waiting { tell, sent: false });
        Ok((id, told))
    }

    /// Forgets a call; says whether it was sent.
    pub(super) fn forget(&self, id: u64) -> bool {
        self.state().waiting.remove(&id).is_some_and(|waiting| waiting.sent)
    }

    /// Right before a request is written: marks it as sent, or says that nobody waits for it.
    pub(super) fn sending(&self, id: u64) -> bool {
        match self.state().waiting.get_mut(&id) {
            Some(waiting) => {
                waiting.sent = true;
                true
            }
            None => false,
        }
    }

    /// Hands an answer over. One that nobody waits for is dropped.
    pub(super) fn settle(&self, id: u64, outcome: Outcome) {
        let waiting = self.state().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.tell.send(outcome);
        }
    }

    /// No new calls; those that wait go on waiting.
    pub(super) fn close(&self, why: &str) {
        self.state().closed.get_or_insert_with(|| why.to_owned());
    }

    /// No new calls, and of those that wait only the ones up to `last` will be answered: the others were not taken.
    pub(super) fn close_after(&self, last: u64, why: &str) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| why.to_owned());
        for (_, waiting) in state.waiting.extract_if(|id, _| *id > last) {
            let _ = waiting.tell.send(Outcome::Broken { detail: why.to_owned(), sent: false });
        }
    }

    /// No new calls, unless some wait. Says whether it was closed.
    pub(super) fn close_if_unused(&self, why: &str, calls_before: u64) -> Result<(), u64> {
        let mut state = self.state();
        if state.waiting.is_empty() && state.next == calls_before {
            state.closed.get_or_insert_with(|| why.to_owned());
            return Ok(());
        }
        Err(state.next)
    }

    /// The connection has ended: all calls fail.
    pub(super) fn fail(&self, why: &str) {
        let waiting = {
            let mut state = self.state();
            state.closed.get_or_insert_with(|| why.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            let detail = why.to_owned();
            let _ = waiting.tell.send(Outcome::Broken { detail, sent: waiting.sent });
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().closed.is_none()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }
}

impl Outcome {
    /// What a refusal on the wire means.
    pub(super) fn of_refusal(refused: Refused) -> Self {
        // The server was stopping when the request came in: as if the connection had been closed before.
        if refused.code == Code::STOPPING {
            return Self::Broken { detail: refused.words, sent: false };
        }
        Self::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_tells_each_call_whether_it_was_sent() {
        let calls = Calls::new();
        let (first, told_first) = calls.add().expect("open");
        let (_second, told_second) = calls.add().expect("open");
        assert!(calls.sending(first));
        calls.fail("cable cut");
        let outcome = |outcome| match outcome {
            Ok(Outcome::Broken { detail, sent }) => (detail, sent),
            _ => panic!("not broken"),
        };
        assert_eq!(outcome(told_first.await), ("cable cut".to_owned(), true));
        assert_eq!(outcome(told_second.await), ("cable cut".to_owned(), false));
        assert_eq!(calls.add().expect_err("closed"), "cable cut");
    }

    #[tokio::test]
    async fn what_came_after_a_goodbye_was_not_carried_out() {
        let calls = Calls::new();
        let (first, mut told_first) = calls.add().expect("open");
        let (second, told_second) = calls.add().expect("open");
        assert!(calls.sending(first) && calls.sending(second));
        calls.close_after(first, "bye");
        let told = told_second.await;
        assert!(matches!(told, Ok(Outcome::Broken { sent: false, .. })), "{told:?}");
        assert!(told_first.try_recv().is_err(), "it may still be answered");
        assert!(!calls.is_open() && !calls.is_empty());
    }

    #[test]
    fn a_call_that_was_given_up_is_not_sent() {
        let calls = Calls::new();
        let (id, _) = calls.add().expect("open");
        assert!(!calls.forget(id));
        assert!(!calls.sending(id));
        calls.settle(id, Outcome::Answered(Bytes::new()));
        let (id, _) = calls.add().expect("open");
        assert!(calls.sending(id) && calls.forget(id));
    }

    #[test]
    fn only_an_unused_connection_is_closed_as_such() {
        let calls = Calls::new();
        let (id, _told) = calls.add().expect("open");
        let seen = calls.close_if_unused("idle", 2).expect_err("a call waits");
        calls.forget(id);
        assert_eq!(calls.close_if_unused("idle", seen), Ok(()));
        assert!(!calls.is_open());
    }
}
