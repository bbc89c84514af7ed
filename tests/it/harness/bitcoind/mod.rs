//! A regtest bitcoind of one test's own: no peers, its own folder and port, a wallet `miner` full
//! of coins. Blocking, and without code of the program under test. Killed on drop.
//! `regtest/test` says where the program and the prepared data folder are.

mod chain;
mod wallet;

pub use wallet::output;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::rpc::{self, Fault};
use super::wait;

/// The wallet with the coins.
const WALLET: &str = "miner";
/// Blocks to mine when there is no prepared folder: ten coins are mature then.
const BLOCKS: u32 = 110;
/// Another program may take the port between finding and using it.
const STARTS: u32 = 4;

/// A running (or stopped) node.
#[derive(Debug)]
pub struct Bitcoind {
    child: Option<Child>,
    // Kept for its drop.
    _home: TempDir,
    datadir: PathBuf,
    port: u16,
    args: Vec<String>,
}

impl Bitcoind {
    /// A node with coins in its wallet.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Bitcoind::start`], with options of bitcoind's at this and every later start.
    pub fn start_with(args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(template) = std::env::var_os("LEASEHOLD_TEST_DATADIR") {
            return Self::start_in(Path::new(&template), args);
        }
        let new = tempfile::tempdir().unwrap();
        write_conf(new.path());
        let node = Self::start_in(new.path(), args);
        node.call("createwallet", json!({ "wallet_name": WALLET, "load_on_startup": true }));
        node.mine(BLOCKS);
        node
    }

    /// A second node with the same chain and wallet, which from here on go their own ways: nodes
    /// of tests have no peers. Restarts this one.
    pub fn twin(&mut self) -> Self {
        self.stop();
        let twin = Self::start_in(&self.datadir, self.args.clone());
        // Equal addresses would make equal blocks.
        twin.new_address();
        self.start_again();
        twin
    }

    fn start_in(original: &Path, args: Vec<String>) -> Self {
        let home = tempfile::Builder::new().prefix("leasehold-bitcoind").tempdir().unwrap();
        let datadir = home.path().join("data");
        copy(original, &datadir);
        let mut node = Self { child: None, _home: home, datadir, port: 0, args };
        node.boot(&[]);
        node
    }

    /// Starts it, on the port it had before if that is still free.
    fn boot(&mut self, more: &[&str]) {
        assert!(self.child.is_none(), "bitcoind runs already");
        for _ in 0..STARTS {
            if self.port == 0 {
                self.port = free_port();
            }
            let mut child = self.spawn(more);
            let came_up =
                wait::until("bitcoind to answer", || match self.try_call("uptime", json!([])) {
                    Ok(_) => Ok(true),
                    Err(Fault::Refused { .. }) => Err("another program is on its port".to_owned()),
                    Err(Fault::NoAnswer(why)) => match child.try_wait().unwrap() {
                        Some(_) => Ok(false),
                        None => Err(why),
                    },
                });
            if came_up {
                self.child = Some(child);
                return;
            }
            self.port = 0;
        }
        let said = fs::read_to_string(self.datadir.join("start.log")).unwrap_or_default();
        panic!("bitcoind does not start: {said}");
    }

    fn spawn(&self, more: &[&str]) -> Child {
        let exe = std::env::var_os("BITCOIND_EXE").expect("no BITCOIND_EXE: run regtest/test");
        // A cookie of an earlier start would be taken for the new one.
        let _ = fs::remove_file(self.cookie_file());
        let log = fs::File::create(self.datadir.join("start.log")).unwrap();
        Command::new(exe)
            .arg(format!("-datadir={}", self.datadir.display()))
            .arg(format!("-rpcport={}", self.port))
            .arg("-printtoconsole=0")
            .args(&self.args)
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("BITCOIND_EXE is a program")
    }

    /// Stops it in good order; its mempool is written to disk.
    pub fn stop(&mut self) {
        self.call("stop", json!([]));
        let mut child = self.child.take().expect("bitcoind runs");
        wait::until("bitcoind to stop", || child.try_wait().unwrap().ok_or("still running"));
    }

