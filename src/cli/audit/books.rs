//! The ledger: each entry balances, the kept sums are those of the entries, and they say the
//! same of each resource as its leases and loose payments do.

use std::collections::BTreeMap;

use super::{PAGE, Report};
use crate::db::{self, Conn, Db, DbError};
use crate::domain::lease::books::Books;
use crate::domain::ledger::{Account, lines};

/// How the ledger names what belongs to no resource.
const LOOSE: &str = "";

/// Signed satoshis by resource (`LOOSE` for money without a lease) and account.
type Sums = BTreeMap<(String, Account), i128>;

fn add(sums: &mut Sums, resource: &str, account: Account, sat: i64) {
    *sums.entry((resource.to_owned(), account)).or_default() += i128::from(sat);
}

/// All statements see the same state, so that a running server makes no difference.
pub(super) async fn look(db: &Db, report: &mut Report) -> Result<(), DbError> {
    let mut conn = db.snapshot().await?;
    let entries = entry_sums(&mut conn, report).await?;
    let mut kept = Sums::new();
    for (resource, account, sat) in db::ledger::kept_sums(&mut conn).await? {
        add(&mut kept, &resource, account, sat);
    }
    let mut owned = lease_sums(&mut conn, report).await?;
    loose_sums(&mut conn, &mut owned).await?;
    compare(report, &entries, &kept, ("the entries", "the kept sums"));
    compare(report, &kept, &owned, ("the ledger", "leases and payments"));
    Ok(())
}

async fn entry_sums(conn: &mut Conn, report: &mut Report) -> Result<Sums, DbError> {
    let last = db::ledger::last_entry(conn).await?;
    let mut sums = Sums::new();
    let mut after = 0;
    while after < last {
        let mut balances: BTreeMap<u64, i128> = BTreeMap::new();
        for row in db::ledger::list(conn, after, PAGE).await? {
            *balances.entry(row.entry).or_default() += i128::from(row.amount_sat);
            let resource = row.resource.as_deref().unwrap_or(LOOSE);
            add(&mut sums, resource, row.account, row.amount_sat);
        }
        for (entry, balance) in balances.iter().filter(|(_, balance)| **balance != 0) {
            report.differs(format!("ledger entry {entry}"), format!("sums to {balance} sat"));
        }
        report.ledger_entries += u64::try_from(balances.len()).unwrap_or(u64::MAX);
        after += u64::from(PAGE);
    }
    Ok(sums)
}

async fn lease_sums(conn: &mut Conn, report: &mut Report) -> Result<Sums, DbError> {
    let mut sums = Sums::new();
    let mut filter = db::lease::Filter::default();
    loop {
        let rows = db::lease::list(conn, &filter, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(sums) };
        filter.before = Some((last.facts.created_at, last.facts.id.to_string()));
        for row in &rows {
            report.leases += 1;
            for line in lines(&Books::default(), &row.doc.booked) {
                add(&mut sums, &row.facts.resource, line.account, line.amount_sat);
            }
        }
    }
}

async fn loose_sums(conn: &mut Conn, sums: &mut Sums) -> Result<(), DbError> {
    let mut filter = db::payment::Filter { loose: true, ..Default::default() };
    loop {
        let rows = db::payment::list(conn, &filter, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        filter.before = Some((last.facts.first_seen_at, last.facts.id.to_string()));
        for row in &rows {
            for line in lines(&Books::default(), &row.loose.books) {
                add(sums, LOOSE, line.account, line.amount_sat);
            }
        }
    }
}

fn compare(report: &mut Report, left: &Sums, right: &Sums, (one, other): (&str, &str)) {
    let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let sat = |sums: &Sums| sums.get(key).copied().unwrap_or(0);
        let (a, b) = (sat(left), sat(right));
        if a != b {
            let (resource, account) = key;
            let whose = if resource == LOOSE { "money without a lease" } else { resource };
            let subject = format!("{whose}, {}", account.as_str());
            report.differs(subject, format!("{one} say {a} sat, {other} {b} sat"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_sum_is_zero_and_any_other_difference_is_told() {
        let mut left = Sums::new();
        add(&mut left, "box", Account::Received, 0);
        let mut report = Report::default();
        compare(&mut report, &left, &Sums::new(), ("a", "b"));
        assert!(report.differences.is_empty());
        add(&mut left, LOOSE, Account::Unallocated, -5);
        compare(&mut report, &left, &Sums::new(), ("a", "b"));
        assert_eq!(report.differences[0].subject, "money without a lease, unallocated");
        assert_eq!(report.differences[0].detail, "a say -5 sat, b 0 sat");
    }
}
