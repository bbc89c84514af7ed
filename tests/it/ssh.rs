//! A machine that is rented over SSH: the real sshd asks whose key it may take.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::harness::daemon::{Rented, Shop, once};
use crate::harness::peers::left_out;
use crate::harness::sshd::{
    self, Sshd, User, hook, new_key, write_api_key, write_command, write_hook,
};
use crate::harness::wait::until;

/// A shop whose one unit is the machine of `user`, with `more` in the catalogue.
fn machine(shop: &mut Shop, user: &User, more: &str) {
    shop.stop();
    shop.write_catalog(&format!(
        "[[resource]]\nid = \"machine\"\naccess = \"exclusive\"\nunits = [\"{}\"]\n\
         price = {{ sat = 3600, per = \"1h\" }}\ngrace = \"1m\"\n\
         params = {{ ssh_public_key = {{ required = true, format = \"ssh-public-key\" }} }}\n\
         ssh = {{ user = \"{{unit}}\", options = [\"pty\"] }}\n{more}",
        user.name
    ));
    shop.start();
    let admin = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let body = json!({ "name": "machine", "scopes": ["read"] });
    let made = shop.post("/v1/admin/keys", Some(admin.trim()), &body);
    write_api_key(shop.folder(), made["token"].as_str().expect("a key"));
    write_command(shop.folder(), shop.url());
}

fn rent(shop: &Shop, key: &str) -> Rented {
    let body = json!({ "resource": "machine", "duration_s": 7200,
        "params": { "ssh_public_key": key } });
    Shop::rented(&shop.post("/v1/leases", None, &body))
}

fn pay(shop: &Shop, rented: &Rented) {
    shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(1);
    shop.lease_until("the lease to be active", &rented.lease, |lease| lease["state"] == "active");
}

/// A login that stays.
fn session(sshd: &Sshd, user: &User, key: &str) -> Child {
    let mut ssh = sshd.ssh(user, key, "echo inside; exec tail -f /dev/null");
    ssh.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = ssh.spawn().expect("ssh is there");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "inside");
    child
}

#[test]
fn sshd_lets_a_holder_in_while_the_lease_runs_also_during_a_restart_and_then_no_more() {
    if left_out("ssh") {
        return;
    }
    once(|shop| {
        let user = User::new();
        machine(shop, &user, "");
        let key = new_key(shop.folder(), "holder");
        new_key(shop.folder(), "stranger");
        let folder = shop.folder().to_owned();
        let sshd = sshd::start(&folder, &user, "machine");
        let rented = rent(shop, &key);
        assert!(!sshd.lets_in(&user, "holder"), "it is not paid");
        pay(shop, &rented);
        assert!(sshd.lets_in(&user, "holder"));
        assert!(!sshd.lets_in(&user, "stranger"));

        shop.stop();
        assert!(sshd.lets_in(&user, "holder"), "a restart locks nobody out");
        assert!(!sshd.lets_in(&user, "stranger"));
        shop.start();
        write_command(&folder, shop.url());
        assert!(sshd.lets_in(&user, "holder"));

        let mut session = session(&sshd, &user, "holder");
        shop.post(&format!("/v1/leases/{}/return", rented.lease), Some(&rented.claim), &json!({}));
        assert!(!sshd.lets_in(&user, "holder"), "the lease is over");
        assert!(session.try_wait().expect("our child").is_none(), "nobody has ended it");
        session.kill().expect("it runs");
        session.wait().expect("our child");
        shop.kill();
        assert!(!sshd.lets_in(&user, "holder"), "what was kept is what was said last");
        shop.start();
    });
}

