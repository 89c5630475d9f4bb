//! Which agent a command talks to, and in which form it answers.

use std::process::ExitCode;

use clap::Args;
use client::Client;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// Flags of every command that asks an agent.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// Address of the agent's HTTP API
    #[arg(
        long,
        env = "HERDER_ADDR",
        default_value = "http://127.0.0.1:4646",
        global = true,
        value_name = "URL"
    )]
    address: String,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Print IDs in full, and more detail
    #[arg(long, short, global = true)]
    verbose: bool,
}

impl Connection {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.address, std::env::var("HERDER_TOKEN").ok())?)
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }

    pub(crate) fn verbose(&self) -> bool {
        self.verbose
    }

    /// An ID as a person reads it: eight digits, or all with `--verbose`.
    pub(crate) fn id(&self, id: impl std::fmt::Display) -> String {
        let id = id.to_string();
        if self.verbose { id } else { id.chars().take(8).collect() }
    }

    /// Prints `value` as JSON where that was asked for, and as `text` otherwise.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(),
    ) -> Result<ExitCode, Failure> {
        if self.json {
            output::json(value)?;
        } else {
            text();
        }
        Ok(ExitCode::SUCCESS)
    }
}
