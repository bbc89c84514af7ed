//! A site that only holders may use, the proxy before it (a real nginx or Caddy with the
//! configuration of `examples/`), and a visitor with a browser's or a program's manners.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::wait::until;

/// Starts a site that answers every request with its path and the `x-leasehold-…` headers that
/// reached it. Its address, `HOST:PORT`; its threads end with the test's process.
pub fn site() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                // The proxy may go away at any moment.
                let _ = answer(client);
            });
        }
    });
    address
}

fn answer(client: TcpStream) -> std::io::Result<()> {
    let mut to_client = client.try_clone()?;
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut body = format!("inside {}\n", first.split(' ').nth(1).unwrap_or_default());
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if line.starts_with("x-leasehold") || line.starts_with("x_leasehold") {
            body.push_str(&format!("{line}\n"));
        }
    }
    let length = body.len();
    write!(to_client, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")?;
    to_client.write_all(body.as_bytes())
}

/// A running proxy, ended on drop.
pub struct Proxy {
    child: Child,
    /// `http://HOST:PORT`
    pub url: String,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to end, so that its own processes end with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// An example file with other addresses in it: each must be there.
fn example(name: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(&path).expect("the example is there");
    changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{name} does not have {old}");
        text.replace(old, new)
    })
}

/// Where the parts are: the proxy's own port, the server and the site as `HOST:PORT`.
pub struct Places<'a> {
    pub port: u16,
    pub server: &'a str,
    pub site: &'a str,
    pub folder: &'a Path,
}

impl Places<'_> {
    fn changes(&self) -> Vec<(&'static str, String)> {
        let server = self.server.trim_start_matches("http://").to_owned();
        vec![
            ("127.0.0.1:8080", server),
            ("127.0.0.1:9000", self.site.to_owned()),
            ("/v1/gate/mirror", "/v1/gate/shared".to_owned()),
        ]
    }

    fn start(&self, mut command: Command) -> Proxy {
        let log = self.folder.join("proxy.log");
        let log = std::fs::File::create(log).expect("the folder is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("regtest/test installs it");
        let proxy = Proxy { child, url: format!("http://127.0.0.1:{}", self.port) };
        until("the proxy to listen", || {
            let log = || std::fs::read_to_string(self.folder.join("proxy.log"));
            TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| (error, log()))
        });
        proxy
    }
}

/// nginx with `examples/nginx/leasehold-gate.conf`.
pub fn nginx(places: &Places<'_>) -> Proxy {
    let mut changes = places.changes();
    changes.push(("listen 80;", format!("listen 127.0.0.1:{};", places.port)));
    let folder = places.folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {folder}/nginx-{name};\n"))
        .collect();
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\naccess_log {folder}/access.log;\n{temporary}\n{}}}\n",
        example("nginx/leasehold-gate.conf", &changes)
    );
    let file = places.folder.join("nginx.conf");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new("nginx");
    command.env("PATH", with_sbin()).args(["-e", "stderr", "-c"]).arg(file);
    places.start(command)
}

/// Caddy with `examples/caddy/Caddyfile`.
pub fn caddy(places: &Places<'_>) -> Proxy {
    let mut changes = places.changes();
    changes.push(("box.example.org {", format!("http://127.0.0.1:{} {{", places.port)));
    let text = format!("{{\n\tadmin off\n}}\n{}", example("caddy/Caddyfile", &changes));
    let file = places.folder.join("Caddyfile");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("XDG_DATA_HOME", places.folder).env("XDG_CONFIG_HOME", places.folder);
    places.start(command)
}

/// Where servers are: not on every user's path.
pub fn with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Somebody who follows no redirect without looking, and keeps cookies by host and port.
pub struct Visitor {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    accept: &'static str,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a visitor sees.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub location: String,
    pub kind: String,
    pub text: String,
}

impl Visitor {
    /// With a browser.
    pub fn browser() -> Self {
        Self::with("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
    }

    /// A program.
    pub fn program() -> Self {
        Self::with("*/*")
    }

    fn with(accept: &'static str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            runtime: tokio::runtime::Runtime::new().expect("a runtime can be built"),
            client: client.expect("a client can be built"),
            accept,
            cookies: BTreeMap::new(),
        }
    }

    /// `GET`, with more headers.
    pub fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> Seen {
        let request = self.client.get(url);
        self.send(url, headers.iter().fold(request, |all, (name, value)| all.header(*name, *value)))
    }

    /// Sends a form, as a page of the same origin does.
    pub fn submit(&mut self, url: &str, form: &str) -> Seen {
        let request = self.client.post(url).header("sec-fetch-site", "same-origin");
        let kind = "application/x-www-form-urlencoded";
        self.send(url, request.header("content-type", kind).body(form.to_owned()))
    }

    /// The cookies that it would send to a URL, to be changed.
    pub fn cookies(&mut self, url: &str) -> &mut BTreeMap<String, String> {
        self.cookies.entry(host(url)).or_default()
    }

    fn send(&mut self, url: &str, request: reqwest::RequestBuilder) -> Seen {
        let pairs = self.cookies(url).iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let mut request = request.header("accept", self.accept);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        let (seen, set) = self.runtime.block_on(async {
            let answer = request.send().await.expect("it is answered");
            let header = |name: &str| {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let set: Vec<String> = answer
                .headers()
                .get_all("set-cookie")
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            let (status, location, kind) =
                (answer.status().as_u16(), header("location"), header("content-type"));
            let text = answer.text().await.expect("the whole answer");
            (Seen { status, location, kind, text }, set)
        });
        for cookie in set {
            let pair = cookie.split(';').next().expect("a first part");
            let (name, value) = pair.split_once('=').expect("a name and a value");
            self.cookies(url).insert(name.to_owned(), value.to_owned());
        }
        seen
    }
}

/// `http://HOST:PORT` of a URL.
pub fn host(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}
