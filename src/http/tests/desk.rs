//! A router over a shop for tests, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, Response, header};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::api_keys::CreateKey;
use crate::app::readiness::{NodeNow, Readiness, ReadinessReceiver, ReadinessSender};
use crate::app::shop::Shop;
use crate::app::submit_batch::Approval;
use crate::app::wallet_state::{WalletReceiver, WalletState};
use crate::chain::bitcoind::Bitcoind;
use crate::chain::rpc::Login;
use crate::chain::wallet::WatchOnly;
use crate::db::testing::each_place;
use crate::domain::bearer::{ClaimSecret, api_key, token_hash};
use crate::domain::ids::InvoiceId;
use crate::domain::jwk::SigningKey;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::resource::Terms;
use crate::domain::resource::tests::gpu;
use crate::http::{self, HttpState, limits, source};
use crate::keys::Keys;
use crate::live::Live;
use crate::live::gate::MAX_STALENESS;
use crate::payout::{Batcher, Rules};
use crate::worker::rig::Rig;

/// Where requests come from when they do not say.
const SOURCE: &str = "10.0.0.1:5000";

pub struct Desk {
    pub rig: Rig,
    pub state: HttpState,
    router: Router,
    _readiness: ReadinessSender,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

/// A request under construction.
pub struct Call<'a> {
    desk: &'a Desk,
    request: axum::http::request::Builder,
    body: Body,
    source: SocketAddr,
}

/// Runs `body` with a shop of two GPUs on a fresh database, SQLite and then PostgreSQL.
pub fn at_desk(body: impl AsyncFn(Desk)) {
    at_desk_with(gpu(), |_| {}, body);
}

/// The same with other terms and another set-up.
pub fn at_desk_with(terms: Terms, set: impl Fn(&mut HttpState), body: impl AsyncFn(Desk)) {
    each_place(async |place| {
        let node = place.open().await;
        let rig = Rig::new(node.db.clone(), terms.clone()).await;
        body(Desk::new(rig, &set)).await;
        node.stop().await;
    });
}

/// One whose node is away.
fn batcher(rig: &Rig, readiness: ReadinessReceiver, wallet: WalletReceiver) -> Batcher {
    let login = Login::Cookie("no-cookie".into());
    let node = Arc::new(Bitcoind::new("http://127.0.0.1:1", login, None).unwrap());
    Batcher {
        db: rig.db.clone(),
        clock: rig.clock.clone(),
        watch_only: WatchOnly::new(&node, "none".into()),
        node,
        wallet,
        readiness,
        policy: rig.shop.policy.clone(),
        rules: Rules {
            fee_policy: FeePolicy::Recipient,
            max_fee_pct: 20,
            approval: Approval { required: false, above_sat: 0 },
        },
        network: bitcoin::Network::Regtest,
        keychain_id: 1,
    }
}

impl Desk {
    pub fn new(rig: Rig, set: impl Fn(&mut HttpState)) -> Self {
        let now = Readiness { node: NodeNow::Trusted, ..Readiness::default() };
        let (sender, readiness) = watch::channel(now);
        let signing = SigningKey::new(secp256k1::SecretKey::from_slice(&[5; 32]).unwrap());
        let published = vec![signing.verifying()];
        let claim_secret = ClaimSecret::new([6; 32]);
        let wallet = watch::channel(WalletState::default()).1;
        let batcher = batcher(&rig, readiness.clone(), wallet.clone());
        let mut state = HttpState {
            db: rig.db.clone(),
            clock: rig.clock.clone(),
            shop: rig.shop.clone(),
            keys: Arc::new(Keys { signing, published, claim_secret }),
            readiness,
            wallet,
            batcher: Arc::new(batcher),
            token_ttl_s: 300,
            sources: Arc::new(source::Sources::default()),
            limits: Arc::new(limits::Limits::new(1000)),
            live: Live::new(rig.db.clone(), MAX_STALENESS),
            kept: Arc::default(),
            streams: Arc::default(),
            rescan: crate::app::rescan::channel().0,
            shutdown: CancellationToken::new(),
            metrics: None,
            reach: crate::webhook::Reach::new(false),
            faucet: false,
            look: Arc::default(),
            rate: watch::channel(None).1,
        };
        set(&mut state);
        let router = http::router(state.clone(), Router::new());
        Self { rig, state, router, _readiness: sender }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The token of a new API key, and its id.
    pub async fn operator(&self, scopes: &str, random: u8) -> (String, String) {
        let secret = api_key(&[random; 32]);
        let item = CreateKey {
            name: "test".into(),
            scopes: scopes.into(),
            token_hash: token_hash(&secret),
            key: None,
            now: self.state.clock.now(),
            actor: "test".into(),
        };
        (secret, self.rig.db.write(item).await.unwrap().id)
    }

    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path);
        Call { desk: self, request, body: Body::empty(), source: SOURCE.parse().unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path).json(&body).send().await
    }

    /// A lease for two hours: the answer's body.
    pub async fn lease(&self) -> Value {
        self.post("/v1/leases", two_hours()).await.must(201).body
    }

    /// Pays the invoice of an answer, mined once.
    pub async fn pay(&mut self, created: &Value, sat: u64) {
        let id = InvoiceId::parse(created["invoice"]["id"].as_str().unwrap()).unwrap();
        let script = self.rig.invoice(&id).await.script_pubkey;
        self.rig.pay(&[(script, sat)]);
        self.rig.chain.mine_pending();
        self.rig.round().await;
    }

    /// Lets the gate hear of everything that happened.
    pub async fn tell_gate(&self) {
        let live = self.state.live.clone();
        let run = live.clone().run(self.state.readiness.clone(), CancellationToken::new());
        let heard = async {
            while live.gate().knows(None).is_err() {
                tokio::task::yield_now().await;
            }
            live.caught_up().await;
        };
        tokio::select! {
            _ = run => panic!("the log is followed no more"),
            () = heard => {}
        }
    }
}

pub fn two_hours() -> Value {
    json!({ "resource": "gpu-small", "duration_s": 7200 })
}

/// Changes the limits of a shop.
pub fn with_limits(state: &mut HttpState, change: impl FnOnce(&mut crate::app::shop::Limits)) {
    let mut shop = Shop::clone(&state.shop);
    change(&mut shop.limits);
    state.shop = Arc::new(shop);
}

/// The text at `name`.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn form(self, body: &str) -> Self {
        let kind = "application/x-www-form-urlencoded";
        self.header("content-type", kind).body(body.to_owned())
    }

    pub fn from(mut self, address: &str) -> Self {
        self.source = address.parse().unwrap();
        self
    }

    /// Sends it; the body is not read yet.
    pub async fn open(self) -> Response<Body> {
        let mut request = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.source));
        self.desk.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn send(self) -> Answer {
        let (parts, body) = self.open().await.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text, body }
    }
}

impl Answer {
    /// The answer, which must have this status.
    pub fn must(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The answer, which must be a whole problem document.
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.text);
        assert_eq!(self.header(header::CONTENT_TYPE.as_str()), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for name in ["/type", "/title", "/detail"] {
            assert!(!text(&self.body, name).is_empty(), "{}", self.text);
        }
        self
    }

    /// The pointers of wrong fields.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| text(error, "/pointer")).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
