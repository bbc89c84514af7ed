//! Payouts for operators: what is owed and what became of it, and the batches that pay it.
//! Signs nothing: a PSBT goes out, a signed one comes back.

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use bitcoin::Txid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::abandon_batch::AbandonBatch;
use crate::app::approve_batch::ApproveBatch;
use crate::app::idempotent::Outcome;
use crate::app::look::{self, PayoutFilter};
use crate::app::record_batch::Actor;
use crate::app::view_payout::{self, BatchView, PayoutView, PreparedView};
use crate::app::{Code, Refusal};
use crate::domain::ids::PayoutId;
use crate::domain::payout::PayoutState;
use crate::domain::payout::batch::BatchState;
use crate::http::api::page::{Limit, Listed};
use crate::http::auth::{Operator, Scope};
use crate::http::create::idempotency;
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::{HttpState, Problem};
use crate::payout::{Bump, Prepare};

/// The largest PSBT that is taken: it carries the whole transactions that made its coins.
pub(in crate::http) const PSBT_LIMIT: usize = 16 * 1024 * 1024;

const PREPARE: &str = "/v1/admin/payouts/prepare";

pub(super) fn router() -> OpenApiRouter<HttpState> {
    let large = OpenApiRouter::new().routes(routes!(submit));
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(prepare))
        .routes(routes!(batches))
        .routes(routes!(batch))
        .routes(routes!(bump))
        .routes(routes!(abandon))
        .routes(routes!(approve))
        .routes(routes!(resume))
        .merge(large.layer(DefaultBodyLimit::max(PSBT_LIMIT)))
}

impl Operator {
    /// Who it is to the two-person rule.
    pub(in crate::http) fn actor(&self) -> Actor {
        Actor { key: self.0.id.clone(), name: self.name() }
    }
}

/// Which payouts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PayoutQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only in this state: `waiting`, `due`, `prepared`, `broadcast`, `confirmed`.
    #[param(value_type = Option<String>)]
    state: Option<PayoutState>,
    /// Only of this resource.
    resource: Option<String>,
}

/// Payouts, newest first. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payouts", tag = "admin", params(PayoutQuery),
    responses((status = 200, description = "A page of payouts", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<PayoutQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let filter = PayoutFilter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        claim: None,
        before: None,
    };
    let part = query.limit.after(query.cursor);
    let found = look::payouts(&state.db, filter, &part).await?;
    Ok(Listed::new(found, |row| serde_json::json!(view_payout::payout(&row))))
}

/// One payout. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payouts/{id}", tag = "admin",
    params(("id" = String, Path, description = "The payout's id")),
    responses((status = 200, description = "The payout", body = PayoutView),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<PayoutView>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(view_payout::payout(&look::payout(&state.db, &id).await?)))
}

/// What to prepare. `{}` is everything that is due.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBatch {
    /// Only these payouts, also such below the minimum.
    only: Option<Vec<String>>,
    /// Thousandths of a satoshi a vbyte: 1500 is 1.5 sat/vB. Otherwise the node's estimate.
    feerate_msat_vb: Option<u64>,
    /// The most that the fee may be of a payout, in percent.
    max_fee_pct: Option<u64>,
    /// True: show what would be made, and keep nothing.
    #[serde(default)]
    preview: bool,
    /// Make it only if it is this transaction: `txid` of a preview.
    expect_txid: Option<String>,
}

/// A batch as it is now.
pub(in crate::http) async fn show(state: &HttpState, id: &str) -> Result<BatchView, Problem> {
    let ground = (
        state.shop.keychain.network(),
        state.readiness.borrow().height(),
        state.batcher.rules.approval,
    );
    Ok(look::batch(&state.db, id, ground).await?)
}

/// The transaction that was previewed.
fn expected(txid: Option<String>) -> Result<Option<Txid>, Refusal> {
    let wrong = |_| {
        let detail = "this is no txid; take txid of a preview";
        Refusal::field(Code::InvalidRequest, "/expect_txid", detail)
    };
    txid.map(|text| text.parse().map_err(wrong)).transpose()
}

/// What was made, with its batch as it is now.
async fn made(state: &HttpState, outcome: Outcome) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut body = outcome.body;
    let id = body["batch"].as_str().unwrap_or_default().to_owned();
    body["batch"] = serde_json::json!(show(state, &id).await?);
    Ok((StatusCode::CREATED, Json(body)))
}

