//! What must hold of the books, the payouts and the batches after every step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::chain::View;
use super::{ADDRESSES, script};
use crate::clock::Clock;
use crate::db::batch::BatchRow;
use crate::db::payout::PayoutRow;
use crate::db::{self, Conn};
use crate::domain::ids::{InvoiceId, PayoutId};
use crate::domain::lease::books::Books;
use crate::domain::ledger::{self, lines};
use crate::domain::payout::{Account, PayoutState};
use crate::worker::rig::Rig;

/// Whoever is paid: a subject's recipient.
pub type Payee = (String, Option<InvoiceId>);

/// What a subject has: its resource, its books, its accounts.
struct Money {
    id: String,
    resource: &'static str,
    books: Books,
    accounts: Vec<Account>,
}

/// The most that was ever owed to anyone.
#[derive(Default)]
pub struct Checker {
    most: BTreeMap<Payee, u64>,
}

async fn money(rig: &Rig, conn: &mut Conn) -> Vec<Money> {
    let mut all = Vec::new();
    let filter = db::lease::Filter::default();
    for lease in db::lease::list(conn, &filter, 1000).await.unwrap() {
        let (booked, now) = (lease.doc.booked, rig.clock.now());
        let shown = lease.doc.books(now.max(lease.doc.standing.last_at));
        // The clock alone turns prepaid into earned; that is booked when it is settled next.
        let still =
            |it: Books| Books { prepaid_sat: it.prepaid_sat + it.earned_sat, earned_sat: 0, ..it };
        assert_eq!(still(booked), still(shown), "{}: booked is not what is shown", lease.facts.id);
        all.push(Money {
            id: lease.facts.id.to_string(),
            resource: "gpu-small",
            books: booked,
            accounts: lease.doc.accounts,
        });
    }
    let filter = db::payment::Filter { loose: true, ..Default::default() };
    for row in db::payment::list(conn, &filter, 10_000).await.unwrap() {
        all.push(Money {
            id: row.facts.id.to_string(),
            resource: "",
            books: row.loose.books,
            accounts: row.loose.accounts,
        });
    }
    all
}

/// SPEC section 8, as far as there is money of that kind.
fn assert_equation(it: &Money) {
    let Books { held_sat, prepaid_sat, earned_sat, refundable_sat, .. } = it.books;
    let Books { received_sat, lost_sat, refunded_sat, dust_sat, unallocated_sat, .. } = it.books;
    let places = [
        held_sat,
        prepaid_sat,
        earned_sat,
        refundable_sat,
        refunded_sat,
        dust_sat,
        unallocated_sat,
    ];
    assert_eq!(
        received_sat + lost_sat,
        places.into_iter().sum::<u64>(),
        "{}: {:?}",
        it.id,
        it.books
    );
    let sum = |of: fn(&Account) -> u64| it.accounts.iter().map(of).sum::<u64>();
    let told = [refundable_sat, refunded_sat, dust_sat, lost_sat];
    let kept = [
        sum(Account::refundable_sat),
        sum(|account| account.out_sat),
        sum(|account| account.dust_sat),
        sum(Account::lost_sat),
    ];
    assert_eq!(told, kept, "{}: the accounts are not the books", it.id);
}

/// The ledger balances, and is the sum of what every subject was booked with.
async fn assert_ledger(conn: &mut Conn, all: &[Money]) {
    let mut expected: BTreeMap<(String, ledger::Account), i64> = BTreeMap::new();
    for it in all {
        for line in lines(&Books::default(), &it.books) {
            *expected.entry((it.resource.into(), line.account)).or_default() += line.amount_sat;
        }
    }
    let kept = db::ledger::kept_sums(conn).await.unwrap();
    assert_eq!(kept.iter().map(|(_, _, sat)| sat).sum::<i64>(), 0);
    let kept: BTreeMap<_, _> =
        kept.into_iter().map(|(of, account, sat)| ((of, account), sat)).collect();
    let kept: BTreeMap<_, _> = kept.into_iter().filter(|(_, sat)| *sat != 0).collect();
    expected.retain(|_, sat| *sat != 0);
    assert_eq!(kept, expected, "the ledger is not the sum of the books");
}

/// The accounts of a subject are what its payouts say.
fn assert_accounts(it: &Money, rows: &[PayoutRow]) {
    for account in &it.accounts {
        let own = || rows.iter().filter(|row| row.facts.recipient == account.recipient);
        let sum = |is: &dyn Fn(&&PayoutRow) -> bool| -> u64 {
            own().filter(|row| is(row)).map(|row| row.facts.amount_sat).sum()
        };
        let state = |row: &&PayoutRow| row.state;
        let told = [
            sum(&|row| state(row).is_open()),
            sum(&|row| !state(row).is_open()),
            sum(&|row| state(row) == PayoutState::Confirmed),
            sum(&|row| state(row).is_open() && row.facts.dust),
            own().map(|row| row.ready_sat).sum(),
        ];
        let Account { fixed_sat, out_sat, dust_sat, .. } = *account;
        let kept = [account.open_sat(), fixed_sat, out_sat, dust_sat, account.ready_sat()];
        assert_eq!(told, kept, "{}: {account:?} and {rows:#?}", it.id);
    }
    let known: BTreeSet<_> = it.accounts.iter().map(|account| &account.recipient).collect();
    let stray = rows.iter().find(|row| !known.contains(&row.facts.recipient));
    assert!(stray.is_none_or(|row| row.facts.amount_sat == 0), "of no account: {stray:?}");
}

