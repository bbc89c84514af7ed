//! Leases: asked for by anybody, managed by whoever has the claim token.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::change_claim::RotateClaim;
use crate::app::change_params::ChangeParams;
use crate::app::request_lease::RequestLease;
use crate::app::view::{self, LeaseView};
use crate::app::{Code, Refusal, read};
use crate::db::lease::LeaseRow;
use crate::domain::bearer::{Origin, token_hash};
use crate::domain::ids::LeaseId;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::token::{Claims, Subject, sign};
use crate::http::auth::Holder;
use crate::http::create::{Creating, answer};
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

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
    /// Where refunds go.
    #[serde(default)]
    refund_address: Option<String>,
}

/// Checks an address at `pointer` of the body.
pub(super) fn checked_address(
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
    params(("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "{lease, invoice, claim_token}", body = Object),
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
    let creating = Creating::new(&state, &headers, "/v1/leases", &body.bytes, holder.as_ref())?;
    let value = body.value;
    let item = RequestLease {
        shop: Arc::clone(&state.shop),
        now: state.clock.now(),
        refund_address: checked_address(
            &state,
            "/refund_address",
            value.refund_address.as_deref(),
        )?,
        resource: value.resource,
        duration_s: value.duration_s,
        params: value.params,
        claim: creating.claim(holder.as_ref()),
        source: Some(source.name),
        key: creating.key.clone(),
    };
    let outcome = state.db.write(item).await?;
    Ok(answer(outcome, holder.is_none().then_some(creating.token.as_str())))
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
    params(("id" = String, Path, description = "The lease's id"), Wait),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 304, description = "Unchanged since If-None-Match"),
        (status = 401, description = "unauthorized", body = ProblemBody),
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
    // A holder sees more than others, so it is another representation.
    let tag = format!("\"{}{}\"", row.seq, if holder.is_some() { "-held" } else { "" });
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = |one: &str| one.trim().trim_start_matches("W/") == tag;
    let matches = known.is_some_and(|known| known.split(',').any(same));
    let mut response = if matches {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut body = json!(view::lease(&row, &state.scene()));
        if holder.is_some() {
            body["params"] = json!(row.params);
            body["access"] = Value::Null;
        }
        Json(body).into_response()
    };
    let tag = HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::ETAG, tag);
    let vary = HeaderValue::from_static("authorization");
    response.headers_mut().append(header::VARY, vary);
    Ok(response)
}

async fn wait_for(state: &HttpState, id: &str, wait: &Wait) -> Result<LeaseRow, Problem> {
    let mut changes = state.live.subscribe(id);
    let row = read::lease(&state.db, id).await?;
    if wait.wait_s == 0 || row.seq > wait.after_seq {
        return Ok(row);
    }
    let change = async {
        loop {
            changes.changed().await;
            let row = read::lease(&state.db, id).await?;
            if row.seq > wait.after_seq {
                return Ok::<_, Problem>(row);
            }
        }
    };
    tokio::select! {
        row = change => row,
        () = state.shutdown.cancelled() => Ok(row),
        () = tokio::time::sleep(Duration::from_secs(wait.wait_s.min(60))) => Ok(row),
    }
}

/// A request to pay for more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    /// How many seconds more.
    duration_s: Option<u64>,
    /// Or: for how many satoshis.
    amount_sat: Option<u64>,
    /// Where refunds of it go.
    refund_address: Option<String>,
}

fn lease_id(id: &str) -> Result<LeaseId, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    LeaseId::parse(id).ok_or_else(unknown)
}

/// Pay for more time of a lease. Anyone may.
#[utoipa::path(post, path = "/v1/leases/{id}/invoices", tag = "leases", request_body = NewInvoice,
    params(("id" = String, Path, description = "The lease's id"),
        ("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "{invoice}", body = Object),
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
    let creating = Creating::new(&state, &headers, &endpoint, &body.bytes, None)?;
    let ask = match (body.value.duration_s, body.value.amount_sat) {
        (Some(seconds), None) => Ask::Duration(seconds),
        (None, Some(sat)) => Ask::Amount(sat),
        _ => {
            let detail = "give either duration_s or amount_sat";
            return Err(Refusal::field(Code::InvalidRequest, "", detail).into());
        }
    };
    let item = AddInvoice {
        shop: Arc::clone(&state.shop),
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
    Ok(answer(state.db.write(item).await?, None))
}

/// The lease, if its claim is held.
async fn held(state: &HttpState, id: &str, holder: &Holder) -> Result<LeaseRow, Problem> {
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
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "lease_ended", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn change(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
    body: Body<LeaseChange>,
) -> Result<Json<Value>, Problem> {
    held(&state, &id, &holder).await?;
    let item = ChangeParams { lease: lease_id(&id)?, params: body.value.params };
    let row = state.db.write(item).await?;
    let mut answer = json!(view::lease(&row, &state.scene()));
    answer["params"] = json!(row.params);
    answer["access"] = Value::Null;
    Ok(Json(answer))
}

/// Give the lease back; what is unused can be refunded.
#[utoipa::path(post, path = "/v1/leases/{id}/return", tag = "leases",
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
    state.live.gate.put(&id, Some(&row));
    Ok(Json(view::lease(&row, &state.scene())))
}

/// A new claim token.
#[derive(Serialize, ToSchema)]
struct RotatedClaim {
    /// The old one is worth nothing from now on.
    claim_token: String,
}

/// Replace the claim token of this lease and of everything under the same claim.
#[utoipa::path(post, path = "/v1/leases/{id}/rotate-claim", tag = "leases",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The new token", body = RotatedClaim),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody)))]
async fn rotate(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
) -> Result<Json<RotatedClaim>, Problem> {
    let row = held(&state, &id, &holder).await?;
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Problem::internal())?;
    let endpoint = format!("/v1/leases/{id}/rotate-claim");
    let claim_token = state.keys.claim_secret.token(&endpoint, Origin::Nonce(&nonce), &[]);
    let item = RotateClaim { claim: row.claim, token_hash: token_hash(&claim_token) };
    state.db.write(item).await?;
    Ok(Json(RotatedClaim { claim_token }))
}
