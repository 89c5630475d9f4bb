//! Starts the parts of an agent in order, waits, and stops them in the opposite order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{AgentInfo, App};
use catalog::{Catalog, CatalogHandle, Change, Changes};
use consensus::{Consensus, Subscription, SubscriptionError};
use driver::{
    Docker, DockerOptions, Driver, Exec, IsolationOptions, Java, RawExec, RawExecOptions, Shims,
};
use model::{ClientStatus, Node, NodeId};
use network::Networks;
use node::{NodeRuntime, NodeSettings};
use server::{FleetOptions, Server, ServerOptions};
use state::Command;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::AgentArguments;
use crate::config::{PluginBlock, Settings};
use crate::directory::{self, AgentFile};
use crate::fleet::Own;
use crate::local_node::OwnNode;
use crate::task_logs::{self, NodeLogs};
use crate::upstream::InProcess;
use crate::web::Web;
use crate::{clock, fleet, follow, leaving, logging, scheduling};

/// Herder's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often the node looks at itself again: drivers come and go.
const FINGERPRINT_INTERVAL: Duration = Duration::from_secs(30);
/// The wait before a node that no server has taken note of yet tries again.
const REGISTER_AGAIN: Duration = Duration::from_secs(1);
/// How long tasks may take to stop when the agent takes them with it.
const STOP_TASKS: Duration = Duration::from_secs(60);

/// Runs an agent until SIGINT or SIGTERM. Tasks stay unless the settings say otherwise.
///
/// # Errors
/// When a part cannot be started, in words with what to do about it.
pub fn run(arguments: &AgentArguments) -> anyhow::Result<()> {
    let settings = Settings::resolve(arguments)?;
    logging::start(&settings.log_level, settings.log_json)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)))
        // Blocking work is short; a few threads are enough and each costs memory.
        .max_blocking_threads(32)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(agent(settings))
}

