//! The network of an allocation: a namespace of its own, wired up by CNI plugins, found again after the agent was
//! killed, and removed without a trace.
//!
//! ```text
//!  Request ──▶ Networks::ensure ──▶ record (written before each act)
//!                 │  namespace: a child of our own binary makes it and ends
//!                 │  cni: configuration for each plugin (pure) ──▶ exec (thin)
//!                 │  bridge: rules that part the groups of a node from each other
//!                 ▼
//!              Attached ──▶ the drivers join it
//! ```
//!
//! Everything here blocks; callers use a blocking thread. An operation that was begun is carried to its end even when
//! nobody waits for it any more, so that the record always says what was done.
//!
//! What never belongs here: which ports an allocation gets (`evaluator`), how a task joins a namespace (`driver`), and
//! when a network is made and removed (`node`).

mod bridge;
mod cni;
mod error;
mod fingerprint;
mod interface;
mod iptables;
mod keep;
mod namespace;
mod networks;
mod program;
mod record;
mod resolver;
mod settings;

pub use error::NetworkError;
pub use fingerprint::{ATTRIBUTE_BRIDGE, ATTRIBUTE_NAMESPACES, cni_attribute};
pub use namespace::{NAMESPACE_ARG, namespace_main};
pub use networks::{Attached, Networks};
pub use record::PortMapping;
pub use resolver::{HostFiles, host_files};
pub use settings::{BridgeSettings, Mode, Request, Settings};
