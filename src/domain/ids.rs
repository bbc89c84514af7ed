//! Public identifiers: a prefix that names the kind and 128 random bits in base32.
//! The randomness comes in as an argument.

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

/// Lower-case base32 without padding (RFC 4648 section 6) of `bytes`.
pub fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// True when `text` is `prefix` and 26 characters of lower-case base32.
fn well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 26 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What every identifier of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identifier from 128 random bits.
            pub fn new(random: [u8; 16]) -> Self {
                Self(format!("{}{}", $prefix, base32(&random)))
            }

            /// Reads an identifier; `None` when it is not of this kind.
            pub fn parse(text: &str) -> Option<Self> {
                well_formed(text, $prefix).then(|| Self(text.to_owned()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A lease.
    LeaseId, "lse_"
);
id!(
    /// An invoice.
    InvoiceId, "inv_"
);
id!(
    /// A payment: one output that pays one of our addresses.
    PaymentId, "pay_"
);
id!(
    /// A payout: money that is owed to somebody, on its way back.
    PayoutId, "pyt_"
);
id!(
    /// A batch: payouts that leave in one transaction.
    BatchId, "bat_"
);
id!(
    /// An endpoint that hears of events.
    WebhookId, "whk_"
);
id!(
    /// A delivery of one event to one endpoint.
    DeliveryId, "dlv_"
);
id!(
    /// An entry of the event log.
    EventId, "evt_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_26_base32_characters() {
        let id = LeaseId::new([7; 16]);
        assert_eq!(id.as_str().len(), 30);
        assert_eq!(LeaseId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(InvoiceId::parse(id.as_str()), None);
        assert_eq!(LeaseId::parse("lse_short"), None);
    }
}
