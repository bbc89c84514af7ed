//! temp
use super::json::Body;
use super::source::Source;
use super::{HttpState, Problem};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::request_lease::{ClaimFor, RequestLease};
use crate::app::{Code, Refusal, view};
use crate::db;
use crate::domain::bearer::{Origin, token_hash};
use crate::domain::ids::LeaseId;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// temp
pub fn router() -> Router<HttpState> {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/v1/leases", post(create))
        .route("/v1/leases/{id}", get(lease))
        .route("/v1/leases/{id}/return", post(give_back))
        .route("/v1/leases/{id}/invoices", post(topup))
        .route("/v1/invoices/{id}", get(invoice))
}
async fn ready(State(state): State<HttpState>) -> (StatusCode, Json<Value>) {
    let now = state.readiness.borrow().clone();
    let status = if now.trusted() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (
        status,
        Json(
            json!({"tip_height": now.tip.map(|tip| tip.height), "node": format!("{:?}", now.node)}),
        ),
    )
}
#[derive(Deserialize)]
struct Create {
    resource: String,
    duration_s: u64,
    #[serde(default)]
    params: serde_json::Map<String, Value>,
}
async fn create(
    State(state): State<HttpState>,
    source: Source,
    body: Body<Create>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut nonce = [0u8; 32];
    getrandom::fill(&mut nonce).expect("random");
    let token = state.keys.claim_secret.token("/v1/leases", Origin::Nonce(&nonce), &body.bytes);
    let item = RequestLease {
        shop: Arc::clone(&state.shop),
        now: state.clock.now(),
        resource: body.value.resource,
        duration_s: body.value.duration_s,
        params: body.value.params,
        refund_address: None,
        claim: ClaimFor::New { token_hash: token_hash(&token) },
        source: Some(source.name),
        key: None,
    };
    let mut outcome = state.db.write(item).await?;
    outcome.body["claim_token"] = json!(token);
    Ok((StatusCode::CREATED, Json(outcome.body)))
}
#[derive(Deserialize)]
struct Topup {
    duration_s: Option<u64>,
    amount_sat: Option<u64>,
}
async fn topup(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    body: Body<Topup>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let lease = LeaseId::parse(&id).ok_or_else(|| Refusal::new(Code::NotFound, "no such lease"))?;
    let ask = match (body.value.duration_s, body.value.amount_sat) {
        (Some(d), _) => Ask::Duration(d),
        (_, a) => Ask::Amount(a.unwrap_or(0)),
    };
    let item = AddInvoice {
        shop: Arc::clone(&state.shop),
        now: state.clock.now(),
        lease,
        ask,
        refund_address: None,
        source: Some(source.name),
        key: None,
    };
    let outcome = state.db.write(item).await?;
    Ok((StatusCode::CREATED, Json(outcome.body)))
}
async fn lease(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let mut conn = state.db.read().await?;
    let row = db::lease::find(&mut conn, &id)
        .await?
        .ok_or_else(|| Refusal::new(Code::NotFound, "no such lease"))?;
    Ok(Json(json!(view::lease(&row, &state.scene()))))
}
async fn give_back(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let lease = LeaseId::parse(&id).ok_or_else(|| Refusal::new(Code::NotFound, "no such lease"))?;
    let _ = headers;
    let row = state
        .db
        .write(ActOnLease { ground: state.ground(), lease, action: Action::Return, actor: None })
        .await?;
    Ok(Json(json!(view::lease(&row, &state.scene()))))
}
async fn invoice(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let mut conn = state.db.read().await?;
    let row = db::invoice::find(&mut conn, &id)
        .await?
        .ok_or_else(|| Refusal::new(Code::NotFound, "no such invoice"))?;
    Ok(Json(json!(view::invoice(&row, &state.scene()))))
}
