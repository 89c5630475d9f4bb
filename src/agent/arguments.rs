//! The flags of `herder agent`. Each overrides what the configuration file says.

use std::path::PathBuf;

use clap::Args;

/// Runs an agent: keeps this machine equal to a Git repository of job files.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  herder agent --dev --repo .                            follow the repository in this folder
  herder agent --dev --repo . --path jobs --branch main  follow the job files beneath jobs/
  herder agent --config /etc/herder.hcl                  run as the file says
  herder agent --bootstrap --repo URL                    found a cluster
  herder agent --join HOST --token-file FILE             join one, with what `herder token join` printed

Stopping an agent stops no task: the next one finds them again.")]
pub struct AgentArguments {
    /// One node that is server and client, on loopback only, with raw_exec allowed; needs no configuration
    #[arg(long)]
    pub dev: bool,
    /// Configuration file (HCL, or YAML by its ending)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Found a new cluster, with an authority for certificates of its own; the first agent's alone to do
    #[arg(long)]
    pub bootstrap: bool,
    /// Join the cluster that an agent at this address belongs to; may be given several times
    #[arg(long, value_name = "HOST[:4647]")]
    pub join: Vec<String>,
    /// What `herder token join` printed; a file is safer, because other users see the arguments of programs
    #[arg(long, value_name = "TOKEN", env = "HERDER_JOIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File with the join token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// auto, server or worker: whether the cluster may have this agent vote
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Address that other agents are told [default: the one that reaches out]
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Option<std::net::IpAddr>,
    /// Port for other agents [default: 4647]
    #[arg(long, value_name = "PORT")]
    pub rpc_port: Option<u16>,
    /// There are no access tokens in this version; accepted so that scripts can say it already
    #[arg(long)]
    pub no_acl: bool,
    /// Where everything is kept: log, mirror, allocations
    #[arg(long, value_name = "DIR", env = "HERDER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<std::net::IpAddr>,
    /// This node's name [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Repository to follow: a URL (https, ssh, git, file) or a local path
    #[arg(long, value_name = "URL|PATH")]
    pub repo: Option<String>,
    /// Branch to follow [default: the repository's own]
    #[arg(long)]
    pub branch: Option<String>,
    /// Folder or glob of job files in the repository; may be given several times [default: all]
    #[arg(long, value_name = "DIR|GLOB")]
    pub path: Vec<String>,
    /// Environment whose vars files (NAME.ENVIRONMENT.vars.hcl) apply to the job files
    #[arg(long, value_name = "ENVIRONMENT")]
    pub env: Option<String>,
    /// Time between polls of the repository [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Port of the HTTP API, 0 for any free one [default: 4646]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Port of the catalog's HTTP API, 0 for any free one [default: 8500]
    #[arg(long, value_name = "PORT")]
    pub catalog_port: Option<u16>,
    /// Port of the DNS server, 0 for any free one [default: 8600]
    #[arg(long, value_name = "PORT")]
    pub dns_port: Option<u16>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Write logs as JSON lines
    #[arg(long)]
    pub log_json: bool,
    /// On the way out, stop all tasks too instead of leaving them to the next agent
    #[arg(long)]
    pub stop_tasks: bool,
}
