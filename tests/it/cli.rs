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
