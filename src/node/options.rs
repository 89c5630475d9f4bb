//! What a node is started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driver::Driver;
use model::{Node, NodeDevice, Timestamp};

use crate::contact::Contact;
use crate::garbage::GarbageLimits;
use crate::repository::RepositoryFiles;
use crate::usage::{DiskUse, disk_use};

/// Tells the time. Within one process it must never go back.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock, read once and carried on by the monotonic one, so that a step of the wall clock neither
/// stretches a delay nor fires a deadline.
pub fn system_clock() -> Clock {
    let began = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Timestamp(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX));
    Arc::new(move || wall + began.elapsed())
}

/// What a node is started with.
#[derive(Clone)]
pub struct Options {
    /// The agent's data directory: `alloc/` holds the tasks' files, `client/` the node's records.
    pub data_dir: PathBuf,
    /// The node itself, as it registers.
    pub node: Arc<Node>,
    /// The drivers, by their own names.
    pub drivers: Vec<Arc<dyn Driver>>,
    /// The networks of allocations; without them a group that asks for one cannot start.
    pub networks: Option<Arc<network::Networks>>,
    /// Where files of the repository are read from; none by default.
    pub repository: Option<Arc<dyn RepositoryFiles>>,
    /// The clock.
    pub clock: Clock,
    /// When the servers were last heard of; nothing where the node is its own server. Its clock must be this one's.
    pub contact: Option<Arc<Contact>>,
    /// How long reports are collected before they are sent together; 5 ms by default.
    pub batch_window: Duration,
    /// Whether secrets are kept in memory, where the agent may mount it; by default they are.
    pub secrets_in_memory: bool,
    /// The least wait between an allocation with services leaving the catalog and its kill signal; 250 ms by default.
    /// Whoever resolved it a moment ago can still connect.
    pub deregister_grace: Duration,
    /// The longest that a task may take to end after its kill signal, whatever its job says; 30 s by default.
    pub max_kill_timeout: Duration,
    /// When files of allocations that are over are removed.
    pub garbage: GarbageLimits,
    /// Looks at the disk that allocations lie on; may block.
    pub disk_use: Arc<dyn Fn(&Path) -> DiskUse + Send + Sync>,
    /// Whether the cluster lets tasks use up to their `memory_max`; by default it does. Cheap.
    pub memory_oversubscription: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Looks for the node's devices; may block. By default there are those that the node registers with.
    pub devices: Arc<dyn Fn() -> Vec<NodeDevice> + Send + Sync>,
    /// How artifacts are downloaded, and by which program.
    pub artifact: artifact::Options,
}

impl Options {
    /// The defaults, with the machine's clock.
    pub fn new(data_dir: PathBuf, node: Arc<Node>, drivers: Vec<Arc<dyn Driver>>) -> Self {
        let devices = node.resources.devices.clone();
        Self {
            data_dir,
            node,
            drivers,
            networks: None,
            repository: None,
            clock: system_clock(),
            contact: None,
            batch_window: Duration::from_millis(5),
            secrets_in_memory: true,
            deregister_grace: Duration::from_millis(250),
            max_kill_timeout: Duration::from_secs(30),
            garbage: GarbageLimits::default(),
            disk_use: Arc::new(disk_use),
            memory_oversubscription: Arc::new(|| true),
            devices: Arc::new(move || devices.clone()),
            artifact: artifact::Options::default(),
        }
    }
}
