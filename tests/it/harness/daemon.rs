//! The built `leasehold` serving on a node and a database of its own, as an operator would run
//! it. Killed on drop. Time is moved through a file (`LEASEHOLD_TEST_CLOCK`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};

use leasehold::db::testing::{POSTGRES, Place, each_place, on_sqlite};

use super::bitcoind::Bitcoind;
use super::wait::{PATIENCE, until};

/// What a shop sells unless a test says otherwise.
pub const CATALOG: &str = r#"
[[resource]]
id = "box"
access = "exclusive"
units = ["box-1", "box-2"]
price = { sat = 3600, per = "1h" }
min_duration = "10m"
max_duration = "30d"
grace = "10m"
quote_ttl = "30m"
confirmations = [{ up_to_sat = 1000000, n = 1 }, { n = 3 }]
max_unpaid_holds = 2

[[resource]]
id = "shared"
access = "shared"
price = { sat = 3600, per = "1h" }
min_duration = "10m"
max_duration = "30d"
grace = "10m"
confirmations = [{ up_to_sat = 1000000, n = 1 }, { n = 3 }]
"#;

/// How long a server that may not answer is listened to.
const SILENCE: Duration = Duration::from_secs(8);

/// A shop with its own node.
pub struct Shop {
    /// The node it follows.
    pub node: Bitcoind,
    pub(super) folder: PathBuf,
    /// The URL of its database.
    pub database: String,
    /// What it sells addresses of.
    pub descriptor: String,
    server: Option<Server>,
    /// Variables that the program gets from its next start on.
    pub variables: Vec<(&'static str, String)>,
    pub(super) runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

struct Server {
    child: Child,
    base: String,
}

/// What a request for a lease answers.
#[derive(Clone, Debug)]
pub struct Rented {
    /// Lease id.
    pub lease: String,
    /// Invoice id.
    pub invoice: String,
    /// Where to pay.
    pub address: String,
    /// What to pay.
    pub amount_sat: u64,
    /// Manages it.
    pub claim: String,
}

/// Runs `body` with a shop on SQLite, then with another on PostgreSQL.
pub fn each(body: impl Fn(&mut Shop) + Sync) {
    each_place(async |place| in_shop(place, "", &body));
}

/// As [`each`], with more lines of configuration.
pub fn each_with(config: &str, body: impl Fn(&mut Shop) + Sync) {
    each_place(async |place| in_shop(place, config, &body));
}

/// As [`each_with`], with addresses of `descriptor`.
pub fn each_of(descriptor: &str, config: &str, body: impl Fn(&mut Shop) + Sync) {
    each_place(async |place| in_shop_of(place, Some(descriptor), config, &body));
}

/// As [`each_of`], on SQLite only.
pub fn once_of(descriptor: &str, config: &str, body: impl Fn(&mut Shop) + Sync) {
    on_sqlite(async |place| in_shop_of(place, Some(descriptor), config, &body));
}

/// Runs `body` with a shop on SQLite only: for what does not reach the database's dialect.
pub fn once(body: impl Fn(&mut Shop) + Sync) {
    on_sqlite(async |place| in_shop(place, "", &body));
}

/// As [`once`], with more lines of configuration.
pub fn once_with(config: &str, body: impl Fn(&mut Shop) + Sync) {
    on_sqlite(async |place| in_shop(place, config, &body));
}

fn in_shop(place: &Place, config: &str, body: &(impl Fn(&mut Shop) + Sync + ?Sized)) {
    in_shop_of(place, None, config, body);
}

fn in_shop_of(
    place: &Place,
    descriptor: Option<&str>,
    config: &str,
    body: &(impl Fn(&mut Shop) + Sync + ?Sized),
) {
    // The shop blocks; a thread of its own keeps it off the test's runtime.
    std::thread::scope(|scope| {
        let run = || {
            let mut shop = Shop::new(place.url(), place.folder(), descriptor, config);
            shop.start();
            body(&mut shop);
            shop.check_books();
            shop.check_audit();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl Shop {
    pub(super) fn new(database: &str, folder: &Path, descriptor: Option<&str>, more: &str) -> Self {
        // Fails only when another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let node = Bitcoind::start();
        // A reorg must not make the coins that pay immature again.
        node.mine(20);
        let descriptor = descriptor.map_or_else(|| public_descriptor(&node), str::to_owned);
        let shop = Self {
            node,
            folder: folder.to_owned(),
            database: database.to_owned(),
            descriptor,
            server: None,
            variables: Vec::new(),
            runtime: tokio::runtime::Runtime::new().expect("a runtime can be built"),
            client: reqwest::Client::builder().no_proxy().build().expect("a client can be built"),
        };
        shop.write_config(more);
        shop.write_catalog(CATALOG);
        shop
    }

    /// A second server on this one's database, with a node of its own on the same chain, and the
    /// same secrets; not started yet. Restarts this one's node.
    pub(super) fn second(&mut self, database: &str, more: &str) -> Self {
        let folder = self.folder.join("second");
        std::fs::create_dir(&folder).expect("the folder is ours");
        for name in ["lease-signing.key", "lease-signing.claim-secret", "admin.key", "catalog.toml"]
        {
            std::fs::copy(self.folder.join(name), folder.join(name)).expect("the first has it");
        }
        let shop = Self {
            node: self.node.twin(),
            folder,
            database: database.to_owned(),
            descriptor: self.descriptor.clone(),
            server: None,
            variables: self.variables.clone(),
            runtime: tokio::runtime::Runtime::new().expect("a runtime can be built"),
            client: self.client.clone(),
        };
        shop.write_config(more);
        shop
    }

    /// Writes the configuration; it holds from the next start.
    pub fn write_config(&self, more: &str) {
        self.write_config_for(&self.node, more);
    }

    /// As [`Shop::write_config`], with another node to follow.
    pub fn write_config_for(&self, node: &Bitcoind, more: &str) {
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndatabase = \"{}\"\ncatalog = \"catalog.toml\"\n\
             [bitcoind]\nnetwork = \"regtest\"\nrpc_url = \"{url}\"\nrest_url = \"{url}\"\n\
             cookie_file = \"{}\"\npoll_interval = \"100ms\"\n\
             [wallet]\ndescriptor = \"{}\"\nrecover_lookahead = 100\n\
             [limits]\ncreate_per_minute = 100000\n{more}\n",
            self.database,
            node.cookie_file().display(),
            self.descriptor,
            url = node.url(),
        );
        std::fs::write(self.folder.join("leasehold.toml"), text).expect("the folder is ours");
    }

    /// Writes the catalogue; it holds from the next start.
    pub fn write_catalog(&self, text: &str) {
        std::fs::write(self.folder.join("catalog.toml"), text).expect("the folder is ours");
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.server.as_ref().expect("the server runs").base
    }

    /// Whether its database is a PostgreSQL.
    pub fn on_postgres(&self) -> bool {
        self.database.starts_with("postgres")
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command of the built program with this shop's configuration.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
        command
            .current_dir(&self.folder)
            .env("LEASEHOLD_CONFIG", self.folder.join("leasehold.toml"))
            .env("LEASEHOLD_TEST_CLOCK", self.folder.join("clock"))
            .envs(self.variables.iter().cloned())
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Lets nobody reach its database on PostgreSQL any more, and throws out who has; or lets all in
    /// again.
    pub fn cut_database(&self, cut: bool) {
        let server = std::env::var(POSTGRES).expect("it is on PostgreSQL");
        let name = self.database.split('?').next().and_then(|url| url.rsplit('/').next());
        let name = name.expect("it has a name");
        self.runtime.block_on(async {
            let mut conn = sqlx::AnyConnection::connect(&server).await.expect("it runs");
            let allow = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !cut);
            sqlx::query(AssertSqlSafe(allow)).execute(&mut conn).await.expect("it is ours");
            let out = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE datname = $1 AND $2 = 1";
            let out = sqlx::query(out).bind(name).bind(i64::from(cut));
            out.execute(&mut conn).await.expect("its sessions are ours");
        });
    }

    /// Starts the server and waits until it has followed its node.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`Shop::start`], with more words for `serve`.
    pub fn start_with(&mut self, words: &[&str]) {
        assert!(self.server.is_none(), "it runs already");
        let bound = self.folder.join("bound");
        let _ = std::fs::remove_file(&bound);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))
            .expect("the folder is ours");
        let child = self
            .command(&["serve", "--address-file"])
            .arg(&bound)
            .args(words)
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the built program starts");
        let mut server = Server { child, base: String::new() };
        server.base = until("the server to listen", || {
            if let Ok(Some(status)) = server.child.try_wait() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            let text = std::fs::read_to_string(&bound).map_err(|error| error.to_string())?;
            text.ends_with('\n').then(|| format!("http://{}", text.trim())).ok_or(text)
        });
        self.server = Some(server);
        self.wait_for_tip();
    }

    /// Whether the server was started and not ended since.
    pub fn runs(&self) -> bool {
        self.server.is_some()
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.child.kill().expect("the server can be killed");
            server.child.wait().expect("it is our child");
        }
    }

    /// Sends SIGKILL and does not wait, while others ask it. [`Shop::kill`] is still to be called.
    pub fn strike(&self) {
        self.signal("KILL");
    }

    /// Stops the server in whatever it does (SIGSTOP), until [`Shop::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.server.as_ref().expect("the server runs").child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("there is a kill command").success(), "it is our child");
    }

    /// Asks the server to end with SIGTERM and waits until it has.
    pub fn stop(&mut self) {
        if self.server.is_some() {
            self.signal("TERM");
        }
        if let Some(mut server) = self.server.take() {
            let status = until("the server to end", || {
                server.child.try_wait().expect("it is our child").ok_or("it still runs")
            });
            assert!(status.success(), "the server ended with {status}:\n{}", self.log());
        }
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    /// Moves the server's clock to `seconds` after the machine's.
    pub fn shift_clock(&self, seconds: i64) {
        let new = self.folder.join("clock.new");
        std::fs::write(&new, seconds.to_string()).expect("the folder is ours");
        std::fs::rename(new, self.folder.join("clock")).expect("the folder is ours");
    }

    /// Waits until the server has followed the node to its tip.
    pub fn wait_for_tip(&self) {
        until("the server to be at the node's tip", || {
            let (status, ready) = self.get("/readyz");
            let height = ready["tip_height"].as_u64();
            let there = status == 200 && height == Some(self.node.height().into());
            there.then_some(()).ok_or(ready)
        });
    }

    /// A request. The status and the JSON answered (null when it is none).
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.ask_with(method, path, &[], bearer, body)
    }

    /// As [`Shop::ask`], with more headers.
    pub fn ask_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = self.request(method, path, bearer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, text) = self.answer(request);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// As [`Shop::ask_with`], of a server that may be killed meanwhile: `None` without an answer.
    pub fn try_ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let mut request = self.request(method, path, bearer).timeout(SILENCE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).ok()
    }

