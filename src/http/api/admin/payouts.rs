//! Payouts for operators: what is owed and what became of it, and the batches that pay it.
//! Signs nothing: a PSBT goes out, a signed one comes back.

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::abandon_batch::AbandonBatch;
use crate::app::approve_batch::ApproveBatch;
use crate::app::idempotent::{self, Key};
use crate::app::record_batch::Actor;
use crate::app::view_payout::{self, BatchView, PayoutView, PaysView};
use crate::app::{Code, Refusal};
use crate::db;
use crate::db::payout::Filter;
use crate::domain::ids::PayoutId;
use crate::domain::payout::PayoutState;
use crate::domain::payout::batch::BatchState;
use crate::http::api::page::{Limit, Listed, before_moment, known_resource, moment};
use crate::http::auth::{Operator, Scope};
use crate::http::create::idempotency;
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::{HttpState, Problem};
use crate::payout::{Bump, LeftOutPayout, Prepare, Prepared};

/// The largest PSBT that is taken: it carries the whole transactions that made its coins.
const PSBT_LIMIT: usize = 16 * 1024 * 1024;

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
    fn actor(&self) -> Actor {
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
    let mut conn = state.db.read().await?;
    known_resource(&mut conn, query.resource.as_deref()).await?;
    let filter = Filter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        claim: None,
        before: before_moment(query.cursor.as_deref())?,
    };
    let rows = db::payout::list(&mut conn, &filter, query.limit.with_next()).await?;
    Ok(Listed::new(&rows, query.limit, |row| {
        let item = serde_json::json!(view_payout::payout(row));
        (moment(row.created_at, &row.facts.id), item)
    }))
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
    let mut conn = state.db.read().await?;
    let found = db::payout::find(&mut conn, &id).await?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no payout {id}"));
    Ok(Json(view_payout::payout(&found.ok_or_else(unknown)?)))
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

/// A payout that is left out.
#[derive(Serialize, ToSchema)]
struct LeftOutView {
    /// Its id.
    id: String,
    /// Why.
    why: String,
}

/// What was prepared, or would be.
#[derive(Serialize, ToSchema)]
struct PreparedView {
    /// The txid of the transaction before it is signed: a preview is known by it.
    txid: String,
    /// The feerate it was drafted for.
    feerate_msat_vb: u64,
    /// What it pays.
    pays: PaysView,
    /// What is due and is not paid by it.
    left_out: Vec<LeftOutView>,
    /// The batch; `null` for a preview.
    batch: Option<BatchView>,
}

async fn show(state: &HttpState, id: &str) -> Result<BatchView, Problem> {
    let mut conn = state.db.read().await?;
    let ground = (
        state.shop.keychain.network(),
        state.readiness.borrow().height(),
        state.batcher.rules.approval,
    );
    let found = view_payout::batch(&mut conn, id, ground).await?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no batch {id}"));
    Ok(found.ok_or_else(unknown)?)
}

async fn shown(state: &HttpState, made: Prepared) -> Result<Json<PreparedView>, Problem> {
    let kept = made.kept.as_ref().and_then(|outcome| outcome.body["batch"].as_str());
    let batch = match kept {
        Some(id) => Some(show(state, id).await?),
        None => None,
    };
    let left = |LeftOutPayout { id, why }| LeftOutView { id: id.to_string(), why };
    Ok(Json(PreparedView {
        txid: made.unsigned_txid.to_string(),
        feerate_msat_vb: made.feerate_msat,
        pays: view_payout::draft(&made.draft, state.shop.keychain.network()),
        left_out: made.left_out.into_iter().map(left).collect(),
        batch,
    }))
}

