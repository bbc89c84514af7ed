//! Leases: asked for by anybody, managed by whoever has the claim token.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::change_claim::RotateClaim;
use crate::app::change_params::ChangeParams;
use crate::app::request_lease::RequestLease;
use crate::app::view::{self, InvoiceView, LeaseView};
use crate::app::{Code, Refusal, held, read};
use crate::db::lease::LeaseRow;
use crate::domain::bearer::token_hash;
use crate::domain::ids::LeaseId;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::token::{Claims, Subject, sign};
use crate::http::auth::{ClaimToken, Holder};
use crate::http::create::{Creating, Renewal, answer};
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::source::Source;
use crate::http::{HttpState, Problem};
use crate::live;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(find, change))
        .routes(routes!(add_invoice))
        .routes(routes!(token))
        .routes(routes!(give_back))
        .routes(routes!(rotate))
}

/// A request for time on a resource.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLease {
    /// The resource's id.
    resource: String,
    /// How long, in seconds.
    duration_s: u64,
    /// What the resource wants to know.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Where refunds go: an address, or a `bitcoin:` link with one.
    #[serde(default)]
    refund_address: Option<String>,
}

/// What a request for a lease gets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the use case answers")]
struct NewLeaseAnswer {
    /// The lease, not paid yet.
    lease: LeaseView,
    /// Its first invoice: where to pay.
    invoice: InvoiceView,
    /// Manages the lease. Left out when the request carried a claim token, whose claim the lease
    /// joins.
    claim_token: Option<String>,
}

/// What a request to pay for more gets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the use case answers")]
struct NewInvoiceAnswer {
    /// Where to pay.
    invoice: InvoiceView,
}

/// A lease with what only its holder sees.
#[derive(Serialize, ToSchema)]
struct HeldLease {
    /// What everybody sees.
    #[serde(flatten)]
    lease: LeaseView,
    /// What its holder handed in.
    params: BTreeMap<String, String>,
    /// How to get in; `null` for a resource that needs no more than the lease's token.
    #[schema(value_type = Option<Object>)]
    access: Option<Value>,
}

/// A lease as anybody sees it, with more for its holder.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes two answers")]
struct AnyLease {
    /// What everybody sees.
    #[serde(flatten)]
    lease: LeaseView,
    /// With the claim token: what its holder handed in.
    params: Option<BTreeMap<String, String>>,
    /// With the claim token: how to get in.
    #[schema(value_type = Option<Object>)]
    access: Option<Value>,
}

/// Checks an address at `pointer` of the body.
pub(in crate::http) fn checked_address(
    state: &HttpState,
    pointer: &str,
    address: Option<&str>,
) -> Result<Option<String>, Problem> {
    let Some(text) = address else { return Ok(None) };
    let network = state.shop.keychain.network();
    match crate::domain::address::check_address(text, network) {
        Ok(address) => Ok(Some(address.to_string())),
        Err(why) => Err(Refusal::field(Code::InvalidRequest, pointer, why).into()),
    }
}

/// Ask for time on a resource: an address of its own, and a claim token that manages it.
#[utoipa::path(post, path = "/v1/leases", tag = "leases", request_body = NewLease,
    security((), ("claim_token" = [])),
    params(("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "The lease, its first invoice and its claim token",
            body = NewLeaseAnswer),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 409, description = "sold_out, resource_paused", body = ProblemBody),
        (status = 422, description = "invalid_request, duration_out_of_range, \
            idempotency_key_reused", body = ProblemBody),
        (status = 429, description = "rate_limited", body = ProblemBody),
        (status = 503, description = "too_many_unpaid, not_ready, outcome_unknown",
            body = ProblemBody)))]
