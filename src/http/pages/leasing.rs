//! What pages say of a lease: where it stands, what it got, what goes back.

use serde_json::Value;

use super::frame::span;
use super::paying::{Shut, money_waits};
use crate::app::view::LeaseView;
use crate::app::view_payout::PayoutView;
use crate::db::lease::LeaseRow;
use crate::domain::lease::EndReason;
use crate::domain::lease::fold::{CreditLine, Home, Standing};
use crate::domain::lease::snapshot::{LeaseFlag, LeaseState, Snapshot};
use crate::domain::payment::{Counted, PaymentState};
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;

/// A credit in words.
pub(super) struct CreditWords {
    pub(super) amount: String,
    /// What it bought; nothing while that is no time.
    pub(super) time: String,
    pub(super) state: &'static str,
    pub(super) txid: String,
    pub(super) vout: u32,
}

impl CreditWords {
    fn new(standing: &Standing, line: &CreditLine, payment: PaymentState) -> Self {
        let waits =
            || money_waits(standing) && standing.lots.iter().any(|lot| lot.payment == line.payment);
        let state = match (line.counted, payment) {
            (Counted::Reversed, PaymentState::Confirming) => "lost, on its way again",
            (Counted::Reversed, _) => "lost again",
            _ if line.home == Home::Dead => "buys nothing, can be refunded",
            _ if waits() => "waits",
            _ => "counts",
        };
        Self {
            amount: sat_text(line.amount_sat),
            time: match line.home {
                Home::Dead => "no time".into(),
                _ => span(line.seconds),
            },
            state,
            txid: line.outpoint.txid.to_string(),
            vout: line.outpoint.vout,
        }
    }

    /// Of all credits of a lease, oldest first.
    pub(super) fn all(row: &LeaseRow) -> Vec<Self> {
        let standing = &row.doc.standing;
        let lines = standing.credits.iter().zip(&row.doc.credit_states);
        let counted = lines.filter(|(line, _)| line.counted != Counted::Never);
        counted.map(|(line, state)| Self::new(standing, line, *state)).collect()
    }
}

/// A refund in words.
pub(super) struct RefundWords {
    pub(super) amount: String,
    pub(super) state: &'static str,
    pub(super) address: Option<String>,
    pub(super) txid: Option<String>,
}

impl From<&PayoutView> for RefundWords {
    fn from(payout: &PayoutView) -> Self {
        use crate::domain::payout::PayoutState;
        let state = match (payout.state, payout.waits_for.as_deref()) {
            (PayoutState::Waiting, Some("address")) => "waits for your refund address",
            (PayoutState::Waiting, Some("confirmations")) => {
                "waits until the payment behind it is deep enough in the chain"
            }
            (PayoutState::Waiting, _) => "waits: too little to send yet",
            (PayoutState::Due, Some("dust")) => "too little for the network to carry",
            (PayoutState::Due, _) => "will be sent with the operator's next batch",
            (PayoutState::Prepared, _) => "is being signed",
            (PayoutState::Broadcast, _) => "is sent, in no block yet",
            (PayoutState::Confirmed, _) => "was sent",
        };
        Self {
            amount: sat_text(payout.amount_sat),
            state,
            address: payout.address.clone(),
            txid: payout.txid.clone(),
        }
    }
}

/// What there is to say, in a few words and a sentence; and how it looks. `waits` says what its money
/// waits for, `shut` whether none is taken.
pub(super) fn words(
    view: &LeaseView,
    waits: &str,
    shut: Option<Shut>,
) -> (&'static str, &'static str, String) {
    let refund = match view.refundable_sat {
        0 => String::new(),
        sat => format!(" {} can go back.", sat_text(sat)),
    };
    match view.state {
        LeaseState::Unfunded if !waits.is_empty() => ("Money waits", "warn", waits.into()),
        LeaseState::Unfunded => {
            let (headline, class, words) = match shut {
                Some(Shut::Paused) => (
                    "Paused",
                    "warn",
                    "The operator takes no money for this at the moment: do not pay now.",
                ),
                Some(_) => (
                    "Not offered any more",
                    "warn",
                    "The operator has taken this off the list: do not pay.",
                ),
                None => ("Waits for payment", "", "It starts by itself when money counts."),
            };
            (headline, class, format!("{words}{refund}"))
        }
        LeaseState::Provisioning => {
            ("Being made ready", "", "It is paid. Its time begins when it is ready.".into())
        }
        LeaseState::Active => ("Running", "good", String::new()),
        LeaseState::Grace => (
            "Time has run out",
            "warn",
            "Access has ended. Pay for more now and it goes on where it was.".into(),
        ),
        LeaseState::Suspended => {
            ("Stopped by the operator", "warn", "Its time stands still meanwhile.".into())
        }
        LeaseState::Ended => {
            let why = match view.end_reason {
                Some(EndReason::Returned) => "It was given back.",
                Some(EndReason::Revoked) => "The operator has ended it.",
                Some(EndReason::Failed) => "It could not be made ready.",
                Some(EndReason::Reversed) => "Its payment was lost from the chain.",
                Some(EndReason::Expired) | None => "Its time was used up.",
            };
            let space = if waits.is_empty() { "" } else { " " };
            ("Over", "", format!("{why}{refund}{space}{waits}"))
        }
    }
}

/// What its flags mean.
pub(super) fn notes(view: &LeaseView, takes_money: bool) -> Vec<&'static str> {
    let note = |flag: &LeaseFlag| match flag {
        LeaseFlag::ExpiringSoon if !takes_money => Some("It ends soon."),
        LeaseFlag::ExpiringSoon => Some("It ends soon. Pay for more to go on."),
        LeaseFlag::AtRisk => Some(
            "The block with a payment was replaced, or is still to come. The time goes on meanwhile.",
        ),
        LeaseFlag::Reversed => {
            Some("A payment was lost after it had counted; its unused time was taken back.")
        }
        LeaseFlag::NoHold => None,
        LeaseFlag::ProvisionerError if view.state == LeaseState::Provisioning => Some(
            "Something at the operator's side does not work. They know; no time is lost while it is \
             not ready.",
        ),
        LeaseFlag::ProvisionerError => {
            Some("Something at the operator's side does not work. They know.")
        }
    };
    view.flags.iter().filter_map(note).collect()
}

/// Access details as names and values, whatever the provisioner answered.
pub(super) fn lines(access: Option<Value>) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match access {
        Some(Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (name.replace('_', " "), text(value))).collect()
        }
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![("access".into(), text(&other))],
    }
}

/// The money of a lease that has no time and waits for some.
pub(super) fn held_sat(row: &LeaseRow, now: Timestamp) -> u64 {
    if money_waits(&row.doc.standing) { row.doc.books(now).held_sat } else { 0 }
}

/// The end of what is paid; of a lease that is over, its end.
pub(super) fn paid_end(view: &LeaseView) -> Option<Timestamp> {
    view.paid_until.or(view.expires_at)
}

/// The end that every page says of a lease: of what is paid, banked time included; of one that is
/// over, its end. None while its time has run out or stands still.
pub(super) fn shown_end(look: &Snapshot) -> Option<Timestamp> {
    match look.state {
        LeaseState::Grace | LeaseState::Suspended => None,
        _ => look.paid_until.or(look.expires_at),
    }
}
