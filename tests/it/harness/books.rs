//! Reads a shop's database beside its server and checks what must hold after every test: the
//! ledger, the event log, and that every stored standing is the fold of its facts.

use std::collections::{BTreeMap, HashSet};

use leasehold::db::event::Event;
use leasehold::db::ledger::LedgerRow;
use leasehold::db::{self, Conn, Db, OpenOptions};
use leasehold::domain::lease::Facts;
use leasehold::domain::lease::books::Books;
use leasehold::domain::lease::fold::fold;
use leasehold::domain::ledger::Account;
use leasehold::domain::payment::Counted;
use leasehold::domain::time::Timestamp;

use super::daemon::Shop;
use super::wait::until;

const ALL: u32 = 1_000_000;

impl Shop {
    /// Reads the database as it is now.
    pub fn read<T>(&self, read: impl AsyncFnOnce(&mut Conn) -> T) -> T {
        self.runtime.block_on(async {
            let options = OpenOptions { readers: 1, ..OpenOptions::default() };
            let db = Db::open_read_only(&self.database, options).await.expect("it can be read");
            let mut conn = db.snapshot().await.expect("it can be read");
            let found = read(&mut conn).await;
            drop(conn);
            db.close_readers().await;
            found
        })
    }

    /// Changes the database while the server is stopped.
    pub fn write(&self, change: impl AsyncFnOnce(&Db)) {
        self.runtime.block_on(async {
            let (db, writer) =
                Db::open(&self.database, OpenOptions::default()).await.expect("nobody has it open");
            let change = async {
                change(&db).await;
                db.close_readers().await;
                drop(db);
            };
            tokio::join!(writer.run(), change);
        });
    }

    /// The whole ledger.
    pub fn ledger(&self) -> Vec<LedgerRow> {
        self.read(async |conn| db::ledger::list(conn, 0, ALL).await.unwrap())
    }

    /// The whole event log.
    pub fn events(&self) -> Vec<Event> {
        self.read(async |conn| db::event::list(conn, 0, ALL.into()).await.unwrap())
    }

    /// The kinds of the events about one subject, in order.
    pub fn events_of(&self, subject: &str) -> Vec<String> {
        let events = self.events();
        events.into_iter().filter(|event| event.subject == subject).map(|e| e.kind).collect()
    }

    /// How often something happened to a subject.
    pub fn count_events(&self, subject: &str, kind: &str) -> usize {
        self.events_of(subject).iter().filter(|found| *found == kind).count()
    }

    /// Where a lease's money was booked last.
    pub fn booked(&self, lease: &str) -> Books {
        self.read(async |conn| {
            db::lease::find(conn, lease).await.unwrap().expect("there is such a lease").doc.booked
        })
    }

    /// Waits until the server has looked at the mempool with its clock at or after `at`.
    pub fn look_after(&self, at: Timestamp) {
        until("a look at the mempool", || {
            let tip = self.read(async |conn| db::chain::tip(conn).await.unwrap());
            let looked_at = tip.and_then(|tip| tip.look_at);
            looked_at.filter(|looked| *looked >= at).ok_or(looked_at)
        });
    }

    /// The tip as it is stored.
    pub fn stored_tip(&self) -> bitcoin::BlockHash {
        self.read(async |conn| db::chain::tip(conn).await.unwrap().expect("there is one").hash)
    }

    /// Checks everything that must hold whatever happened.
    pub fn check_books(&self) {
        self.read(async |conn| {
            let ledger = db::ledger::list(conn, 0, ALL).await.unwrap();
            check_ledger(conn, &ledger).await;
            check_leases(conn, &ledger).await;
            check_events(&db::event::list(conn, 0, ALL.into()).await.unwrap());
        });
    }

    /// Whatever a test did, once the server has followed its node the program's own audit finds
    /// nothing. One that a test has stopped is started again.
    pub fn check_audit(&mut self) {
        match self.runs() {
            true => self.wait_for_tip(),
            false => self.start(),
        }
        let output = self.command(&["--json", "audit"]).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, told) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "the audit ended with {}:\n{said}\n{told}", output.status);
    }
}

