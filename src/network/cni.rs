//! The client's side of CNI, versions 0.3.1 to 1.0.0: a chain of plugins, each given the result of the one before.
//!
//! What a plugin is told is built by plain functions; [`exec`] alone starts anything.

mod chain;
mod exec;
mod load;

pub(crate) use chain::{Chain, Runtime, address_of, arguments, interfaces_of};
pub(crate) use exec::{Call, Command, call};
pub(crate) use load::{configurations, load};
