//! What is offered: a resource's terms, as one numbered version of its catalogue entry.
//! Reading the catalogue file is `crate::catalog`; this is what it turns into.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::price::Price;
use super::ssh::Ssh;
use super::time::Timestamp;

/// Who may use a resource at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Every lease holds one unit of it.
    Exclusive,
    /// One thing, many users.
    Shared,
}

/// One step of `confirmations`: payments up to an amount need `n` confirmations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The largest sum this step is for, inclusive; the last step has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_sat: Option<u64>,
    /// Confirmations required; 0 credits at first sight.
    pub n: u32,
}

/// What a holder may hand in with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ParamRule {
    /// A request without it is refused.
    #[serde(default)]
    pub required: bool,
    /// The most characters it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// A regular expression that all of it must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// A known format that it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ParamFormat>,
}

/// Formats that a parameter can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamFormat {
    /// One line of an OpenSSH public key file.
    SshPublicKey,
    /// A host name (RFC 1123).
    Hostname,
    /// 32 bytes in base64.
    WireguardPublicKey,
}

/// How a lease is made real.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Provisioner {
    /// Nothing is called: the lease status and its tokens are the access.
    #[default]
    None,
    /// A command is run.
    Exec {
        /// The program and its arguments; no shell.
        command: Vec<String>,
        /// How long it may take.
        timeout_s: u64,
    },
    /// A URL is called.
    Http {
        /// Where.
        url: String,
        /// The file with the secret that signs the calls.
        secret_file: String,
        /// How long an answer may take.
        timeout_s: u64,
    },
}

impl Provisioner {
    /// How long an action may take, in seconds.
    pub fn timeout_s(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Exec { timeout_s, .. } | Self::Http { timeout_s, .. } => *timeout_s,
        }
    }
}

/// Everything a lease or an invoice keeps from the moment it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The resource's name in URLs.
    pub id: String,
    /// A short name for people.
    pub title: String,
    /// What it is, for people.
    pub description: String,
    /// Exclusive or shared.
    pub access: Access,
    /// Names of the units of an exclusive resource; empty for a shared one.
    pub units: Vec<String>,
    /// What time costs.
    pub price: Price,
    /// What it costs to keep a shared one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_cost: Option<Price>,
    /// The shortest lease.
    pub min_duration_s: u64,
    /// The horizon: time beyond it is banked.
    pub max_duration_s: u64,
    /// How long a unit and its data are kept after the time ran out.
    pub grace_s: u64,
    /// How long a quote holds.
    pub quote_ttl_s: u64,
    /// Required confirmations by amount, ascending.
    pub confirmations: Vec<Tier>,
    /// Units that unpaid requests may hold at a time.
    pub max_unpaid_holds: u32,
    /// Whether a holder who gives back is paid for unused time.
    pub refund_unused: bool,
    /// What a request may carry.
    pub params: BTreeMap<String, ParamRule>,
    /// How a lease is made real.
    pub provisioner: Provisioner,
    /// Where the site is that the gate guards: scheme and host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// How holders log in over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
}

impl Terms {
    /// Confirmations that a sum of `amount_sat` needs.
    pub fn confirmations_for(&self, amount_sat: u64) -> u32 {
        self.confirmations
            .iter()
            .find(|tier| tier.up_to_sat.is_none_or(|most| amount_sat <= most))
            .or(self.confirmations.last())
            .map_or(1, |tier| tier.n)
    }

    /// The most confirmations that any amount needs.
    pub fn most_confirmations(&self) -> u32 {
        self.confirmations.iter().map(|tier| tier.n).max().unwrap_or(1).max(1)
    }
}

/// A numbered version of a resource's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsVersion {
    /// 1 for the first, one more for each change.
    pub version: u32,
    /// Since when it holds.
    pub created_at: Timestamp,
    /// What holds.
    pub terms: Terms,
}

/// All versions of one resource's terms, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermsHistory(Vec<TermsVersion>);

impl TermsHistory {
    /// From versions in ascending order.
    pub fn new(versions: Vec<TermsVersion>) -> Self {
        Self(versions)
    }

    /// The version with that number.
    pub fn version(&self, version: u32) -> Option<&TermsVersion> {
        self.0.iter().find(|entry| entry.version == version)
    }

    /// The version that held at `at`; the first one for any time before it.
    pub fn at(&self, at: Timestamp) -> Option<&TermsVersion> {
        self.0.iter().rev().find(|entry| entry.created_at <= at).or(self.0.first())
    }

    /// The newest version.
    pub fn newest(&self) -> Option<&TermsVersion> {
        self.0.last()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Terms as the sample catalogue has them: 500 sat an hour, two units.
    pub(crate) fn gpu() -> Terms {
        Terms {
            id: "gpu-small".into(),
            title: "GPU, small".into(),
            description: String::new(),
            access: Access::Exclusive,
            units: vec!["gpu-1".into(), "gpu-2".into()],
            price: Price { sat: 500, per_s: 3600 },
            running_cost: None,
            min_duration_s: 600,
            max_duration_s: 30 * 86_400,
            grace_s: 600,
            quote_ttl_s: 1800,
            confirmations: vec![
                Tier { up_to_sat: Some(1_000_000), n: 1 },
                Tier { up_to_sat: None, n: 3 },
            ],
            max_unpaid_holds: 1,
            refund_unused: true,
            params: BTreeMap::new(),
            provisioner: Provisioner::None,
            site: None,
            ssh: None,
        }
    }

    #[test]
    fn the_tier_bound_is_inclusive_and_the_last_has_none() {
        let terms = gpu();
        assert_eq!(terms.confirmations_for(1_000_000), 1);
        assert_eq!(terms.confirmations_for(1_000_001), 3);
        assert_eq!(terms.most_confirmations(), 3);
    }

    #[test]
    fn terms_stored_before_there_were_running_costs_are_read_and_stay_the_same() {
        let stored = serde_json::to_value(gpu()).unwrap();
        assert!(stored.get("running_cost").is_none(), "{stored}");
        assert_eq!(serde_json::from_value::<Terms>(stored).unwrap(), gpu());
        let cost = Some(Price { sat: 20, per_s: 3600 });
        let mirror = Terms { access: Access::Shared, running_cost: cost, ..gpu() };
        let stored = serde_json::to_value(&mirror).unwrap();
        assert_eq!(serde_json::from_value::<Terms>(stored).unwrap(), mirror);
    }

    #[test]
    fn terms_are_found_by_the_moment_they_held() {
        let version = |version, at| TermsVersion {
            version,
            created_at: Timestamp::from_secs(at),
            terms: gpu(),
        };
        let history = TermsHistory::new(vec![version(1, 100), version(2, 200)]);
        let at = |s| history.at(Timestamp::from_secs(s)).map(|found| found.version);
        assert_eq!((at(50), at(100), at(199), at(200)), (Some(1), Some(1), Some(1), Some(2)));
    }
}
