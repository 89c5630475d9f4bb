//! An answer that is a no.

use std::fmt;

/// Longest words of a refusal, in bytes.
const LONGEST: usize = 4096;

/// Why a request was refused, as a number. Those up to 99 are this crate's own; a handler's begin with 100.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The caller is not let in (any more): removed, or its certificate has expired.
    pub const NOT_ADMITTED: Self = Self(1);
    /// Too many requests of this connection are being worked on.
    pub const BUSY: Self = Self(2);
    /// The handler took longer than the caller wanted to wait. It may have done its work.
    pub const DEADLINE: Self = Self(3);
    /// The server is about to stop.
    pub const STOPPING: Self = Self(4);
    /// The handler failed in a way that it did not foresee. It may have done its work.
    pub const INTERNAL: Self = Self(5);
    /// The answer is larger than a frame. The work was done.
    pub const ANSWER_TOO_LARGE: Self = Self(6);
    /// No handler knows the method.
    pub const UNKNOWN_METHOD: Self = Self(7);
    /// Such a connection is not for this, or its time is over.
    pub const NOT_ALLOWED: Self = Self(8);
    /// What was sent is not the protocol.
    pub const PROTOCOL: Self = Self(9);
    /// The first that a handler may give a meaning of its own.
    pub const FIRST_OF_HANDLERS: Self = Self(100);

    /// Whether the request may have been carried out although it was refused.
    pub fn may_have_been_carried_out(self) -> bool {
        [Self::DEADLINE, Self::INTERNAL, Self::ANSWER_TOO_LARGE].contains(&self)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A refusal: a code for programs, words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// For programs.
    pub code: Code,
    /// For people; at most 4096 bytes, on one line.
    pub words: String,
}

impl Refused {
    /// With these words. Control characters in them are replaced by spaces, and what is too long is cut.
    pub fn new(code: Code, words: impl AsRef<str>) -> Self {
        let words = words.as_ref();
        let mut end = words.len().min(LONGEST);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        let words = words.get(..end).unwrap_or_default();
        let words = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { code, words }
    }
}