async fn create(
    State(state): State<HttpState>,
    source: Source,
    holder: Option<Holder>,
    headers: HeaderMap,
    body: Body<NewLease>,
) -> Result<Response, Problem> {
    let creating = Creating::new(&state, &headers, "/v1/leases", holder.as_ref(), &body.bytes)?;
    let value = body.value;
    let item = RequestLease {
        shop: state.shop_for(&source),
        now: state.clock.now(),
        refund_address: checked_address(
            &state,
            "/refund_address",
            value.refund_address.as_deref(),
        )?,
        resource: value.resource,
        duration_s: value.duration_s,
        params: value.params,
        claim: creating.claim(),
        source: Some(source.name),
        key: creating.key.clone(),
    };
    Ok(creating.answer(state.db.write(item).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// Wait up to so many seconds (at most 60) for a change.
    #[serde(default)]
    wait_s: u64,
    /// The `seq` that is known already.
    #[serde(default)]
    after_seq: u64,
}

/// A lease as anybody sees it; with the claim token also `params` and `access`.
#[utoipa::path(get, path = "/v1/leases/{id}", tag = "leases",
    security((), ("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id"), Wait),
    responses((status = 200, description = "The lease; params and access only with the claim \
            token", body = AnyLease, headers(("etag" = String, description = "For If-None-Match"))),
        (status = 304, description = "Unchanged since If-None-Match"),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn find(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(wait): Query<Wait>,
    holder: Option<Holder>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = wait_for(&state, &id, &wait).await?;
    if let Some(holder) = &holder {
        holder.must_hold(&row.claim)?;
    }
    let tag = tag(&row, holder.is_some());
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known.filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(','));
    let mut response = match known.any(|one| one.trim() == tag || one.trim() == "*") {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false if holder.is_some() => Json(held_view(&state, &row).await?).into_response(),
        false => Json(view::lease(&row, &state.scene())).into_response(),
    };
    let headers = response.headers_mut();
    let tag = HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?;
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}

/// Changes with `seq` and with who asks. Weak: fields that the clock drives change without it.
fn tag(row: &LeaseRow, held: bool) -> String {
    format!("W/\"{}{}\"", row.seq, if held { "-held" } else { "" })
}

/// A lease as the holder of its claim sees it.
async fn held_view(state: &HttpState, row: &LeaseRow) -> Result<HeldLease, Problem> {
    let lease = view::lease(row, &state.scene());
    let access = held::access(&state.db, row).await?;
    Ok(HeldLease { lease, params: row.params.clone(), access })
}

async fn wait_for(state: &HttpState, id: &str, wait: &Wait) -> Result<LeaseRow, Problem> {
    if wait.wait_s == 0 {
        return Ok(read::lease(&state.db, id).await?);
    }
    let HttpState { live, db, shutdown, .. } = state;
    let lease = lease_id(id)?;
    let row = live::wait_for(live, db, &lease, wait.after_seq, wait.wait_s, shutdown).await?;
    row.ok_or_else(|| no_lease(id).into())
}

/// A request to pay for more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    /// How many seconds more.
    duration_s: Option<u64>,
    /// Or: for how many satoshis.
    amount_sat: Option<u64>,
    /// Where refunds of it go: an address, or a `bitcoin:` link with one.
    refund_address: Option<String>,
}

fn no_lease(id: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no lease {id}"))
}

fn lease_id(id: &str) -> Result<LeaseId, Refusal> {
    LeaseId::parse(id).ok_or_else(|| no_lease(id))
}

/// Pay for more time of a lease. Anyone may.
#[utoipa::path(post, path = "/v1/leases/{id}/invoices", tag = "leases", request_body = NewInvoice,
    params(("id" = String, Path, description = "The lease's id"),
        ("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "The invoice", body = NewInvoiceAnswer),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "lease_ended, resource_paused", body = ProblemBody),
        (status = 422, description = "invalid_request, duration_out_of_range, amount_too_small",
            body = ProblemBody)))]
async fn add_invoice(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<NewInvoice>,
) -> Result<Response, Problem> {
    let endpoint = format!("/v1/leases/{id}/invoices");
    let creating = Creating::new(&state, &headers, &endpoint, None, &body.bytes)?;
    let ask = match (body.value.duration_s, body.value.amount_sat) {
        (Some(seconds), None) => Ask::Duration(seconds),
        (None, Some(sat)) => Ask::Amount(sat),
        _ => {
            let detail = "give either duration_s or amount_sat";
            return Err(Refusal::field(Code::InvalidRequest, "", detail).into());
        }
    };
    let item = AddInvoice {
        shop: state.shop_for(&source),
        now: state.clock.now(),
        lease: lease_id(&id)?,
        ask,
        refund_address: checked_address(
            &state,
            "/refund_address",
            body.value.refund_address.as_deref(),
        )?,
        source: Some(source.name),
        key: creating.key,
    };
    Ok(answer(state.db.write(item).await?))
}

