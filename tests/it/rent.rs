//! A customer whose connection breaks: the same request is never made twice, and the key goes on
//! with it later. And one who lets a command run for as long as the lease does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::harness::bitcoind::free_port;
use crate::harness::cut::Cut;
use crate::harness::daemon::{Shop, once};
use crate::harness::wait::until;

type Lines = std::io::Lines<BufReader<ChildStderr>>;

fn rent(shop: &Shop, server: &str, more: &[&str]) -> (Child, Lines) {
    let words = [&["--json", "rent", "box", "2h", "--server", server], more].concat();
    let mut child = shop
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let told = BufReader::new(child.stderr.take().expect("it is piped"));
    (child, told.lines())
}

/// What is told next after `name`; what is told before it is passed over.
fn next(lines: &mut Lines, name: &str) -> String {
    let mut words = lines.map(|line| line.expect("text"));
    let found = words.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    found.unwrap_or_else(|| panic!("it does not tell \"{name}\""))
}

fn leases(shop: &Shop) -> usize {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let (_, list) = shop.ask(reqwest::Method::GET, "/v1/admin/leases", Some(key.trim()), None);
    list["items"].as_array().expect("a list").len()
}

#[test]
fn a_customer_is_told_what_it_costs_to_keep_a_shared_resource_up() {
    once(|shop| {
        let file = shop.folder().join("catalog.toml");
        let catalog = std::fs::read_to_string(file).expect("it is there");
        let cost = "access = \"shared\"\nrunning_cost = { sat = 20, per = \"1h\" }";
        shop.stop();
        shop.write_catalog(&catalog.replace("access = \"shared\"", cost));
        shop.start();
        let told = |resource: &str| {
            let words = ["--json", "rent", resource, "2h", "--server", shop.url()];
            let mut child = shop
                .command(&words)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the built program starts");
            let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
            let told: Vec<String> = lines
                .map(|line| line.expect("text"))
                .take_while(|line| !line.starts_with("waiting for"))
                .collect();
            child.kill().expect("it waits for money");
            child.wait().expect("it is our child");
            told
        };
        let upkeep = |lines: Vec<String>| {
            lines.iter().any(|line| line == "Keeping it up costs the operator 20 sat an hour.")
        };
        assert!(upkeep(told("shared")));
        assert!(!upkeep(told("box")));
    });
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_the_lease_is_made_once() {
    once(|shop| {
        let proxy = Cut::before(shop.url(), "POST /v1/leases ", 2);
        let (child, mut lines) = rent(shop, &proxy.url, &[]);
        let key = next(&mut lines, "key ");
        let why = next(&mut lines, "the connection to ");
        assert!(why.ends_with("asking what became of it"), "{why}");
        let address = next(&mut lines, "to ");
        assert_eq!((proxy.lost(), leases(shop)), (2, 1));
        shop.node.send(&address, 7200);
        shop.node.mine(1);
        next(&mut lines, "paid; the lease is active");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let first: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");

        // What was paid meanwhile is not asked for again.
        let (child, lines) = rent(shop, shop.url(), &["--idempotency-key", &key]);
        let told: Vec<String> = lines.map(|line| line.expect("text")).collect();
        assert!(told.iter().all(|line| !line.starts_with("pay ")), "{told:?}");
        let output = child.wait_with_output().expect("it ends");
        let again: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(again["lease"]["id"], first["lease"]["id"]);
        assert_eq!(again["claim_token"], first["claim_token"]);
        assert_eq!(leases(shop), 1);
    });
}

#[test]
fn the_printed_key_goes_on_with_a_request_that_was_broken_off() {
    once(|shop| {
        let (mut child, mut lines) = rent(shop, shop.url(), &[]);
        let key = next(&mut lines, "key ");
        let address = next(&mut lines, "to ");
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        let (mut child, mut lines) = rent(shop, shop.url(), &["--idempotency-key", &key]);
        assert_eq!(next(&mut lines, "to "), address);
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        assert_eq!(leases(shop), 1);
        let words = ["rent", "box", "3h", "--server", shop.url(), "--idempotency-key"];
        let other = |key: &str| {
            let output = shop.command(&words).arg(key).output().expect("the program starts");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (code, told) = other(&key);
        assert!(code == Some(1) && told.contains("idempotency_key_reused"), "{told}");
        assert_eq!(other("short").0, Some(2));
    });
}

/// Runs a command with the lease; it is told where to pay on standard error.
fn rent_to_run(shop: &Shop, script: &str) -> (Child, String) {
    rent_to_run_from(shop, shop.url(), script)
}

fn rent_to_run_from(shop: &Shop, server: &str, script: &str) -> (Child, String) {
    let (child, mut lines) = rent(shop, server, &["--exec", "sh", "-c", script]);
    let address = next(&mut lines, "to ");
    // It goes on telling: who writes into a closed pipe fails.
    std::thread::spawn(move || lines.for_each(drop));
    shop.node.send(&address, 7200);
    shop.node.mine(1);
    (child, address)
}

fn lines_of(child: &mut Child) -> std::io::Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("it is piped")).lines()
}

