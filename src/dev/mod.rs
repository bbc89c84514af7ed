//! A private regtest network to play with: bitcoind as a child process, a throw-away wallet that
//! holds the keys (the server gets the public descriptor only), a faucet, blocks by themselves.
//! Only `leasehold dev` comes here; nothing of it is in `leasehold serve`.

mod faucet;
mod node;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::config::Config;

pub use faucet::{Faucet, routes};
use node::Node;

/// The sample catalogue.
const CATALOG: &str = include_str!("../../examples/catalog.toml");

/// A private network with a wallet.
pub struct Playground {
    node: Node,
    folder: PathBuf,
    throw_away: bool,
    faucet: Arc<Faucet>,
}

impl Playground {
    /// Starts bitcoind in `folder` (or a temporary one), makes the wallet, mines mature coins and
    /// writes `leasehold.toml` and `catalog.toml` if they are not there.
    ///
    /// # Errors
    /// When there is no bitcoind, or it does not start.
    pub async fn start(
        folder: Option<PathBuf>,
        listen: SocketAddr,
        catalog: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let throw_away = folder.is_none();
        let folder = match folder {
            Some(folder) => folder,
            None => std::env::temp_dir().join(format!("leasehold-dev-{}", std::process::id())),
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let node = Node::start(&folder.join("bitcoind")).await?;
        let faucet = Arc::new(Faucet::open(node.rpc_url(), node.cookie_file()).await?);
        let descriptor = faucet.public_descriptor().await?;
        let text = config_text(&node, listen, &descriptor);
        write_if_missing(&folder.join("leasehold.toml"), &text, !throw_away)?;
        let sample = match catalog {
            Some(file) => std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?,
            None => CATALOG.to_owned(),
        };
        write_if_missing(&folder.join("catalog.toml"), &sample, true)?;
        Ok(Self { node, folder, throw_away, faucet })
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration of the server.
    ///
    /// # Errors
    /// When the file was changed to something wrong.
    pub fn config(&self) -> anyhow::Result<Config> {
        match Config::load(Some(&self.folder.join("leasehold.toml")), std::env::vars_os()) {
            Ok(config) => Ok(config),
            Err(problems) => bail!("{problems}"),
        }
    }

    /// The faucet.
    pub fn faucet(&self) -> Arc<Faucet> {
        self.faucet.clone()
    }

    /// Stops bitcoind and removes a temporary folder.
    pub async fn stop(self) {
        self.node.stop().await;
        if self.throw_away {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The node's port changes from start to start, so the file of a kept folder is written anew;
/// what an operator changed in the catalogue stays.
fn write_if_missing(path: &Path, text: &str, keep: bool) -> anyhow::Result<()> {
    if keep && path.exists() && path.ends_with("catalog.toml") {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn config_text(node: &Node, listen: SocketAddr, descriptor: &str) -> String {
    format!(
        "# Written by `leasehold dev` at each start.\n\
         listen = \"{listen}\"\n\
         database = \"sqlite:leasehold.db\"\n\
         catalog = \"catalog.toml\"\n\
         \n\
         [bitcoind]\n\
         network = \"regtest\"\n\
         rpc_url = \"{url}\"\n\
         rest_url = \"{url}\"\n\
         cookie_file = \"{cookie}\"\n\
         \n\
         [wallet]\n\
         descriptor = \"{descriptor}\"\n\
         \n\
         [limits]\n\
         create_per_minute = 60\n",
        url = node.rpc_url(),
        cookie = node.cookie_file().display(),
    )
}
