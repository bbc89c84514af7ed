//! Operators in a browser: who is signed in, how it ends, whose form it is.

use super::desk::{Answer, Desk, at_desk, at_desk_with};
use super::pages::over_https;
use crate::domain::resource::tests::gpu;
use crate::http::limits::Limits;
use crate::worker::housekeeping;

pub(super) const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Hands a key in.
pub(super) async fn hand_in(desk: &Desk, key: &str, more: &str) -> Answer {
    let call = desk.call("POST", "/operator/sign-in").header(OWN.0, OWN.1);
    call.form(&format!("key={key}{more}")).send().await
}

/// The cookie of a browser that is signed in with a new key of these scopes.
pub(super) async fn signed_in(desk: &Desk, scopes: &str, random: u8) -> String {
    let (key, _) = desk.operator(scopes, random).await;
    cookie(&hand_in(desk, &key, "").await.must(303))
}

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split("; ").next().unwrap().to_owned()
}

/// A page in a browser.
pub(super) async fn page(desk: &Desk, cookie: &str, path: &str) -> Answer {
    let call = desk.call("GET", path).header("cookie", cookie).header("accept", "text/html");
    call.send().await
}

/// A form of our own.
pub(super) async fn send(desk: &Desk, cookie: &str, path: &str, form: &str) -> Answer {
    let call = desk.call("POST", path).header("cookie", cookie).header(OWN.0, OWN.1);
    call.header("accept", "text/html").form(form).send().await
}

async fn is_in(desk: &Desk, cookie: &str) -> bool {
    let answer = page(desk, cookie, "/operator").await;
    match answer.status {
        200 => true,
        303 => false,
        other => panic!("{other}: {}", answer.text),
    }
}

#[test]
fn over_https_the_session_is_in_a_cookie_of_this_host_that_no_script_reads() {
    at_desk_with(gpu(), over_https, async |desk| {
        let (key, _) = desk.operator("read", 1).await;
        let answer = hand_in(&desk, &key, "").await.must(303);
        assert_eq!(answer.header("location"), "/operator");
        let set = answer.header("set-cookie");
        assert!(set.starts_with("__Host-leasehold_operator=ops_"), "{set}");
        for part in ["Secure", "Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
            assert!(set.split("; ").any(|found| found == part), "{part}: {set}");
        }
        assert!(!set.contains(&key) && !set.contains("Domain"), "{set}");
        let mine = cookie(&answer);
        assert!(is_in(&desk, &mine).await);
        // A sibling host can set the plain name, and more of it.
        assert!(!is_in(&desk, &mine.replace("__Host-", "")).await);
        assert!(is_in(&desk, &format!("__Host-leasehold_operator=ops_x; {mine}")).await);
    });
}

