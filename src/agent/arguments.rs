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

Stopping an agent stops no task: the next one finds them again.")]
pub struct AgentArguments {
    /// One node that is server and client, on loopback only, with raw_exec allowed; needs no configuration
    #[arg(long)]
    pub dev: bool,
    /// Configuration file (HCL, or YAML by its ending)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
