//! The forms of the pages and the cookie: whose form it is, whose claim.

use std::sync::Arc;

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use crate::app::shop::Shop;
use crate::domain::resource::tests::gpu;
use crate::http::HttpState;

pub(super) fn over_https(state: &mut HttpState) {
    let mut shop = Shop::clone(&state.shop);
    shop.public_url = "https://shop.test".into();
    state.shop = Arc::new(shop);
}

pub(super) async fn request(desk: &Desk, cookie: &str, site: (&str, &str)) -> Answer {
    let call = desk.call("POST", "/resources/gpu-small").header("cookie", cookie);
    call.header(site.0, site.1).form("time=2&unit=h").send().await
}

pub(super) const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// The cookie that an answer sets: its name and value, and what else stands there.
pub(super) fn cookie(answer: &Answer) -> (String, String) {
    let (pair, rest) = answer.header("set-cookie").split_once("; ").expect("a cookie");
    (pair.to_owned(), rest.to_owned())
}

/// How many leases the claim of a cookie has.
pub(super) async fn leases(desk: &Desk, cookie: &str) -> usize {
    let token = cookie.split_once('=').unwrap().1;
    let claim = desk.call("GET", "/v1/claims").bearer(token).send().await.must(200);
    claim.body["leases"].as_array().unwrap().len()
}

#[test]
fn a_form_of_a_sibling_host_is_refused() {
    at_desk_with(gpu(), over_https, async |desk| {
        let (cookie, _) = cookie(&request(&desk, "", OWN).await.must(303));
        for site in [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://unit.shop.test"),
            ("origin", "null"),
        ] {
            request(&desk, &cookie, site).await.must(403);
        }
        assert_eq!(leases(&desk, &cookie).await, 1);
        request(&desk, &cookie, ("origin", "https://shop.test")).await.must(303);
        assert_eq!(leases(&desk, &cookie).await, 2);
    });
}

#[test]
fn over_plain_http_no_page_of_anybody_hands_in_a_claim_token() {
    at_desk(async |desk| {
        let (mine, _) = cookie(&request(&desk, "", OWN).await.must(303));
        let form = format!("claim={}", mine.split_once('=').unwrap().1);
        let send = async |origin: &str| {
            let call = desk.call("POST", "/claim").header("origin", origin);
            call.header("host", "10.0.0.5:8080").form(&form).send().await
        };
        send("null").await.must(403);
        send("http://10.0.0.5:8081").await.must(403);
        send("http://10.0.0.5:8080").await.must(303);
        let page = desk.get("/claim").await.must(200);
        assert_eq!(page.header("referrer-policy"), "same-origin", "else our own forms say null");
    });
    at_desk_with(gpu(), over_https, async |desk| {
        assert_eq!(desk.get("/claim").await.must(200).header("referrer-policy"), "no-referrer");
    });
}

#[test]
fn who_comes_from_another_site_asks_once_more_with_the_cookie() {
    at_desk(async |mut desk| {
        let asked = request(&desk, "", OWN).await.must(303);
        let (mine, _) = cookie(&asked);
        let invoice = asked.header("location").replace("/checkout/", "/v1/invoices/");
        let invoice = desk.get(&invoice).await.must(200).body;
        desk.pay(&serde_json::json!({ "invoice": invoice }), 1000).await;
        let come = async |path: &str, cookie: &str, mode: &str| {
            let call = desk.call("GET", path).header("sec-fetch-site", "cross-site");
            call.header("sec-fetch-mode", mode).header("cookie", cookie).send().await.must(200).text
        };
        let path = "/resources/gpu-small?to=/a%26b";
        let page = come(path, "", "navigate").await;
        let again = "0; url=/resources/gpu-small?to=/a%26b&#38;here=1";
        assert!(page.contains(again) && !page.contains("For how long?"), "{page}");
        let form = "For how long?";
        assert!(come(&format!("{path}&here=1"), "", "navigate").await.contains(form), "no loop");
        assert!(come(path, "", "cors").await.contains(form));
        assert!(come(path, &mine, "navigate").await.contains("You have a lease of it"));
        let (key, _) = desk.operator("manage", 1).await;
        let stop = format!("/v1/admin/leases/{}/suspend", text(&invoice, "/lease"));
        desk.call("POST", &stop).bearer(&key).json(&serde_json::json!({})).send().await.must(200);
        let stopped = come(path, &mine, "navigate").await;
        assert!(stopped.contains("You have a lease of it"), "paid and stopped: {stopped}");
        assert!(come("/", "", "navigate").await.contains("For rent"));
        let lease = format!("/leases/{}", text(&invoice, "/lease"));
        assert!(come(&lease, "", "navigate").await.contains(&format!("url={lease}?here=1")));
    });
}

