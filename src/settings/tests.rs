use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

fn read(text: &str, read: impl FnOnce(&mut Fields<'_>)) -> Vec<String> {
    let table = parse_toml("test.toml", text).unwrap();
    let mut problems = Vec::new();
    let mut fields = Fields::of_table("test.toml", "part", table, &mut problems);
    read(&mut fields);
    fields.finish();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let found = read("pol_interval = 1", |fields| {
        fields.seconds("poll_interval");
        fields.whole("depth", 1..=9u32, 1);
    });
    assert_eq!(
        found,
        ["test.toml: part.pol_interval: unknown key; did you mean \"poll_interval\"?"]
    );
    let found = read("zebra = 1", |fields| {
        fields.whole("depth", 1..=9u32, 1);
    });
    assert_eq!(found, ["test.toml: part.zebra: unknown key; known here: depth"]);
}

#[test]
fn a_wrong_value_says_what_was_found_and_what_is_allowed() {
    let found = read("a = 10\nb = \"5\"\nc = \"10 minuts\"\nd = -1\ne = \"1500ms\"", |fields| {
        assert_eq!(fields.whole("a", 1..=9u32, 4), 4);
        fields.whole("b", 1..=9u32, 4);
        fields.seconds("c");
        fields.whole("d", 0..=9u64, 4);
        fields.seconds("e");
    });
    assert_eq!(found.len(), 5, "{found:#?}");
    assert_eq!(found[0], "test.toml: part.a: found 10, allowed: a whole number from 1 to 9");
    assert_eq!(found[1], "test.toml: part.b: found \"5\", allowed: a whole number from 1 to 9");
    assert!(found[2].contains("found \"10 minuts\", allowed: a duration"), "{}", found[2]);
    assert!(found[3].contains("found -1"), "{}", found[3]);
    assert!(found[4].contains("whole seconds"), "{}", found[4]);
}

#[test]
fn text_from_the_environment_is_read_as_the_kind_asked_for_and_named_when_wrong() {
    let entry = |value: &str, variable: &str| Entry {
        value: toml::Value::String(value.into()),
        variable: Some(variable.into()),
    };
    let entries = BTreeMap::from([
        ("n".to_owned(), entry("7", "LEASEHOLD_X__N")),
        ("list".to_owned(), entry("a, b,", "LEASEHOLD_X__LIST")),
        ("flag".to_owned(), entry("yes", "LEASEHOLD_X__FLAG")),
    ]);
    let mut problems = Vec::new();
    let mut fields = Fields::new("test.toml", "x", entries, &mut problems);
    assert_eq!(fields.whole("n", 1..=9u32, 4), 7);
    assert_eq!(fields.take("list", "", |given| given.texts()), Some(vec!["a".into(), "b".into()]));
    assert!(!fields.flag("flag", false));
    fields.finish();
    assert_eq!(
        problems[0].to_string(),
        "environment variable LEASEHOLD_X__FLAG: x.flag: found \"yes\", allowed: true or false"
    );
}

#[test]
fn a_secret_comes_from_the_value_or_from_a_file_but_not_from_both() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "from the file\n").unwrap();
    let secret = |text: &str, base: &Path| {
        let mut out = None;
        let found = read(text, |fields| out = fields.secret("password", base));
        (out.map(|secret| secret.expose_secret().to_owned()), found)
    };
    let base = folder.path();
    assert_eq!(secret("password = \"x\"", base), (Some("x".into()), vec![]));
    assert_eq!(secret("password_file = \"pw\"", base), (Some("from the file".into()), vec![]));
    let (_, both) = secret("password = \"hunter2\"\npassword_file = \"pw\"", base);
    assert_eq!(both, ["test.toml: part.password: given twice; remove it or password_file"]);
    let (_, number) = secret("password = 12345", base);
    assert_eq!(number, ["test.toml: part.password: allowed: text in quotes, not empty"]);
    let (_, absent) = secret("password_file = \"nowhere\"", base);
    assert_eq!(absent, ["test.toml: part.password_file: the file \"nowhere\" does not exist"]);
}

#[test]
fn a_syntax_error_names_its_line_and_does_not_repeat_it() {
    let error = parse_toml("test.toml", "a = 1\npassword = hunter2\n").unwrap_err().to_string();
    assert!(error.starts_with("test.toml: line 2 is not valid TOML: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn durations_are_shown_as_settings_write_them() {
    let shown: Vec<String> =
        [0, 1, 90, 600, 5400, 30 * 86_400].into_iter().map(duration_text).collect();
    assert_eq!(shown, ["0s", "1s", "1m 30s", "10m", "1h 30m", "30d"]);
    for seconds in [1, 61, 3661, 90_061] {
        let back = humantime::parse_duration(&duration_text(seconds)).unwrap();
        assert_eq!(back.as_secs(), seconds);
    }
}
