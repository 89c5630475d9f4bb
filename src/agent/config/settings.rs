//! What file, flags and defaults come to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use driver::{DockerOptions, Engine};
use gitrepo::{Credentials, RepoConfig, SecretSource};
use model::{HostVolume, SchedulerConfig};
use node::{GarbageLimits, LogReceiver};
use server::{Budget, IntakeOptions};

use super::containers;
use super::faces::Faces;
use super::file::{ClientBlock, File, PluginBlock, RepoBlock};
use super::fleet::FleetSettings;
use super::heads::HeadsFrom;
use super::{hardware, networks, scheduling};
use crate::arguments::AgentArguments;
use crate::leaving::DrainOnShutdown;

/// Everything that an agent needs to know before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dev: bool,
    pub(crate) fleet: FleetSettings,
    pub(crate) name: String,
    pub(crate) datacenter: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) bind: IpAddr,
    pub(crate) http: SocketAddr,
    pub(crate) faces: Faces,
    pub(crate) catalog: SocketAddr,
    pub(crate) dns: SocketAddr,
    pub(crate) dns_domains: Vec<String>,
    pub(crate) dns_ttl: Duration,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) client: ClientBlock,
    pub(crate) reserved_ports: Vec<u16>,
    pub(crate) reserved_cores: BTreeSet<u16>,
    pub(crate) devices: Vec<node::DeviceSettings>,
    pub(crate) host_volumes: BTreeMap<String, HostVolume>,
    pub(crate) garbage: GarbageLimits,
    pub(crate) max_kill_timeout: Duration,
    pub(crate) host_networks: Vec<node::HostNetworkSettings>,
    pub(crate) artifact: artifact::Options,
    pub(crate) raw_exec: bool,
    /// `docker` and `podman`, each unless it is turned off.
    pub(crate) containers: Vec<DockerOptions>,
    pub(crate) exec: PluginBlock,
    pub(crate) java: PluginBlock,
    pub(crate) repos: Vec<RepoSettings>,
    pub(crate) log_shipping: Vec<LogReceiver>,
    pub(crate) stop_tasks: bool,
    pub(crate) drain_on_shutdown: Option<DrainOnShutdown>,
    /// How placement chooses until somebody says so.
    pub(crate) scheduler: Option<SchedulerConfig>,
}

/// A repository to follow.
#[derive(Clone, Debug)]
pub(crate) struct RepoSettings {
    pub(crate) config: RepoConfig,
    pub(crate) intake: IntakeOptions,
    pub(crate) heads_from: HeadsFrom,
}

impl RepoSettings {
    /// The environment variable that holds the repository's token, if one does.
    pub(crate) fn token_variable(&self) -> Option<&str> {
        match &self.config.credentials.token {
            Some(SecretSource::Env(variable)) => Some(variable),
            _ => None,
        }
    }
}

