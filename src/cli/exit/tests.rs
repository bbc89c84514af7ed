use anyhow::anyhow;

use super::*;

#[test]
fn codes_are_those_of_the_specification() {
    let ends = [
        Exit::Failed(anyhow!("x")),
        Exit::Said,
        Exit::Usage("x".into()),
        Exit::TryAgain(anyhow!("x")),
    ];
    assert_eq!(ends.map(|end| end.number()), [1, 1, 2, 75]);
}

#[test]
fn a_server_that_cannot_start_ends_by_what_went_wrong() {
    let io = |kind| anyhow::Error::from(std::io::Error::from(kind)).context("cannot listen");
    let database = DbError::Url { url: "x".into(), why: "y".into() };
    let away = DbError::Unavailable { why: "x".into(), hint: "y" };
    let key = KeyError { path: "x".into(), what: "is empty".into() };
    for (error, number) in [
        (Problems::of_file("catalog.toml", "is empty").into(), 2),
        (anyhow::Error::from(KeychainError::PrivateKey).context("wallet.descriptor"), 2),
        (anyhow::Error::from(key).context("the keys"), 2),
        (database.into(), 2),
        (away.into(), 75),
        (DbError::Locked { path: "x".into() }.into(), 1),
        (io(ErrorKind::PermissionDenied), 2),
        (io(ErrorKind::AddrInUse), 75),
        (anyhow!("x"), 1),
    ] {
        let text = format!("{error:#}");
        let end = Exit::of_server(error);
        assert_eq!(end.number(), number, "{text}");
        assert!(end.to_string().contains(&text), "{end}");
    }
}

#[test]
fn the_message_has_all_causes() {
    let error = anyhow!("refused").context("cannot reach the server");
    let shown = Exit::TryAgain(error).to_string();
    assert_eq!(shown, "error: cannot reach the server: refused; try again later");
}