#[test]
fn a_command_runs_with_a_token_that_is_kept_fresh_and_its_exit_code_is_ours() {
    once(|shop| {
        shop.stop();
        shop.variables.push(("LEASEHOLD_TOKEN_TTL", "4s".into()));
        shop.start();
        let script = "stat -c %a \"$LEASEHOLD_TOKEN_FILE\"; echo \"$LEASEHOLD_LEASE\"; \
            echo \"$LEASEHOLD_TOKEN\"; file=$LEASEHOLD_TOKEN_FILE; \
            while [ \"$(cat \"$file\")\" = \"$LEASEHOLD_TOKEN\" ]; do sleep 0.05; done; \
            cat \"$file\"; echo; echo \"$file\"; exit 7";
        let (mut child, _) = rent_to_run(shop, script);
        let mut lines = lines_of(&mut child);
        let mut line = || lines.next().expect("a line").expect("text");
        let passes = |token: &str| {
            let (status, _) = shop.ask(reqwest::Method::GET, "/v1/gate/box", Some(token), None);
            if status == 204 { Ok(()) } else { Err(status) }
        };
        let (mode, lease, first) = (line(), line(), line());
        assert_eq!(mode, "600");
        until("the first token to open the gate", || passes(&first));
        let second = line();
        assert_ne!(first, second);
        until("the second token to open the gate", || passes(&second));
        let file = line();
        assert_eq!(child.wait().expect("our child").code(), Some(7));
        assert!(!std::path::Path::new(&file).exists(), "nothing of it is left");
        assert_eq!(shop.lease(&lease)["state"], "active");
    });
}

#[test]
fn a_command_is_ended_when_its_lease_is_and_one_that_is_not_there_is_refused_before_paying() {
    once(|shop| {
        let script = "trap 'echo asked to end; exit 9' TERM; echo runs; \
            while :; do sleep 0.05; done";
        let (mut child, _) = rent_to_run(shop, script);
        let mut lines = lines_of(&mut child);
        let mut line = || lines.next().expect("a line").expect("text");
        assert_eq!(line(), "runs");
        let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
        let (_, list) = shop.ask(reqwest::Method::GET, "/v1/admin/leases", Some(key.trim()), None);
        let path = format!("/v1/admin/leases/{}/revoke", list["items"][0]["id"].as_str().unwrap());
        let (status, _) = shop.ask(reqwest::Method::POST, &path, Some(key.trim()), None);
        assert_eq!((status, line().as_str()), (200, "asked to end"));
        assert_eq!(child.wait().expect("our child").code(), Some(9));

        let known = leases(shop);
        let words =
            ["rent", "box", "2h", "--server", shop.url(), "--exec", "no-such-program", "-x"];
        let refused = shop.command(&words).output().expect("the program starts");
        assert_eq!((refused.status.code(), leases(shop)), (Some(2), known));
    });
}

/// Prints where its token is, then when it is asked to end.
const WAITS: &str = "trap 'echo asked to end; exit 9' TERM; echo \"$LEASEHOLD_LEASE\"; \
    echo \"$LEASEHOLD_TOKEN_FILE\"; while :; do sleep 0.05; done";

#[test]
fn a_command_goes_on_after_a_top_up_and_a_restart_and_ends_when_the_time_does() {
    once(|shop| {
        shop.stop();
        // A restart must not move it.
        shop.variables.push(("LEASEHOLD_LISTEN", format!("127.0.0.1:{}", free_port())));
        shop.variables.push(("LEASEHOLD_TOKEN_TTL", "4s".into()));
        shop.start();
        let proxy = Cut::before(shop.url(), "POST /v1/leases/lse_", 2);
        let (mut child, address) = rent_to_run_from(shop, &proxy.url, WAITS);
        let mut lines = lines_of(&mut child);
        let mut line = || lines.next().expect("a line").expect("text");
        let (lease, file) = (line(), line());
        assert_eq!(proxy.lost(), 2, "the first token was asked for again");
        let fresh = |shop: &Shop| {
            until("a token that opens the gate", || {
                let token = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
                let ask = shop.ask(reqwest::Method::GET, "/v1/gate/box", Some(&token), None);
                if ask.0 == 204 { Ok(()) } else { Err(format!("{ask:?}")) }
            });
        };
        fresh(shop);
        shop.node.send(&address, 7200);
        shop.node.mine(1);
        shop.lease_until("the top-up", &lease, |lease| lease["remaining_s"].as_u64() > Some(7200));
        shop.shift_clock(7200);
        fresh(shop);
        shop.stop();
        shop.start();
        // By then each of before has ended.
        shop.shift_clock(7210);
        fresh(shop);
        shop.shift_clock(14_400);
        assert_eq!(line(), "asked to end");
        assert_eq!(child.wait().expect("our child").code(), Some(9));
    });
}

#[test]
fn a_hangup_ends_the_command_with_all_that_it_started() {
    once(|shop| {
        let script = "(trap '' TERM; while :; do sleep 0.05; done) & echo $!; exec sleep 1000";
        let (mut child, _) = rent_to_run(shop, script);
        let mut lines = lines_of(&mut child);
        let other = lines.next().expect("a line").expect("text");
        let hang_up = Command::new("kill").args(["-HUP", &child.id().to_string()]).status();
        assert!(hang_up.expect("kill is there").success());
        let code = child.wait().expect("our child").code();
        assert_eq!(code, Some(143), "it was asked to end");
        until("the other one to be gone", || {
            let stat = std::fs::read_to_string(format!("/proc/{other}/stat")).unwrap_or_default();
            let runs = !stat.is_empty() && !stat.contains(") Z ");
            if runs { Err(stat) } else { Ok(()) }
        });
    });
}
