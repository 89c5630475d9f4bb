//! Who may try a handshake, and how much is said about those that fail.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// Lines that are logged in one [`PERIOD`]; strangers must not be able to fill a disk.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// Counts handshakes. Clones are one door.
#[derive(Clone)]
pub(super) struct Door(Arc<Inner>);

struct Inner {
    all: usize,
    of_one: usize,
    inside: Mutex<Inside>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Inside {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

struct Said {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Leaves the door when it is dropped.
pub(super) struct Entered {
    door: Door,
    from: IpAddr,
}

impl Door {
    /// Lets in so many at once, and so many of one address.
    pub(super) fn new(all: usize, of_one: usize) -> Self {
        let said = Said { since: Instant::now(), lines: 0, left_out: 0 };
        Self(Arc::new(Inner { all, of_one, inside: Mutex::default(), said: Mutex::new(said) }))
    }

    pub(super) fn enter(&self, from: IpAddr) -> Option<Entered> {
        let mut inside = self.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = inside.of.get(&from).copied().unwrap_or(0);
        if inside.all >= self.0.all || of_one >= self.0.of_one {
            return None;
        }
        inside.all += 1;
        inside.of.insert(from, of_one + 1);
        Some(Entered { door: self.clone(), from })
    }

    /// Logs a warning, unless there were many of late.
    pub(super) fn log(&self, words: fmt::Arguments<'_>) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.elapsed() >= PERIOD {
            if said.left_out > 0 {
                warn!(left_out = said.left_out, "more connections were refused or closed");
            }
            *said = Said { since: Instant::now(), lines: 0, left_out: 0 };
        }
        if said.lines < LINES {
            said.lines += 1;
            warn!("{words}");
        } else {
            said.left_out += 1;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut inside = self.door.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(of_one) = inside.of.get_mut(&self.from) {
            *of_one -= 1;
            if *of_one == 0 {
                inside.of.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_fill_the_door() {
        let door = Door::new(3, 2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = door.enter(one).expect("in");
        let _second = door.enter(one).expect("in");
        assert!(door.enter(one).is_none(), "its share is full");
        let _third = door.enter(other).expect("in");
        assert!(door.enter(other).is_none(), "the door is full");
        drop(first);
        assert!(door.enter(one).is_some());
    }
}
