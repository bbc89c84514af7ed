//! `leasehold dev`: everything on a private regtest network, for a first look and for playing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Exit, serve};
use crate::clock::SystemClock;
use crate::daemon::Daemon;
use crate::dev::{self, Playground};

/// Arguments of `dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A folder that is kept, instead of one that is thrown away at the end
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Seconds between blocks
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    block_every: u64,
    /// A catalogue instead of the sample
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let playground = Playground::start(args.dir, args.listen, args.catalog).await?;
    let config = playground.config()?;
    let mut daemon =
        Daemon::start(config, Arc::new(SystemClock), false).await.map_err(Exit::of_server)?;
    let shutdown = daemon.shutdown.clone();
    let every = std::time::Duration::from_secs(args.block_every.max(1));
    daemon.spawn(playground.faucet().mine_blocks(every, shutdown.clone()));
    let router = daemon.router(Some(dev::routes(playground.faucet())));
    serve::end_on_signal(shutdown)?;
    println!("Leasehold runs on a private regtest network: its coins are worth nothing.");
    println!("Open       {}", daemon.shop.public_url);
    println!("Admin key  {}", daemon.config.admin.bootstrap_key_file.display());
    println!("Files      {}", playground.folder().display());
    println!("A block is mined every {} s. Ctrl-C ends everything.", every.as_secs());
    let served = daemon.serve(router).await;
    playground.stop().await;
    served?;
    Ok(())
}
