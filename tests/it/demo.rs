//! The private network that a newcomer starts, and what is left of it when it is killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::wait::until;

/// Starts `leasehold dev` in `folder` and waits until it tells its address.
fn start(folder: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(["dev", "--listen", "127.0.0.1:0", "--block-every", "1", "--dir"])
        .arg(folder.join("kept"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the built program starts");
    let told = BufReader::new(child.stdout.take().expect("it is piped"));
    // All that it tells: who writes into a closed pipe fails.
    let mut open = None;
    for line in told.lines().map(|line| line.expect("text")) {
        if let Some(url) = line.strip_prefix("Open") {
            open = Some(url.trim().to_owned());
        }
        if line.starts_with("A block is mined") {
            break;
        }
    }
    (child, open.expect("it tells its address"))
}

#[test]
fn a_private_network_that_was_killed_starts_again_where_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut first, _) = start(folder.path());
    first.kill().expect("it can be killed");
    first.wait().expect("it is our child");
    // Its bitcoind is still there, and holds the folder.
    let (mut second, url) = start(folder.path());
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let id = second.id().to_string();
    Command::new("kill").arg(id).status().expect("there is a kill command");
    let status = until("it to end", || second.try_wait().expect("our child").ok_or("it runs"));
    assert!(status.success(), "{status}");
    let pid = folder.path().join("kept/bitcoind/regtest/bitcoind.pid");
    assert!(!pid.exists(), "its bitcoind ended with it");
}
