//! A fleet of real agents, each in a network namespace of its own, that are killed, cut off and filled up for real.
//!
//! Skipped, with a word, where namespaces cannot be made; with `CI=true` that is a failure. What takes long is short by
//! default: `HERDER_FLEET_ROUNDS` sets how often a leader is killed, and for how many seconds the network loses packets.

mod agent;
mod audit;
mod backup;
mod disk;
mod door;
mod drain;
mod faults;
mod fleet;
mod following;
mod history;
mod https;
mod joining;
mod leader;
mod losses;
mod network;
mod own_authority;
mod remote;
mod restart;
mod worker;

#[path = "../../src/gitrepo/tests/follow/http_server.rs"]
#[expect(dead_code, reason = "shared with the tests of mirrors")]
mod http_server;
#[path = "../end_to_end/load.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests of one agent")]
mod load;
#[path = "../end_to_end/repository.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests of one agent")]
mod repository;
