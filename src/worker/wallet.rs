//! Keeps the node's watch-only wallet: makes it, loads it, widens it ahead of what is issued.
//! Only payouts need it, so whatever is wrong with it is said and published, and never delays or
//! ends the server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use bitcoin::Network;
use tokio_util::sync::CancellationToken;

use crate::app::readiness::ReadinessReceiver;
use crate::app::wallet_state::{WalletSender, WalletState};
use crate::chain::wallet::{LARGEST_RANGE, WalletError, Wanted, WatchOnly};
use crate::clock::SharedClock;
use crate::db::keychain::KeychainRow;
use crate::db::{self, Db};
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::time::Timestamp;

/// The wallet has at least so many indexes beyond what was issued when it was last looked at. Each
/// costs the node 50 µs; what is issued beyond in the meantime is imported at the next look.
pub const AHEAD: u32 = 200;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(30);
/// Between two looks while the chain is searched.
const SCAN_PERIOD: Duration = Duration::from_secs(2);
/// After a search that failed: the node reads all the blocks it has, also when one is missing.
const FAILED_PERIOD: Duration = Duration::from_secs(3600);
/// What was issued within this time cannot have been paid before the two hours of blocks that the
/// node reads at every import.
const RECENT_S: u64 = 3600;

/// What was asked of the wallet and done.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ensured {
    ends: Vec<(String, u32)>,
    scan_from: u64,
}

/// The keeper of one node's wallet.
pub struct Keeper {
    db: Db,
    clock: SharedClock,
    network: Network,
    wallet: WatchOnly,
    state: WalletSender,
    ensured: Option<Ensured>,
    /// The next index to be issued of each keychain, and when that was so.
    issued: BTreeMap<u32, (u32, Timestamp)>,
    said: Option<String>,
    /// Until the next look.
    pause: Duration,
}

impl Keeper {
    /// A keeper that knows nothing yet.
    pub fn new(
        db: Db,
        clock: SharedClock,
        network: Network,
        wallet: WatchOnly,
        state: WalletSender,
    ) -> Self {
        Self {
            db,
            clock,
            network,
            wallet,
            state,
            ensured: None,
            issued: BTreeMap::new(),
            said: None,
            pause: PERIOD,
        }
    }

