//! `herder token …`: what lets machines and people in.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder token …`.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token with which new machines join; it is printed once, alone on standard output
    Join(JoinArguments),
    /// List the join tokens that are good
    List(ListArguments),
    /// Take a join token back
    Revoke(RevokeArguments),
}

/// Flags of `herder token join`.
#[derive(Args, Debug)]
pub struct JoinArguments {
    /// For how long it is good [default: 1h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder token list`.
#[derive(Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder token revoke`.
#[derive(Args, Debug)]
pub struct RevokeArguments {
    /// The token's ID, as `token list` shows it
    id: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &TokenCommand) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Join(arguments) => {
            let ttl = arguments.ttl.as_deref().unwrap_or_default();
            let made = arguments.connection.client()?.make_join_token(ttl)?;
            arguments.connection.show(&made, || {
                anstream::println!("{}", made.token);
                anstream::eprintln!(
                    "on the new machine: herder agent --join HOST --token-file FILE   (good until {})",
                    output::date(made.expires_at)
                );
            })
        }
        TokenCommand::List(arguments) => {
            let tokens = arguments.connection.client()?.join_tokens()?;
            arguments.connection.show(&tokens, || {
                if tokens.is_empty() {
                    anstream::eprintln!("no join token is good now; `herder token join` makes one");
                    return;
                }
                output::table(
                    &["ID", "Good until"],
                    tokens
                        .iter()
                        .map(|token| vec![token.id.clone(), output::date(token.expires_at)]),
                );
            })
        }
        TokenCommand::Revoke(arguments) => {
            arguments.connection.client()?.revoke_join_token(&arguments.id)?;
            anstream::eprintln!("nobody joins with it any more");
            Ok(ExitCode::SUCCESS)
        }
    }
}