/// Prepare a batch: one PSBT for everything that is due, to be signed elsewhere. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/prepare", tag = "admin", request_body = NewBatch,
    params(("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 200, description = "A preview", body = PreparedView),
        (status = 201, description = "The batch", body = PreparedView),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: nothing is due, or coins are short",
            body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody),
        (status = 503, description = "not_ready: the node or its wallet", body = ProblemBody)))]
async fn prepare(
    State(state): State<HttpState>,
    operator: Operator,
    headers: HeaderMap,
    body: Body<NewBatch>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    operator.may(Scope::Payout)?;
    let field = |pointer: &str, what: &str| Refusal::field(Code::InvalidRequest, pointer, what);
    let NewBatch { only, feerate_msat_vb, max_fee_pct, preview, expect_txid } = body.value;
    let ids = |list: Vec<String>| -> Result<Vec<PayoutId>, Refusal> {
        let id = |text: &String| {
            PayoutId::parse(text).ok_or_else(|| field("/only", "this is no payout id: pyt_…"))
        };
        list.iter().map(id).collect()
    };
    let asked = Prepare {
        only: only.map(ids).transpose()?,
        feerate_msat: feerate_msat_vb,
        max_fee_pct,
        expect: expected(expect_txid)?,
    };
    if preview {
        let shown = state.batcher.preview(&asked).await?.view(state.shop.keychain.network());
        return Ok((StatusCode::OK, Json(serde_json::json!(shown))));
    }
    let key = idempotency(&headers, PREPARE, &operator.0.id, &body.bytes)?;
    made(&state, state.batcher.prepare(&asked, operator.actor(), key).await?).await
}

/// A signed batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignedBatch {
    /// The signed PSBT in base64, or the finished transaction in hex.
    psbt: String,
    /// Take it only if it is of this batch.
    batch: Option<String>,
}

/// What became of a signed batch.
#[derive(Serialize, ToSchema)]
struct SubmittedView {
    /// True when it has all signatures and is on its way.
    complete: bool,
    /// What is missing otherwise. What came is kept: submit what others signed.
    missing: Option<String>,
    /// The batch.
    batch: BatchView,
}

/// Submit a signed batch: it must be exactly what was prepared. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/submit", tag = "admin", request_body = SignedBatch,
    responses((status = 200, description = "It is sent, or signatures are missing",
            body = SubmittedView),
        (status = 403, description = "forbidden: another API key must approve it first",
            body = ProblemBody),
        (status = 409, description = "conflict: it was given up, or its money is not there",
            body = ProblemBody),
        (status = 422, description = "invalid_request: what is different or wrong in it",
            body = ProblemBody),
        (status = 503, description = "not_ready: the node", body = ProblemBody)))]
async fn submit(
    State(state): State<HttpState>,
    operator: Operator,
    body: Body<SignedBatch>,
) -> Result<Json<SubmittedView>, Problem> {
    operator.may(Scope::Payout)?;
    let SignedBatch { psbt, batch } = body.value;
    let done = state.batcher.submit(&psbt, batch.as_deref(), operator.name()).await?;
    let batch = show(&state, done.batch.as_str()).await?;
    Ok(Json(SubmittedView { complete: done.complete, missing: done.missing, batch }))
}

/// Which batches.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct BatchQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only in this state: `prepared`, `broadcast`, `confirmed`, `abandoned`, `replaced`,
    /// `conflicted`.
    #[param(value_type = Option<String>)]
    state: Option<BatchState>,
}

