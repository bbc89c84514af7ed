//! For supervisors and monitoring.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::readiness::NodeNow;
use crate::db::{self, Db, DbError};
use crate::domain::payout::PayoutState;
use crate::domain::time::Timestamp;
use crate::http::{HttpState, Problem};

/// How long it is believed that the database answers, or does not, in milliseconds.
const READY_KEPT_MS: i64 = 1000;
/// How long counts of rows are good for, in milliseconds.
const COUNTS_KEPT_MS: i64 = 5000;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(metrics))
}

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It runs", body = String)))]
async fn alive() -> &'static str {
    "ok\n"
}

/// One thing that has to be right.
#[derive(Serialize, ToSchema)]
struct Part {
    ok: bool,
    detail: String,
}

/// Whether everything is right.
#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
    node: Part,
    database: Part,
    tip_height: Option<u32>,
    tip_hash: Option<String>,
    tip_lag: u32,
    node_version: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    followed_at: Option<Timestamp>,
}

/// Node, database and tip lag, each with a reason.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, description = "Everything is right", body = Ready),
        (status = 503, description = "Something is not", body = Ready)))]
async fn ready(State(state): State<HttpState>) -> (StatusCode, Json<Ready>) {
    let now = state.readiness.borrow().clone();
    let look = async { Ok::<_, Infallible>(look_at(&state.db).await.err().map(|e| e.to_string())) };
    let when = (state.clock.now(), READY_KEPT_MS);
    let wrong = state.kept.database.get("", when, |_| true, look).await.unwrap_or_default();
    let database = Part { ok: wrong.is_none(), detail: wrong.unwrap_or_else(|| "answers".into()) };
    let detail = match &now.node {
        NodeNow::Trusted => "followed to its tip".to_owned(),
        NodeNow::CatchingUp => format!("catching up, {} blocks behind", now.lag),
        NodeNow::Recovering => {
            "searching the chain for addresses that were given out before".to_owned()
        }
        NodeNow::Doubted(why) | NodeNow::Failing(why) => why.clone(),
    };
    let node = Part { ok: now.trusted(), detail };
    let ready = node.ok && database.ok;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Ready {
        ready,
        node,
        database,
        tip_height: now.tip.map(|tip| tip.height),
        tip_hash: now.tip.map(|tip| tip.hash.to_string()),
        tip_lag: now.lag,
        node_version: now.node_version,
        followed_at: now.followed_at,
    };
    (status, Json(body))
}

async fn look_at(db: &Db) -> Result<(), DbError> {
    let mut conn = db.read().await?;
    db::chain::tip(&mut conn).await.map(|_| ())
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus text format", body = String)))]
async fn metrics(State(state): State<HttpState>) -> Result<Response, Problem> {
    let when = (state.clock.now(), COUNTS_KEPT_MS);
    state.kept.counts.get("", when, |()| true, count(&state)).await?;
    let text = state.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text).into_response())
}

/// Counts what is in the database, for a scrape.
async fn count(state: &HttpState) -> Result<(), Problem> {
    let mut conn = state.db.read().await?;
    let gauge = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    for (payment_state, n) in db::payment::count_by_state(&mut conn).await? {
        metrics::gauge!("leasehold_payments", "state" => payment_state).set(gauge(n));
    }
    for (lease_state, n) in db::lease::count_by_state(&mut conn).await? {
        metrics::gauge!("leasehold_leases", "state" => lease_state.as_str()).set(gauge(n));
    }
    let payouts = db::payout::sums(&mut conn).await?;
    for payout_state in PayoutState::ALL.map(PayoutState::as_str) {
        let found = payouts.iter().find(|(name, ..)| name == payout_state);
        let sat = found.map_or(0, |(_, _, sat)| *sat);
        metrics::gauge!("leasehold_payouts_sat", "state" => payout_state).set(gauge(sat));
    }
    metrics::gauge!("leasehold_unpaid_holds").set(gauge(db::unit::count_held(&mut conn).await?));
    metrics::gauge!("leasehold_outbox_depth").set(gauge(db::work::depth(&mut conn).await?));
    let (waiting, failing) = db::action::depth(&mut conn).await?;
    metrics::gauge!("leasehold_actions_waiting").set(gauge(waiting));
    metrics::gauge!("leasehold_actions_failing").set(gauge(failing));
    for keychain in db::keychain::list(&mut conn).await? {
        let gap = db::keychain::gap(&mut conn, keychain.id).await?;
        let name = keychain.id.to_string();
        metrics::gauge!("leasehold_gap_used", "keychain" => name).set(f64::from(gap));
    }
    metrics::gauge!("leasehold_tip_lag").set(f64::from(state.readiness.borrow().lag));
    Ok(())
}
