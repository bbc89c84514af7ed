//! Makes batches of payouts and sends them: reads what is due, drafts a transaction, has the node's
//! watch-only wallet fill it for the signer, checks what comes back signed. Holds no key.
//! What is decided is decided again in the transaction that writes it (`app`). Called by `http`.

mod bump;
mod gather;
mod hits;
mod prepare;
mod psbt;
mod resume;
mod sign;
mod submit;

use std::fmt::Display;
use std::sync::Arc;

use bitcoin::Network;

use crate::app::readiness::ReadinessReceiver;
use crate::app::settle::Ground;
use crate::app::submit_batch::Approval;
use crate::app::wallet_state::{WalletReceiver, WalletState};
use crate::app::{AppError, Code, Refusal};
use crate::chain::bitcoind::Bitcoind;
use crate::chain::wallet::WatchOnly;
use crate::clock::SharedClock;
use crate::db::Db;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::policy::Policy;

pub use bump::Bump;
pub use gather::LeftOutPayout;
pub use prepare::{Prepare, Prepared};
pub use psbt::{base64, from_base64};
pub use resume::Resumed;
pub use submit::Submitted;

/// The most payouts of one batch: they are settled in one transaction of the database.
pub const MOST_PAYOUTS: u32 = 250;
/// Within so many blocks a batch is to be mined when nobody gives a feerate.
const BLOCKS: u16 = 6;
/// The feerates that are taken, in milli-satoshi a vbyte.
pub const FEERATES_MSAT: std::ops::RangeInclusive<u64> = 100..=10_000_000;

/// Satoshis a vbyte with up to three decimals, as thousandths.
///
/// # Errors
/// What to give instead.
pub fn feerate(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "satoshis a vbyte such as 3 or 1.5, at least 0.1";
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return Err(WRONG);
    }
    let whole: u64 = whole.parse().map_err(|_| WRONG)?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| WRONG)?;
    let msat = whole.checked_mul(1000).and_then(|msat| msat.checked_add(part));
    msat.filter(|msat| FEERATES_MSAT.contains(msat)).ok_or(WRONG)
}

/// Thousandths of a satoshi a vbyte as [`feerate`] reads them.
pub fn feerate_text(msat: u64) -> String {
    let text = format!("{}.{:03}", msat / 1000, msat % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The operator's rules for payouts.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who pays the fee.
    pub fee_policy: FeePolicy,
    /// The most that the fee may be of a payout, in percent.
    pub max_fee_pct: u64,
    /// When a second API key is needed.
    pub approval: Approval,
}

/// Makes and sends batches.
pub struct Batcher {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: SharedClock,
    /// The node.
    pub node: Arc<Bitcoind>,
    /// Its watch-only wallet.
    pub watch_only: WatchOnly,
    /// How that is doing.
    pub wallet: WalletReceiver,
    /// How following the chain is doing.
    pub readiness: ReadinessReceiver,
    /// The money rules.
    pub policy: Policy,
    /// The rules for payouts.
    pub rules: Rules,
    /// The network of all addresses.
    pub network: Network,
    /// The keychain that change goes to.
    pub keychain_id: u32,
}

fn refused(code: Code, detail: impl Into<String>) -> AppError {
    Refusal::new(code, detail).into()
}

/// The node did not do its part.
fn away(error: impl Display) -> AppError {
    refused(Code::NotReady, format!("the node did not answer as needed: {error}"))
}

impl Batcher {
    fn ground(&self) -> Ground {
        Ground {
            policy: self.policy.clone(),
            now: self.clock.now(),
            trusted: self.readiness.borrow().trusted(),
        }
    }

    /// Money leaves only while the node is believed.
    fn trusted(&self) -> Result<(), AppError> {
        if self.readiness.borrow().trusted() {
            return Ok(());
        }
        let detail = "the node is not followed or not trusted at the moment; see /readyz";
        Err(refused(Code::NotReady, detail))
    }

    /// A batch is made only while the node's wallet knows our coins, too.
    fn ready(&self) -> Result<(), AppError> {
        self.trusted()?;
        let state = self.wallet.borrow().clone();
        match state {
            WalletState::Ready => Ok(()),
            other => {
                let detail = format!(
                    "the node's watch-only wallet is {}: {}",
                    other.as_str(),
                    other.detail().unwrap_or_default()
                );
                Err(refused(Code::NotReady, detail))
            }
        }
    }

    /// The feerate asked for, or the node's for [`BLOCKS`] blocks, in milli-satoshi a vbyte.
    async fn feerate(&self, given: Option<u64>) -> Result<u64, AppError> {
        let wrong =
            |detail: String| Refusal::field(Code::InvalidRequest, "/feerate_msat_vb", detail);
        match given {
            Some(feerate) if FEERATES_MSAT.contains(&feerate) => Ok(feerate),
            Some(feerate) => {
                let (least, most) = (FEERATES_MSAT.start(), FEERATES_MSAT.end());
                let detail =
                    format!("it is {feerate}; allowed are {least} to {most} milli-satoshi a vbyte");
                Err(wrong(detail).into())
            }
            None => self.node.feerate(BLOCKS).await.map_err(away)?.ok_or_else(|| {
                let detail = "the node has seen too few blocks to estimate a feerate; give one";
                wrong(detail.into()).into()
            }),
        }
    }

    /// What the fee may be of a payout, in percent.
    fn max_fee_pct(&self, given: Option<u64>) -> Result<u64, AppError> {
        match given {
            None => Ok(self.rules.max_fee_pct),
            Some(percent @ 1..=100) => Ok(percent),
            Some(percent) => {
                let detail = format!("it is {percent}; allowed are 1 to 100 percent");
                Err(Refusal::field(Code::InvalidRequest, "/max_fee_pct", detail).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feerate_has_up_to_three_decimals() {
        for (text, msat) in [("3", 3000), ("1.5", 1500), ("0.1", 100), ("12.345", 12_345)] {
            assert_eq!(feerate(text), Ok(msat), "{text}");
            assert_eq!(feerate_text(msat), text);
        }
        for text in ["", "0", "0.05", "1,5", "-1", "1.", ".5", "1.2345", "1e3", "10001"] {
            assert!(feerate(text).is_err(), "{text}");
        }
    }
}