/// Batches, newest first: id, state and when it was made. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payouts/batches", tag = "admin", params(BatchQuery),
    responses((status = 200, description = "A page of batches", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn batches(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<BatchQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let part = query.limit.after(query.cursor);
    let found = look::batches(&state.db, query.state.map(BatchState::as_str), &part).await?;
    Ok(Listed::new(found, |row| {
        serde_json::json!({
            "id": row.id,
            "state": row.state,
            "fee_policy": row.fee_policy,
            "replaced_by": row.replaced_by,
            "created_at": row.created_at,
        })
    }))
}

/// A batch with its PSBT and all its versions. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payouts/batches/{id}", tag = "admin",
    params(("id" = String, Path, description = "The batch's id")),
    responses((status = 200, description = "The batch", body = BatchView),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn batch(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(show(&state, &id).await?))
}

/// A higher fee.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVersion {
    /// Thousandths of a satoshi a vbyte: 1500 is 1.5 sat/vB. Otherwise the node's estimate.
    feerate_msat_vb: Option<u64>,
    /// The most that the fee may be of a payout, in percent.
    max_fee_pct: Option<u64>,
    /// True: show what would be made, and keep nothing.
    #[serde(default)]
    preview: bool,
    /// Make it only if it is this transaction: `txid` of a preview.
    expect_txid: Option<String>,
}

/// Make another version of a batch with a higher fee, to be signed again. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/batches/{id}/bump", tag = "admin",
    request_body = NewVersion,
    params(("id" = String, Path, description = "The batch's id"),
        ("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 200, description = "A preview", body = PreparedView),
        (status = 201, description = "The batch with its new version", body = PreparedView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict", body = ProblemBody),
        (status = 422, description = "invalid_request: the fee is too low", body = ProblemBody)))]
async fn bump(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<NewVersion>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    operator.may(Scope::Payout)?;
    let path = format!("/v1/admin/payouts/batches/{id}/bump");
    let key = idempotency(&headers, &path, &operator.0.id, &body.bytes)?;
    let NewVersion { feerate_msat_vb, max_fee_pct, preview, expect_txid } = body.value;
    let asked = Bump {
        batch: id,
        feerate_msat: feerate_msat_vb,
        max_fee_pct,
        expect: expected(expect_txid)?,
    };
    if preview {
        let shown = state.batcher.preview_bump(&asked).await?.view(state.shop.keychain.network());
        return Ok((StatusCode::OK, Json(serde_json::json!(shown))));
    }
    made(&state, state.batcher.bump(&asked, operator.actor(), key).await?).await
}

/// Give a batch up: its payouts are due again, and what pays them next makes it impossible. Scope
/// `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/batches/{id}/abandon", tag = "admin",
    params(("id" = String, Path, description = "The batch's id")),
    responses((status = 200, description = "The batch", body = BatchView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: it is in the chain", body = ProblemBody)))]
async fn abandon(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    operator.may(Scope::Payout)?;
    let (ground, actor) = (state.ground(), operator.name());
    state.db.write(AbandonBatch { ground, batch: id.clone(), actor }).await?;
    Ok(Json(show(&state, &id).await?))
}

/// What is approved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approved {
    /// The version that was looked at.
    version: u32,
}

/// Approve a batch that another API key prepared. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/batches/{id}/approve", tag = "admin",
    request_body = Approved, params(("id" = String, Path, description = "The batch's id")),
    responses((status = 200, description = "The batch", body = BatchView),
        (status = 403, description = "forbidden: the key prepared it itself", body = ProblemBody),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: that version is not the newest",
            body = ProblemBody)))]
async fn approve(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
    body: Body<Approved>,
) -> Result<Json<BatchView>, Problem> {
    operator.may(Scope::Payout)?;
    let (ground, actor, version) = (state.ground(), operator.actor(), body.value.version);
    state.db.write(ApproveBatch { ground, batch: id.clone(), version, actor }).await?;
    Ok(Json(show(&state, &id).await?))
}

/// How to go on after a restore.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// Go on though something is unclear.
    #[serde(default)]
    force: bool,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct ResumedView {
    /// True when batches can be prepared again.
    resumed: bool,
    /// Batches that payments of the wallet became.
    found: Vec<String>,
    /// What has to be looked at first.
    unclear: Vec<String>,
}

/// After a restore: take in what the wallet has paid since the backup, then let batches be prepared
/// again. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/resume", tag = "admin", request_body = Resume,
    responses((status = 200, description = "What was found", body = ResumedView),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 503, description = "not_ready: the node or its wallet", body = ProblemBody)))]
async fn resume(
    State(state): State<HttpState>,
    operator: Operator,
    body: Body<Resume>,
) -> Result<Json<ResumedView>, Problem> {
    operator.may(Scope::Payout)?;
    let done = state.batcher.resume(body.value.force, operator.name()).await?;
    Ok(Json(ResumedView {
        resumed: done.resumed,
        found: done.found.iter().map(ToString::to_string).collect(),
        unclear: done.unclear,
    }))
}