#[test]
fn without_a_session_a_page_leads_to_the_sign_in_and_from_there_back() {
    at_desk(async |desk| {
        let (key, _) = desk.operator("read", 1).await;
        let list = "/operator/leases?state=active";
        let answer = page(&desk, "", list).await.must(303);
        let to = answer.header("location");
        assert_eq!(to, "/operator/sign-in?to=%2Foperator%2Fleases%3Fstate%3Dactive");
        let form = page(&desk, "", to).await.must(200).text;
        assert!(form.contains(r#"name="to" value="/operator/leases?state=active""#), "{form}");
        let more = "&to=%2Foperator%2Fleases%3Fstate%3Dactive";
        assert_eq!(hand_in(&desk, &key, more).await.must(303).header("location"), list);
        for elsewhere in ["//evil.test", "/operator.evil", "https://evil.test", "/leases/x"] {
            let answer = hand_in(&desk, &key, &format!("&to={elsewhere}")).await.must(303);
            assert_eq!(answer.header("location"), "/operator", "{elsewhere}");
        }
        let act = "/operator/catalog/gpu-small/pause";
        let answer = send(&desk, "", act, "").await.must(303);
        assert_eq!(answer.header("location"), "/operator/sign-in");
        assert!(desk.get("/v1/resources/gpu-small").await.text.contains(r#""paused":false"#));
    });
}

#[test]
fn keys_that_are_none_are_refused_and_limited_by_source() {
    let few = |state: &mut crate::http::HttpState| state.limits = Limits::new(1).into();
    at_desk_with(gpu(), few, async |desk| {
        let (key, _) = desk.operator("read", 1).await;
        let (blind, _) = desk.operator("manage", 2).await;
        let answer = hand_in(&desk, &blind, "").await.must(403);
        assert!(answer.text.contains("lacks the scope read"), "{}", answer.text);
        for wrong in ["", "nonsense", "clm_x"] {
            assert_eq!(hand_in(&desk, wrong, "").await.must(403).header("set-cookie"), "");
        }
        let unknown = crate::domain::bearer::api_key(&[99; 32]);
        for _ in 0..6 {
            let answer = hand_in(&desk, &unknown, "").await.must(403);
            assert!(!answer.text.contains(&unknown), "{}", answer.text);
        }
        hand_in(&desk, &unknown, "").await.must(429);
        // Who has a right one is not shut out by whoever guesses beside him.
        hand_in(&desk, &key, "").await.must(303);
        desk.rig.clock.advance_s(60);
        hand_in(&desk, &unknown, "").await.must(403);
    });
}

#[test]
fn a_session_ends_with_its_key_with_twelve_hours_and_where_one_signs_out() {
    at_desk(async |desk| {
        let (key, id) = desk.operator("read", 1).await;
        let enter = async || cookie(&hand_in(&desk, &key, "").await.must(303));
        let (mine, other) = (enter().await, enter().await);
        let stranger = signed_in(&desk, "read admin", 2).await;
        let answer = send(&desk, &mine, "/operator/sign-out", "").await.must(303);
        assert!(answer.header("set-cookie").contains("Max-Age=0"), "{:?}", answer.headers);
        assert_eq!((is_in(&desk, &mine).await, is_in(&desk, &other).await), (false, true));
        let third = enter().await;
        send(&desk, &third, "/operator/sign-out-everywhere", "").await.must(303);
        assert_eq!((is_in(&desk, &other).await, is_in(&desk, &third).await), (false, false));
        assert!(is_in(&desk, &stranger).await);
        let fourth = enter().await;
        send(&desk, &stranger, &format!("/operator/keys/{id}/revoke"), "").await.must(303);
        assert!(!is_in(&desk, &fourth).await);
        let log = page(&desk, &stranger, "/operator/audit-log").await.must(200).text;
        for act in ["operator.sign-in", "operator.sign-out", "operator.sign-out-everywhere"] {
            assert!(log.contains(&format!(">{act}<")), "{act}: {log}");
        }
        desk.rig.clock.advance_s(12 * 3600);
        assert!(!is_in(&desk, &stranger).await);
        housekeeping::step(&desk.rig.db, &desk.state.clock).await.unwrap();
        let mut conn = desk.rig.db.read().await.unwrap();
        let kept = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM operator_session");
        assert_eq!(kept.fetch_one(&mut conn).await.unwrap(), 0);
    });
}

#[test]
fn a_form_of_another_site_does_nothing_though_the_session_came_along() {
    at_desk_with(gpu(), over_https, async |desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        for site in [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://unit.shop.test"),
            ("origin", "null"),
        ] {
            for path in ["/operator/catalog/gpu-small/pause", "/operator/sign-out"] {
                let call = desk.call("POST", path).header("cookie", &cookie);
                call.header(site.0, site.1).form("").send().await.must(403);
            }
            let (key, _) = desk.operator("read", 9).await;
            let call = desk.call("POST", "/operator/sign-in").header(site.0, site.1);
            call.form(&format!("key={key}")).send().await.must(403);
        }
        assert!(is_in(&desk, &cookie).await);
        assert!(desk.get("/v1/resources/gpu-small").await.text.contains(r#""paused":false"#));
    });
}
