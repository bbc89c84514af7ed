//! The binary: parse, trace, dispatch.

use std::process::ExitCode;

use clap::Parser as _;
use leasehold::cli::{Cli, Exit, log};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            let message = exit.to_string();
            if !message.is_empty() {
                eprintln!("{message}");
            }
            exit.code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Exit> {
    log::start(cli.command.log_level())?;
    // Fails only when a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    runtime.block_on(cli.run())
}