impl Settings {
    /// Puts file and flags together; flags win.
    pub(crate) fn resolve(arguments: &AgentArguments) -> anyhow::Result<Self> {
        let file = match &arguments.config {
            Some(path) => File::read(path)?,
            None if arguments.dev || arguments.bootstrap || !arguments.join.is_empty() => {
                File::default()
            }
            // An agent of a cluster starts again without a word.
            None if belongs_to_a_cluster(arguments) => File::default(),
            None => bail!(
                "nothing says how to run: start with `herder agent --dev --repo .` to try it out, with --bootstrap to \
                 found a cluster, with --join HOST to join one, or with --config FILE"
            ),
        };
        if file.server.enabled == Some(false) || file.client.enabled == Some(false) {
            bail!(
                "an agent is server and client at once in this version; leave `enabled = false` out"
            );
        }
        let dev = arguments.dev;
        let bind = arguments.bind.or(file.bind_addr).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let repos = repositories(arguments, &file.repo)?;
        let data_dir = match arguments.data_dir.clone().or_else(|| file.data_dir.clone()) {
            Some(dir) => dir,
            None if dev => dev_data_dir(&repos)?,
            None if arguments.config.is_none() => PathBuf::from("/var/lib/herder"),
            None => bail!("`data_dir` is missing: say where the agent may keep its data"),
        };
        // Agents are reached from elsewhere, or there would be no point; people on this machine alone, unless said.
        let said = arguments.bind.or(file.bind_addr);
        let rpc = said.unwrap_or(if dev { bind } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) });
        let fleet = super::fleet::settings(arguments, &file, rpc)?;
        let data_dir = std::path::absolute(&data_dir)
            .with_context(|| format!("data directory {}", data_dir.display()))?;
        let port = |flag: Option<u16>, file: Option<u16>, default: u16| {
            SocketAddr::new(bind, flag.or(file).unwrap_or(default))
        };
        let compute = file.client.cpu_total_compute;
        let drain_on_shutdown = drain_on_shutdown(&file)?;
        let scheduler = file.server.default_scheduler_config.as_ref();
        let scheduler = scheduler.map(scheduling::config).transpose()?;
        let containers = [Engine::Docker, Engine::Podman]
            .into_iter()
            .map(|engine| {
                containers::options(engine, file.plugin.get(engine.name()), &data_dir, compute)
            })
            .filter_map(Result::transpose)
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            dev,
            fleet,
            name: arguments.name.clone().or(file.name).unwrap_or_else(host_name),
            datacenter: file.datacenter.unwrap_or_else(|| "dc1".to_owned()),
            data_dir,
            bind,
            faces: Faces::of(&file.tls),
            http: port(arguments.http_port, file.ports.http, 4646),
            catalog: port(arguments.catalog_port, file.ports.catalog, 8500),
            dns: port(arguments.dns_port, file.ports.dns, 8600),
            dns_domains: file
                .dns
                .domains
                .unwrap_or_else(|| vec!["consul".to_owned(), "herder".to_owned()]),
            dns_ttl: duration("dns ttl", file.dns.ttl.as_deref())?.unwrap_or(Duration::ZERO),
            log_level: arguments
                .log_level
                .clone()
                .or(file.log_level)
                .unwrap_or_else(|| "info".to_owned()),
            log_json: arguments.log_json || file.log_json.unwrap_or(false),
            reserved_ports: port_ranges(&file.client.reserved.reserved_ports)?,
            reserved_cores: hardware::reserved_cores(&file.client)?,
            devices: hardware::devices(&file.client)?,
            host_volumes: host_volumes(&file.client)?,
            garbage: garbage(&file.client)?,
            max_kill_timeout: duration(
                "max_kill_timeout",
                file.client.max_kill_timeout.as_deref(),
            )?
            .unwrap_or(Duration::from_secs(30)),
            host_networks: networks::host_networks(&file.client)?,
            artifact: super::artifacts::options(&file.client.artifact)?,
            client: networks::checked(file.client)?,
            raw_exec: file
                .plugin
                .get("raw_exec")
                .and_then(|plugin| plugin.config.enabled)
                .unwrap_or(dev),
            containers,
            exec: isolating("exec", &file.plugin)?,
            java: isolating("java", &file.plugin)?,
            repos,
            log_shipping: super::shipping::receivers(&file.log_shipping)?,
            stop_tasks: arguments.stop_tasks,
            drain_on_shutdown,
            scheduler,
        })
    }
}

fn belongs_to_a_cluster(arguments: &AgentArguments) -> bool {
    let dir = arguments.data_dir.as_deref().unwrap_or_else(|| Path::new("/var/lib/herder"));
    dir.join("tls/cluster.json").exists()
}

/// The settings of a driver that keeps tasks apart, checked.
fn isolating(name: &str, plugins: &BTreeMap<String, PluginBlock>) -> anyhow::Result<PluginBlock> {
    let plugin = plugins.get(name).cloned().unwrap_or_default();
    let modes = [
        ("default_pid_mode", &plugin.config.default_pid_mode),
        ("default_ipc_mode", &plugin.config.default_ipc_mode),
    ];
    for (key, mode) in modes {
        if let Some(mode) = mode
            && !matches!(mode.as_str(), "private" | "host")
        {
            bail!("plugin \"{name}\": {key} is `{mode}`; write \"private\" or \"host\"");
        }
    }
    Ok(plugin)
}

