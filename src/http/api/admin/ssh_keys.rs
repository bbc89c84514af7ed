//! Whose keys open a machine now: for `leasehold ssh-keys`, which sshd asks at each login.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::read::unknown_resource;
use crate::app::{Code, Refusal};
use crate::db;
use crate::db::running::Holding;
use crate::domain::ssh::{Ssh, bare_key, fingerprint, line};
use crate::domain::time::Timestamp;
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::Query;
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(ssh_keys))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The resource's id.
    resource: String,
    /// The user that somebody logs in as.
    user: String,
    /// Only the key with this fingerprint: `SHA256:…`.
    fingerprint: Option<String>,
}

/// A key that may log in now.
#[derive(Serialize, ToSchema)]
struct SshKey {
    /// The lease.
    lease: String,
    /// The unit, of an exclusive resource.
    unit: Option<String>,
    /// The key's fingerprint: `SHA256:…`.
    fingerprint: String,
    /// When the lease ends, as things stand.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The line for an authorized_keys file.
    line: String,
}

/// Keys that may log in now.
#[derive(Serialize, ToSchema)]
struct SshKeys {
    /// None when nobody holds a lease that this user is for.
    keys: Vec<SshKey>,
}

/// Keys of the holders whose leases are active, for a user of a resource's machine. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/ssh-keys", tag = "admin", params(Asked),
    responses((status = 200, description = "The keys", body = SshKeys),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 422, description = "invalid_request: the catalogue says nothing of ssh",
            body = ProblemBody)))]
async fn ssh_keys(
    State(state): State<HttpState>,
    operator: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<SshKeys>, Problem> {
    operator.may(Scope::Read)?;
    let now = state.clock.now();
    let mut conn = state.db.read().await?;
    let resource = db::terms::find(&mut conn, &asked.resource).await?;
    let terms = resource.ok_or_else(|| unknown_resource(&asked.resource))?.terms.terms;
    let ssh = terms.ssh.ok_or_else(|| {
        let detail = "the catalogue has no ssh table for this resource";
        Refusal::field(Code::InvalidRequest, "/resource", detail)
    })?;
    let Some(unit) = ssh.unit_of(&asked.user) else {
        return Ok(Json(SshKeys { keys: Vec::new() }));
    };
    let all = db::running::active(&mut conn, &asked.resource, unit, now).await?;
    drop(conn);
    let horizon = now.plus_s(terms.max_duration_s);
    let keys = all.into_iter().filter_map(|holding| key(&ssh, holding, horizon));
    let wanted =
        |key: &SshKey| asked.fingerprint.as_ref().is_none_or(|one| *one == key.fingerprint);
    Ok(Json(SshKeys { keys: keys.filter(wanted).collect() }))
}

/// `None` for a holder who gave no key.
fn key(ssh: &Ssh, holding: Holding, horizon: Timestamp) -> Option<SshKey> {
    let Holding { lease, unit, params, paid_until } = holding;
    let key = bare_key(params.get(&ssh.param)?)?;
    let expires_at = paid_until.min(horizon);
    let line = line(&ssh.options, expires_at, &key, &lease);
    Some(SshKey { fingerprint: fingerprint(&key)?, lease, unit, expires_at, line })
}
