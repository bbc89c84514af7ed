//! A browser at the gate: codes, the session cookie, where it is sent, and the way through the
//! pages from the guarded site to the checkout and back in.

use std::sync::Arc;

use secp256k1::SecretKey;
use serde_json::Value;

use super::access::followed;
use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use crate::domain::ids::LeaseId;
use crate::domain::jwk::SigningKey;
use crate::domain::resource::Terms;
use crate::domain::resource::tests::gpu;
use crate::domain::session::{Session, Whose, sign};
use crate::http::HttpState;
use crate::keys::Keys;

const GATE: &str = "/v1/gate/gpu-small";

fn guarded() -> Terms {
    Terms { site: Some("https://box.test".into()), ..gpu() }
}

async fn code(desk: &Desk, lease: &Value) -> Answer {
    let path = format!("/v1/leases/{}/gate-code", text(lease, "/lease/id"));
    desk.call("POST", &path).bearer(text(lease, "/claim_token")).send().await
}

/// The path and query of a URL.
fn path(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).unwrap())
}

async fn paid(desk: &mut Desk) -> Value {
    let lease = desk.lease().await;
    desk.pay(&lease, 1000).await;
    desk.tell_gate().await;
    lease
}

async fn enter(desk: &Desk, lease: &Value, more: &str) -> Answer {
    let answer = code(desk, lease).await.must(200).body;
    desk.get(&format!("{}{more}", path(text(&answer, "/url")))).await
}

/// The name and value of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn with_cookie(desk: &Desk, cookie: &str) -> Answer {
    desk.call("GET", GATE).header("cookie", cookie).send().await
}

#[test]
fn a_code_lets_a_browser_in_once_and_its_session_as_long_as_the_lease_runs() {
    at_desk_with(
        guarded(),
        |_| {},
        async |mut desk| {
            let lease = paid(&mut desk).await;
            let made = code(&desk, &lease).await.must(200).body;
            let url = format!("https://box.test{GATE}/enter?code={}", text(&made, "/code"));
            assert_eq!(text(&made, "/url"), url);
            let way = format!("{}&to=%2Fa%3Fb%3Dc", path(&url));
            desk.call("HEAD", &way).send().await.must(405);
            let entered = desk.get(&way).await.must(303);
            assert_eq!(entered.header("location"), "/a?b=c");
            assert_eq!(entered.header("referrer-policy"), "no-referrer");
            let (session, rest) = entered.header("set-cookie").split_once("; ").unwrap();
            for part in ["Secure", "Path=/", "HttpOnly", "SameSite=Lax"] {
                assert!(rest.split("; ").any(|one| one == part), "{rest}");
            }
            let again = desk.get(&way).await.must(401);
            assert!(again.text.contains("http://shop.test/resources/gpu-small?to=%2Fa%3Fb%3Dc"));
            assert!(again.header("www-authenticate").starts_with("Bearer"));
            let among = format!("theme=dark; {session}; leasehold_claim=x");
            let passed = with_cookie(&desk, &among).await.must(204);
            assert_eq!(passed.header("x-leasehold-lease"), text(&lease, "/lease/id"));
            // Longer than any token, and the lease is paid for more meanwhile.
            desk.rig.clock.advance_s(7000);
            desk.pay(&lease, 1000).await;
            desk.tell_gate().await;
            with_cookie(&desk, session).await.must(204);
            desk.rig.clock.advance_s(7500);
            desk.tell_gate().await;
            with_cookie(&desk, session).await.problem(401, "unauthorized");
        },
    );
}

#[test]
fn a_code_is_for_its_resource_and_for_a_minute() {
    at_desk(async |mut desk| {
        let lease = paid(&mut desk).await;
        let made = code(&desk, &lease).await.must(200).body;
        assert!(text(&made, "/url").starts_with("http://shop.test/v1/gate/"), "there is no site");
        let way = path(text(&made, "/url"));
        desk.get(&way.replace("gpu-small", "gpu-large")).await.problem(404, "unknown_resource");
        desk.get(&format!("{GATE}/enter?code=cod_x")).await.must(401);
        desk.get(&format!("{GATE}/enter")).await.problem(422, "invalid_request");
        desk.rig.clock.advance_s(60);
        desk.get(&way).await.must(401);
        let entered = enter(&desk, &lease, "").await.must(303);
        assert_eq!(entered.header("location"), "/");
        assert!(!entered.header("set-cookie").contains("Secure"), "http");
    });
}

