//! Coins: what the node's watch-only wallet lists is in the books, with the same amount and script;
//! and what the books have beyond that is spent. Without a wallet that is ready it is left out.

use std::collections::{BTreeMap, HashSet};

use bitcoin::{Address, Network, OutPoint};

use super::{PAGE, Report, lasting};
use crate::app::wallet_state::wallet_name;
use crate::chain::BlockSource as _;
use crate::chain::bitcoind::Bitcoind;
use crate::chain::wallet::{Coin, Standing, WalletError, WatchOnly};
use crate::cli::Exit;
use crate::db::payment::{Filter, PaymentRow};
use crate::db::{self, Db};
use crate::domain::policy::COINBASE_MATURITY;

/// So far ahead of its time a block may claim to be (consensus rule).
const AHEAD_S: u64 = 2 * 3600;

/// What is wrong with each coin.
type Wrong = BTreeMap<OutPoint, String>;

/// Who is asked.
struct Asked<'a> {
    db: &'a Db,
    node: &'a Bitcoind,
    wallet: &'a WatchOnly,
    network: Network,
}

/// What one look found.
#[derive(Default)]
struct Found {
    wrong: Wrong,
    coins: u64,
    /// Perhaps paid before the first start: then in no block that was read.
    older: u64,
    /// Of indexes that the wallet does not hold yet.
    beyond: u64,
}

pub(super) async fn look(
    db: &Db,
    node: &Bitcoind,
    network: Network,
    report: &mut Report,
) -> Result<(), Exit> {
    let mut conn = db.read().await?;
    let keychains = db::keychain::list(&mut conn).await?;
    drop(conn);
    let Some(first) = keychains.first() else { return Ok(()) };
    let wallet = WatchOnly::new(node, wallet_name(&first.identity));
    if let Some(why) = unusable(&wallet).await {
        let name = wallet.name();
        report.notes.push(format!("coins were not compared: the node's wallet {name} {why}"));
        return Ok(());
    }
    let asked = Asked { db, node, wallet: &wallet, network };
    let again = async || Ok(Some(asked.compare().await?.wrong).filter(|wrong| !wrong.is_empty()));
    let found = asked.compare().await?;
    report.coins = found.coins;
    let wrong = if found.wrong.is_empty() { None } else { lasting(again).await? };
    for (coin, detail) in wrong.unwrap_or_default() {
        report.differs(format!("coin {coin}"), detail);
    }
    if found.older > 0 {
        let n = found.older;
        report.notes.push(format!("{n} coins of the wallet are from before the first start"));
    }
    if found.beyond > 0 {
        let n = found.beyond;
        report.notes.push(format!("{n} payments are to addresses that the wallet lacks so far"));
    }
    Ok(())
}

/// Why the wallet cannot be asked.
async fn unusable(wallet: &WatchOnly) -> Option<String> {
    match wallet.standing().await {
        Ok(Standing::Loaded) => {}
        Ok(Standing::Missing) => return Some("is not there".into()),
        Ok(Standing::Unloaded) => return Some("is not loaded".into()),
        Err(error) => return Some(format!("does not answer: {error}")),
    }
    match wallet.scanning().await {
        Ok(None) => None,
        Ok(Some(percent)) => Some(format!("searches the chain: {percent} % done")),
        Err(error) => Some(format!("cannot be used: {error}")),
    }
}

fn gone(error: WalletError) -> Exit {
    Exit::TryAgain(error.into())
}

