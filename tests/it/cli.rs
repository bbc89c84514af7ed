//! The built binary as a person or a script meets it: what it prints and how it ends.
//! Needs no node and no database.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CONFIG: &str = "[bitcoind]\nnetwork = \"bitcoin\"\ncookie_file = \"cookie\"\n[wallet]\n\
    descriptor = \"wpkh([73c5da0a/84h/0h/0h]xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHw\
    CD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V/<0;1>/*)\"\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/catalog.toml");
    std::fs::copy(example, folder.path().join("catalog.toml")).expect("the example is there");
    std::fs::write(folder.path().join("leasehold.toml"), CONFIG).expect("it can be written");
    folder
}

fn leasehold(folder: &Path, words: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(words)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // It may end without reading.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn ends(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = leasehold(folder, words, variables, "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it was not killed");
    (code, text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_says_what_is_right_and_what_is_not() {
    let folder = folder();
    let (code, out, err) = ends(folder.path(), &["check"], &[("HOME", "/nowhere")]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let (right, wrong): (Vec<&str>, Vec<&str>) =
        out.lines().partition(|line| line.starts_with("ok "));
    assert!(right.len() == 5 && right[4].contains("made on the first start"), "{out}");
    assert!(wrong.len() == 1 && wrong[0].starts_with("WRONG node "), "{out}");
    let wrong = [("LEASEHOLD_MONEY__PRICELOCK", "1h")];
    let (code, out, err) = ends(folder.path(), &["--json", "check"], &wrong);
    assert_eq!((code, err.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let detail = report["lines"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("LEASEHOLD_MONEY__PRICELOCK") && detail.contains("price_lock"));
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_2() {
    let folder = folder();
    let end = |words: &[&str], variables: &[(&str, &str)]| ends(folder.path(), words, variables).0;
    assert_eq!(end(&["lisst"], &[]), 2);
    assert_eq!(end(&["token", "rotate-key", "--config", "nowhere.toml"], &[]), 2);
    assert_eq!(end(&["check"], &[("LEASEHOLD_LOG_FORMAT", "xml")]), 2);
    assert_eq!(end(&["token", "verify", "x", "--jwks", "nowhere"], &[]), 2);
}

#[test]
fn a_server_that_is_configured_wrong_ends_with_2_and_says_where() {
    let private = "wpkh(xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg\
        6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi/84h/0h/0h/<0;1>/*)";
    let folder = folder();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it can be written");
    };
    write("price.toml", "[[resource]]\nid = \"a\"\naccess = \"shared\"\nprice = 5\n");
    write("open.key", "x");
    // A umask of 077 must not make it right.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("open.key"), mode).expect("it is ours");
    for (variable, value, named) in [
        ("LEASEHOLD_LISTEN", "here", "listen"),
        ("LEASEHOLD_CATALOG", "nowhere.toml", "nowhere.toml"),
        ("LEASEHOLD_CATALOG", "price.toml", "price"),
        ("LEASEHOLD_WALLET__DESCRIPTOR", private, "private key"),
        ("LEASEHOLD_WALLET__DESCRIPTOR", "wpkh(xpub)", "descriptor"),
        ("LEASEHOLD_BITCOIND__NETWORK", "mainnet", "network"),
        ("LEASEHOLD_BITCOIND__NETWORK", "regtest", "descriptor"),
        ("LEASEHOLD_BITCOIND__RPC_URL", "ftp://127.0.0.1", "rpc_url"),
        ("LEASEHOLD_DATABASE", "mysql://x/y", "database"),
        ("LEASEHOLD_SIGNING_KEY_FILE", "open.key", "chmod 600"),
        ("LEASEHOLD_MONEY__AT_RISK", "6", "at_risk_blocks"),
        ("LEASEHOLD_TOKEN_TTL", "soon", "token_ttl"),
    ] {
        let variables = [("LEASEHOLD_LISTEN", "127.0.0.1:0"), (variable, value)];
        let (code, out, err) = ends(folder.path(), &["serve"], &variables);
        assert_eq!((code, out.as_str()), (2, ""), "{variable}={value}: {err}");
        assert!(err.contains(named), "{variable}={value}: {err}");
        assert!(!err.contains("xprv9"), "{err}");
    }
}

#[test]
fn a_server_whose_port_or_database_is_not_there_ends_with_75() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (code, _, err) = ends(folder.path(), &["serve"], &[("LEASEHOLD_LISTEN", &address)]);
    assert!(code == 75 && err.contains(&address) && err.contains("in use"), "{code} {err}");
    let away = [
        ("LEASEHOLD_LISTEN", "127.0.0.1:0"),
        ("LEASEHOLD_DATABASE", "postgres://u:p4ss@127.0.0.1:1/x"),
    ];
    let (code, _, err) = ends(folder.path(), &["serve"], &away);
    assert!(code == 75 && err.contains("database") && !err.contains("p4ss"), "{code} {err}");
}

#[test]
fn the_admin_key_goes_to_where_the_server_listens_not_to_its_public_url() {
    let folder = folder();
    let outside = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", outside.local_addr().expect("it is bound"));
    outside.set_nonblocking(true).expect("it can be asked");
    let variables = [
        ("LEASEHOLD_LISTEN", "0.0.0.0:1"),
        ("LEASEHOLD_PUBLIC_URL", url.as_str()),
        ("LEASEHOLD_ADMIN_KEY", "key_x"),
    ];
    let (code, _, err) = ends(folder.path(), &["lease", "list"], &variables);
    assert!(code == 75 && err.contains("127.0.0.1:1"), "{code} {err}");
    assert!(outside.accept().is_err(), "nobody came");
    let anywhere = [("LEASEHOLD_LISTEN", "127.0.0.1:0"), ("LEASEHOLD_ADMIN_KEY", "key_x")];
    let (code, _, err) = ends(folder.path(), &["lease", "list"], &anywhere);
    assert!(code == 2 && err.contains("--server"), "{code} {err}");
}

#[test]
fn a_server_that_does_not_answer_ends_with_75() {
    let folder = folder();
    // Port 1 of loopback: nothing listens there.
    let words = ["token", "verify", "x", "--server", "http://127.0.0.1:1"];
    let (code, out, err) = ends(folder.path(), &words, &[]);
    assert_eq!((code, out.as_str()), (75, ""));
    assert!(err.contains("try again"), "{err}");
}

#[test]
fn a_token_on_standard_input_is_looked_at() {
    let folder = folder();
    std::fs::write(folder.path().join("jwks.json"), "{\"keys\":[]}").expect("it can be written");
    let words = ["token", "verify", "-", "--jwks", "jwks.json"];
    let output = leasehold(folder.path(), &words, &[], "not a token\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: the token is not a lease token\n");
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(["completions", "bash"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{err}");
}

#[test]
fn openapi_is_printed_without_a_configuration() {
    let nothing = tempfile::tempdir().expect("a temporary folder");
    let (code, out, err) = ends(nothing.path(), &["openapi"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(document["paths"]["/v1/leases"]["post"].is_object(), "{}", document["paths"]);
}

#[test]
fn a_backup_before_the_first_start_is_worth_another_try() {
    let folder = folder();
    let (code, _, err) = ends(folder.path(), &["backup", "copy"], &[("HOME", "/nowhere")]);
    assert_eq!(code, 75, "{err}");
    assert!(!folder.path().join("copy").exists());
}