#[test]
fn nobody_is_led_to_another_host_and_the_code_is_not_lost_by_it() {
    at_desk(async |mut desk| {
        let lease = paid(&mut desk).await;
        let way = path(text(&code(&desk, &lease).await.must(200).body, "/url"));
        for to in ["//evil.test", "/%5Cevil.test", "https://evil.test", "", "a", "/%C3%A4"] {
            let answer = desk.get(&format!("{way}&to={to}")).await.problem(422, "invalid_request");
            assert_eq!(answer.pointers(), ["/to"], "{to}");
        }
        desk.get(&format!("{way}&to=/%0d%0ax")).await.problem(422, "invalid_request");
        desk.get(&way).await.must(303);
    });
}

#[test]
fn only_the_holder_of_a_running_lease_gets_a_code_and_not_without_end() {
    let few = |state: &mut HttpState| {
        state.limits = Arc::new(crate::http::limits::Limits::new(2));
    };
    at_desk_with(gpu(), few, async |mut desk| {
        let lease = desk.lease().await;
        code(&desk, &lease).await.problem(409, "lease_ended");
        desk.pay(&lease, 1000).await;
        let path = format!("/v1/leases/{}/gate-code", text(&lease, "/lease/id"));
        desk.call("POST", &path).send().await.problem(401, "unauthorized");
        let other = desk.lease().await;
        let stranger = text(&other, "/claim_token");
        desk.call("POST", &path).bearer(stranger).send().await.problem(403, "forbidden");
        for _ in 0..9 {
            code(&desk, &lease).await.must(200);
        }
        code(&desk, &lease).await.problem(429, "rate_limited");
    });
}

#[test]
fn a_lease_that_is_given_back_is_out_at_once_and_forged_cookies_never_get_in() {
    at_desk(async |mut desk| {
        let lease = paid(&mut desk).await;
        let session = cookie(&enter(&desk, &lease, "").await.must(303));
        let token = format!("/v1/leases/{}/token", text(&lease, "/lease/id"));
        let claim = text(&lease, "/claim_token");
        let token = desk.call("POST", &token).bearer(claim).send().await.must(200).body;
        let token = text(&token, "/token");
        let forged = format!("{}x", &session[..session.len() - 1]);
        for wrong in [&forged, &format!("leasehold={token}"), "leasehold=", "leasehold=a.b.c"] {
            let answer = with_cookie(&desk, wrong).await.problem(401, "unauthorized");
            assert!(!answer.header("www-authenticate").contains("invalid_token"));
        }
        with_cookie(&desk, &format!("{forged}; {session}")).await.must(204);
        let bare = session.trim_start_matches("leasehold=");
        let as_token = desk.call("GET", GATE).bearer(bare).send().await;
        as_token.problem(401, "unauthorized");
        let foreign = desk.call("GET", GATE).header("cookie", &session).bearer("ey.of.thesite");
        foreign.send().await.must(204);
        followed(&desk, async {
            let give_back = format!("/v1/leases/{}/return", text(&lease, "/lease/id"));
            desk.call("POST", &give_back).bearer(claim).send().await.must(200);
            with_cookie(&desk, &session).await.problem(401, "unauthorized");
        })
        .await;
    });
}

#[test]
fn a_new_claim_token_ends_the_codes_and_sessions_of_whoever_had_the_old_one() {
    at_desk(async |mut desk| {
        let lease = paid(&mut desk).await;
        let old = cookie(&enter(&desk, &lease, "").await.must(303));
        let unused = path(text(&code(&desk, &lease).await.must(200).body, "/url"));
        let rotate = format!("/v1/leases/{}/rotate-claim", text(&lease, "/lease/id"));
        followed(&desk, async {
            with_cookie(&desk, &old).await.must(204);
            let call = desk.call("POST", &rotate).bearer(text(&lease, "/claim_token"));
            let claim = call.send().await.must(200).body;
            with_cookie(&desk, &old).await.problem(401, "unauthorized");
            desk.get(&unused).await.must(401);
            let mut lease = lease.clone();
            lease["claim_token"] = claim["claim_token"].clone();
            let new = cookie(&enter(&desk, &lease, "").await.must(303));
            with_cookie(&desk, &new).await.must(204);
            with_cookie(&desk, &old).await.problem(401, "unauthorized");
        })
        .await;
        let events = desk.rig.events(text(&lease, "/lease/id")).await;
        assert_eq!(events.iter().filter(|kind| *kind == "lease.claim_rotated").count(), 1);
    });
}

#[test]
fn a_session_signed_with_an_old_published_key_stays_good() {
    let key = |n: u8| SigningKey::new(SecretKey::from_slice(&[n; 32]).unwrap());
    let rotated = |state: &mut HttpState| {
        let mut keys = Keys::clone(&state.keys);
        keys.signing = key(7);
        keys.published = vec![key(7).verifying(), key(5).verifying()];
        state.keys = Arc::new(keys);
    };
    at_desk_with(gpu(), rotated, async |mut desk| {
        let lease = paid(&mut desk).await;
        let id = LeaseId::parse(text(&lease, "/lease/id")).unwrap();
        let now = desk.state.clock.now();
        let session = |n| {
            let whose = Whose { lease: id.clone(), generation: 1, rotations: 0 };
            sign(&Session::new(whose, "gpu-small", now, [0; 16]), &key(n))
        };
        with_cookie(&desk, &format!("leasehold={}", session(5))).await.must(204);
        with_cookie(&desk, &format!("leasehold={}", session(7))).await.must(204);
        let unknown = with_cookie(&desk, &format!("leasehold={}", session(9))).await;
        unknown.problem(401, "unauthorized");
    });
}