#[test]
fn over_https_the_claims_cookie_is_of_this_host_alone() {
    at_desk_with(gpu(), over_https, async |desk| {
        let (mine, rest) = cookie(&request(&desk, "", OWN).await.must(303));
        assert!(mine.starts_with("__Host-leasehold_claim=clm_"), "{mine}");
        let parts: Vec<&str> = rest.split("; ").collect();
        for part in ["Secure", "Path=/", "HttpOnly", "SameSite=Strict"] {
            assert!(parts.contains(&part), "{rest}");
        }
        assert!(!rest.contains("Domain"), "{rest}");
        // A sibling host can set this name for the whole domain, not that one.
        let planted = mine.replace("__Host-", "");
        let (fresh, _) = cookie(&request(&desk, &planted, OWN).await.must(303));
        assert_ne!(fresh, mine);
        let both = format!("{planted}; {fresh}");
        assert_eq!(request(&desk, &both, OWN).await.must(303).header("set-cookie"), "");
        assert_eq!((leases(&desk, &mine).await, leases(&desk, &fresh).await), (1, 2));
    });
}

#[test]
fn a_browser_with_the_cookie_holds_its_leases_and_no_others() {
    at_desk(async |desk| {
        let answer = request(&desk, "", OWN).await.must(303);
        let (mine, rest) = cookie(&answer);
        assert!(mine.starts_with("leasehold_claim=") && !rest.contains("Secure"), "{mine} {rest}");
        let invoice = answer.header("location").replace("/checkout/", "/v1/invoices/");
        let lease = desk.get(&invoice).await.must(200).body;
        let page = format!("/leases/{}", text(&lease, "/lease"));
        let look = async |cookie: &str| {
            desk.call("GET", &page).header("cookie", cookie).send().await.must(200).text
        };
        assert!(look(&mine).await.contains("Give the lease back"));
        assert!(!look("leasehold_claim=clm_x").await.contains("Give the lease back"));
        let give_back = || desk.call("POST", &format!("{page}/return")).header(OWN.0, OWN.1);
        give_back().send().await.must(403);
        give_back().header("cookie", &mine).send().await.must(303);
    });
}

#[test]
fn files_of_ours_may_be_kept_for_ever_under_the_name_of_their_content() {
    at_desk(async |desk| {
        let page = desk.get("/").await.must(200).text;
        let links = page.split('"').filter(|part| part.starts_with("/assets/"));
        let links: Vec<&str> = links.collect();
        assert!(links.len() >= 3, "{page}");
        for link in links {
            let file = desk.get(link).await.must(200);
            assert!(file.header("cache-control").contains("immutable"), "{link}");
            let again = desk.call("GET", link).header("if-none-match", file.header("etag"));
            assert_eq!(again.send().await.must(304).text, "");
            let name = link.rsplit('/').next().unwrap();
            let old = desk.get(&format!("/assets/0123456789abcdef/{name}")).await.must(200);
            assert_eq!((old.header("cache-control"), &old.text), ("no-cache", &file.text));
        }
        desk.get("/assets/x/passwd").await.must(404);
    });
}

#[test]
fn people_get_problems_as_pages_and_programs_as_documents() {
    at_desk(async |desk| {
        let get = async |path: &str, accept: &str| {
            desk.call("GET", path).header("accept", accept).send().await
        };
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (path, status) in [("/nothing", 404), ("/leases/lse_x", 404), ("/claim/keep", 405)] {
            let page = get(path, browser).await.must(status);
            assert!(page.header("content-type").starts_with("text/html"), "{path}");
            assert!(page.header("content-security-policy").contains("script-src 'self'"), "{path}");
            assert!(page.text.contains("href=\"/\""), "{}", page.text);
        }
        get("/nothing", "*/*").await.problem(404, "not_found");
        get("/v1/leases/lse_x", browser).await.problem(404, "not_found");
        let page = desk.get("/resources/none").await.must(404);
        assert!(page.text.contains("This is not for rent"), "{}", page.text);
    });
}
