//! The lists, newest first: a filter and a part give rows and the cursor of what follows.

use crate::app::apply_catalog::Difference;
use crate::app::view_webhook::{self, EndpointView};
use crate::app::{AppError, Code, Refusal};
use crate::db::action::ActionRow;
use crate::db::api_key::ApiKey;
use crate::db::audit_log::Action;
use crate::db::batch::BatchRow;
use crate::db::delivery::Delivery;
use crate::db::event::Event;
use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::db::ledger::LedgerRow;
use crate::db::payment::PaymentRow;
use crate::db::payout::PayoutRow;
use crate::db::terms::Resource;
use crate::db::{self, Db};
use crate::domain::event::EventKind;
use crate::domain::resource::Terms;

use super::{Listing, Part, known_resource, moment};

pub use crate::db::action::Filter as ActionFilter;
pub use crate::db::delivery::Filter as DeliveryFilter;
pub use crate::db::event::Filter as EventFilter;
pub use crate::db::lease::Filter;
pub use crate::db::payment::Filter as PaymentFilter;
pub use crate::db::payout::Filter as PayoutFilter;

type Found<R> = Result<Listing<R>, AppError>;

/// Leases. The part says where the filter's `before` is, in every list.
///
/// # Errors
/// A wrong cursor or resource; those of the database.
pub async fn leases(db: &Db, mut filter: Filter, part: &Part) -> Found<LeaseRow> {
    let mut conn = db.read().await?;
    known_resource(&mut conn, filter.resource.as_deref()).await?;
    filter.before = part.before_moment()?;
    let rows = db::lease::list(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.facts.created_at, &row.facts.id)))
}

/// Invoices.
///
/// # Errors
/// As [`leases`].
pub async fn invoices(db: &Db, mut filter: Filter, part: &Part) -> Found<InvoiceRow> {
    let mut conn = db.read().await?;
    known_resource(&mut conn, filter.resource.as_deref()).await?;
    filter.before = part.before_moment()?;
    let rows = db::invoice::list(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.facts.created_at, &row.facts.id)))
}

/// Payments.
///
/// # Errors
/// As [`leases`].
pub async fn payments(db: &Db, mut filter: PaymentFilter, part: &Part) -> Found<PaymentRow> {
    let mut conn = db.read().await?;
    known_resource(&mut conn, filter.resource.as_deref()).await?;
    filter.before = part.before_moment()?;
    let rows = db::payment::list(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.facts.first_seen_at, &row.facts.id)))
}

/// Payouts that there is something to say of.
///
/// # Errors
/// As [`leases`].
pub async fn payouts(db: &Db, mut filter: PayoutFilter, part: &Part) -> Found<PayoutRow> {
    let mut conn = db.read().await?;
    known_resource(&mut conn, filter.resource.as_deref()).await?;
    filter.before = part.before_moment()?;
    let rows = db::payout::list(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.created_at, &row.facts.id)))
}

/// Batches of payouts, without their versions.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn batches(db: &Db, state: Option<&str>, part: &Part) -> Found<BatchRow> {
    let before = part.before_moment()?;
    let mut conn = db.read().await?;
    let rows = db::batch::list(&mut conn, state, before.as_ref(), part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.created_at, &row.id)))
}

/// What provisioners were told.
///
/// # Errors
/// As [`leases`].
pub async fn actions(db: &Db, mut filter: ActionFilter, part: &Part) -> Found<ActionRow> {
    let mut conn = db.read().await?;
    known_resource(&mut conn, filter.resource.as_deref()).await?;
    filter.before = part.before_moment()?;
    let rows = db::action::list(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.created_at, &row.id)))
}

/// Endpoints.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn webhooks(db: &Db, part: &Part) -> Found<EndpointView> {
    let before = part.before_moment()?;
    let mut conn = db.read().await?;
    let rows = db::webhook::newest(&mut conn, before.as_ref(), part.with_next()).await?;
    let mut shown = Vec::new();
    for row in &rows {
        shown.push(view_webhook::endpoint(&mut conn, row).await?);
    }
    Ok(part.listing(shown, |row| moment(row.created_at, &row.id)))
}

