//! What is taken of an answer, and what is kept of what was said.

use serde_json::json;

use super::{MOST_ACCESS, MOST_SAID, access, said};

#[test]
fn access_details_are_nothing_or_a_json_object() {
    for nothing in ["", " \n", "{}", "\n{ }\n"] {
        assert_eq!(access(nothing.as_bytes()), Ok(None), "{nothing:?}");
    }
    let details = access(b" {\"host\": \"a.example\"}\n");
    assert_eq!(details, Ok(Some(json!({"host": "a.example"}))));
    for (answer, why) in [
        ("[1]", "no object"),
        ("\"text\"", "no object"),
        ("null", "no object"),
        ("ready", "no JSON object"),
        ("{\"a\":", "no JSON object"),
        ("{\"a\":1} {\"b\":2}", "no JSON object"),
        (r#"{"a":"b\u0000"}"#, "NUL"),
    ] {
        let refused = access(answer.as_bytes()).unwrap_err();
        assert!(refused.contains(why), "{answer}: {refused}");
    }
}

#[test]
fn access_details_have_a_largest_size() {
    let of = |len: usize| format!("{{\"k\":\"{}\"}}", "x".repeat(len - 8));
    assert_eq!(of(MOST_ACCESS).len(), MOST_ACCESS);
    assert!(access(of(MOST_ACCESS).as_bytes()).unwrap().is_some());
    let refused = access(of(MOST_ACCESS + 1).as_bytes()).unwrap_err();
    assert_eq!(refused, "it answered 16385 bytes; at most 16384 are taken");
}

#[test]
fn what_was_said_is_kept_short_and_plain() {
    assert_eq!(said(b"  no disk\x1b[31m\0\r\nleft \xff\n"), "no disk [31m  \nleft \u{fffd}");
    assert_eq!(said("ä".repeat(9000).as_bytes()).chars().count(), MOST_SAID);
}
