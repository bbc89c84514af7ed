//! Leases that open real things: commands and calls at every step of a lease, through failures and
//! kills, in order.

mod away;
mod calls;
mod claims;
mod failures;
mod http;
mod kills;
mod many;
mod mended;
mod pages;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::daemon::{Rented, Shop};
use crate::harness::wait::until;

/// A hook that notes each call in `calls`, with its input in `inputs`, then does what `how` says:
/// nothing, or the words in it as a shell command; and notes in `done` what it has done. Shells are
/// for tests only.
const HOOK: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
cat >> inputs
echo "$LEASEHOLD_ACTION $LEASEHOLD_LEASE $LEASEHOLD_GENERATION $LEASEHOLD_UNIT" >> calls
[ -s how-all ] && . ./how-all
[ -s "how-$LEASEHOLD_ACTION" ] && . "./how-$LEASEHOLD_ACTION"
echo "$LEASEHOLD_ACTION $LEASEHOLD_LEASE $LEASEHOLD_GENERATION $LEASEHOLD_UNIT" >> done
[ "$LEASEHOLD_ACTION" = provision ] && echo '{"host": "box.test", "port": 22}'
exit 0
"#;

/// What the shop sells: boxes that the hook makes ready.
fn catalog(hook: &str, timeout: &str, capacity: u32) -> String {
    format!(
        r#"
[[resource]]
id = "box"
access = "exclusive"
capacity = {capacity}
price = {{ sat = 3600, per = "1h" }}
min_duration = "10m"
max_duration = "30d"
grace = "10m"
confirmations = [{{ n = 1 }}]
max_unpaid_holds = {capacity}
params = {{ name = {{ max_length = 20, pattern = "[a-z]+" }} }}
provisioner = {{ kind = "exec", command = ["{hook}"], timeout = "{timeout}" }}
"#
    )
}

impl Shop {
    /// Sells what the hook makes ready, from now on.
    fn with_hook(&mut self, timeout: &str) {
        self.with_boxes(timeout, 2);
    }

    /// As [`Shop::with_hook`], with so many boxes.
    fn with_boxes(&mut self, timeout: &str, capacity: u32) {
        let hook = self.write_hook();
        self.write_catalog(&catalog(hook.to_str().unwrap(), timeout, capacity));
        self.stop();
        self.start();
    }

    fn write_hook(&self) -> PathBuf {
        let hook = self.folder().join("hook.sh");
        std::fs::write(&hook, HOOK).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        hook
    }

    /// What the hook does at an action (or at `all` of them), as shell.
    fn hook_does(&self, action: &str, what: &str) {
        let new = self.folder().join("how.new");
        std::fs::write(&new, what).unwrap();
        std::fs::rename(new, self.folder().join(format!("how-{action}"))).unwrap();
    }

    /// The actions that the hook was called for, of one lease, in order.
    fn called(&self, rented: &Rented) -> Vec<String> {
        self.noted("calls", rented)
    }

    /// The actions that the hook has done, of one lease, in order.
    fn done(&self, rented: &Rented) -> Vec<String> {
        self.noted("done", rented)
    }

    fn noted(&self, file: &str, rented: &Rented) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join(file)).unwrap_or_default();
        let own = |line: &&str| line.split(' ').nth(1) == Some(rented.lease.as_str());
        let action = |line: &str| line.split(' ').next().unwrap().to_owned();
        text.lines().filter(own).map(action).collect()
    }

    /// Waits until the hook was called for these actions of a lease.
    fn called_for(&self, rented: &Rented, actions: &[&str]) {
        until(&format!("the hook to be called for {actions:?}"), || {
            let called = self.called(rented);
            if called == actions { Ok(()) } else { Err(called) }
        });
    }

    /// Waits until the hook has done these actions of a lease, each once.
    fn done_for(&self, rented: &Rented, actions: &[&str]) {
        until(&format!("the hook to have done {actions:?}"), || {
            let done = self.done(rented);
            if done == actions { Ok(()) } else { Err(done) }
        });
    }

    /// Pays for an hour of a box.
    fn paid_box(&self) -> Rented {
        self.paid_box_for(3600)
    }

    /// Pays for a box.
    fn paid_box_for(&self, duration_s: u64) -> Rented {
        let rented = self.rent("box", duration_s);
        self.node.send(&rented.address, rented.amount_sat);
        self.node.mine(1);
        rented
    }

    /// Waits for a state of a lease.
    fn lease_in(&self, rented: &Rented, state: &str) -> Value {
        self.lease_until(&format!("the lease to be {state}"), &rented.lease, |lease| {
            lease["state"] == state
        })
    }

    /// A lease as its holder sees it.
    fn held(&self, rented: &Rented) -> Value {
        let path = format!("/v1/leases/{}", rented.lease);
        let (status, lease) = self.ask(reqwest::Method::GET, &path, Some(&rented.claim), None);
        assert_eq!(status, 200, "{lease}");
        lease
    }

    /// Does something to a lease as the operator.
    fn operate_lease(&self, rented: &Rented, what: &str) -> (u16, Value) {
        let path = format!("leases/{}/{what}", rented.lease);
        self.operate(reqwest::Method::POST, &path, None)
    }
}

fn has(lease: &Value, flag: &str) -> bool {
    lease["flags"].as_array().unwrap().iter().any(|it| it == flag)
}