fn repositories(
    arguments: &AgentArguments,
    blocks: &BTreeMap<String, RepoBlock>,
) -> anyhow::Result<Vec<RepoSettings>> {
    let mut blocks = blocks.clone();
    if let Some(url) = &arguments.repo {
        let block = RepoBlock {
            url: url.clone(),
            branch: arguments.branch.clone(),
            paths: arguments.path.clone(),
            interval: arguments.interval.clone(),
            env: arguments.env.clone(),
            ..RepoBlock::default()
        };
        blocks.insert(name_of(url), block);
    } else if arguments.branch.is_some() || !arguments.path.is_empty() || arguments.env.is_some() {
        bail!(
            "--branch, --path and --env say what of a repository to follow; add --repo URL or --repo PATH"
        );
    }
    blocks.iter().map(|(name, block)| repository(name, block)).collect()
}

fn repository(name: &str, block: &RepoBlock) -> anyhow::Result<RepoSettings> {
    if block.url.is_empty() {
        bail!("repo \"{name}\" has no `url`");
    }
    let mut config = RepoConfig::new(name, &local_path(&block.url)?)?.with_paths(&block.paths)?;
    config.branch.clone_from(&block.branch);
    if let Some(interval) = duration("interval", block.interval.as_deref())? {
        config.interval = interval;
    }
    let token = match (&block.token_file, &block.token_env) {
        (Some(_), Some(_)) => {
            bail!("repo \"{name}\" has both `token_file` and `token_env`; keep one")
        }
        (Some(file), None) => Some(SecretSource::File(file.clone())),
        (None, Some(variable)) => Some(SecretSource::Env(variable.clone())),
        (None, None) => None,
    };
    config.credentials = Credentials {
        username: block.username.clone(),
        token,
        ssh_key_file: block.ssh_key.clone(),
        known_hosts_file: block.known_hosts.clone(),
        ca_file: block.ca_file.clone(),
        ..Credentials::default()
    };
    config.check()?;
    let inputs = inputs(name, block)?;
    let heads_from = HeadsFrom::read(name, block.heads_from.as_deref())?;
    Ok(RepoSettings {
        config,
        intake: IntakeOptions { budget: budget(name, block.max_removals.as_deref())?, inputs },
        heads_from,
    })
}

/// What the job files are read with. Nothing of it comes from the shell that the agent was started in.
fn inputs(repo: &str, block: &RepoBlock) -> anyhow::Result<jobfile::Inputs> {
    if let Some(environment) = &block.env {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if environment.is_empty() || !environment.chars().all(is_name) {
            bail!(
                "repo \"{repo}\": env is `{environment}`; the name of an environment has letters, digits, `-` and `_`"
            );
        }
    }
    Ok(jobfile::Inputs {
        environment: block.env.clone(),
        variables: block.variables.clone(),
        ..jobfile::Inputs::default()
    })
}

/// A repository on this machine is named by its absolute path, so that it is found from wherever the agent runs.
fn local_path(url: &str) -> anyhow::Result<String> {
    if url.contains("://") || !Path::new(url).exists() {
        return Ok(url.to_owned());
    }
    let path = std::fs::canonicalize(url).with_context(|| format!("repository {url}"))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| anyhow::anyhow!("the path of repository {url} is not UTF-8"))
}

/// The last part of an address makes a name that people recognise.
fn name_of(url: &str) -> String {
    let local =
        std::fs::canonicalize(url).ok().and_then(|path| path.into_os_string().into_string().ok());
    let text = local.as_deref().unwrap_or(url);
    let text = text.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    let last = text.rsplit(['/', ':']).next().unwrap_or_default();
    let name: String = last
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    if name.is_empty() { "repo".to_owned() } else { name }
}

fn budget(repo: &str, text: Option<&str>) -> anyhow::Result<Budget> {
    let Some(text) = text else { return Ok(Budget::default()) };
    let parsed = match text.strip_suffix('%') {
        Some(percent) => {
            percent.parse().ok().filter(|percent| *percent <= 100).map(Budget::Percent)
        }
        None => text.parse().ok().map(Budget::Jobs),
    };
    parsed.with_context(|| {
        format!("repo \"{repo}\": max_removals is `{text}`; write a share such as \"50%\" or a number such as \"3\"")
    })
}

