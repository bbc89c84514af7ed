//! What a checkout says: of its invoice, of each payment, and when money would buy nothing.

use std::collections::HashSet;

use crate::app::view::{InvoiceView, PaymentView};
use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::db::terms::Resource;
use crate::domain::invoice::{InvoiceFlag, InvoiceStatus};
use crate::domain::lease::EndReason;
use crate::domain::lease::advance::least_s;
use crate::domain::lease::fold::{Phase, Standing};
use crate::domain::payment::PaymentState;
use crate::domain::policy::Policy;
use crate::domain::uri::sat_text;

/// Why money that comes now would buy no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// The request was given up.
    GivenUp,
    /// The lease ended for good.
    Over,
    /// The operator takes no money for the resource at the moment.
    Paused,
    /// The operator does not offer the resource any more.
    Retired,
}

impl Shut {
    fn of(row: &InvoiceRow, standing: &Standing, resource: Option<&Resource>) -> Option<Self> {
        if row.facts.cancelled_at.is_some() {
            Some(Self::GivenUp)
        } else if is_over(standing) {
            Some(Self::Over)
        } else {
            Self::of_resource(resource)
        }
    }

    /// Whether no money is taken for a resource at all.
    pub(super) fn of_resource(resource: Option<&Resource>) -> Option<Self> {
        match resource {
            Some(found) if found.retired_at.is_none() => found.paused_at.map(|_| Self::Paused),
            _ => Some(Self::Retired),
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::GivenUp => (
                "This request was given up: do not pay",
                "Money that comes all the same buys no time; it can only be refunded.",
            ),
            Self::Over => (
                "This lease is over: do not pay",
                "Money that comes all the same buys no time; it can only be refunded.",
            ),
            Self::Paused => (
                "Paused: do not pay now",
                "The operator takes no money for this at the moment. Money that comes all the same \
                 buys no time; it can only be refunded.",
            ),
            Self::Retired => (
                "Not offered any more: do not pay",
                "The operator has taken this off the list. Money that comes all the same buys no \
                 time; it can only be refunded.",
            ),
        }
    }

    /// What becomes of money that is on its way.
    fn of_coming(self) -> &'static str {
        match self {
            Self::Paused => {
                " What is on its way buys time only if this goes on before the money is deep enough \
                 in the chain; otherwise it can be refunded, too."
            }
            Self::GivenUp | Self::Over | Self::Retired => {
                " So can what is on its way, once it is deep enough in the chain."
            }
        }
    }
}

/// True when no money starts a lease again.
pub(super) fn is_over(standing: &Standing) -> bool {
    standing.phase == Phase::Ended && !standing.end_reason.is_some_and(EndReason::may_start_again)
}

/// True while what a lease got waits: for more, or for a unit.
pub(super) fn money_waits(standing: &Standing) -> bool {
    matches!(standing.phase, Phase::Unfunded | Phase::Ended)
}

/// An invoice with what decides about its money.
pub(super) struct Paying<'a> {
    view: &'a InvoiceView,
    standing: &'a Standing,
    pub(super) shut: Option<Shut>,
    /// Outputs whose money waits.
    held: HashSet<(String, u32)>,
    /// Whether what came buys time as it is.
    buys: bool,
    /// Whether its resource can be asked for.
    offered: bool,
}

