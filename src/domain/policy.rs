//! The operator's money rules, `[money]` of the configuration, as plain values.

use bitcoin::Network;

/// Rules that hold for every resource (SPEC sections 3 to 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Confirmations at which a payment is `final`.
    pub final_confirmations: u32,
    /// Blocks that a credited payment may stay away before its credit is reversed.
    pub at_risk_blocks: u32,
    /// How long after the quote an on-time payment may be mined.
    pub price_lock_s: u64,
    /// The longest that money on its way holds a unit or keeps a lease in grace.
    pub confirming_hold_s: u64,
    /// How much less than the amount still settles an invoice, in parts per million.
    pub tolerance_ppm: u32,
    /// The most zero-confirmation credit that may be unmined at a time; 0 turns it off.
    pub zero_conf_max_exposure_sat: u64,
    /// Least effective feerate of a zero-confirmation credit, in milli-satoshi a vB.
    pub zero_conf_min_feerate_msat: u64,
    /// Confirmations before money may leave again.
    pub payout_confirmations: u32,
    /// Less than this to one address waits for more.
    pub min_payout_sat: u64,
    /// How long a provisioner that fails is called again.
    pub failed_for_s: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            final_confirmations: 100,
            at_risk_blocks: 6,
            price_lock_s: 72 * 3600,
            confirming_hold_s: 6 * 3600,
            tolerance_ppm: 5000,
            zero_conf_max_exposure_sat: 0,
            zero_conf_min_feerate_msat: 2000,
            payout_confirmations: 6,
            min_payout_sat: 1000,
            failed_for_s: 72 * 3600,
        }
    }
}

impl Policy {
    /// What is left of `whole` when the tolerance is taken off: `whole − floor(whole × ppm / 10⁶)`.
    pub fn less_tolerance(&self, whole: u64) -> u64 {
        let off = u128::from(whole) * u128::from(self.tolerance_ppm) / 1_000_000;
        whole - u64::try_from(off).unwrap_or(whole).min(whole)
    }
}

/// Confirmations after which a coinbase output can be spent, and counts (consensus rule).
pub const COINBASE_MATURITY: u32 = 100;

/// A network's name as `[bitcoind] network` writes it.
pub fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "bitcoin",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
        _ => "testnet",
    }
}