    /// Keeps it until `shutdown`, also in the middle of a search of the chain: the node goes on
    /// with that by itself.
    ///
    /// # Errors
    /// None: it must not end the server.
    pub async fn run(
        mut self,
        mut readiness: ReadinessReceiver,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let keep = async {
            loop {
                let trusted = readiness.borrow().trusted();
                self.step().await;
                let waits = !trusted && *self.state.borrow() == WalletState::Unknown;
                let followed = readiness.wait_for(|now| now.trusted());
                tokio::select! {
                    () = tokio::time::sleep(self.pause) => {}
                    Ok(_) = followed, if waits => {}
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keep => {}
        }
        Ok(())
    }

    /// Looks at it once and does what is needed.
    pub async fn step(&mut self) {
        let (state, pause) = match self.keep().await {
            Ok(state) => (state, PERIOD),
            Err(error) => match error.downcast_ref() {
                Some(WalletError::Scanning { percent, .. }) => {
                    (WalletState::Scanning(*percent), SCAN_PERIOD)
                }
                Some(WalletError::Import { .. }) => {
                    (WalletState::Failing(error.to_string()), FAILED_PERIOD)
                }
                _ => (WalletState::Failing(format!("{error:#}")), PERIOD),
            },
        };
        self.pause = pause;
        self.say(&state);
        publish(&self.state, state);
    }

    async fn keep(&mut self) -> anyhow::Result<WalletState> {
        let now = self.clock.now();
        let Some((rows, scan_from)) = self.read().await? else {
            return Ok(WalletState::Unknown);
        };
        let mut wanted = Vec::with_capacity(2 * rows.len());
        for row in &rows {
            let keychain = Keychain::parse(&row.descriptor, self.network)
                .context("a stored descriptor cannot be read")?;
            wanted.extend(self.branches(row, &keychain, now));
        }
        let ends = wanted.iter().map(|wanted| (wanted.descriptor.clone(), wanted.end)).collect();
        let ensured = Ensured { ends, scan_from };
        if self.ensured.as_ref() != Some(&ensured) || !self.is_loaded().await? {
            self.ensured = None;
            self.ensure(&wanted, scan_from).await?;
            self.ensured = Some(ensured);
        }
        self.issued = rows.iter().map(|row| (row.id, (row.next_index, now))).collect();
        Ok(WalletState::Ready)
    }

    /// The keychains, and since when their payments are known, in Unix seconds. `None` before that
    /// is known, and while it is searched for what they issued before.
    async fn read(&self) -> anyhow::Result<Option<(Vec<KeychainRow>, u64)>> {
        let mut conn = self.db.read().await?;
        let rows = db::keychain::list(&mut conn).await?;
        let Some(lowest) = db::chain::lowest(&mut conn).await? else { return Ok(None) };
        let Some(block) = db::chain::find(&mut conn, lowest).await? else { return Ok(None) };
        if rows.iter().any(|row| row.recovery.is_some()) {
            return Ok(None);
        }
        let scan_from = u64::try_from(block.header_at.unix_s()).unwrap_or(0);
        Ok(Some((rows, scan_from)))
    }

    fn branches(&self, row: &KeychainRow, keychain: &Keychain, now: Timestamp) -> [Wanted; 2] {
        let external = Wanted {
            descriptor: keychain.single(Branch::External),
            internal: false,
            end: end(row.first_unused()),
            unpaid_from: unpaid_from(row, self.issued.get(&row.id), now),
        };
        // Change comes only from what was paid.
        let internal = Wanted {
            descriptor: keychain.single(Branch::Internal),
            internal: true,
            end: end(row.next_internal),
            unpaid_from: match (row.first_unused(), row.next_internal) {
                (0, 0) => 0,
                (_, next) => end(0).max(next),
            },
        };
        [external, internal]
    }

    /// A node that was restarted may not have loaded it.
    async fn is_loaded(&self) -> Result<bool, WalletError> {
        match self.wallet.scanning().await {
            Ok(None) => Ok(true),
            Ok(Some(percent)) => {
                Err(WalletError::Scanning { name: self.wallet.name().to_owned(), percent })
            }
            Err(WalletError::NotLoaded { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ensures what is wanted, and publishes meanwhile how far the node is.
    async fn ensure(&self, wanted: &[Wanted], scan_from: u64) -> Result<(), WalletError> {
        let ensure = self.wallet.ensure(wanted, scan_from);
        let mut ensure = std::pin::pin!(ensure);
        loop {
            tokio::select! {
                result = &mut ensure => return result,
                () = tokio::time::sleep(SCAN_PERIOD) => {}
            }
            // While it is being loaded it does not answer.
            if let Ok(Some(percent)) = self.wallet.scanning().await {
                publish(&self.state, WalletState::Scanning(percent));
            }
        }
    }

    /// Logs a reason once, until it has passed.
    fn say(&mut self, state: &WalletState) {
        let name = self.wallet.name();
        match state {
            WalletState::Failing(why) if self.said.as_ref() != Some(why) => {
                tracing::warn!(
                    name,
                    why,
                    "no payouts: the node's watch-only wallet cannot be used"
                );
                self.said = Some(why.clone());
            }
            WalletState::Ready if self.said.take().is_some() => {
                tracing::info!(name, "the node's watch-only wallet can be used again");
            }
            _ => {}
        }
    }
}

fn publish(sender: &WalletSender, state: WalletState) {
    sender.send_if_modified(|now| {
        let other = *now != state;
        *now = state;
        other
    });
}

/// The external index from which on no chain needs to be searched. `issued` is the next index as
/// it was at the last look, and when that was.
fn unpaid_from(row: &KeychainRow, issued: Option<&(u32, Timestamp)>, now: Timestamp) -> u32 {
    let paid = row.highest_seen.map_or(0, |seen| seen + 1);
    let recent = issued.filter(|(_, at)| *at <= now && now <= at.plus_s(RECENT_S));
    paid.max(recent.map_or(row.next_index, |(next, _)| *next))
}

/// The end of what the wallet holds of a branch whose indexes from `next` on are unused. It moves
/// in steps, which grow with it: the node derives the whole range anew at each.
fn end(next: u32) -> u32 {
    let mut step = AHEAD;
    while step < next / 16 {
        step *= 2;
    }
    (next / step).saturating_add(2).saturating_mul(step).min(LARGEST_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_since_the_last_look_needs_no_search_unless_it_was_paid() {
        let row = |next_index, highest_seen| KeychainRow {
            next_internal: 0,
            id: 1,
            identity: String::new(),
            descriptor: String::new(),
            next_index,
            highest_seen,
            recovery: None,
        };
        let now = Timestamp::from_secs(100_000);
        let before = |seconds| Some((150, now.minus_s(seconds)));
        for (name, row, issued, expected) in [
            ("never looked", row(700, Some(90)), None, 700),
            ("a moment ago", row(700, Some(90)), before(30), 150),
            ("long ago", row(700, Some(90)), before(RECENT_S + 1), 700),
            ("a clock that was set back", row(700, Some(90)), Some((150, now.plus_s(1))), 700),
            ("paid since", row(700, Some(650)), before(30), 651),
            ("paid beyond what was issued", row(700, Some(900)), None, 901),
            ("nothing ever", row(0, None), None, 0),
        ] {
            assert_eq!(unpaid_from(&row, issued.as_ref(), now), expected, "{name}");
        }
    }

    #[test]
    fn the_end_is_far_enough_ahead_and_seldom_moves() {
        assert_eq!([0, 199, 200, 399, 400].map(end), [400, 400, 600, 600, 800]);
        let (mut last, mut moved) = (end(0), 0);
        for next in 0..LARGEST_RANGE - 200_000 {
            let now = end(next);
            assert!(now >= last && now >= next + AHEAD, "{next}: {now} after {last}");
            moved += u32::from(now != last);
            last = now;
        }
        assert!(moved < 150, "{moved}");
        assert_eq!(end(u32::MAX), LARGEST_RANGE);
    }
}