    /// A form, as introspection takes it. The status and the JSON answered.
    pub fn ask_form(&self, path: &str, bearer: &str, form: String) -> (u16, Value) {
        let kind = "application/x-www-form-urlencoded";
        let request = self.request(Method::POST, path, Some(bearer)).header("content-type", kind);
        let (status, text) = self.answer(request.body(form));
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What a `GET` answers that is no JSON.
    pub fn ask_text(&self, path: &str) -> String {
        let (status, text) = self.answer(self.request(Method::GET, path, None));
        assert_eq!(status, 200, "{text}");
        text
    }

    fn request(&self, method: Method, path: &str, bearer: Option<&str>) -> reqwest::RequestBuilder {
        let base = self.url();
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{base}{path}") };
        let request = self.client.request(method, url);
        match bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        self.try_answer(request).expect("the server answers")
    }

    fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<(u16, Value)> {
        let (status, text) = self.try_answer(request)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn try_answer(&self, request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            Ok((status, answer.text().await?))
        })
    }

    /// `POST` with an Idempotency-Key.
    pub fn post_with_key(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url()));
        self.send(request.header("idempotency-key", key).json(body)).expect("the server answers")
    }

    /// Reads a stream until `enough` says so of what came.
    pub fn stream(&self, path: &str, mut enough: impl FnMut(&[u8]) -> bool) {
        let request = self.client.get(format!("{}{path}", self.url())).timeout(PATIENCE);
        self.runtime.block_on(async {
            let mut answer = request.send().await.expect("the server answers");
            assert_eq!(answer.status(), 200);
            while !enough(&answer.chunk().await.expect("in time").expect("the stream goes on")) {}
        });
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None, None)
    }

    /// `POST` that must be answered with 200 or 201.
    pub fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, bearer, Some(body));
        assert!(status == 200 || status == 201, "{path}: {status} {answer}");
        answer
    }

    /// Its external address at an index, as the node derives it.
    pub fn address(&self, index: u32) -> String {
        let external = self.descriptor.replace("<0;1>", "0");
        let checked = self.node.call("getdescriptorinfo", json!([external]))["descriptor"].clone();
        let list = self.node.call("deriveaddresses", json!([checked, [index, index]]));
        list[0].as_str().expect("an address").to_owned()
    }

    /// Asks for a lease.
    pub fn rent(&self, resource: &str, duration_s: u64) -> Rented {
        let body = json!({ "resource": resource, "duration_s": duration_s });
        Self::rented(&self.post("/v1/leases", None, &body))
    }

    /// Asks a server for an hour that may not answer.
    pub fn try_rent(&self, resource: &str) -> Result<Rented, String> {
        let body = json!({ "resource": resource, "duration_s": 3600 });
        let request = self.client.post(format!("{}/v1/leases", self.url())).json(&body);
        let answer = self.send(request.timeout(SILENCE)).map_err(|error| error.to_string())?;
        if answer.0 == 201 { Ok(Self::rented(&answer.1)) } else { Err(answer.1.to_string()) }
    }

    /// What an answer to a request for a lease says.
    pub fn rented(answer: &Value) -> Rented {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        Rented {
            lease: text(&answer["lease"]["id"]),
            invoice: text(&answer["invoice"]["id"]),
            address: text(&answer["invoice"]["address"]),
            amount_sat: answer["invoice"]["amount_sat"].as_u64().expect("a number"),
            // Who joins a claim gets none.
            claim: answer["claim_token"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// A lease as it is now.
    pub fn lease(&self, id: &str) -> Value {
        let (status, lease) = self.get(&format!("/v1/leases/{id}"));
        assert_eq!(status, 200, "{lease}");
        lease
    }

    /// An invoice as it is now.
    pub fn invoice(&self, id: &str) -> Value {
        let (status, invoice) = self.get(&format!("/v1/invoices/{id}"));
        assert_eq!(status, 200, "{invoice}");
        invoice
    }

    /// Waits until a lease satisfies `right`.
    pub fn lease_until(&self, what: &str, id: &str, right: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.lease(id)).filter(&right).ok_or_else(|| self.lease(id)))
    }

    /// Waits until an invoice satisfies `right`.
    pub fn invoice_until(&self, what: &str, id: &str, right: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.invoice(id)).filter(&right).ok_or_else(|| self.invoice(id)))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// The node wallet's own descriptor, both branches in one, without its keys.
fn public_descriptor(node: &Bitcoind) -> String {
    node.call("createwallet", json!(["shop"]));
    let answer = node.call_wallet("shop", "listdescriptors", json!([]));
    let list = answer["descriptors"].as_array().expect("the wallet has descriptors");
    let external = list
        .iter()
        .filter(|entry| entry["active"] == true && entry["internal"] == false)
        .filter_map(|entry| entry["desc"].as_str())
        .find(|text| text.starts_with("wpkh("))
        .expect("the wallet has a wpkh descriptor");
    let (text, _) = external.split_once('#').expect("the node writes checksums");
    text.replace("/0/*", "/<0;1>/*")
}
