//! HTTP: requests become use cases, their results become JSON or problem documents.
//! Decides nothing about money or time. Called by the daemon.

pub mod api;
pub mod auth;
pub mod cookies;
pub mod create;
pub mod error;
pub mod fresh;
pub mod json;
mod layers;
pub mod limits;
pub mod look;
pub mod openapi;
pub mod pages;
pub mod serve;
pub mod source;
pub mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::AppError;
use crate::app::look::{self as looking, NodeView, Overview};
use crate::app::readiness::ReadinessReceiver;
use crate::app::rescan::RescanHandle;
use crate::app::settle::Ground;
use crate::app::shop::Shop;
use crate::app::view::Scene;
use crate::app::wallet_state::WalletReceiver;
use crate::clock::SharedClock;
use crate::db::Db;
use crate::domain::fiat::Rate;
use crate::keys::Keys;
use crate::live::Live;
use crate::payout::Batcher;
use crate::webhook::Reach;

pub use error::Problem;

/// The largest body taken, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What every handler works with.
#[derive(Clone)]
pub struct HttpState {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: SharedClock,
    /// What is sold, and how.
    pub shop: Arc<Shop>,
    /// What signs.
    pub keys: Arc<Keys>,
    /// What is known of the chain now.
    pub readiness: ReadinessReceiver,
    /// How the node's watch-only wallet is doing.
    pub wallet: WalletReceiver,
    /// Makes and sends batches of payouts.
    pub batcher: Arc<Batcher>,
    /// The longest life of a lease token.
    pub token_ttl_s: u64,
    /// How the source of a request is found.
    pub sources: Arc<source::Sources>,
    /// Requests by source.
    pub limits: Arc<limits::Limits>,
    /// Wakes whoever waits for a change, and knows who may pass the gate.
    pub live: Live,
    /// Answers kept for a moment.
    pub kept: Arc<fresh::Kept>,
    /// Streams that are open.
    pub streams: Arc<streams::Streams>,
    /// Asks the follower to read blocks again.
    pub rescan: RescanHandle,
    /// How far webhooks may reach.
    pub reach: Reach,
    /// Whether a faucet pays invoices: on the private network of `leasehold dev` only.
    pub faucet: bool,
    /// The catalogue file.
    pub catalog: Arc<std::path::Path>,
    /// What a bitcoin costs in the operator's currency, for a hint on pages.
    pub rate: watch::Receiver<Option<Rate>>,
    /// How pages look.
    pub look: Arc<look::Look>,
    /// Ends open streams.
    pub shutdown: CancellationToken,
    /// Renders the metrics; `None` when nothing was installed.
    pub metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

/// How long an overview is good for while no operator does anything, in milliseconds.
const OVERVIEW_KEPT_MS: i64 = 5000;

impl HttpState {
    /// What views depend on.
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            now: self.clock.now(),
            tip: self.readiness.borrow().height(),
            public_url: &self.shop.public_url,
        }
    }

    /// What is sold, with the limits that a source has.
    pub fn shop_for(&self, source: &source::Source) -> Arc<Shop> {
        if !source.shared {
            return Arc::clone(&self.shop);
        }
        let mut shop = Shop::clone(&self.shop);
        let holds = &mut shop.limits.holds_per_source;
        *holds = holds.saturating_mul(limits::SHARED_FACTOR);
        Arc::new(shop)
    }

    /// What an operator sees first: up to 5 seconds old, but for what operators did themselves and
    /// for the node.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn overview(&self) -> Result<Overview, AppError> {
        let readiness = self.readiness.borrow().clone();
        let wallet = self.wallet.borrow().clone();
        let now = self.clock.now();
        let done = looking::last_done(&self.db).await?;
        let compute = async {
            let node = (&readiness, &wallet);
            let seen = looking::overview(&self.db, now, self.shop.keychain_id, node).await?;
            Ok::<_, AppError>((done, seen))
        };
        let when = (now, OVERVIEW_KEPT_MS);
        let (_, seen) = self.kept.overview.get("", when, |kept| kept.0 == done, compute).await?;
        Ok(Overview { node: NodeView::new(&readiness, &wallet), ..seen })
    }

    /// What settling depends on.
    pub fn ground(&self) -> Ground {
        Ground {
            policy: self.shop.policy.clone(),
            now: self.clock.now(),
            trusted: self.readiness.borrow().trusted(),
        }
    }
}

/// The routes, with everything that holds for all of them, and `more`: pages, or what `dev` adds.
pub fn router(state: HttpState, more: Router<HttpState>) -> Router {
    let api = openapi::routers();
    let limited = middleware::from_fn_with_state(state.clone(), limits::limit);
    let timed = || middleware::from_fn(layers::time_limit);
    let public = api.customers.layer(timed()).merge(api.streams).layer(limited.clone());
    let calls = public
        .merge(api.machines.layer(timed()))
        .layer(layers::cors())
        .layer(layers::api_policy())
        .layer(layers::not_stored());
    let pages = pages::router()
        .merge(more)
        .layer(middleware::from_fn_with_state(state.clone(), layers::own_forms))
        .layer(middleware::from_fn_with_state(state.clone(), pages::arrival::arrive))
        .layer(layers::referrer_policy(&state.shop.public_url))
        .layer(timed())
        .layer(limited);
    calls
        .merge(api.docs)
        .merge(pages)
        .fallback(layers::no_such_page)
        .method_not_allowed_fallback(layers::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), pages::problem::for_people))
        .layer(middleware::from_fn_with_state(state.clone(), layers::retry_after))
        .layer(middleware::from_fn(layers::measure))
        .layer(layers::fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(layers::fixed(header::REFERRER_POLICY, "no-referrer"))
        .with_state(state)
}