async fn agent(mut settings: Settings) -> anyhow::Result<()> {
    directory::prepare(&settings.data_dir)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // First the data directory: it is what two agents must never share, and once it is ours, whatever an agent that was
    // killed left behind has let go of its ports too.
    // Loops that decide stop before the node does, so that nothing is decided that nobody carries out.
    let (stop_server, stop_node, stop_faces) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let files = settings.fleet.tls.as_ref();
    let own = files.map(|files| Own::read(files, &identity::Clock::system())).transpose()?;
    if own.as_ref().is_some_and(|own| own.peer.role == identity::Role::Worker) {
        // Nobody makes a server of one whose certificate says otherwise.
        settings.fleet.role = model::NodeRole::Worker;
    }
    let certificates_renew_themselves = own.is_none();
    let fleet = fleet::enter(&settings, own.as_ref(), VERSION).await?;
    let consensus = match &fleet {
        Some(fleet) => fleet.open(&settings).await?,
        None => Consensus::open(consensus::Options::new(settings.data_dir.join("raft"), 1)).await?,
    };
    let http = listen("HTTP", "--http-port", settings.http).await?;
    let discovery = listen("the catalog", "--catalog-port", settings.catalog).await?;
    let dns = catalog::dns::Server::bind(settings.dns).await?;
    let node_id = node::load_or_create_node_id(&settings.data_dir)?;

    let mut faces = JoinSet::new();
    let web = Web::open(&settings, node_id, fleet.as_ref(), own, &mut faces, &stop_faces)?;
    let guarded = settings.faces.certified && web.http.is_some();
    let drivers = drivers(&settings, node_id);
    let http_address = http.local_addr()?;
    let networks = Arc::new(Networks::new(settings.networks(&node_id.to_string())));
    let describe = Describe {
        networks: Arc::clone(&networks),
        settings: settings.clone(),
        id: node_id,
        drivers: drivers.clone(),
        http_address,
        rpc_address: fleet.as_ref().map(|fleet| fleet.address),
        https: web.http.is_some(),
    };
    let me = Arc::new(describe.node().await);
    let between = match fleet {
        Some(fleet) => Some(fleet.start(&settings, &consensus, &mut faces, &stop_faces)?),
        None => None,
    };
    let registration = Command::RegisterNode { node: Box::new(Node::clone(&me)), at: clock::now() };
    let registered = match (consensus.propose(registration).await, &between) {
        (Ok(_), _) => true,
        (Err(error), None) => return Err(error).context("registering this node"),
        // What runs here goes on without servers; the node is registered once they answer.
        (Err(error), Some(_)) => {
            tracing::warn!("this node is not registered yet: {error}");
            false
        }
    };

    let turns: Arc<dyn gitrepo::Turns> = match &between {
        Some(between) => between.turns(&mut faces, &stop_faces),
        None => Arc::new(gitrepo::Alone),
    };
    let repositories = settings
        .repos
        .iter()
        .map(|repo| {
            follow::follow(repo, &settings.data_dir, node_id, Arc::clone(&turns), &stop_server)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mirrors = repositories.iter().map(|(repo, mirror)| (repo.name.clone(), Arc::clone(mirror)));
    let mirrors = follow::Mirrors(mirrors.collect());
    if let Some(between) = &between {
        let followed = settings.repos.iter().zip(&repositories).map(|(repo, (_, mirror))| {
            let (mirror, heads_from) = (Arc::clone(mirror), repo.heads_from.clone());
            (repo.config.name.clone(), fleet::Followed { mirror, heads_from })
        });
        between.follow(followed.collect());
    }
    let repositories = repositories.into_iter().map(|(repository, _)| repository).collect();
    let options = ServerOptions {
        consensus: consensus.clone(),
        repositories,
        clock: Arc::new(clock::now),
        stop: stop_server.clone(),
    };
    let mut in_fleet = FleetOptions { node: Some(node_id), ..FleetOptions::default() };
    in_fleet.certificate_life = match certificates_renew_themselves {
        true => fleet::CERTIFICATE_LIFE,
        false => fleet::FOREIGN_CERTIFICATE_LIFE,
    };
    in_fleet.heartbeat.ttl = settings.fleet.lost_after;
    in_fleet.heartbeat.grace = in_fleet.heartbeat.grace.max(settings.fleet.lost_after * 2);
    let server = Server::start_in_fleet(options, in_fleet);
    if let Some(config) = settings.scheduler {
        faces.spawn(scheduling::settle(consensus.clone(), config, stop_faces.clone()));
    }
    let node_clock = node::system_clock();
    let contact = between.as_ref().map(|between| {
        let contact = Arc::new(node::Contact::open(&settings.data_dir, Arc::clone(&node_clock)));
        between.serve(&server, &settings, &contact, &mut faces, &stop_faces);
        contact
    });

    let subscription = consensus.subscribe();
    let handle = CatalogHandle::new(Catalog::rebuild(&consensus.state()));
    handle.set_servers(&[catalog_server(&me)]);
    let changes = LogChanges { consensus: consensus.clone(), subscription };
    faces.spawn(catalog::run(handle.clone(), changes, stop_faces.clone()));
    let dns_address = dns.address();
    let dns_config = catalog::dns::Config {
        domains: settings.dns_domains.clone(),
        ttl: u32::try_from(settings.dns_ttl.as_secs()).unwrap_or(u32::MAX),
        ..catalog::dns::Config::default()
    };
    faces.spawn(dns.run(handle.clone(), dns_config, stop_faces.clone()));

    let upstream = Arc::new(InProcess::new(server.clone()));
    let mut options = node::Options::new(settings.data_dir.clone(), Arc::clone(&me), drivers);
    options.clock = node_clock;
    options.contact = contact;
    options.garbage = settings.garbage;
    options.max_kill_timeout = settings.max_kill_timeout;
    options.networks = Some(networks);
    options.artifact = settings.artifact.clone();
    options.repository = Some(Arc::new(mirrors));
    options.memory_oversubscription = Arc::new({
        let consensus = consensus.clone();
        move || consensus.state().scheduler_config().memory_oversubscription
    });
    options.devices = Arc::new({
        let devices = settings.devices.clone();
        move || node::find_devices(&devices)
    });
    let node = Arc::new(NodeRuntime::start(options, upstream.clone(), stop_node.clone()).await?);
    let known = registered.then(|| Node::clone(&me));
    faces.spawn(leaving::come_back(
        consensus.clone(),
        server.clone(),
        node_id,
        settings.data_dir.clone(),
        stop_faces.clone(),
    ));
    faces.spawn(keep_registered(describe, server.clone(), known, stop_faces.clone()));

    let shipping = task_logs::ship(&settings, &node, &consensus)?;
    let info = Arc::new(info(&settings, &me, http_address));
    let logs = Arc::new(NodeLogs(Arc::clone(&node)));
    let own = Arc::new(OwnNode {
        runtime: Arc::clone(&node),
        alloc_dir: settings.data_dir.join("alloc").display().to_string(),
        mhz: me.attributes.get("cpu.frequency").and_then(|mhz| mhz.parse().ok()).unwrap_or(1000.0),
    });
    let app = App::new(Arc::new(server.clone()), handle, info, logs.clone())
        .with_node(own)
        .with_owner_key(&directory::owner_key(&settings.data_dir)?);
    let catalog_address = discovery.local_addr()?;
    let orchestration = api::orchestration(app.clone());
    let orchestration = match &between {
        Some(between) => api::guarded(between.api(orchestration), &app),
        None => orchestration,
    };
    faces.spawn(serve(http, orchestration, web.http, stop_faces.clone()));
    faces.spawn(serve(discovery, api::discovery(app), web.catalog, stop_faces.clone()));

    AgentFile {
        pid: std::process::id(),
        version: VERSION,
        name: &settings.name,
        node_id: node_id.to_string(),
        http: http_address.to_string(),
        catalog: catalog_address.to_string(),
        dns: dns_address.to_string(),
        rpc: me.rpc_address.clone(),
        tls: web.file,
    }
    .write(&settings.data_dir)?;
    tracing::info!(
        version = VERSION,
        node = %node_id.short(),
        http = %http_address,
        catalog = %catalog_address,
        dns = %dns_address,
        data_dir = %settings.data_dir.display(),
        "agent is ready"
    );

    if !settings.bind.is_loopback() && !guarded {
        tracing::warn!(
            "everybody who reaches {http_address} can read what runs here and promote or fail deployments: \
             there are no access tokens yet"
        );
    }

    let leaves = settings.drain_on_shutdown.as_ref();
    let leaves = tokio::select! {
        _ = interrupt.recv() => {
            tracing::info!("SIGINT: stopping");
            leaves.filter(|policy| policy.on_interrupt)
        }
        _ = terminate.recv() => {
            tracing::info!("SIGTERM: stopping");
            leaves.filter(|policy| policy.on_terminate)
        }
    };
    if let Some(policy) = leaves {
        tokio::select! {
            () = leaving::leave(policy, &consensus, &server, &node, node_id, &settings.data_dir) => {}
            _ = interrupt.recv() => tracing::warn!("SIGINT again: what is left here runs on"),
            _ = terminate.recv() => tracing::warn!("SIGTERM again: what is left here runs on"),
        }
    }
    shipping.stop();
    // Whoever looks for this agent from now on must not find it.
    if let Err(error) = std::fs::remove_file(settings.data_dir.join("agent.json")) {
        tracing::debug!(%error, "agent.json could not be removed");
    }
    stop_server.cancel();
    server.join().await;
    if settings.stop_tasks {
        if let Err(error) = upstream.stop_everything(node_id).await {
            tracing::warn!(%error, "the tasks could not be told to stop; they are left to the next agent");
        } else if tokio::time::timeout(STOP_TASKS, tasks_end(&node)).await.is_err() {
            tracing::warn!(
                "some tasks did not end in {STOP_TASKS:?}; they are left to the next agent"
            );
        }
    }
    stop_node.cancel();
    stop_faces.cancel();
    while faces.join_next().await.is_some() {}
    // Both lead to the node, which is waited for once nobody else has it.
    drop(logs);
    drop(between);
    let running = running(&node);
    if let Some(node) = Arc::into_inner(node) {
        node.join().await;
    }
    drop(server);
    drop(upstream);
    fleet::hand_over(&consensus).await;
    consensus.close().await;
    if running > 0 {
        tracing::info!(
            "agent stopped; {running} allocations keep running and are found by the next agent \
             (with --stop-tasks it takes them with it)"
        );
    } else {
        tracing::info!("agent stopped");
    }
    Ok(())
}

async fn listen(what: &str, flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{what} cannot listen on {address}; is another agent running? {flag} 0 takes any free port")
    })
}

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    tls: Option<identity::WebTls>,
    stop: CancellationToken,
) {
    let tls = tls.map(|tls| tls.config());
    if let Err(error) = api::serve(listener, router, tls, stop).await {
        tracing::error!(%error, "an HTTP face stopped answering");
    }
}

