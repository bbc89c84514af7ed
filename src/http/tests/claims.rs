//! The claim token on pages: shown once, saved, handed in, kept, forgotten, replaced; and where
//! refunds go.

use super::desk::{Answer, Desk, at_desk, text};
use super::pages::{OWN, cookie, request};

/// A browser: its cookies, and the lease that it asked for.
struct Browser<'a> {
    desk: &'a Desk,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    fn new(desk: &'a Desk) -> Self {
        Self { desk, cookies: Vec::new() }
    }

    async fn send(&mut self, method: &str, path: &str, form: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let call = self.desk.call(method, path).header(OWN.0, OWN.1);
        let call = call.header("cookie", &cookies.join("; "));
        let answer = if method == "POST" { call.form(form) } else { call }.send().await;
        for set in answer.headers.get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    async fn get(&mut self, path: &str) -> String {
        self.send("GET", path, "").await.must(200).text
    }

    async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await
    }

    fn token(&self) -> Option<String> {
        let found = self.cookies.iter().find(|(name, _)| name == "leasehold_claim");
        found.map(|(_, value)| value.trim_end_matches(".kept").to_owned())
    }

    /// Asks for a lease; the path of its page.
    async fn ask(&mut self) -> String {
        let asked = self.post("/resources/gpu-small", "time=2&unit=h").await.must(303);
        let invoice = asked.header("location").replace("/checkout/", "/v1/invoices/");
        let invoice = self.desk.get(&invoice).await.must(200).body;
        format!("/leases/{}", text(&invoice, "/lease"))
    }
}

#[test]
fn the_claim_token_is_shown_once_and_only_to_its_holder() {
    at_desk(async |desk| {
        let mut browser = Browser::new(&desk);
        let lease = browser.ask().await;
        let token = browser.token().unwrap();
        let save = format!("{lease}/claim");
        assert!(browser.get(&lease).await.contains("Save the claim token."));
        assert!(!browser.get(&save).await.contains(&token), "not before it is asked for");
        let shown = browser.post(&save, "").await.must(200);
        assert!(shown.text.contains(&token));
        assert_eq!(browser.post(&save, "").await.must(303).header("location"), save);
        for path in [save.as_str(), &lease, "/claim"] {
            let page = browser.get(path).await;
            assert!(!page.contains(&token) && !page.contains("Save the claim token."), "{path}");
        }
        let mut other = Browser::new(&desk);
        other.send("GET", &save, "").await.must(403);
        other.post(&save, "").await.must(403);
        other.post(&format!("{lease}/claim-file"), "").await.must(403);
        other.post(&format!("{lease}/rotate"), "").await.must(403);
        other.post(&format!("{lease}/refund-address"), "refund_address=x").await.must(403);
    });
}

#[test]
fn a_saved_file_can_be_handed_in_elsewhere_and_forgotten_there() {
    at_desk(async |desk| {
        let mut browser = Browser::new(&desk);
        let lease = browser.ask().await;
        let save = format!("{lease}/claim");
        let shown = format!("claim={}", browser.token().unwrap());
        browser.post(&save, "").await.must(200);
        let file = browser.post(&format!("{lease}/claim-file"), &shown).await.must(200);
        let unseen = browser.post(&format!("{lease}/claim-file"), "").await.must(303);
        assert_eq!(unseen.header("location"), save, "the file is for who sees the token");
        assert!(file.header("content-disposition").starts_with("attachment"));
        assert!(!browser.get(&lease).await.contains("Save the claim token."), "it is saved");
        let mut other = Browser::new(&desk);
        assert!(other.get("/claim").await.contains("This browser has no claim token"));
        let wrong = other.post("/claim", "claim=clm_nonsense").await.must(200);
        assert!(wrong.text.contains("No lease has this claim token"), "{}", wrong.text);
        let form = format!("claim={}", crate::domain::site::escaped(&file.text));
        let taken = other.post("/claim", &form).await.must(303);
        assert!(!taken.header("set-cookie").contains("Max-Age"), "kept by consent only");
        assert!(other.get("/claim").await.contains(&format!("href=\"{lease}\"")));
        assert!(other.get(&lease).await.contains("Give the lease back"));
        let kept = other.post("/claim/keep", "").await.must(303);
        let lives = |answer: &Answer| {
            let all = answer.headers.get_all("set-cookie").iter();
            all.filter(|set| set.to_str().unwrap().contains("Max-Age=31536000")).count()
        };
        assert_eq!(lives(&kept), 2, "the token, and the mark that it was shown");
        let replaced = other.post(&format!("{lease}/rotate"), "").await.must(303);
        assert_eq!(lives(&replaced), 1, "what is kept stays kept");
        let shown = other.post(&save, "").await.must(200);
        assert_eq!(lives(&shown), 1);
        other.post("/claim/forget", "").await.must(303);
        assert_eq!(other.token(), None);
        assert!(!other.get(&lease).await.contains("Give the lease back"));
        assert!(other.get("/claim/lost").await.contains("Nobody can give it back"));
    });
}