pub(super) fn duration(what: &str, text: Option<&str>) -> anyhow::Result<Option<Duration>> {
    text.map(|text| model::parse_duration(text).with_context(|| what.to_owned())).transpose()
}

/// Nothing unless the file says so: tasks outlive their agent.
fn drain_on_shutdown(file: &File) -> anyhow::Result<Option<DrainOnShutdown>> {
    let (terminate, interrupt) = (file.leave_on_terminate, file.leave_on_interrupt);
    let Some(block) = &file.client.drain_on_shutdown else {
        if terminate.or(interrupt).is_some() {
            bail!(
                "leave_on_terminate and leave_on_interrupt say when `drain_on_shutdown` in `client` counts: add that \
                 block, or leave them out"
            );
        }
        return Ok(None);
    };
    let deadline = duration("drain_on_shutdown deadline", block.deadline.as_deref())?;
    let deadline = deadline.unwrap_or(Duration::from_secs(3600));
    if deadline.is_zero() {
        bail!(
            "drain_on_shutdown: deadline is 0; write how long it may take, or `force = true` for at once"
        );
    }
    Ok(Some(DrainOnShutdown {
        deadline,
        force: block.force,
        ignore_system: block.ignore_system_jobs,
        on_terminate: terminate.unwrap_or(true),
        on_interrupt: interrupt.unwrap_or(true),
    }))
}

fn host_volumes(client: &ClientBlock) -> anyhow::Result<BTreeMap<String, HostVolume>> {
    let mut volumes = BTreeMap::new();
    for (name, block) in &client.host_volume {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            bail!("host_volume \"{name}\": a name has 1 to 128 characters");
        }
        if !Path::new(&block.path).is_absolute() {
            bail!("host_volume \"{name}\": path is `{}`; it must be absolute", block.path);
        }
        let volume = HostVolume {
            path: block.path.clone(),
            read_only: block.read_only,
            allow_bidirectional: block.allow_bidirectional,
        };
        volumes.insert(name.clone(), volume);
    }
    Ok(volumes)
}

fn garbage(client: &ClientBlock) -> anyhow::Result<GarbageLimits> {
    let mut limits = GarbageLimits::default();
    if let Some(interval) = duration("gc_interval", client.gc_interval.as_deref())? {
        if interval < Duration::from_secs(1) {
            bail!("gc_interval must be at least 1s");
        }
        limits.interval = interval;
    }
    for (name, given, limit) in [
        ("gc_disk_usage_threshold", client.gc_disk_usage_threshold, &mut limits.disk_percent),
        ("gc_inode_usage_threshold", client.gc_inode_usage_threshold, &mut limits.inode_percent),
    ] {
        let Some(percent) = given else { continue };
        if !(0.0..=100.0).contains(&percent) {
            bail!("{name} is {percent}; write a percentage from 0 to 100");
        }
        *limit = percent;
    }
    limits.max_allocs = client.gc_max_allocs.unwrap_or(limits.max_allocs);
    limits.parallel = client.gc_parallel_destroys.unwrap_or(limits.parallel).clamp(1, 16);
    Ok(limits)
}

pub(super) fn port_ranges(text: &str) -> anyhow::Result<Vec<u16>> {
    let mut ports = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |text: &str| text.trim().parse::<u16>();
        match (parse(first), parse(last)) {
            (Ok(first), Ok(last)) if first <= last => ports.extend(first..=last),
            _ => bail!("reserved_ports: `{part}` is not a port or a range such as 8000-8100"),
        }
    }
    Ok(ports.into_iter().collect())
}