/// A payout is due when there is an address and enough goes there that can leave.
fn assert_due(rig: &Rig, rows: &[PayoutRow]) {
    let mut ready: HashMap<&str, u64> = HashMap::new();
    for row in rows.iter().filter(|row| row.state.is_open()) {
        *ready.entry(row.address.as_deref().unwrap_or_default()).or_default() += row.ready_sat;
    }
    for row in rows.iter().filter(|row| row.state.is_open()) {
        let enough = row.address.as_deref().is_some_and(|address| {
            row.ready_sat > 0 && ready[address] >= rig.shop.policy.min_payout_sat
        });
        assert_eq!(row.state == PayoutState::Due, enough, "{row:#?} of {ready:?}");
    }
}

/// Every batch and version as the chain has it, whoever sent it; what is mined pays each payout
/// once. Returns what mined versions took from each payout.
async fn assert_batches(conn: &mut Conn, view: &View) -> HashMap<PayoutId, u64> {
    let mut paid = HashMap::new();
    for found in db::batch::list(conn, None, None, 1000).await.unwrap() {
        let batch = db::batch::find(conn, found.id.as_str()).await.unwrap().unwrap();
        let mined = mined(conn, &batch, view).await;
        assert!(mined.len() <= 1, "two versions of one batch are mined: {batch:#?}");
        for n in mined {
            for item in db::batch::items(conn, &batch.id, n).await.unwrap() {
                let before = paid.insert(item.payout.clone(), item.amount_sat);
                assert_eq!(before, None, "{} is paid twice", item.payout);
            }
        }
    }
    paid
}

/// Where every version is, and what makes it impossible; those that are mined.
async fn mined(conn: &mut Conn, batch: &BatchRow, view: &View) -> Vec<u32> {
    let mut mined = Vec::new();
    for version in &batch.versions {
        let txid = version.facts.txid;
        let height = view.heights.get(&txid).copied();
        assert_eq!(version.facts.height, height, "{version:#?}");
        if height.is_some() {
            mined.push(version.facts.n);
            continue;
        }
        let coins = db::tx::inputs(conn, &txid).await.unwrap();
        let mut taken = view.taken_at(&txid, coins.iter().copied());
        for parent in coins.iter().map(|coin| coin.txid) {
            if taken.is_none() && !view.heights.contains_key(&parent) {
                let coins = db::tx::inputs(conn, &parent).await.unwrap();
                taken = view.taken_at(&parent, coins.into_iter());
            }
        }
        let known = version.facts.conflict_height;
        assert_eq!(known.is_some(), taken.is_some(), "{known:?}, {taken:?}: {version:#?}");
    }
    mined
}

impl Checker {
    /// While facts were recorded and nothing was settled: what is in the chain only.
    pub async fn check_chain(&self, rig: &Rig, view: &View) {
        let mut conn = rig.db.read().await.unwrap();
        assert_batches(&mut conn, view).await;
    }

    pub async fn check(&mut self, rig: &Rig, view: &View) {
        let mut conn = rig.db.read().await.unwrap();
        let all = money(rig, &mut conn).await;
        all.iter().for_each(assert_equation);
        assert_ledger(&mut conn, &all).await;
        let paid = assert_batches(&mut conn, view).await;
        for batch in db::batch::list(&mut conn, None, None, 1000).await.unwrap() {
            let full = db::batch::find(&mut conn, batch.id.as_str()).await.unwrap().unwrap();
            assert_eq!(batch.state, full.facts().state(), "{full:#?}");
        }
        let refunded: u64 = all.iter().map(|it| it.books.refunded_sat).sum();
        assert_eq!(paid.values().sum::<u64>(), refunded, "what is mined is what was refunded");
        // Whoever made the transactions: what is at their addresses was booked.
        let scripts = (0..ADDRESSES).map(script);
        let left: u64 = scripts.filter_map(|script| view.paid.get(&script)).sum();
        assert!(left <= refunded, "{left} sat have left, {refunded} sat are booked");
        let mut payees: BTreeMap<Payee, u64> = BTreeMap::new();
        let mut rows = Vec::new();
        for it in &all {
            let own = db::payout::list_of_subject(&mut conn, &it.id).await.unwrap();
            assert_accounts(it, &own);
            for row in &own {
                let payee = (it.id.clone(), row.facts.recipient.clone());
                *payees.entry(payee).or_default() += paid.get(&row.facts.id).unwrap_or(&0);
            }
            for account in &it.accounts {
                let payee = (it.id.clone(), account.recipient.clone());
                let most = self.most.entry(payee).or_default();
                *most = account.owed_sat.max(*most);
            }
            rows.extend(own);
        }
        assert_due(rig, &rows);
        for (payee, sat) in payees {
            let most = self.most.get(&payee).copied().unwrap_or(0);
            assert!(sat <= most, "{payee:?} was paid {sat} sat and never owed more than {most}");
        }
    }
}