fn drivers(settings: &Settings, node: NodeId) -> Vec<Arc<dyn Driver>> {
    let shims = Shims::default();
    let mut raw_exec = RawExecOptions::new(settings.data_dir.join("client/shim"));
    raw_exec.shims = shims.clone();
    raw_exec.enabled = settings.raw_exec;
    raw_exec.denied =
        settings.repos.iter().filter_map(|repo| repo.token_variable().map(str::to_owned)).collect();
    let mut drivers: Vec<Arc<dyn Driver>> = vec![
        Arc::new(RawExec::new(raw_exec)),
        Arc::new(Exec::new(isolation(settings, node, &settings.exec, &shims))),
        Arc::new(Java::new(isolation(settings, node, &settings.java, &shims))),
    ];
    for options in &settings.containers {
        let options = DockerOptions { instance: node.to_string(), ..options.clone() };
        drivers.push(Arc::new(Docker::new(options)));
    }
    drivers
}

/// How the tasks of `exec` or `java` are kept apart here.
fn isolation(
    settings: &Settings,
    node: NodeId,
    plugin: &PluginBlock,
    shims: &Shims,
) -> IsolationOptions {
    let (client, config) = (&settings.client, &plugin.config);
    let mut options =
        IsolationOptions::new(settings.data_dir.join("client/shim"), node.to_string());
    options.shims = shims.clone();
    options.enabled = config.enabled.unwrap_or(true);
    if let Some(parent) = &client.cgroup_parent {
        options.cgroup_parent.clone_from(parent);
    }
    if !client.chroot_env.is_empty() {
        options.lent.clone_from(&client.chroot_env);
    }
    if !config.allow_caps.is_empty() {
        options.allow_caps.clone_from(&config.allow_caps);
    }
    if let Some(denied) = &config.denied_users {
        options.denied_users.clone_from(denied);
    }
    if let Some(most) = config.max_processes {
        options.max_processes = most;
    }
    options.host_pid = config.default_pid_mode.as_deref() == Some("host");
    options.host_ipc = config.default_ipc_mode.as_deref() == Some("host");
    options
}

