//! The command line: what can be asked for, one file a subcommand, and one `match` that hands it
//! on. A subcommand is here only when it works. Called by `main`.

mod admin;
mod audit;
mod backup;
mod check;
mod client;
mod completions;
mod dev;
mod exit;
mod listen;
pub mod log;
mod openapi;
mod output;
mod payouts;
mod rent;
mod rescan;
mod serve;
mod ssh_keys;
mod table;
mod token;
mod webhook;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, Problems};
pub use exit::Exit;
pub use output::Output;

/// Sells time on resources for bitcoin, without accounts.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 75 try again."
)]
pub struct Cli {
    /// Options of every subcommand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The configuration file; default: leasehold.toml, when it is there
    #[arg(long, global = true, value_name = "FILE", env = "LEASEHOLD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try everything out on a private regtest network
    Dev(dev::Args),
    /// Run the server
    Serve(serve::Args),
    /// Look at configuration, wallet, catalogue and keys: each line ok or what to do
    Check(check::Args),
    /// Lease tokens and the keys that sign them
    #[command(subcommand)]
    Token(token::Command),
    /// For customers: rent time on a resource of a server and wait until it runs
    Rent(rent::Args),
    /// For sshd: print the keys of those whose lease of a resource is active
    SshKeys(ssh_keys::Args),
    /// Leases, through the running server
    Lease(admin::Args<admin::Lease>),
    /// Invoices, through the running server
    Invoice(admin::Args<admin::Look>),
    /// Payments, through the running server
    Payment(admin::Args<admin::Look>),
    /// What is owed to customers, and the batches that pay it, through the running server
    Payouts(admin::Args<payouts::Command>),
    /// Events, through the running server
    Event(admin::Args<admin::Event>),
    /// Endpoints that hear of events, through the running server
    Webhook(admin::Args<webhook::Webhook>),
    /// Deliveries of events to endpoints, through the running server
    Delivery(admin::Args<webhook::Delivery>),
    /// Print events as they happen, and forward them to a developer's machine
    Listen(listen::Args),
    /// API keys, through the running server
    Key(admin::Args<admin::Key>),
    /// Show what is different in a catalogue, then make the running server use it
    Apply(admin::Apply),
    /// Make the running server read blocks again for payments that were missed
    Rescan(rescan::Args),
    /// Hold the books against each other and against the node; changes nothing
    Audit,
    /// Copy the database into a new file, beside a running server
    Backup(backup::Args),
    /// The parent of a provisioner's command
    #[command(hide = true)]
    ProvisionGuard(crate::provision::guard::Args),
    /// Print the description of the HTTP API
    Openapi,
    /// Print a completion script for a shell
    Completions(completions::Args),
}

impl Command {
    /// What is logged unless `LEASEHOLD_LOG` says otherwise.
    pub fn log_level(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            _ => "warn",
        }
    }
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// With the code that the process ends with.
    pub async fn run(self) -> Result<(), Exit> {
        let output = Output::new(self.global.json);
        match self.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => serve::run(args, &self.global).await,
            Command::Check(args) => check::run(args, &self.global, &output).await,
            Command::Token(command) => token::run(command, &self.global, &output).await,
            Command::Rent(args) => rent::run(args, &output).await,
            Command::SshKeys(args) => ssh_keys::run(args, &self.global, &output).await,
            Command::Lease(args) => admin::lease(args, &self.global, &output).await,
            Command::Invoice(args) => admin::look("invoices", args, &self.global, &output).await,
            Command::Payment(args) => admin::look("payments", args, &self.global, &output).await,
            Command::Payouts(args) => payouts::run(args, &self.global, &output).await,
            Command::Event(args) => admin::event(args, &self.global, &output).await,
            Command::Webhook(args) => webhook::webhook(args, &self.global, &output).await,
            Command::Delivery(args) => webhook::delivery(args, &self.global, &output).await,
            Command::Listen(args) => listen::run(args, &self.global, &output).await,
            Command::Key(args) => admin::key(args, &self.global, &output).await,
            Command::Apply(args) => admin::apply(args, &self.global, &output).await,
            Command::Rescan(args) => rescan::run(args, &self.global, &output).await,
            Command::Audit => audit::run(&self.global, &output).await,
            Command::Backup(args) => backup::run(args, &self.global, &output).await,
            Command::ProvisionGuard(args) => match crate::provision::guard::run(&args) {
                0 => Ok(()),
                code => Err(Exit::Code(code)),
            },
            Command::Openapi => openapi::run(&output),
            Command::Completions(args) => completions::run(args, &output),
        }
    }
}

impl Global {
    /// The configuration that `--config` and the environment give.
    fn load(&self) -> Result<Config, Problems> {
        Config::load(self.config.as_deref(), std::env::vars_os())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_subcommand() {
        for words in [["leasehold", "--json", "check"], ["leasehold", "check", "--json"]] {
            assert!(Cli::try_parse_from(words).unwrap().global.json);
        }
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for words in [&["leasehold"][..], &["leasehold", "nothing"], &["leasehold", "token"]] {
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}