/// A place of its own for each repository, so that trying out a second one does not touch the first one's jobs.
fn dev_data_dir(repos: &[RepoSettings]) -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("state"))
    });
    let base = base.context(
        "neither HOME nor XDG_STATE_HOME is set; say where to keep data with --data-dir",
    )?;
    let name = repos.first().map_or_else(
        || "none".to_owned(),
        |repo| {
            let url = repo.config.url.to_string();
            let id = model::seeded_uuid(&[url.as_bytes()]).simple().to_string();
            format!("{}-{}", repo.config.name, &id[..8])
        },
    );
    Ok(base.join("herder").join("dev").join(name))
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "herder".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_addresses() {
        for (url, name) in [
            ("https://example.org/team/infra.git", "infra"),
            ("git@example.org:team/jobs.git/", "jobs"),
            ("ssh://git@example.org/~me/x y", "xy"),
            ("https://example.org/..", "repo"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }

    #[test]
    fn budgets_and_ports_are_read() {
        assert_eq!(budget("r", Some("25%")).expect("percent"), Budget::Percent(25));
        assert_eq!(budget("r", Some("3")).expect("number"), Budget::Jobs(3));
        assert!(budget("r", Some("many")).is_err());
        assert_eq!(port_ranges("22, 80-82").expect("ports"), [22, 80, 81, 82]);
        assert!(port_ranges("9-1").is_err());
    }

    #[test]
    fn a_node_is_emptied_at_the_end_only_where_the_file_says_so() {
        let read = |text: &str| drain_on_shutdown(&File::parse(text, false).expect("parses"));
        assert_eq!(read("").expect("nothing"), None);
        let block = "client {\n drain_on_shutdown {\n ignore_system_jobs = true\n }\n}\n";
        let policy = read(block).expect("reads").expect("a policy");
        assert_eq!(policy.deadline, Duration::from_secs(3600));
        assert!(policy.ignore_system && !policy.force);
        assert!(policy.on_terminate && policy.on_interrupt);
        let policy = read(&format!("leave_on_interrupt = false\n{block}")).expect("reads");
        assert!(policy.is_some_and(|policy| policy.on_terminate && !policy.on_interrupt));
        assert!(read("leave_on_terminate = true").is_err(), "there is nothing that it could mean");
        assert!(read("client {\n drain_on_shutdown {\n deadline = \"0s\"\n }\n}").is_err());
    }

    #[test]
    fn a_client_keeps_and_clears_as_it_is_told() {
        let read = |text: &str| File::parse(text, false).map(|file| file.client);
        let client = read(
            "client {\n host_volume \"data\" {\n path = \"/srv/data\"\n read_only = true\n }\n \
             gc_interval = \"10s\"\n gc_max_allocs = 3\n gc_disk_usage_threshold = 90.5\n}",
        )
        .expect("a client");
        let volumes = host_volumes(&client).expect("volumes");
        assert!(volumes["data"].read_only && volumes["data"].path == "/srv/data");
        let limits = garbage(&client).expect("limits");
        assert_eq!((limits.max_allocs, limits.disk_percent), (3, 90.5));
        assert_eq!(limits.interval, Duration::from_secs(10));
        assert_eq!(limits.inode_percent, 70.0);
        for wrong in [
            "client {\n host_volume \"data\" {\n path = \"srv\"\n }\n}",
            "client {\n gc_disk_usage_threshold = 101\n}",
            "client {\n gc_interval = \"1ms\"\n}",
        ] {
            let client = read(wrong).expect("a client");
            assert!(host_volumes(&client).is_err() || garbage(&client).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_environment_has_a_plain_name() {
        let with = |env: &str| RepoBlock { env: Some(env.into()), ..RepoBlock::default() };
        assert_eq!(inputs("r", &with("eu-1")).expect("a name").environment, Some("eu-1".into()));
        for name in ["", "a.b", "a/b", "prod "] {
            assert!(inputs("r", &with(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("a.hcl");
        std::fs::write(&file, "name = \"from-file\"\ndata_dir = \"/x\"\nports { http = 1 }\n")
            .expect("write");
        let arguments = AgentArguments {
            config: Some(file),
            name: Some("from-flag".into()),
            ..AgentArguments::default()
        };
        let settings = Settings::resolve(&arguments).expect("settings");
        assert_eq!(
            (settings.name.as_str(), settings.http.port(), settings.raw_exec),
            ("from-flag", 1, false)
        );
    }
}
