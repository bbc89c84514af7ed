//! Webhooks as <https://www.standardwebhooks.com> describes them: how a message is signed, when a
//! delivery that failed is tried again, which events an endpoint wants. Pure: time and randomness
//! come in as arguments. Called by whatever sends signed messages and by the calls that keep them.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::time::Timestamp;

mod types;

pub use types::{Types, UnknownType};

/// What every secret begins with.
const SECRET: &str = "whsec_";
/// How many bytes a secret may have.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// After how many seconds each failed try is followed by another: ten tries within three days.
pub const PAUSES_S: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest pause that a `Retry-After` is given, seconds.
pub const MOST_RETRY_AFTER_S: u64 = 86_400;

/// The secret that both sides of a webhook know. Never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// Reads `whsec_` and the base64 of 24 to 64 bytes; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(SECRET)?.as_bytes()).ok()?;
        SECRET_BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The form in which it is shown, once, and stored.
    pub fn reveal(&self) -> String {
        format!("{SECRET}{}", BASE64.encode(&self.0))
    }

    /// The bytes to sign with.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The signature of a message: `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
/// `secret` are the decoded bytes, `timestamp_s` Unix seconds; both go out as headers beside it.
pub fn sign(secret: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
}

/// The value of `webhook-signature` while several secrets are valid: a signature by each.
pub fn sign_with_each(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let signatures: Vec<String> =
        secrets.iter().map(|secret| sign(secret.bytes(), id, timestamp_s, body)).collect();
    signatures.join(" ")
}

/// How many milliseconds to wait after `tries` failed tries; `None` when that was the last one.
/// The pause is lengthened or shortened by up to a fifth: `random` may be anything. What the other
/// side asked for with `Retry-After` is waited for at least, up to a day.
pub fn pause_millis(tries: u32, random: u32, retry_after_s: Option<u64>) -> Option<i64> {
    let nth = usize::try_from(tries).ok()?.checked_sub(1)?;
    let pause_s = PAUSES_S.get(nth)?;
    let pause = pause_s * (800 + u64::from(random % 401));
    let asked = retry_after_s.unwrap_or(0).min(MOST_RETRY_AFTER_S) * 1000;
    i64::try_from(pause.max(asked)).ok()
}

/// How many seconds the value of a `Retry-After` asks to wait: a number of seconds or a date
/// (RFC 9110 section 10.2.3); `None` when it is neither.
pub fn retry_after_s(value: &str, now: Timestamp) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().unwrap_or(u64::MAX));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    Some(now.seconds_until(Timestamp::from_millis(at)))
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Its name in the API and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads its name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Whether an endpoint gets anything.
    EndpointState {
        /// It gets its events.
        Active = "active",
        /// An operator lets its events wait.
        Paused = "paused",
        /// It failed for too long or said that it is gone; its events wait.
        Disabled = "disabled",
        /// It is no more; only its deliveries are still shown.
        Deleted = "deleted",
    }
}

words! {
    /// Where a delivery stands.
    DeliveryStatus {
        /// It waits for its first or next try.
        Pending = "pending",
        /// The endpoint took it.
        Delivered = "delivered",
        /// It was given up.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standards_own_example_says() {
        // The example of the specification's section "Signature scheme".
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(secret.bytes(), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_reference_library_takes_what_either_of_two_secrets_signed() {
        use standardwebhooks::Webhook;
        let secrets = [Secret::new([1; 32]), Secret::new([2; 32])];
        let now = jiff::Timestamp::now().as_second();
        let both = sign_with_each(&secrets, "dlv_1", now, b"{}");
        for secret in &secrets {
            let reference = Webhook::new(&secret.reveal()).unwrap();
            let mut headers = http::HeaderMap::new();
            headers.insert("webhook-id", "dlv_1".parse().unwrap());
            headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
            headers.insert("webhook-signature", both.parse().unwrap());
            reference.verify(b"{}", &headers).unwrap();
            assert!(reference.verify(b"{ }", &headers).is_err());
            let theirs = reference.sign("dlv_1", now, b"{}").unwrap();
            assert_eq!(theirs, sign(secret.bytes(), "dlv_1", now, b"{}"));
        }
    }

    #[test]
    fn a_secret_survives_its_text_and_is_never_printed() {
        let secret = Secret::new([7; 32]);
        assert_eq!(Secret::parse(&secret.reveal()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![1; bytes]));
        assert!(Secret::parse(&of(24)).is_some() && Secret::parse(&of(64)).is_some());
        for wrong in [of(23), of(65), "whsec_".into(), "whsec_!".into(), "hunter2".into()] {
            assert_eq!(Secret::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_delivery_is_tried_ten_times_in_about_three_days() {
        let total: i64 = (1..=9).map(|tries| pause_millis(tries, 200, None).unwrap()).sum();
        assert_eq!(total / 1000, 272_105);
        assert_eq!((pause_millis(10, 0, None), pause_millis(10, 0, Some(60))), (None, None));
        assert_eq!((pause_millis(0, 0, None), pause_millis(u32::MAX, 0, None)), (None, None));
    }

    #[test]
    fn pauses_vary_by_a_fifth_so_that_not_all_come_at_once() {
        assert_eq!(pause_millis(1, 0, None), Some(4000));
        assert_eq!(pause_millis(1, 400, None), Some(6000));
        for random in [1, 17, 12_345, u32::MAX] {
            let pause = pause_millis(3, random, None).unwrap();
            assert!((1_440_000..=2_160_000).contains(&pause), "{pause}");
        }
    }

    #[test]
    fn a_retry_after_is_waited_for_up_to_a_day() {
        assert_eq!(pause_millis(1, 0, Some(120)), Some(120_000));
        assert_eq!(pause_millis(2, 200, Some(120)), Some(300_000), "the schedule is later");
        assert_eq!(pause_millis(1, 0, Some(u64::MAX)), Some(86_400_000));
        let now: Timestamp = "2026-11-18T11:06:40Z".parse().unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 18 Nov 2026 11:07:40 GMT", Some(60)),
            ("Wed, 18 Nov 2026 11:00:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after_s(value, now), expected, "{value}");
        }
    }
}
