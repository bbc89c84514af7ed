//! A real Chromium, moved over WebDriver (W3C) by chromedriver. Both end on drop.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::bitcoind::free_port;
use super::wait::until;

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --disable-extensions --window-size=900,900";
/// What the answer to a search calls an element (W3C WebDriver section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window and no history.
pub struct Browser {
    driver: Child,
    session: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one.
    pub fn start() -> Self {
        let port = free_port();
        let profile = tempfile::tempdir().expect("a temporary folder");
        // In a group of its own: a driver that is killed leaves its browser behind.
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("regtest/test installs it");
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            runtime: tokio::runtime::Runtime::new().expect("a runtime can be built"),
            client: reqwest::Client::builder().no_proxy().build().expect("a client can be built"),
            _profile: profile,
        };
        until("chromedriver to listen", || TcpStream::connect(("127.0.0.1", port)));
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let flags: Vec<&str> = FLAGS.split_whitespace().chain([folder.as_str()]).collect();
        let options = json!({ "args": flags });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let made = browser.post("", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = made["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| error.to_string())?;
            let fine = answer.status().is_success();
            let body: Value = answer.json().await.map_err(|error| error.to_string())?;
            if fine { Ok(body["value"].clone()) } else { Err(body.to_string()) }
        })
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session)).json(body);
        self.send(request).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn get(&self, path: &str) -> String {
        let found = self.send(self.client.get(format!("{}{path}", self.session)));
        let found = found.unwrap_or_else(|why| panic!("{path}: {why}"));
        found.as_str().expect("text").to_owned()
    }

    /// Goes to a URL, and on to where it leads.
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.get("/url")
    }

    /// What it shows, as HTML.
    pub fn source(&self) -> String {
        self.get("/source")
    }

    /// Clicks on the first element that an XPath finds, once there is one.
    pub fn click(&self, xpath: &str) {
        let search = json!({ "using": "xpath", "value": xpath });
        until(xpath, || {
            let request = self.client.post(format!("{}/element", self.session)).json(&search);
            let found = self.send(request).map_err(|_| self.source())?;
            let id = found[ELEMENT].as_str().ok_or("no element")?.to_owned();
            let click = format!("{}/element/{id}/click", self.session);
            // The page may have been replaced meanwhile.
            self.send(self.client.post(click).json(&json!({})))
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.send(self.client.delete(&self.session));
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.driver.wait();
    }
}
