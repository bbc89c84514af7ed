//! A shop for tests: a real database, an in-memory chain, a clock that is moved by hand.

// Each test uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction, Txid};

use crate::app::AppError;
use crate::app::apply_catalog::ApplyCatalog;
use crate::app::idempotent::Outcome;
use crate::app::readiness::Readiness;
use crate::app::request_lease::{ClaimFor, RequestLease};
use crate::app::settle::Ground;
use crate::app::shop::{Limits, Shop};
use crate::chain::BlockId;
use crate::chain::testing::{MemoryChain, spend};
use crate::chain::zmq;
use crate::clock::{Clock, ManualClock};
use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::keychain::Keychain;
use crate::domain::policy::Policy;
use crate::domain::resource::Terms;
use crate::domain::time::Timestamp;

use super::follow::{Follow, Settings};
use super::recover::Reach;

/// A public descriptor whose keys nobody has use for.
pub const DESCRIPTOR: &str = "wpkh(tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp/<0;1>/*)";

/// When the tests' clock starts: later than the genesis block of regtest.
pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);

pub struct AddKeychain(pub Arc<Keychain>);

impl WriteItem for AddKeychain {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        db::keychain::insert(tx.conn(), self.0.id(), &self.0.canonical(), START).await
    }
}

/// The tip is at a block that was never read, as if somebody had written it by hand.
struct Skip(db::chain::Block);

impl WriteItem for Skip {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let from = db::chain::tip(tx.conn()).await?.unwrap().hash;
        assert!(db::chain::swap_tip(tx.conn(), from, self.0.height, self.0.hash).await?);
        db::chain::insert(tx.conn(), &self.0).await
    }
}

pub struct Rig {
    pub db: Db,
    pub chain: Arc<MemoryChain>,
    pub clock: Arc<ManualClock>,
    pub shop: Arc<Shop>,
    pub follow: Follow<MemoryChain>,
    nonce: u32,
}

impl Rig {
    pub async fn new(db: Db, terms: Terms) -> Self {
        Self::with_policy(db, terms, Policy::default()).await
    }

    pub async fn with_policy(db: Db, terms: Terms, policy: Policy) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let keychain = Arc::new(Keychain::parse(DESCRIPTOR, Network::Regtest).unwrap());
        db.write(AddKeychain(keychain.clone())).await.unwrap();
        let catalog = vec![terms];
        let now = START;
        db.write(ApplyCatalog { catalog, now, actor: None, dry_run: false, expect: None })
            .await
            .unwrap();
        let shop = Arc::new(Shop {
            policy,
            limits: Limits::default(),
            keychain_id: 1,
            keychain,
            public_url: "http://shop.test".into(),
        });
        let chain = Arc::new(MemoryChain::new());
        chain.set_next_time(START.minus_s(7200));
        chain.mine_empty(12);
        chain.set_next_time(START);
        let follow = follow(&db, &chain, &clock, &shop);
        let mut rig = Self { db, chain, clock, shop, follow, nonce: 0 };
        rig.round().await;
        rig
    }

    /// The server is stopped and started: what it kept in memory is gone.
    pub fn restart(&mut self) {
        self.follow = follow(&self.db, &self.chain, &self.clock, &self.shop);
    }

    /// A second server on the same database, with a node of its own that has the same chain.
    pub fn beside(&self) -> (Arc<MemoryChain>, Follow<MemoryChain>) {
        let chain = Arc::new(self.chain.twin());
        let follow = follow(&self.db, &chain, &self.clock, &self.shop);
        (chain, follow)
    }

    pub async fn tip(&self) -> db::chain::Tip {
        let mut conn = self.db.read().await.unwrap();
        db::chain::tip(&mut conn).await.unwrap().unwrap()
    }

    pub async fn round(&mut self) {
        self.follow.round().await.unwrap();
    }

    /// The next block of the chain counts as followed without being read.
    pub async fn skip_to(&self, block: BlockId) {
        let at = self.clock.now();
        let BlockId { height, hash } = block;
        let block = db::chain::Block { height, hash, header_at: at, mtp_at: at, moment_at: at };
        self.db.write(Skip(block)).await.unwrap();
    }

    pub async fn request(&self, duration_s: u64) -> (LeaseId, InvoiceRow) {
        let outcome = self.try_request(duration_s).await.unwrap();
        let id = outcome.body["invoice"]["id"].as_str().unwrap().to_owned();
        let lease = LeaseId::parse(outcome.body["lease"]["id"].as_str().unwrap()).unwrap();
        (lease, self.invoice(&InvoiceId::parse(&id).unwrap()).await)
    }

    pub async fn try_request(&self, duration_s: u64) -> Result<Outcome, AppError> {
        let item = RequestLease {
            shop: self.shop.clone(),
            now: self.clock.now(),
            resource: "gpu-small".into(),
            duration_s,
            params: serde_json::Map::new(),
            refund_address: None,
            claim: ClaimFor::New { token_hash: format!("{:?}", crate::app::random_128()) },
            source: None,
            key: None,
        };
        self.db.write(item).await
    }

    pub async fn lease(&self, id: &LeaseId) -> LeaseRow {
        let mut conn = self.db.read().await.unwrap();
        db::lease::find(&mut conn, id.as_str()).await.unwrap().unwrap()
    }

    pub async fn invoice(&self, id: &InvoiceId) -> InvoiceRow {
        let mut conn = self.db.read().await.unwrap();
        db::invoice::find(&mut conn, id.as_str()).await.unwrap().unwrap()
    }

    /// A coin that exists nowhere else.
    pub fn coin(&mut self) -> OutPoint {
        use bitcoin::hashes::Hash;
        self.nonce += 1;
        let bytes = bitcoin::hashes::sha256::Hash::hash(&self.nonce.to_le_bytes());
        OutPoint { txid: Txid::from_byte_array(bytes.to_byte_array()), vout: 0 }
    }

    /// A transaction that pays `outputs` from a fresh coin, sent to the mempool.
    pub fn pay(&mut self, outputs: &[(ScriptBuf, u64)]) -> Transaction {
        let tx = spend(&[self.coin()], outputs);
        self.chain.send(tx.clone());
        tx
    }

    pub fn ground(&self) -> Ground {
        Ground { policy: self.shop.policy.clone(), now: self.clock.now(), trusted: true }
    }

    pub async fn events(&self, subject: &str) -> Vec<String> {
        let mut conn = self.db.read().await.unwrap();
        let events = db::event::oldest(&mut conn, &db::event::Filter::about(subject), 0, 1000)
            .await
            .unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

fn follow(
    db: &Db,
    chain: &Arc<MemoryChain>,
    clock: &Arc<ManualClock>,
    shop: &Shop,
) -> Follow<MemoryChain> {
    let settings = Settings {
        network: Network::Regtest,
        policy: shop.policy.clone(),
        reach: Reach { lookahead: 20, skip: 50 },
        birthday_height: None,
        max_tip_age_s: None,
        poll_interval: std::time::Duration::from_millis(10),
    };
    let readiness = tokio::sync::watch::Sender::new(Readiness::default());
    let (_, news) = zmq::channel();
    Follow::new(chain.clone(), db.clone(), clock.clone(), settings, (readiness, news))
}
