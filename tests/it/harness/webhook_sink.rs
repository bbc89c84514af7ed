//! A receiver of webhooks that answers as a test says and keeps what came. On a runtime of its own,
//! so that blocking tests and async ones can use it. The tests beside the code include this file.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::runtime::Runtime;

/// How the receiver answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status and the word "ok".
    Status(u16),
    /// With this status, header and body.
    With(u16, (&'static str, String), Vec<u8>),
    /// With a status at once and a body that never ends.
    SlowBody,
    /// Never.
    Hang,
}

/// What came.
#[derive(Clone, Debug)]
pub struct Got {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

type Script = dyn Fn(usize, &Got) -> Reply + Send;

#[derive(Clone)]
struct Shared {
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Box<Script>>>,
}

/// The receiver. It ends when it is dropped.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Sink {
    /// One on a free port of this machine; `script` gets how many came before, and what came.
    pub fn start(script: impl Fn(usize, &Got) -> Reply + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0", script)
    }

    /// As [`Sink::start`], at an address.
    pub fn start_at(address: &str, script: impl Fn(usize, &Got) -> Reply + Send + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let shared = Shared { got: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) };
        let listener = std::net::TcpListener::bind(address).expect("the address is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let app = axum::Router::new().fallback(receive).with_state(shared.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, app).await
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// One that takes everything.
    pub fn taking() -> Self {
        Self::start(|_, _| Reply::Status(204))
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on it answers so.
    pub fn answer(&self, script: impl Fn(usize, &Got) -> Reply + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// What came so far.
    pub fn got(&self) -> Vec<Got> {
        lock(&self.shared.got).clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Who never gets an answer is not waited for.
            runtime.shutdown_background();
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let got = Got { path: parts.uri.path().to_owned(), headers: parts.headers, body };
    let before = {
        let mut all = lock(&shared.got);
        all.push(got.clone());
        all.len() - 1
    };
    let reply = lock(&shared.script)(before, &got);
    let answer = |status: u16| Response::builder().status(status);
    let built = match reply {
        Reply::Status(status) => answer(status).body(Body::from("ok")),
        Reply::With(status, (name, value), body) => {
            answer(status).header(name, value).body(Body::from(body))
        }
        Reply::SlowBody => {
            let word = stream::once(async { Ok::<_, std::io::Error>("wait") });
            answer(200).body(Body::from_stream(word.chain(stream::pending())))
        }
        Reply::Hang => std::future::pending().await,
    };
    built.expect("the test's answer is one")
}

impl Got {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The event in the body.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The event's number.
    pub fn seq(&self) -> i64 {
        self.event()["seq"].as_i64().expect("a number")
    }

    /// Whether the reference library takes it, with this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let reference = Webhook::new(secret).expect("a secret");
        reference.verify(&self.body, &self.headers).is_ok()
    }

    /// The same of a message whose time is another than this machine's: the reference library signs
    /// it again.
    pub fn is_signed_then_with(&self, secret: &str) -> bool {
        let reference = Webhook::new(secret).expect("a secret");
        let at = self.header("webhook-timestamp").parse().expect("a number");
        let theirs = reference.sign(self.header("webhook-id"), at, &self.body).expect("signed");
        self.header("webhook-signature").split(' ').any(|ours| ours == theirs)
    }
}