/// How this node describes itself, now and again.
struct Describe {
    settings: Settings,
    id: model::NodeId,
    drivers: Vec<Arc<dyn Driver>>,
    networks: Arc<Networks>,
    http_address: SocketAddr,
    /// Where other agents reach this one, if there are any.
    rpc_address: Option<SocketAddr>,
    /// Whether the API speaks TLS.
    https: bool,
}

impl Describe {
    async fn node(&self) -> Node {
        let (all, client) = (&self.settings, &self.settings.client);
        let defaults = NodeSettings::default();
        let settings = NodeSettings {
            id: self.id,
            name: all.name.clone(),
            datacenter: all.datacenter.clone(),
            pool: client.node_pool.clone().unwrap_or(defaults.pool),
            class: client.node_class.clone().unwrap_or_default(),
            // On all addresses means: found by the one that others reach.
            address: match self.rpc_address {
                Some(address) => address.ip().to_string(),
                None if all.bind.is_unspecified() => String::new(),
                None => all.bind.to_string(),
            },
            http_address: self.http_address.to_string(),
            version: VERSION.to_owned(),
            meta: client.meta.clone(),
            data_dir: all.data_dir.clone(),
            cpu_total: client.cpu_total_compute,
            memory_total_mb: client.memory_total_mb,
            reserved_cpu: client.reserved.cpu,
            reserved_memory_mb: client.reserved.memory,
            reserved_disk_mb: client.reserved.disk,
            dynamic_ports: (
                client.min_dynamic_port.unwrap_or(defaults.dynamic_ports.0),
                client.max_dynamic_port.unwrap_or(defaults.dynamic_ports.1),
            ),
            reserved_ports: all.reserved_ports.clone(),
            reserved_cores: all.reserved_cores.clone(),
            devices: all.devices.clone(),
            host_volumes: all.host_volumes.clone(),
            host_networks: all.host_networks.clone(),
            networks: Some(Arc::clone(&self.networks)),
        };
        let mut node = node::fingerprint(&settings, &self.drivers).await;
        node.rpc_address = self.rpc_address.map(|address| address.to_string()).unwrap_or_default();
        node.role = all.fleet.role;
        if self.https {
            node.attributes.insert(api::HTTPS.to_owned(), "true".to_owned());
        }
        if self.rpc_address.is_some() {
            node.attributes.insert(fleet::REPOS.to_owned(), fleet::repos(&all.repos));
        }
        node
    }
}