/// Deliveries to endpoints; `event` is the id of the only one of which they are wanted.
///
/// # Errors
/// A wrong cursor, endpoint or event; those of the database.
pub async fn deliveries(
    db: &Db,
    mut filter: DeliveryFilter,
    event: Option<&str>,
    part: &Part,
) -> Found<Delivery> {
    filter.before = part.before_moment()?;
    let mut conn = db.read().await?;
    if let Some(id) = &filter.webhook
        && db::webhook::find(&mut conn, id).await?.is_none()
    {
        let detail = format!("there is no webhook {id:?}");
        return Err(Refusal::field(Code::InvalidRequest, "/webhook", detail).into());
    }
    if let Some(id) = event {
        let unknown = || {
            let detail = format!("there is no event {id:?}");
            Refusal::field(Code::InvalidRequest, "/event", detail)
        };
        let found = db::event::find_by_id(&mut conn, id).await?;
        filter.event = Some(found.ok_or_else(unknown)?.seq);
    }
    let rows = db::delivery::newest(&mut conn, &filter, part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.created_at, &row.id)))
}

/// API keys, revoked ones included.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn keys(db: &Db, part: &Part) -> Found<ApiKey> {
    let before = part.before_moment()?;
    let mut conn = db.read().await?;
    let rows = db::api_key::newest(&mut conn, before.as_ref(), part.with_next()).await?;
    Ok(part.listing(rows, |row| moment(row.created_at, &row.id)))
}

/// Lines of the ledger, newest entry first.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn ledger(db: &Db, part: &Part) -> Found<LedgerRow> {
    let before = part.before::<u64>()?;
    let mut conn = db.read().await?;
    let rows = db::ledger::newest(&mut conn, before, part.with_next()).await?;
    Ok(part.listing(rows, |row| format!("{}.{}", row.entry, row.account.as_str())))
}

/// What operators did: to one thing, or to all.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn audit_log(db: &Db, subject: Option<&str>, part: &Part) -> Found<Action> {
    let before = part.before_number()?;
    let mut conn = db.read().await?;
    let rows =
        db::audit_log::newest(&mut conn, subject.unwrap_or_default(), before, part.with_next())
            .await?;
    Ok(part.listing(rows, |row| row.id.to_string()))
}

/// The number of the last that an operator did; 0 before the first.
///
/// # Errors
/// Those of the database.
pub async fn last_done(db: &Db) -> Result<u64, AppError> {
    let newest = db::audit_log::newest(&mut db.read().await?, "", None, 1).await?;
    Ok(newest.first().map_or(0, |action| action.id))
}

/// The event log backwards, for people. Programs read it forwards, by number.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn events(db: &Db, filter: &EventFilter, part: &Part) -> Found<Event> {
    let before = part.before_number()?;
    let mut conn = db.read().await?;
    let rows = db::event::newest(&mut conn, filter, before, part.with_next()).await?;
    Ok(part.listing(rows, |row| row.seq.to_string()))
}

/// A part of the event log forwards.
#[derive(Clone, Debug)]
pub struct EventsAfter {
    /// The events, oldest first.
    pub rows: Vec<Event>,
    /// What follows comes after this number.
    pub next_after: i64,
    /// The newest number of the whole log.
    pub last_seq: i64,
}

/// The event log forwards: what comes after a number.
///
/// # Errors
/// Those of the database.
pub async fn events_after(
    db: &Db,
    filter: &EventFilter,
    after: i64,
    limit: u32,
) -> Result<EventsAfter, AppError> {
    let mut conn = db.read().await?;
    let last_seq = db::event::last_seq(&mut conn).await?;
    let rows = db::event::oldest(&mut conn, filter, after, limit).await?;
    // Where no more is found, there was nothing up to the end.
    let more = u64::try_from(rows.len()).is_ok_and(|n| n >= u64::from(limit));
    let last = rows.last().map_or(after, |event| event.seq);
    let next_after = if more { last } else { last.max(last_seq) };
    Ok(EventsAfter { rows, next_after, last_seq })
}

/// Types of events, after the groups that they are in, such as `payment.`.
pub fn event_types() -> Vec<&'static str> {
    let mut types: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let groups = types.iter().filter_map(|kind| kind.split_inclusive('.').next());
    let mut groups: Vec<&str> = groups.collect();
    groups.dedup();
    groups.append(&mut types);
    groups
}

/// The terms that hold now, in the catalogue's order, retired resources included.
///
/// # Errors
/// A wrong cursor; those of the database.
pub async fn catalog(db: &Db, part: &Part) -> Found<Resource> {
    let mut conn = db.read().await?;
    let resources = db::terms::list(&mut conn).await?;
    Ok(part.named(resources, |resource| &resource.id)?)
}

/// What a catalogue would change.
///
/// # Errors
/// Those of the database.
pub async fn difference(db: &Db, catalog: &[Terms]) -> Result<Difference, AppError> {
    let known = db::terms::list(&mut db.read().await?).await?;
    Ok(Difference::new(&known, catalog))
}