#[test]
fn a_browser_is_sent_to_the_checkout_that_leads_back_and_a_program_is_told_the_price() {
    at_desk(async |desk| {
        desk.tell_gate().await;
        let ask = |accept: &str, name: &str, wanted: &str| {
            let call = desk.call("GET", &format!("{GATE}?deny=303"));
            call.header("accept", accept).header(name, wanted)
        };
        let page = "text/html,application/xhtml+xml";
        let back = "http://shop.test/resources/gpu-small?to=%2Fa%3F";
        let sent = ask(page, "x-forwarded-uri", "/a?").send().await.must(303);
        assert_eq!(sent.header("location"), back);
        let sent = ask(page, "x-original-uri", "//evil.test").send().await.must(303);
        assert_eq!(sent.header("location"), "http://shop.test/resources/gpu-small");
        let told = ask("*/*", "x-forwarded-uri", "/a?").send().await;
        let told = told.problem(402, "payment_required");
        assert_eq!(text(&told.body, "/links/checkout"), back);
        let call = desk.call("GET", GATE).header("x-original-uri", "/a?");
        let refused = call.send().await.problem(401, "unauthorized");
        assert_eq!(refused.header("x-leasehold-checkout"), back);
    });
}

#[test]
fn the_pages_lead_from_the_checkout_back_into_the_site() {
    at_desk_with(
        guarded(),
        |_| {},
        async |mut desk| {
            let own = ("sec-fetch-site", "same-origin");
            let hidden = "name=\"to\" value=\"/in?a=1&#38;b\"";
            let page = desk.get("/resources/gpu-small?to=%2Fin%3Fa%3D1%26b").await.must(200).text;
            assert!(page.contains(hidden), "{page}");
            let evil = desk.get("/resources/gpu-small?to=//evil.test").await.must(200).text;
            assert!(!evil.contains("evil"), "{evil}");
            let form = "time=2&unit=h&to=%2Fin%3Fa%3D1%26b";
            let call = desk.call("POST", "/resources/gpu-small").header(own.0, own.1);
            let asked = call.form(form).send().await.must(303);
            let mine = cookie(&asked);
            let checkout = asked.header("location").to_owned();
            let (invoice, query) = checkout.split_once('?').unwrap();
            assert_eq!(query, "to=%2Fin%3Fa%3D1%26b");
            let page = desk.get(&checkout).await.must(200).text;
            let invoice = desk.get(&invoice.replace("/checkout/", "/v1/invoices/")).await.must(200);
            let lease = format!("/leases/{}", text(&invoice.body, "/lease"));
            assert!(page.contains(&format!("href=\"{lease}?{query}\"")), "{page}");
            let created = serde_json::json!({ "invoice": invoice.body });
            let look = async |desk: &Desk, cookie: &str| {
                let path = format!("{lease}?{query}");
                desk.call("GET", &path).header("cookie", cookie).send().await.must(200)
            };
            assert!(!look(&desk, &mine).await.text.contains("Open it"), "it is not paid");
            desk.pay(&created, 1000).await;
            desk.tell_gate().await;
            assert!(!look(&desk, "").await.text.contains("Open it"), "somebody else");
            let page = look(&desk, &mine).await;
            assert!(page.text.contains("Open it") && page.text.contains(hidden), "{}", page.text);
            let policy = page.header("content-security-policy");
            assert!(policy.contains("form-action 'self' https://box.test;"), "{policy}");
            let open = |cookie: &str| {
                let call = desk.call("POST", &format!("{lease}/open")).header(own.0, own.1);
                call.header("cookie", cookie).form("to=%2Fin%3Fa%3D1%26b")
            };
            open("").send().await.must(403);
            let opened = open(&mine).send().await.must(303);
            let url = opened.header("location");
            assert!(url.starts_with("https://box.test/v1/gate/gpu-small/enter?code=cod_"), "{url}");
            assert_eq!(desk.get(&path(url)).await.must(303).header("location"), "/in?a=1&b");
            let call = desk.call("GET", "/resources/gpu-small?to=/x").header("cookie", &mine);
            let again = call.send().await.must(200).text;
            assert!(
                again.contains(&format!("href=\"{lease}?to=%2Fx\"")),
                "nobody pays twice: {again}"
            );
        },
    );
}