/// The lease, if its claim is held.
pub(super) async fn held(
    state: &HttpState,
    id: &str,
    holder: &Holder,
) -> Result<LeaseRow, Problem> {
    let row = read::lease(&state.db, id).await?;
    holder.must_hold(&row.claim)?;
    Ok(row)
}

/// A signed lease token.
#[derive(Serialize, ToSchema)]
struct TokenAnswer {
    /// JWT, ES256K.
    token: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: crate::domain::time::Timestamp,
}

/// A signed, short-lived proof of the lease, verified offline with the published keys.
#[utoipa::path(post, path = "/v1/leases/{id}/token", tag = "leases",
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The token", body = TokenAnswer),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "lease_ended: its time does not run", body = ProblemBody)))]
async fn token(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
) -> Result<Json<TokenAnswer>, Problem> {
    let row = held(&state, &id, &holder).await?;
    let now = state.clock.now();
    let look = row.doc.standing.at(now);
    let (Some(expires_at), LeaseState::Active) = (look.expires_at, look.state) else {
        let detail = format!("a token is for an active lease; this one is {}", look.state.as_str());
        return Err(Refusal::new(Code::LeaseEnded, detail).into());
    };
    let subject = Subject {
        lease: row.facts.id.clone(),
        resource: row.facts.resource.clone(),
        generation: look.generation,
        seq: row.seq,
        expires_at,
    };
    let random = crate::app::random_128();
    let claims = Claims::new(subject, &state.shop.public_url, now, state.token_ttl_s, random);
    let expires_at = claims.expires_at();
    Ok(Json(TokenAnswer { token: sign(&claims, &state.keys.signing), expires_at }))
}

/// A change of a lease's parameters.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LeaseChange {
    /// All of them, as they shall be.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

/// Hand in other parameters.
#[utoipa::path(patch, path = "/v1/leases/{id}", tag = "leases", request_body = LeaseChange,
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = HeldLease),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "lease_ended", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn change(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
    body: Body<LeaseChange>,
) -> Result<Json<HeldLease>, Problem> {
    held(&state, &id, &holder).await?;
    let item =
        ChangeParams { lease: lease_id(&id)?, params: body.value.params, now: state.clock.now() };
    let row = state.db.write(item).await?;
    Ok(Json(held_view(&state, &row).await?))
}

/// Give the lease back; what is unused can be refunded.
#[utoipa::path(post, path = "/v1/leases/{id}/return", tag = "leases",
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody)))]
async fn give_back(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
) -> Result<Json<LeaseView>, Problem> {
    held(&state, &id, &holder).await?;
    let (lease, action) = (lease_id(&id)?, Action::Return);
    let item = ActOnLease { ground: state.ground(), lease, action, actor: None };
    let row = state.db.write(item).await?;
    state.live.caught_up().await;
    Ok(Json(view::lease(&row, &state.scene())))
}

/// A new claim token.
#[derive(Serialize, ToSchema)]
struct RotatedClaim {
    /// The old one is worth nothing from now on.
    claim_token: String,
}

/// Replace the claim token of this lease and of everything under the same claim. Codes and sessions
/// of the gate end, too.
#[utoipa::path(post, path = "/v1/leases/{id}/rotate-claim", tag = "leases",
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id"),
        ("idempotency-key" = Option<String>, Header,
            description = "Ask again with the old token and get the same new one")),
    responses((status = 200, description = "The new token", body = RotatedClaim),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 429, description = "rate_limited", body = ProblemBody)))]
async fn rotate(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    ClaimToken(old): ClaimToken,
    headers: HeaderMap,
) -> Result<Json<RotatedClaim>, Problem> {
    let claim = read::lease(&state.db, &id).await?.claim;
    let endpoint = format!("/v1/leases/{id}/rotate-claim");
    let old_hash = token_hash(&old);
    let secret = &state.keys.claim_secret;
    let made = Renewal::new(&headers, &endpoint, &old_hash, &[], |origin, asked| {
        secret.token(&endpoint, origin, asked)
    })?;
    let token_hash = token_hash(&made.secret);
    let now = state.clock.now();
    let item = RotateClaim { claim, old_hash, token_hash, key: made.key, now };
    state.db.write(item).await.map_err(|error| match error.refusal().map(|why| why.code) {
        Some(Code::Unauthorized) => Problem::from(error).bad_token(),
        _ => error.into(),
    })?;
    state.live.caught_up().await;
    Ok(Json(RotatedClaim { claim_token: made.secret }))
}