#[test]
fn the_hook_ends_a_holders_sessions_and_what_was_kept_lets_nobody_in_afterwards() {
    if left_out("ssh") {
        return;
    }
    once(|shop| {
        let user = User::new();
        if !user.own {
            // Only root can end the processes of another.
            return;
        }
        let file = write_hook(shop.folder()).display().to_string();
        let more = format!("provisioner = {{ kind = \"exec\", command = [\"{file}\"] }}\n");
        machine(shop, &user, &more);
        let key = new_key(shop.folder(), "holder");
        let folder = shop.folder().to_owned();
        let sshd = sshd::start(&folder, &user, "machine");
        let rented = rent(shop, &key);
        pay(shop, &rented);
        let path = format!("/v1/leases/{}", rented.lease);
        let (_, held) = shop.ask(reqwest::Method::GET, &path, Some(&rented.claim), None);
        let access = format!("ssh {}@box.example.org", user.name);
        assert_eq!(held["access"]["ssh"], access.as_str(), "{held}");
        let mut session = session(&sshd, &user, "holder");
        let kept = folder.join(format!("cache/{}.json", user.name));
        assert!(kept.exists());
        shop.post(&format!("{path}/return"), Some(&rented.claim), &json!({}));
        until("the session to end", || session.try_wait().expect("our child").ok_or("it runs"));
        assert!(!kept.exists(), "nobody has logged in since");
        shop.kill();
        assert!(!sshd.lets_in(&user, "holder"), "the lease is over");
        shop.start();
        let again = |words: &str| {
            let mut command = hook(std::path::Path::new(&file), &user, "");
            command.env("SSH_ORIGINAL_COMMAND", words).output().expect("it can be run")
        };
        let done = again(&format!("release {}", user.name));
        assert!(done.status.success(), "nothing to do, over ssh: {done:?}");
        assert_eq!(again("release root").status.code(), Some(1), "of the system");
        assert_eq!(again("release ../x").status.code(), Some(1), "no name");
    });
}

#[test]
fn a_hook_that_cannot_end_sessions_never_says_that_it_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, user) = (write_hook(folder.path()), User::new());
    let run = |mut command: Command| {
        let output = command.output().expect("it can be run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut powerless = hook(&file, &user, "release");
    if user.own {
        open_to_all(folder.path());
        powerless.uid(65_534);
    }
    let (code, told) = run(powerless);
    assert!(code == Some(1) && told.contains("root"), "{code:?} {told}");
    if user.own {
        let tools = folder.path().join("bin");
        std::fs::create_dir(&tools).expect("the folder is ours");
        for tool in ["id", "rm", "sleep"] {
            let from = ["/bin", "/usr/bin"].map(|place| format!("{place}/{tool}"));
            let from = from.iter().find(|path| std::fs::exists(path).is_ok_and(|found| found));
            symlink(from.expect("the tool is there"), tools.join(tool)).expect("ours");
        }
        let mut without = hook(&file, &user, "release");
        without.env("PATH", &tools);
        let (code, told) = run(without);
        assert!(code == Some(1) && told.contains("127"), "no pkill: {code:?} {told}");
    }
}

fn open_to_all(folder: &std::path::Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, mode).expect("the folder is ours");
}

#[test]
fn the_keys_of_a_user_are_told_in_the_words_of_sshd() {
    once(|shop| {
        let user = User { name: "unit-1".into(), own: false };
        machine(shop, &user, "");
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let rented = rent(shop, &format!("{key} \"me\""));
        pay(shop, &rented);
        let file = shop.folder().join("ssh.key");
        let ask = |words: &[&str]| {
            let mut command: Command = shop.command(&["ssh-keys", "machine"]);
            command.args(words).args(["--server", shop.url(), "--key-file"]).arg(&file);
            let output = command.output().expect("the program starts");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let said = String::from_utf8(output.stdout).expect("text");
            (output.status.code(), said, told)
        };
        let (code, line, told) = ask(&["unit-1"]);
        assert_eq!(code, Some(0), "{told}");
        let end = format!("Z\" {key} {}\n", rented.lease);
        assert!(
            line.starts_with("restrict,pty,expiry-time=\"20") && line.ends_with(&end),
            "{line}"
        );
        assert_eq!(ask(&["root"]), (Some(0), String::new(), String::new()));
        let other = ["unit-1", "--fingerprint", "SHA256:x"];
        assert_eq!(ask(&other), (Some(0), String::new(), String::new()));
        shop.kill();
        let away = |words: &[&str]| {
            let mut command = shop.command(&["ssh-keys", "machine", "unit-1"]);
            command.args(words).args(["--server", "http://127.0.0.1:1", "--key-file"]).arg(&file);
            command.output().expect("the program starts").status.code()
        };
        assert_eq!(away(&[]), Some(75), "sshd takes nothing from it");
        assert_eq!(away(&["--cache", "nothing.json"]), Some(75));
        shop.start();
    });
}
