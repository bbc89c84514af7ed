use super::*;

fn progress(state: &str, height: Option<u32>) -> Progress {
    let (from_height, to_height) = (10, 19);
    let failure = Some("pruned".to_owned());
    Progress { state: state.to_owned(), from_height, to_height, height, found: 1, failure }
}

#[test]
fn the_way_is_counted_from_the_first_block() {
    assert_eq!((progress("waiting", None).blocks(), progress("waiting", None).read()), (10, 0));
    assert_eq!(progress("running", Some(10)).read(), 1);
    assert_eq!(progress("running", Some(19)).read(), 10);
}

#[test]
fn each_end_has_its_code() {
    let code = |state: &str| {
        progress(state, None).end().map(|end| end.map_or_else(|exit| exit.number(), |_| 0))
    };
    assert_eq!((code("waiting"), code("running")), (None, None));
    assert_eq!((code("done"), code("failed"), code("idle")), (Some(0), Some(1), Some(75)));
}