    /// SIGKILL. Blocks that it had not flushed to disk are lost.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("bitcoind runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Lets it stand still until [`Bitcoind::thaw`]: it takes connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("bitcoind runs").id().to_string();
        let done = Command::new("kill").args(["-s", name, &id]).status();
        assert!(done.expect("there is a kill command").success());
    }

    /// Publishes blocks and transactions over ZMQ from its next start on; where.
    pub fn publish(&mut self) -> String {
        let endpoint = format!("tcp://127.0.0.1:{}", free_port());
        for topic in ["hashblock", "rawtx"] {
            self.args.push(format!("-zmqpub{topic}={endpoint}"));
        }
        endpoint
    }

    /// Starts it after [`Bitcoind::stop`] or [`Bitcoind::kill`].
    pub fn start_again(&mut self) {
        self.boot(&[]);
    }

    /// Stops and starts it: same port, another cookie.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// As [`Bitcoind::restart`], with one more option from here on.
    pub fn restart_with(&mut self, arg: &str) {
        self.args.push(arg.to_owned());
        self.restart();
    }

    /// Restarts it with an empty mempool. The wallet gives up its unconfirmed transactions, since
    /// otherwise it would send them again.
    pub fn clear_mempool(&mut self) {
        self.stop();
        let _ = fs::remove_file(self.datadir.join("regtest/mempool.dat"));
        self.boot(&["-walletbroadcast=0"]);
        self.abandon_unconfirmed();
        self.restart();
    }

    /// Where JSON-RPC and REST are.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its data folder.
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// The login, new at every start.
    pub fn cookie_file(&self) -> PathBuf {
        self.datadir.join("regtest/.cookie")
    }

    /// Calls the node; `params` is a list, or an object of named parameters.
    ///
    /// # Panics
    /// When the call fails.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params.clone())
            .unwrap_or_else(|fault| panic!("{method} {params}: {fault:?}"))
    }

    /// As [`Bitcoind::call`], with the failure as an answer.
    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, Fault> {
        rpc::call(self.port, &self.cookie_file(), "/", method, &params)
    }

    /// Calls the wallet.
    ///
    /// # Panics
    /// When the call fails.
    pub fn wallet(&self, method: &str, params: Value) -> Value {
        self.try_wallet(method, params.clone())
            .unwrap_or_else(|fault| panic!("{method} {params}: {fault:?}"))
    }

    /// As [`Bitcoind::wallet`], for another wallet.
    ///
    /// # Panics
    /// When the call fails.
    pub fn call_wallet(&self, wallet: &str, method: &str, params: Value) -> Value {
        self.try_call_wallet(wallet, method, params.clone())
            .unwrap_or_else(|fault| panic!("{method} {params}: {fault:?}"))
    }

    /// As [`Bitcoind::call_wallet`], with the failure as an answer.
    pub fn try_call_wallet(
        &self,
        wallet: &str,
        method: &str,
        params: Value,
    ) -> Result<Value, Fault> {
        rpc::call(self.port, &self.cookie_file(), &format!("/wallet/{wallet}"), method, &params)
    }

    /// As [`Bitcoind::wallet`], with the failure as an answer.
    pub fn try_wallet(&self, method: &str, params: Value) -> Result<Value, Fault> {
        self.try_call_wallet(WALLET, method, params)
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

/// What `regtest/template` writes, too.
fn write_conf(datadir: &Path) {
    fs::create_dir_all(datadir).unwrap();
    let conf = "regtest=1\nlisten=0\ndnsseed=0\nrest=1\nfallbackfee=0.0001\n\
                addresstype=bech32\nchangetype=bech32\nmaxtipage=3153600000\nkeypool=25\n\
                dbcache=16\ncheckmempool=0\ncheckblockindex=0\n";
    fs::write(datadir.join("bitcoin.conf"), conf).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
