//! One box for everything: an id, an address, a txid or an output leads to what it is.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Txid};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{AppError, Code, Refusal};
use crate::db::payment::PaymentRow;
use crate::db::payout::PayoutRow;
use crate::db::{self, Conn, Db, DbError};
use crate::domain::bearer::Bearer;
use crate::domain::webhook::EndpointState;

/// So many of a kind are shown.
const MOST: u32 = 50;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Found {
    /// `lease`, `invoice`, `payment`, `payout`, `batch`, `action`, `webhook`, `delivery`, `event`,
    /// `key` or `resource`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// What to tell it from others by.
    pub label: String,
    /// The call that answers with it.
    pub url: Option<String>,
}

impl Found {
    fn new(kind: &'static str, id: impl ToString, label: String) -> Self {
        let id = id.to_string();
        let place = match kind {
            "lease" => "leases",
            "invoice" => "invoices",
            "payment" => "payments",
            "payout" => "payouts",
            "batch" => "payouts/batches",
            "webhook" => "webhooks",
            "delivery" => "deliveries",
            "event" => "events",
            "key" => "keys",
            "resource" => "resources",
            _ => "",
        };
        let url = Some(format!("/v1/admin/{place}/{id}")).filter(|_| !place.is_empty());
        Self { kind, id, label, url }
    }
}

/// Whether `text` is a secret that somebody put into the wrong box: not to be kept or shown.
pub fn is_secret(text: &str) -> bool {
    Bearer::parse(text.trim()).is_some()
}

/// A secret came where things are looked for, in `place` of an address.
pub fn secret(place: &str) -> Refusal {
    let detail = "this is a secret, which does not belong into an address: those are kept in \
                  histories and logs; replace it if others may have seen it";
    Refusal::field(Code::InvalidRequest, &format!("/{place}"), detail)
}

/// What `text` names; nothing when it names nothing. Keys only for those who `may_see_keys`.
///
/// # Errors
/// A secret; those of the database.
pub async fn search(db: &Db, text: &str, may_see_keys: bool) -> Result<Vec<Found>, AppError> {
    let text = text.trim();
    if is_secret(text) {
        return Err(secret("q").into());
    }
    if text.is_empty() || text.starts_with("akey_") && !may_see_keys {
        return Ok(Vec::new());
    }
    let mut conn = db.read().await?;
    let mut found = by_id(&mut conn, text).await?;
    let (txid, vout) = match text.split_once(':') {
        Some((txid, vout)) => (txid, vout.parse::<u32>().ok()),
        None => (text, None),
    };
    if let Ok(txid) = txid.parse::<Txid>() {
        found.extend(by_txid(&mut conn, &txid, vout).await?);
    }
    if let Some(address) = address(text) {
        found.extend(by_address(&mut conn, &address).await?);
    }
    Ok(found)
}

async fn by_id(conn: &mut Conn, id: &str) -> Result<Vec<Found>, DbError> {
    let prefix = id.split_once('_').map(|(prefix, _)| prefix).unwrap_or_default();
    let found = match prefix {
        "lse" => db::lease::find(conn, id)
            .await?
            .map(|row| Found::new("lease", id, format!("lease of {}", row.facts.resource))),
        "inv" => db::invoice::find(conn, id).await?.map(|row| {
            let label = format!("invoice over {} sat, {}", row.facts.amount_sat, row.resource);
            Found::new("invoice", id, label)
        }),
        "pay" => db::payment::find(conn, id).await?.as_ref().map(payment),
        "pyt" => db::payout::find(conn, id).await?.as_ref().map(payout),
        "bat" => db::batch::find(conn, id).await?.map(|row| {
            Found::new("batch", id, format!("batch of payouts, {}", row.facts().state().as_str()))
        }),
        "act" => db::action::find(conn, id).await?.map(|row| {
            let label = format!("{} of {}", row.action.as_str(), row.subject);
            let mut found = Found::new("action", row.id, label);
            found.url = Some(format!("/v1/admin/actions?lease={}", row.subject));
            found
        }),
        "whk" => db::webhook::find(conn, id)
            .await?
            .filter(|row| row.state != EndpointState::Deleted)
            .map(|row| Found::new("webhook", id, row.url)),
        "dlv" => db::delivery::find(conn, id).await?.map(|row| {
            let label = format!("delivery of {}, {}", row.kind, row.status.as_str());
            Found::new("delivery", id, label)
        }),
        "evt" => db::event::find_by_id(conn, id).await?.map(|row| {
            let label = format!("{}, number {}", row.kind, row.seq);
            Found::new("event", id, label)
        }),
        "akey" => {
            let keys = db::api_key::list(conn).await?;
            let key = keys.into_iter().find(|key| key.id == id);
            key.map(|key| Found::new("key", id, format!("API key {}", key.name)))
        }
        _ => db::terms::find(conn, id)
            .await?
            .map(|row| Found::new("resource", id, format!("resource {}", row.terms.terms.title))),
    };
    Ok(found.into_iter().collect())
}

fn payment(row: &PaymentRow) -> Found {
    let label = format!("payment of {} sat, {}", row.facts.amount_sat, row.state.as_str());
    Found::new("payment", &row.facts.id, label)
}

fn payout(row: &PayoutRow) -> Found {
    let label = format!("payout of {} sat, {}", row.facts.amount_sat, row.state.as_str());
    Found::new("payout", &row.facts.id, label)
}

async fn by_txid(conn: &mut Conn, txid: &Txid, vout: Option<u32>) -> Result<Vec<Found>, DbError> {
    let payments = db::payment::list_of_tx(conn, (txid, vout), MOST).await?;
    let mut found: Vec<Found> = payments.iter().map(payment).collect();
    if let Some((id, n)) = db::batch::find_version(conn, txid).await? {
        found.push(Found::new("batch", id, format!("batch of payouts, version {n}")));
    }
    let payouts = db::payout::list_at(conn, &txid.to_string(), MOST).await?;
    found.extend(payouts.iter().map(payout));
    Ok(found)
}

/// The address in a text, alone or in a payment link; in upper case as QR codes have it.
fn address(text: &str) -> Option<Address> {
    let scheme = text.get(..8).filter(|start| start.eq_ignore_ascii_case("bitcoin:"));
    let rest = scheme.map_or(text, |scheme| &text[scheme.len()..]);
    let alone = rest.split('?').next().unwrap_or_default();
    alone.parse::<Address<NetworkUnchecked>>().ok().map(Address::assume_checked)
}

async fn by_address(conn: &mut Conn, address: &Address) -> Result<Vec<Found>, DbError> {
    let script = address.script_pubkey();
    let mut found = Vec::new();
    if let Some(row) = db::invoice::find_by_script(conn, &script).await? {
        let label = format!("invoice over {} sat, {}", row.facts.amount_sat, row.resource);
        found.push(Found::new("invoice", &row.facts.id, label));
        let lease = row.facts.lease;
        found.push(Found::new("lease", lease, format!("its lease of {}", row.resource)));
    }
    let payments = db::payment::list_of_script(conn, &script, MOST).await?;
    found.extend(payments.iter().map(payment));
    let payouts = db::payout::list_at(conn, &address.to_string(), MOST).await?;
    found.extend(payouts.iter().map(payout));
    Ok(found)
}