/// What was made for this key before: what it made is not due any more, so nothing is drafted.
async fn made_before(
    state: &HttpState,
    key: Option<&Key>,
) -> Result<Option<Json<PreparedView>>, Problem> {
    let mut conn = state.db.read().await?;
    let Some(outcome) = idempotent::kept(&mut conn, key).await? else { return Ok(None) };
    let id = outcome.body["batch"].as_str().unwrap_or_default();
    let batch = show(state, id).await?;
    let row = db::batch::find(&mut conn, id).await?;
    let n = outcome.body["version"].as_u64().and_then(|n| u32::try_from(n).ok());
    let version = row.zip(n).and_then(|(row, n)| row.version(n).cloned());
    let corrupt = || db::DbError::corrupt("idempotency", "answer", id);
    let version = version.ok_or_else(corrupt)?;
    Ok(Some(Json(PreparedView {
        txid: version.unsigned_txid.to_string(),
        feerate_msat_vb: version.fee_sat.saturating_mul(4000) / version.weight.max(1),
        pays: batch.pays.clone(),
        left_out: Vec::new(),
        batch: Some(batch),
    })))
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
) -> Result<(StatusCode, Json<PreparedView>), Problem> {
    operator.may(Scope::Payout)?;
    let field = |pointer: &str, what: &str| Refusal::field(Code::InvalidRequest, pointer, what);
    let NewBatch { only, feerate_msat_vb, max_fee_pct, preview, expect_txid } = body.value;
    let ids = |list: Vec<String>| -> Result<Vec<PayoutId>, Refusal> {
        let id = |text: &String| {
            PayoutId::parse(text).ok_or_else(|| field("/only", "this is no payout id: pyt_…"))
        };
        list.iter().map(id).collect()
    };
    let no_txid = |_| field("/expect_txid", "this is no txid; take txid of a preview");
    let asked = Prepare {
        only: only.map(ids).transpose()?,
        feerate_msat: feerate_msat_vb,
        max_fee_pct,
        expect: expect_txid.map(|text| text.parse().map_err(no_txid)).transpose()?,
    };
    if preview {
        let made = state.batcher.preview(&asked).await?;
        return Ok((StatusCode::OK, shown(&state, made).await?));
    }
    let key = idempotency(&headers, PREPARE, &operator.0.id, &body.bytes)?;
    if let Some(made) = made_before(&state, key.as_ref()).await? {
        return Ok((StatusCode::CREATED, made));
    }
    let made = state.batcher.prepare(&asked, operator.actor(), key).await?;
    Ok((StatusCode::CREATED, shown(&state, made).await?))
}

/// A signed batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignedBatch {
    /// The signed PSBT in base64, or the finished transaction in hex.
    psbt: String,
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
    let done = state.batcher.submit(&body.value.psbt, operator.name()).await?;
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
    let before = before_moment(query.cursor.as_deref())?;
    let mut conn = state.db.read().await?;
    let only = query.state.map(BatchState::as_str);
    let rows = db::batch::list(&mut conn, only, before.as_ref(), query.limit.with_next()).await?;
    Ok(Listed::new(&rows, query.limit, |row| {
        let item = serde_json::json!({
            "id": row.id,
            "state": row.state,
            "fee_policy": row.fee_policy,
            "replaced_by": row.replaced_by,
            "created_at": row.created_at,
        });
        (moment(row.created_at, &row.id), item)
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
    /// Thousandths of a satoshi a vbyte. Otherwise the node's estimate.
    feerate_msat_vb: Option<u64>,
    /// The most that the fee may be of a payout, in percent.
    max_fee_pct: Option<u64>,
}

/// Make another version of a batch with a higher fee, to be signed again. Scope `payout`.
#[utoipa::path(post, path = "/v1/admin/payouts/batches/{id}/bump", tag = "admin",
    request_body = NewVersion,
    params(("id" = String, Path, description = "The batch's id"),
        ("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "The batch with its new version", body = PreparedView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict", body = ProblemBody),
        (status = 422, description = "invalid_request: the fee is too low", body = ProblemBody)))]
async fn bump(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<NewVersion>,
) -> Result<(StatusCode, Json<PreparedView>), Problem> {
    operator.may(Scope::Payout)?;
    let path = format!("/v1/admin/payouts/batches/{id}/bump");
    let key = idempotency(&headers, &path, &operator.0.id, &body.bytes)?;
    let NewVersion { feerate_msat_vb, max_fee_pct } = body.value;
    let asked = Bump { batch: id, feerate_msat: feerate_msat_vb, max_fee_pct };
    if let Some(made) = made_before(&state, key.as_ref()).await? {
        return Ok((StatusCode::CREATED, made));
    }
    let made = state.batcher.bump(&asked, operator.actor(), key).await?;
    Ok((StatusCode::CREATED, shown(&state, made).await?))
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