impl Asked<'_> {
    async fn compare(&self) -> Result<Found, Exit> {
        let mut found = Found::default();
        let listed = self.wallet.coins(1).await.map_err(gone)?;
        let tip = self.node.node_state().await?.tip.height;
        for coin in &listed {
            found.coins += 1;
            self.listed(coin, tip, &mut found).await?;
        }
        let listed: HashSet<OutPoint> = listed.iter().map(|coin| coin.outpoint).collect();
        let mut filter = Filter::default();
        loop {
            let mut conn = self.db.read().await?;
            let rows = db::payment::list(&mut conn, &filter, PAGE).await?;
            drop(conn);
            let Some(last) = rows.last() else { return Ok(found) };
            filter.before = Some((last.facts.first_seen_at, last.facts.id.to_string()));
            for row in rows.iter().filter(|row| row.facts.mined.is_some()) {
                if !listed.contains(&row.facts.outpoint) {
                    self.unlisted(row, &mut found).await?;
                }
            }
        }
    }

    /// A coin of the wallet is a payment in the books.
    async fn listed(&self, coin: &Coin, tip: u32, found: &mut Found) -> Result<(), Exit> {
        let mut conn = self.db.read().await?;
        let known = db::payment::find_output(&mut conn, &coin.outpoint).await?;
        let height = db::tx::mined_height(&mut conn, &coin.outpoint.txid).await?;
        let newest_at = db::keychain::newest_at(&mut conn).await?;
        drop(conn);
        if let Some(known) = known {
            let wrong = otherwise(coin, known.amount_sat, &known.script_pubkey, height);
            found.wrong.extend(wrong.map(|wrong| (coin.outpoint, wrong)));
            return Ok(());
        }
        let height = (tip + 1).saturating_sub(coin.confirmations);
        let header = match self.node.hash_at(height).await? {
            Some(hash) => self.node.header(&hash).await?,
            None => None,
        };
        let may_be_read = newest_at.map(|at| at.plus_s(AHEAD_S));
        if header.is_some_and(|header| Some(header.time_at) <= may_be_read) {
            found.older += 1;
        } else {
            let wrong = "it is in the wallet and not in the books".to_owned();
            found.wrong.insert(coin.outpoint, wrong);
        }
        Ok(())
    }

    /// A confirmed payment that the wallet does not list is spent, in the chain or the mempool.
    async fn unlisted(&self, row: &PaymentRow, found: &mut Found) -> Result<(), Exit> {
        let outpoint = row.facts.outpoint;
        let Some(coin) = self.node.unspent_output(&outpoint, true).await? else { return Ok(()) };
        if coin.coinbase && coin.confirmations < COINBASE_MATURITY {
            return Ok(());
        }
        let mut conn = self.db.read().await?;
        // The wallet takes it for spent by a batch that has left the mempool.
        if !db::tx::spenders(&mut conn, &outpoint).await?.is_empty() {
            return Ok(());
        }
        drop(conn);
        let ours = match Address::from_script(&row.script_pubkey, self.network) {
            Ok(address) => self.wallet.is_ours(&address).await.map_err(gone)?,
            Err(_) => false,
        };
        if ours {
            let wrong = "it is unspent, but the wallet does not list it".to_owned();
            found.wrong.insert(outpoint, wrong);
        } else {
            found.beyond += 1;
        }
        Ok(())
    }
}

fn otherwise(
    coin: &Coin,
    amount_sat: u64,
    script_pubkey: &bitcoin::Script,
    height: Option<u32>,
) -> Option<String> {
    if coin.amount_sat != amount_sat {
        let here = coin.amount_sat;
        return Some(format!("it is worth {here} sat, recorded are {amount_sat} sat"));
    }
    if coin.script_pubkey.as_script() != script_pubkey {
        return Some("it pays another script than recorded".into());
    }
    height.is_none().then(|| "it is confirmed, and recorded in no block".into())
}

#[cfg(test)]
mod tests {
    use bitcoin::ScriptBuf;

    use super::*;

    #[test]
    fn a_coin_is_the_payment_that_is_recorded() {
        let script = ScriptBuf::new_op_return([]);
        let coin = Coin {
            outpoint: OutPoint::null(),
            amount_sat: 1000,
            script_pubkey: script.clone(),
            confirmations: 3,
        };
        for (name, amount_sat, recorded, height, expected) in [
            ("the same", 1000, &script, Some(7), None),
            ("less", 999, &script, Some(7), Some("it is worth 1000 sat, recorded are 999 sat")),
            (
                "another address",
                1000,
                &ScriptBuf::new(),
                Some(7),
                Some("it pays another script than recorded"),
            ),
            ("no block", 1000, &script, None, Some("it is confirmed, and recorded in no block")),
        ] {
            let wrong = otherwise(&coin, amount_sat, recorded, height);
            assert_eq!(wrong.as_deref(), expected, "{name}");
        }
    }
}