#[test]
fn the_cookie_ends_with_the_browser_unless_it_shall_be_kept() {
    at_desk(async |desk| {
        let (_, rest) = cookie(&request(&desk, "", OWN).await.must(303));
        assert!(!rest.contains("Max-Age"), "{rest}");
        let mut browser = Browser::new(&desk);
        let asked = browser.post("/resources/gpu-small", "time=2&unit=h&keep=1").await.must(303);
        assert!(asked.header("set-cookie").contains("Max-Age=31536000"));
    });
}

#[test]
fn a_replaced_token_is_worth_nothing_and_the_new_one_is_shown_once() {
    at_desk(async |desk| {
        let mut browser = Browser::new(&desk);
        let lease = browser.ask().await;
        browser.post(&format!("{lease}/claim"), "").await.must(200);
        let old = browser.token().unwrap();
        let sure = browser.get(&format!("{lease}/rotate")).await;
        assert!(sure.contains("Replace the claim token?"), "{sure}");
        browser.post(&format!("{lease}/rotate"), "").await.must(303);
        let new = browser.token().unwrap();
        assert_ne!(new, old);
        let shown = browser.post(&format!("{lease}/claim"), "").await.must(200);
        assert!(shown.text.contains(&new));
        desk.call("GET", "/v1/claims").bearer(&old).send().await.must(401);
        desk.call("GET", "/v1/claims").bearer(&new).send().await.must(200);
    });
}

#[test]
fn a_rotation_that_is_sent_twice_delivers_the_new_token_twice() {
    at_desk(async |desk| {
        let mut browser = Browser::new(&desk);
        let lease = browser.ask().await;
        let path = format!("{lease}/rotate");
        let before = browser.cookies.clone();
        let form = "once=form_aaaaaaaaaaaaaaaa";
        browser.post(&path, form).await.must(303);
        let new = browser.token().unwrap();
        // The answer was lost: the browser still has the old one.
        browser.cookies = before;
        browser.post(&path, form).await.must(303);
        assert_eq!(browser.token().as_ref(), Some(&new));
        // It came, and the page was sent again.
        browser.post(&path, form).await.must(303);
        assert_eq!(browser.token(), Some(new));
        assert!(browser.get(&lease).await.contains("Give the lease back"));
    });
}

#[test]
fn a_token_that_was_never_shown_is_not_dropped_without_a_question() {
    at_desk(async |desk| {
        let (mut browser, mut other) = (Browser::new(&desk), Browser::new(&desk));
        browser.ask().await;
        other.ask().await;
        let (unsaved, token) = (other.token().unwrap(), browser.token().unwrap());
        for (path, form) in [("/claim/forget", ""), ("/claim", &*format!("claim={token}&keep=1"))] {
            let asked = other.post(path, form).await.must(200).text;
            assert!(asked.contains("Lose the claim token of this browser?"), "{asked}");
            assert_eq!(other.token().as_ref(), Some(&unsaved));
        }
        let form = format!("claim={token}&keep=1&sure=1");
        assert!(
            other.post("/claim", &form).await.must(303).header("set-cookie").contains("Max-Age")
        );
        assert_eq!(other.token(), Some(token));
        // It was handed in, so it is saved.
        other.post("/claim/forget", "").await.must(303);
        assert_eq!(other.token(), None);
        other.ask().await;
        other.post("/claim/forget", "sure=1").await.must(303);
        assert_eq!(other.token(), None);
    });
}

#[test]
fn the_holder_says_where_refunds_go() {
    at_desk(async |desk| {
        let mut browser = Browser::new(&desk);
        let lease = browser.ask().await;
        let path = format!("{lease}/refund-address");
        let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        browser.post(&path, &format!("refund_address=bitcoin:{address}")).await.must(303);
        assert!(browser.get(&lease).await.contains(&format!("value=\"{address}\"")));
        let wrong = browser.post(&path, "refund_address=nonsense").await.must(200).text;
        assert!(wrong.contains("id=\"refund-error\">This is not a bitcoin address."), "{wrong}");
        assert!(wrong.contains("value=\"nonsense\""), "{wrong}");
        browser.post(&path, "refund_address=").await.must(303);
        assert!(!browser.get(&lease).await.contains(address));
    });
}
