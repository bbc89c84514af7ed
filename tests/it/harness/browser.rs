//! A real Chromium, moved over WebDriver (W3C) by chromedriver. Both end on drop.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::bitcoind::free_port;
use super::wait::until;

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --disable-extensions --hide-scrollbars --window-size=900,900";
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
        Self::start_with(&json!({}))
    }

    /// Starts one that runs no script of a page.
    pub fn without_scripts() -> Self {
        Self::start_with(&json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn start_with(settings: &Value) -> Self {
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
        let options = json!({ "args": flags, "prefs": settings });
        let logs = json!({ "performance": "ALL", "browser": "ALL" });
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": logs,
        });
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

    /// Goes back, as its button does.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Loads the page again.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// Its windows and tabs.
    pub fn windows(&self) -> Vec<String> {
        let found = self.send(self.client.get(format!("{}/window/handles", self.session)));
        serde_json::from_value(found.expect("it has windows")).expect("their names")
    }

    /// Opens a tab and goes on there; the name of the one before.
    pub fn open_tab(&self) -> String {
        let before = self.get("/window");
        let opened = self.post("/window/new", &json!({ "type": "tab" }));
        self.switch_to(opened["handle"].as_str().expect("a name"));
        before
    }

    /// Goes on in another tab.
    pub fn switch_to(&self, window: &str) {
        self.post("/window", &json!({ "handle": window }));
    }

    /// What a script of ours answers in the page.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script gives to its callback, the last of its arguments.
    pub fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// A command of the DevTools protocol.
    pub fn tell(&self, command: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    /// Light or dark, as its user likes.
    pub fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.tell("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// So many pixels wide.
    pub fn set_width(&self, width: u32) {
        let size = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.tell("Emulation.setDeviceMetricsOverride", &size);
    }

    /// A picture of the whole page (PNG).
    pub fn picture(&self) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.tell("Page.captureScreenshot", &params);
        let data = answer["data"].as_str().expect("a picture");
        data_encoding::BASE64.decode(data.as_bytes()).expect("base64")
    }

    /// Presses keys, one after the other, wherever the focus is. `\u{E004}` is Tab, `\u{E007}` Enter,
    /// `\u{E014}` the right arrow (W3C WebDriver section 15.4.2).
    pub fn press(&self, keys: &str) {
        let steps: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": steps });
        self.post("/actions", &json!({ "actions": [source] }));
    }

    /// Types into the field with this id, in place of what is there.
    pub fn fill(&self, id: &str, text: &str) {
        let search = json!({ "using": "xpath", "value": format!("//*[@id='{id}']") });
        let found = self.post("/element", &search);
        let element = found[ELEMENT].as_str().expect("an element").to_owned();
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The text that is seen, once it has `part` in it.
    pub fn shows(&self, part: &str) -> String {
        let search = json!({ "using": "xpath", "value": "//body" });
        until(part, || {
            let request = self.client.post(format!("{}/element", self.session)).json(&search);
            let body = self.send(request)?;
            let id = body[ELEMENT].as_str().ok_or("no body")?.to_owned();
            let request = self.client.get(format!("{}/element/{id}/text", self.session));
            let text = self.send(request)?.as_str().unwrap_or_default().to_owned();
            if text.contains(part) { Ok(text) } else { Err(text) }
        })
    }

    /// What a page complained of since the last time: refused by its policy, broken scripts.
    pub fn complaints(&self) -> Vec<String> {
        let logged = self.post("/se/log", &json!({ "type": "browser" }));
        let lines = logged.as_array().cloned().unwrap_or_default();
        lines.iter().filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    /// Every request since the last time: its URL, and what referrer it carried.
    pub fn requests(&self) -> Vec<(String, Option<String>)> {
        let logged = self.post("/se/log", &json!({ "type": "performance" }));
        let lines = logged.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line["message"].as_str()?).ok())
            .filter(|event| event["message"]["method"] == "Network.requestWillBeSent")
            .map(|event| {
                let request = &event["message"]["params"]["request"];
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let referrer = text(&request["headers"]["Referer"]);
                (text(&request["url"]).unwrap_or_default(), referrer.filter(|it| !it.is_empty()))
            })
            .collect()
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