impl<'a> Paying<'a> {
    pub(super) fn new(
        (row, view): (&InvoiceRow, &'a InvoiceView),
        lease: &'a LeaseRow,
        resource: Option<&Resource>,
        policy: &Policy,
    ) -> Self {
        let standing = &lease.doc.standing;
        let waits = money_waits(standing);
        let lots = standing.lots.iter().filter(|_| waits);
        let lines = lots.filter_map(|lot| standing.line(&lot.payment));
        let least = resource.map_or(0, |found| least_s(&found.terms.terms, policy));
        let coming_s = row.facts.price.seconds(view.received.unconfirmed_sat);
        Self {
            shut: Shut::of(row, standing, resource),
            held: lines.map(|line| (line.outpoint.txid.to_string(), line.outpoint.vout)).collect(),
            buys: !waits || standing.pending_s.saturating_add(coming_s) >= least,
            offered: Shut::of_resource(resource) != Some(Shut::Retired),
            view,
            standing,
        }
    }

    /// Whether only another request leads on, and one can be made.
    pub(super) fn again(&self) -> bool {
        self.offered && matches!(self.shut, Some(Shut::GivenUp | Shut::Over))
    }

    /// Whether its resource takes no money, or is gone.
    pub(super) fn closed(&self) -> bool {
        self.shut.is_some() && !self.again()
    }

    fn any_refundable(&self) -> bool {
        self.view.payments.iter().any(is_refundable)
    }

    /// True while money is asked for: the rest within the tolerance is not.
    pub(super) fn asks(&self) -> bool {
        self.shut.is_none()
            && self.view.received.due_sat > 0
            && matches!(self.view.status, InvoiceStatus::Open | InvoiceStatus::Expired)
    }

    /// After how many seconds a page without scripts looks again.
    pub(super) fn refresh_s(&self) -> Option<u32> {
        match self.view.status {
            InvoiceStatus::Cancelled => None,
            InvoiceStatus::Settled => (!self.held.is_empty()).then_some(60),
            InvoiceStatus::Expired => Some(60),
            _ if self.shut.is_some() => Some(60),
            // Somebody may be copying the address.
            InvoiceStatus::Open if self.view.payments.is_empty() => Some(30),
            InvoiceStatus::Open | InvoiceStatus::Confirming => Some(10),
        }
    }

    /// What there is to say, in a few words and a sentence.
    pub(super) fn words(&self) -> (&'static str, String) {
        let view = self.view;
        match (view.status, self.shut) {
            (InvoiceStatus::Settled, _) => {
                let (headline, words) = self.settled();
                (headline, words.into())
            }
            (InvoiceStatus::Cancelled, _) => (
                "Given up",
                "This request was given up. Do not pay it; money that comes all the same can only \
                 be refunded."
                    .into(),
            ),
            (_, Some(shut)) => {
                let (headline, words) = shut.words();
                let coming = match view.received.unconfirmed_sat {
                    0 => "",
                    _ => shut.of_coming(),
                };
                let instead = match (shut, self.offered) {
                    (Shut::Over, true) => " Ask for a new lease instead.",
                    _ => "",
                };
                (headline, format!("{words}{instead}{coming}{}", self.of_counted(shut)))
            }
            (InvoiceStatus::Confirming, None) => (
                "On its way",
                "Your payment is seen. You can close this page: it counts by itself.".into(),
            ),
            (InvoiceStatus::Open | InvoiceStatus::Expired, None) => self.asking(),
        }
    }

    /// What becomes of money that counted before a resource was stopped.
    fn of_counted(&self, shut: Shut) -> &'static str {
        let stopped = matches!(shut, Shut::Paused | Shut::Retired);
        let kept = |line: &PaymentView| counts(line.state) && !is_refundable(line);
        match self.standing.phase {
            _ if !stopped || !self.view.payments.iter().any(kept) => "",
            _ if !self.held.is_empty() => {
                " What came before waits until the operator lets this go on; or give the lease back."
            }
            Phase::Provisioning | Phase::Live => " What counted before goes on counting.",
            Phase::Unfunded | Phase::Ended => "",
        }
    }

    fn settled(&self) -> (&'static str, &'static str) {
        if !self.held.is_empty() {
            return match (self.buys, self.shut) {
                (_, Some(_)) => (
                    "Money waits",
                    "Your money came, but the operator has stopped this. It waits until it goes \
                     on; or give the lease back.",
                ),
                (true, None) => (
                    "Money waits",
                    "Your money came, but no unit is free. It counts by itself as soon as one is.",
                ),
                (false, None) => (
                    "Money waits",
                    "Your money came, but it is less than the shortest lease. It counts as soon \
                     as more comes.",
                ),
            };
        }
        let mut credited =
            self.view.payments.iter().filter(|payment| counts(payment.state)).peekable();
        if credited.peek().is_some() && credited.all(is_refundable) {
            return (
                "Can be refunded",
                "Your money came when it could buy no time any more. It can go back to you: see \
                 the page of the lease.",
            );
        }
        match self.standing.phase {
            Phase::Ended => ("Paid", "Your money counted; the lease is over by now."),
            Phase::Provisioning => {
                ("Paid", "Your money counts; the lease begins when it is ready.")
            }
            Phase::Live | Phase::Unfunded => ("Paid", "Your money counts; the lease has its time."),
        }
    }

    fn asking(&self) -> (&'static str, String) {
        let received = &self.view.received;
        let late = self.view.status == InvoiceStatus::Expired;
        if received.credited_sat + received.unconfirmed_sat == 0 {
            return match late {
                false => (
                    "Pay with bitcoin",
                    "Send the amount to this address, which is yours alone.".into(),
                ),
                true => (
                    "The quote has ended",
                    "You can still pay: late money counts, at the price when it is seen.".into(),
                ),
            };
        }
        let rest = sat_text(received.due_sat);
        let what = match self.buys {
            true => "Pay the rest, or use the time that it buys.",
            false => {
                "What came is less than the shortest lease: it is kept until more comes, or can \
                 be refunded when you give the lease back."
            }
        };
        let price = match late {
            true => " The quote has ended: late money counts, at the price when it is seen.",
            false => "",
        };
        ("Some of it came", format!("{rest} are missing. {what}{price}"))
    }

