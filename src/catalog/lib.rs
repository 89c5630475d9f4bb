//! Services, their instances and their health as views over the replicated state, and the DNS server that answers from
//! them.
//!
//! [`instances()`] says what one allocation publishes; [`Catalog`] holds that for all of them and follows the state's
//! events; [`CatalogHandle`] hands the newest catalog to readers, who never wait for a writer. [`consul`] shapes it as
//! Consul's JSON and [`dns`] as DNS answers, both by pure functions.
//!
//! What never belongs here: HTTP routes, decisions about what runs where, running checks, writing to the state.

pub mod consul;
pub mod dns;
mod instances;
#[cfg(test)]
mod sample;
mod view;

pub use instances::{NODE_CHECK, NodeCheck, instances, node_check};
pub use view::{Catalog, CatalogHandle, Change, Changes, Entry, SERVERS, Server, run};
