//! Downloads what a task asks for, in a process of its own that may do nothing else.
//!
//! ```text
//!  agent ──request on stdin──▶ child: no privileges, no files but its staging folder, no addresses but allowed ones
//!    ▲                           │  source → bytes → checksum → unpack (tree) → .artifacts/<task>
//!    └──JSON lines on stdout─────┘
//!  agent: moves what was staged to the destination, entry by entry, following nothing
//! ```
//!
//! The child reads bytes that strangers chose, so it is trusted with nothing: it cannot write to the destination, and the
//! agent looks at what it left as if an attacker had. The agent reads no byte from the network and unpacks nothing.
//!
//! What never belongs here: when artifacts are fetched and what a failure means for the task (`node`), and interpolation.
//! A [`Download`] arrives fully resolved.

mod address;
mod checksum;
mod child;
mod failure;
mod fetch;
mod git;
mod place;
mod request;
mod s3;
mod source;
mod tree;
mod unpack;
mod web;

pub use address::AddressRules;
pub use child::{FETCH_ARG, fetch_main};
pub use failure::FetchError;
pub use fetch::{Download, Fetched, Options, fetch};
pub use place::Owner;
pub use request::{Limits, Mode};