    /// What its flags mean.
    pub(super) fn notes(&self, no_hold: bool) -> Vec<&'static str> {
        let buys_time = !self.any_refundable();
        let mut notes: Vec<&'static str> = self
            .view
            .flags
            .iter()
            .filter_map(|flag| match flag {
                // The headline says so.
                InvoiceFlag::Partial | InvoiceFlag::Held => None,
                InvoiceFlag::Over => {
                    buys_time.then_some("You paid more than was asked for: it buys more time.")
                }
                InvoiceFlag::Late => buys_time.then_some(
                    "A payment came after the quote: it counts at the price when it was seen.",
                ),
                InvoiceFlag::Duplicate => {
                    Some("It was paid once more: that buys more time, or can be refunded.")
                }
                InvoiceFlag::Replaced => Some(
                    "A payment was replaced by another transaction, as wallets do to raise a fee.",
                ),
                InvoiceFlag::AtRisk => Some(
                    "The block with your payment was replaced, or is still to come. Your time \
                     goes on meanwhile.",
                ),
                InvoiceFlag::Reversed => {
                    Some("A payment was lost after it had counted; its unused time was taken back.")
                }
            })
            .collect();
        if no_hold && self.shut.is_none() && self.view.received.credited_sat == 0 {
            notes.push(
                "No unit is held for you: whoever pays first gets one. Money that finds none waits.",
            );
        }
        notes
    }

    /// Each payment in words.
    pub(super) fn payments(&self) -> Vec<PaymentWords> {
        let needed = self.view.confirmations_required.max(1);
        let is_held = |line: &PaymentView| self.held.contains(&(line.txid.clone(), line.vout));
        self.view
            .payments
            .iter()
            .map(|line| PaymentWords::new(line, needed, is_held(line)))
            .collect()
    }
}

fn is_refundable(payment: &PaymentView) -> bool {
    payment.flags.iter().any(|flag| flag == "refundable")
}

fn counts(state: PaymentState) -> bool {
    matches!(state, PaymentState::Credited | PaymentState::Final)
}

/// A payment in words.
pub(super) struct PaymentWords {
    pub(super) amount: String,
    pub(super) badge: (&'static str, &'static str),
    pub(super) words: &'static str,
    pub(super) txid: String,
    /// Confirmations that it has and needs, while that matters.
    pub(super) bar: Option<(u32, u32)>,
}

impl PaymentWords {
    fn new(payment: &PaymentView, needed: u32, is_held: bool) -> Self {
        let (class, name, words) = match payment.state {
            _ if is_refundable(payment) => (
                "warn",
                "Can be refunded",
                "It buys no time. The page of the lease says where it goes.",
            ),
            PaymentState::Credited | PaymentState::Final if is_held => {
                ("warn", "Waits", "It is here, and buys its time as soon as it can.")
            }
            PaymentState::Mempool => ("", "Seen", "In no block yet."),
            PaymentState::Confirming => ("", "Confirming", ""),
            PaymentState::Credited => ("good", "Counts", ""),
            PaymentState::Final => ("good", "Counts", "Buried deep in the chain."),
            PaymentState::Gone => (
                "warn",
                "Out of sight",
                "The network has lost it. If it is mined after all, it counts; your wallet may send \
                 it again.",
            ),
            PaymentState::Conflicted => (
                "warn",
                "In conflict",
                "Another transaction spends the same coins. The one that is mined counts, if it \
                 pays this address.",
            ),
            PaymentState::Replaced => (
                "alarm",
                "Replaced",
                "Another transaction has spent its coins, as after a fee bump. This one never \
                 counts; if the other pays this address, it is listed, too.",
            ),
            PaymentState::Reversed => (
                "alarm",
                "Lost",
                "It counted, then the chain dropped it for another. Its unused time was taken back.",
            ),
        };
        let matters = matches!(payment.state, PaymentState::Mempool | PaymentState::Confirming);
        Self {
            amount: sat_text(payment.amount_sat),
            badge: (class, name),
            words,
            txid: payment.txid.clone(),
            bar: matters.then_some((payment.confirmations.min(needed), needed)),
        }
    }
}
