//! bitcoind on regtest as a child process that ends with us.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

/// How long bitcoind may take to write its cookie.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end.
const END: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const BETWEEN: Duration = Duration::from_millis(50);

/// A running bitcoind.
pub(super) struct Node {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Node {
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = find()?;
        std::fs::create_dir_all(folder)?;
        end_left_behind(folder).await;
        // A cookie of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(folder.join("regtest/.cookie"));
        let port = free_port()?;
        let child = Command::new(&program)
            .arg(format!("-datadir={}", folder.display()))
            .arg(format!("-rpcport={port}"))
            .args(["-regtest", "-server", "-rest=1", "-listen=0", "-fallbackfee=0.0001"])
            .args(["-addresstype=bech32", "-printtoconsole=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut node = Self { child, port, folder: folder.to_owned() };
        node.wait().await?;
        Ok(node)
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let cookie = self.cookie_file();
        let started = async {
            while !cookie.exists() {
                if let Some(status) = self.child.try_wait()? {
                    bail!(
                        "bitcoind ended with {status}; see regtest/debug.log in {:?}",
                        self.folder
                    );
                }
                tokio::time::sleep(BETWEEN).await;
            }
            Ok(())
        };
        match tokio::time::timeout(START, started).await {
            Ok(result) => result,
            Err(_) => bail!("bitcoind did not start within {} s", START.as_secs()),
        }
    }

    pub(super) fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn cookie_file(&self) -> PathBuf {
        self.folder.join("regtest/.cookie")
    }

    pub(super) async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            // SIGTERM, so that it writes its wallet; kill_on_drop is the net.
            terminate(id);
            let _ = tokio::time::timeout(END, self.child.wait()).await;
        }
    }
}

fn terminate(id: u32) {
    let _ = std::process::Command::new("kill").arg(id.to_string()).status();
}

/// Ends the bitcoind of an earlier run in this folder: who is killed leaves it behind, and it keeps
/// the folder locked.
async fn end_left_behind(folder: &Path) {
    let number = std::fs::read_to_string(folder.join("regtest/bitcoind.pid"));
    let Some(id) = number.ok().and_then(|text| text.trim().parse::<u32>().ok()) else { return };
    let ours = format!("-datadir={}", folder.display());
    // The number may be another program's by now.
    let runs = || {
        let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == ours.as_bytes())
    };
    if !runs() {
        return;
    }
    tracing::warn!(id, "an earlier run was killed; its bitcoind is ended");
    terminate(id);
    let ended = async {
        while runs() {
            tokio::time::sleep(BETWEEN).await;
        }
    };
    let _ = tokio::time::timeout(END, ended).await;
}

/// `$BITCOIND_EXE`, else `bitcoind` on PATH, else the one that `regtest/setup` fetched.
fn find() -> anyhow::Result<PathBuf> {
    if let Some(exe) = std::env::var_os("BITCOIND_EXE") {
        return Ok(exe.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from(".cache/bitcoin/bin")])
        .map(|folder| folder.join("bitcoind"))
        .find(|program| program.is_file());
    found.context(
        "there is no bitcoind: run regtest/demo, which fetches one, or install Bitcoin Core or \
         Knots, or set BITCOIND_EXE to its path",
    )
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
