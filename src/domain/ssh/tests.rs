use super::*;

/// Made by ssh-keygen, with the fingerprint that it shows.
const KEY: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const FINGERPRINT: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";

#[test]
fn a_line_restricts_ends_by_itself_and_leaves_the_holders_words_out() {
    let key = bare_key(&format!("{KEY} a comment, with \"quotes\"")).unwrap();
    let at = Timestamp::from_secs(1_800_000_000);
    assert_eq!(
        line(&["pty".into()], at, &key, "lse_x"),
        format!("restrict,pty,expiry-time=\"20270115080000Z\" {KEY} lse_x")
    );
    assert_eq!(fingerprint(&key).as_deref(), Some(FINGERPRINT));
}

#[test]
fn what_is_no_public_key_is_in_no_line() {
    let data = KEY.split(' ').nth(1).unwrap();
    for text in [
        "ssh-ed25519",
        "ssh-ed25519 ä",
        "ssh-ed25519 AAAA",
        &format!("cert-authority {data}"),
        &format!("a\n{KEY}"),
        &format!("{KEY} me\nssh-rsa x"),
        &format!("command=\"x\",ssh-ed25519 {data}"),
        "-----BEGIN CERTIFICATE-----\nAAAA",
    ] {
        assert_eq!(bare_key(text), None, "{text:?}");
    }
}

#[test]
fn only_known_options_are_taken_and_none_breaks_out_of_its_line() {
    for (text, found) in [
        ("pty", Some("pty")),
        ("port-forwarding", Some("port-forwarding")),
        ("permitopen=localhost:80", Some("permitopen=\"localhost:80\"")),
        ("command=\"/bin/date -u\"", Some("command=\"/bin/date -u\"")),
        ("restrict", None),
        ("cert-authority", None),
        ("expiry-time=\"20991231\"", None),
        ("environment=\"A=b\"", None),
        ("pty=yes", None),
        ("command", None),
        ("command=", None),
        ("command=\"a\" ssh-rsa", None),
        ("command=a\\", None),
        ("command=a\nb", None),
        ("pty,command=x", None),
    ] {
        assert_eq!(option(text).as_deref(), found, "{text}");
    }
}

#[test]
fn the_unit_can_be_the_user() {
    let ssh = |user: &str| Ssh { user: user.into(), options: vec![], param: "k".into() };
    assert_eq!(ssh("{unit}").unit_of("box-1"), Some(Some("box-1")));
    assert_eq!(ssh("u-{unit}.x").unit_of("u-box-1.x"), Some(Some("box-1")));
    for other in ["u-.x", "box-1", "u-box-1", "root", ""] {
        assert_eq!(ssh("u-{unit}.x").unit_of(other), None, "{other}");
    }
    assert_eq!((ssh("guest").unit_of("guest"), ssh("guest").unit_of("root")), (Some(None), None));
}