/// Every entry is balanced, and the sums kept beside them are theirs.
async fn check_ledger(conn: &mut Conn, ledger: &[LedgerRow]) {
    let mut by_entry: BTreeMap<u64, i64> = BTreeMap::new();
    let mut by_account: BTreeMap<Account, i64> = BTreeMap::new();
    for line in ledger {
        *by_entry.entry(line.entry).or_default() += line.amount_sat;
        *by_account.entry(line.account).or_default() += line.amount_sat;
    }
    for (entry, sum) in &by_entry {
        assert_eq!(*sum, 0, "entry {entry} is not balanced: {ledger:?}");
    }
    let sums = db::ledger::sums(conn, None).await.unwrap();
    assert_eq!(by_account, sums.into_iter().collect(), "the sums are not those of the lines");
}

/// A lease is the fold of its facts, its books are its ledger, an output counts once.
async fn check_leases(conn: &mut Conn, ledger: &[LedgerRow]) {
    for row in db::lease::list(conn, &db::lease::Filter::default(), ALL).await.unwrap() {
        let id = row.facts.id.clone();
        let invoices = db::invoice::list_of_lease(conn, &id).await.unwrap();
        let payments = db::payment::list_of_lease(conn, &id).await.unwrap();
        let facts = Facts {
            lease: row.facts.clone(),
            terms: db::terms::history(conn, &row.facts.resource).await.unwrap(),
            invoices: invoices.into_iter().map(|row| row.facts).collect(),
            payments: payments.into_iter().map(|row| row.facts).collect(),
            entries: db::entry::list(conn, &id).await.unwrap(),
        };
        let standing = fold(&facts).expect("its terms are stored");
        assert_eq!(standing, row.doc.standing, "{id} is not the fold of its entries");
        let written = [&standing, &row.doc.standing].map(|it| serde_json::to_string(it).unwrap());
        assert_eq!(written[0], written[1], "{id}: replayed, it is written otherwise");

        let mut seen = HashSet::new();
        for line in &standing.credits {
            assert!(seen.insert(line.outpoint), "{} is credited twice", line.outpoint);
        }
        let counting = standing.credits.iter().filter(|line| line.counted == Counted::Standing);
        let received_sat: u64 = counting.map(|line| line.amount_sat).sum();
        let books = row.doc.booked;
        assert_eq!(books.received_sat, received_sat, "{id}: not all its money is booked");
        let here = books.held_sat + books.prepaid_sat + books.earned_sat + books.refundable_sat;
        let places = here + books.refunded_sat + books.dust_sat;
        assert_eq!(places, received_sat + books.lost_sat, "{id}: {books:?}");

        let booked = |account: Account| -> i64 {
            let of = |line: &&LedgerRow| line.subject == id.as_str() && line.account == account;
            ledger.iter().filter(of).map(|line| line.amount_sat).sum()
        };
        let signed = |sat: u64| i64::try_from(sat).unwrap();
        assert_eq!(booked(Account::Received), signed(books.received_sat), "{id}");
        assert_eq!(booked(Account::Held), -signed(books.held_sat), "{id}");
        assert_eq!(booked(Account::Prepaid), -signed(books.prepaid_sat), "{id}");
        assert_eq!(booked(Account::Earned), -signed(books.earned_sat), "{id}");
        assert_eq!(booked(Account::Refundable), -signed(books.refundable_sat), "{id}");
        assert_eq!(booked(Account::Refunded), -signed(books.refunded_sat), "{id}");
        assert_eq!(booked(Account::Dust), -signed(books.dust_sat), "{id}");
        assert_eq!(booked(Account::Lost), signed(books.lost_sat), "{id}");
    }
}

/// Numbered from 1 without a gap, each with an id of its own.
fn check_events(events: &[Event]) {
    let mut ids = HashSet::new();
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event.seq, seq, "the event log has a gap");
        assert!(ids.insert(&event.id), "an id is there twice");
    }
}
