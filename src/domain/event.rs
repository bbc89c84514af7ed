//! The kinds of event, as other programs know them (SPEC section 9).

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What an entry of the event log reports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// An address was handed out.
    InvoiceCreated = "invoice.created",
    /// Credited and unconfirmed money reach what is needed.
    InvoicePaid = "invoice.paid",
    /// Credited money reached what is needed.
    InvoiceSettled = "invoice.settled",
    /// Its quote is over.
    InvoiceExpired = "invoice.expired",
    /// Given up, nothing received.
    InvoiceCancelled = "invoice.cancelled",
    /// A payment was found in the mempool or a block.
    PaymentSeen = "payment.seen",
    /// It is in the chain.
    PaymentConfirmed = "payment.confirmed",
    /// It counts.
    PaymentCredited = "payment.credited",
    /// A conflicting transaction took its place.
    PaymentReplaced = "payment.replaced",
    /// Its credit's block went away.
    PaymentAtRisk = "payment.at_risk",
    /// Its credit was taken back.
    PaymentReversed = "payment.reversed",
    /// It counts again.
    PaymentRestored = "payment.restored",
    /// It pays an address that was never issued.
    PaymentUnallocated = "payment.unallocated",
    /// A lease was asked for.
    LeaseCreated = "lease.created",
    /// A generation began.
    LeaseProvisioning = "lease.provisioning",
    /// Its clock started.
    LeaseActivated = "lease.activated",
    /// It got more time.
    LeaseExtended = "lease.extended",
    /// It runs out soon.
    LeaseExpiringSoon = "lease.expiring_soon",
    /// Its time is over, its unit is kept for a while.
    LeaseGrace = "lease.grace",
    /// The operator stopped it.
    LeaseSuspended = "lease.suspended",
    /// The operator let it go on.
    LeaseResumed = "lease.resumed",
    /// It is over.
    LeaseEnded = "lease.ended",
    /// The token of its claim was replaced while its time runs: who came in with the old one is out.
    LeaseClaimRotated = "lease.claim_rotated",
    /// Its provisioner failed.
    LeaseProvisionerError = "lease.provisioner_error",
    /// Its unit could not be taken back and stays out of stock.
    LeaseStuck = "lease.stuck",
    /// Money can be sent back now.
    PayoutDue = "payout.due",
    /// It is in a batch that waits for signatures.
    PayoutPrepared = "payout.prepared",
    /// A transaction that pays it was sent.
    PayoutBroadcast = "payout.broadcast",
    /// That transaction is in the chain.
    PayoutConfirmed = "payout.confirmed",
    /// What it paid back was reversed: more has left than came.
    PayoutLost = "payout.lost",
    /// An operator tries an endpoint; only that endpoint gets it.
    WebhookTest = "webhook.test",
    /// An endpoint failed for too long, or said that it is gone: its events wait.
    WebhookDisabled = "webhook.disabled",
}
