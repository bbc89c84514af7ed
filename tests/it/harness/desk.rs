//! An operator at the pages, without a browser: questions are read and their forms sent as a browser
//! does, twice when somebody clicks twice.

use futures_util::future::join;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};

use super::daemon::Shop;
use super::payouts::text;

const OWN: &str = "same-origin";

/// Somebody who is signed in.
pub struct Desk<'a> {
    shop: &'a Shop,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    cookie: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Where it leads.
    pub to: String,
    /// What it shows.
    pub html: String,
}

impl Shop {
    /// The token of a new API key.
    pub fn new_key(&self, name: &str, scopes: &[&str]) -> String {
        let body = json!({ "name": name, "scopes": scopes });
        let (status, answer) = self.operate(Method::POST, "keys", Some(&body));
        assert_eq!(status, 201, "{answer}");
        text(&answer["token"])
    }

    /// Signed in with a new key of these scopes.
    pub fn desk(&self, name: &str, scopes: &[&str]) -> Desk<'_> {
        Desk::sign_in(self, &self.new_key(name, scopes))
    }

    /// How often operators did something, by the audit log.
    pub fn acts(&self, act: &str) -> usize {
        let (status, log) = self.operate(Method::GET, "audit-log?limit=200", None);
        assert_eq!(status, 200, "{log}");
        let rows = log["items"].as_array().expect("a list");
        rows.iter().filter(|row| row["action"] == *act).count()
    }
}

impl<'a> Desk<'a> {
    /// Signs in with a key.
    pub fn sign_in(shop: &'a Shop, key: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        let mut desk = Self {
            shop,
            runtime: tokio::runtime::Runtime::new().expect("a runtime can be built"),
            client: client.build().expect("a client can be built"),
            cookie: String::new(),
        };
        let request = desk.form("/operator/sign-in", &[("key", key)], OWN);
        let set = desk.runtime.block_on(async {
            let answer = request.send().await.expect("the server answers");
            answer.headers()["set-cookie"].to_str().expect("text").to_owned()
        });
        desk.cookie = set.split(';').next().unwrap_or_default().to_owned();
        desk
    }

    /// A page.
    pub fn page(&self, path: &str) -> Page {
        let request = self.client.get(format!("{}{path}", self.shop.url()));
        self.answer(request.header("cookie", &self.cookie))
    }

    /// The hidden fields of the form on a page, with these beside them.
    pub fn filled<'b>(html: &'b str, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let hidden = html.split("<input type=\"hidden\" name=\"").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"")?;
            Some((name, rest.split('"').next()?))
        });
        hidden.chain(more.iter().copied()).collect()
    }

    /// Sends a form once.
    pub fn send(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.answer(self.form(path, fields, OWN))
    }

    /// Reads the question at a path and sends its form.
    pub fn does(&self, path: &str, more: &[(&str, &str)]) -> Page {
        let html = self.asked(path);
        self.send(path, &Self::filled(&html, more))
    }

    /// Reads the question at a path and clicks twice on its button. Both answers are alike.
    pub fn clicks_twice(&self, path: &str, more: &[(&str, &str)]) -> Page {
        let html = self.asked(path);
        self.sends_twice(path, &Self::filled(&html, more))
    }

    /// Sends a form twice at a time. Both answers are alike.
    pub fn sends_twice(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let send = || async { read(self.form(path, fields, OWN)).await };
        let (first, second) = self.runtime.block_on(async { join(send(), send()).await });
        assert_eq!((first.status, &first.to), (second.status, &second.to), "{path}");
        first
    }

    /// That a form of another site is refused, though the session came along.
    pub fn refused_elsewhere(&self, path: &str, more: &[(&str, &str)]) {
        let html = self.asked(path);
        let answer = self.answer(self.form(path, &Self::filled(&html, more), "cross-site"));
        assert_eq!(answer.status, 403, "{path}: {}", answer.html);
        assert!(answer.html.contains("sent by another site"), "{}", answer.html);
    }

    /// That neither the question nor its form is for this key.
    pub fn refused_here(&self, path: &str, scope: &str, more: &[(&str, &str)]) {
        for answer in [self.page(path), self.send(path, more)] {
            assert_eq!(answer.status, 403, "{path}: {}", answer.html);
            assert!(answer.html.contains(&format!("lacks the scope {scope}")), "{}", answer.html);
        }
    }

    fn asked(&self, path: &str) -> String {
        let page = self.page(path);
        assert_eq!(page.status, 200, "{path}: {}", page.html);
        page.html
    }

    fn form(&self, path: &str, fields: &[(&str, &str)], site: &str) -> RequestBuilder {
        let mut encoded = Url::parse("http://form.test/").expect("a URL");
        encoded.query_pairs_mut().extend_pairs(fields);
        let request = self.client.post(format!("{}{path}", self.shop.url()));
        request
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", site)
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded.query().unwrap_or_default().to_owned())
    }

    fn answer(&self, request: RequestBuilder) -> Page {
        self.runtime.block_on(read(request))
    }
}

async fn read(request: RequestBuilder) -> Page {
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    let to = answer.headers().get("location").and_then(|to| to.to_str().ok());
    let to = to.unwrap_or_default().to_owned();
    Page { status, to, html: answer.text().await.expect("text") }
}

/// The rows of a list of the API.
pub fn items(shop: &Shop, path: &str) -> Vec<Value> {
    let (status, list) = shop.operate(Method::GET, path, None);
    assert_eq!(status, 200, "{list}");
    list["items"].as_array().expect("a list").clone()
}