/// Registers the node again when it changed: a Docker daemon came or went.
async fn keep_registered(
    describe: Describe,
    server: Server,
    mut last: Option<Node>,
    stop: CancellationToken,
) {
    loop {
        let wait = if last.is_some() { FINGERPRINT_INTERVAL } else { REGISTER_AGAIN };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let mut node = describe.node().await;
        if let Some(last) = &last {
            // Free disk space changes all the time; that alone is no news.
            node.resources.disk_mb = last.resources.disk_mb;
            if node == *last {
                continue;
            }
        }
        let command = Command::RegisterNode { node: Box::new(node.clone()), at: server.now() };
        match server.propose(command).await {
            Ok(_) => last = Some(node),
            Err(error) => tracing::warn!("this node could not be registered: {error}"),
        }
    }
}

fn catalog_server(node: &Node) -> catalog::Server {
    catalog::Server {
        id: node.id,
        name: node.name.clone(),
        datacenter: node.datacenter.clone(),
        address: node.address.clone(),
        port: 4647,
    }
}

fn info(settings: &Settings, node: &Arc<Node>, http: SocketAddr) -> AgentInfo {
    let config = BTreeMap::from([
        ("Dev".to_owned(), settings.dev.into()),
        ("DataDir".to_owned(), settings.data_dir.display().to_string().into()),
        ("BindAddr".to_owned(), settings.bind.to_string().into()),
        ("LogLevel".to_owned(), settings.log_level.clone().into()),
        (
            "Repos".to_owned(),
            settings.repos.iter().map(|repo| repo.config.url.redacted()).collect::<Vec<_>>().into(),
        ),
    ]);
    AgentInfo {
        version: VERSION.to_owned(),
        node: Arc::clone(node),
        name: settings.name.clone(),
        datacenter: settings.datacenter.clone(),
        http_address: http.to_string(),
        rpc_address: node.rpc_address.clone(),
        config,
        hosts: Vec::new(),
        started_at: clock::now(),
    }
}

fn running(node: &NodeRuntime) -> usize {
    node.statuses().iter().filter(|status| status.client == ClientStatus::Running).count()
}

/// Ends when no allocation runs any more.
async fn tasks_end(node: &NodeRuntime) {
    while node.statuses().iter().any(|status| !status.client.is_terminal()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The log, as the catalog follows it.
struct LogChanges {
    consensus: Consensus,
    subscription: Subscription,
}

impl Changes for LogChanges {
    async fn next(&mut self) -> Option<Change> {
        match self.subscription.next().await {
            Ok(applied) => Some(Change::Applied(self.consensus.state(), applied)),
            Err(SubscriptionError::Lagged) => Some(Change::Rebuild(self.consensus.state())),
            Err(SubscriptionError::Closed) => None,
        }
    }
}
