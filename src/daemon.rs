//! The wiring: opens everything, starts every task, waits. The only place that knows them all.
//! A task that ends ends the process; a supervisor starts it again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::FutureExt;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::app::api_keys::CreateKey;
use crate::app::apply_catalog::{ApplyCatalog, Fate};
use crate::app::claim_actions::ShortenClaims;
use crate::app::owe::JudgeNext;
use crate::app::readiness::{Readiness, ReadinessReceiver};
use crate::app::register::{Register, Registered};
use crate::app::rescan::{self, RescanHandle};
use crate::app::settle::Ground;
use crate::app::shop::{Limits, Shop};
use crate::app::submit_batch::Approval;
use crate::app::wallet_state::{WalletReceiver, WalletSender, WalletState, wallet_name};
use crate::chain::bitcoind::Bitcoind;
use crate::chain::rpc::Login;
use crate::chain::wallet::WatchOnly;
use crate::chain::zmq;
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::db::{self, Db, OpenOptions};
use crate::domain::bearer;
use crate::domain::fiat::Rate;
use crate::domain::keychain::Keychain;
use crate::http::serve::Bounds;
use crate::http::source::Sources;
use crate::http::{self, HttpState};
use crate::keys::{self, Keys};
use crate::live::Live;
use crate::payout::{Batcher, Rules};
use crate::provision::Provisioners;
use crate::settings::Problems;
use crate::webhook;
use crate::worker::deliver::Deliver;
use crate::worker::follow::{Follow, Settings};
use crate::worker::provision::Caller;
use crate::worker::recover::Reach;
use crate::worker::wallet::Keeper;
use crate::worker::{self, housekeeping, run_every, send_again};

/// A server that has opened everything and is about to run.
pub struct Daemon {
    /// What was configured.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: SharedClock,
    /// What is sold, and how.
    pub shop: Arc<Shop>,
    /// What signs.
    pub keys: Arc<Keys>,
    /// The node.
    pub node: Arc<Bitcoind>,
    /// What is known of the chain now.
    pub readiness: ReadinessReceiver,
    /// The node's watch-only wallet, for payouts.
    pub watch_only: WatchOnly,
    /// How it is doing.
    pub wallet: WalletReceiver,
    /// Wakes whoever waits for a change.
    pub live: Live,
    /// Asks the follower to read blocks again.
    pub rescan: RescanHandle,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// The address it listens on.
    pub bound: SocketAddr,
    /// What a bitcoin costs in the operator's currency.
    rate: watch::Receiver<Option<Rate>>,
    metrics: Option<PrometheusHandle>,
    listener: Option<TcpListener>,
    writer: JoinHandle<()>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(20);

impl Daemon {
    /// Opens the database, the keys, the catalogue and the port, and starts the workers.
    /// `recovered` says that the database was restored from a copy that bears no mark.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub async fn start(
        config: Config,
        clock: SharedClock,
        recovered: bool,
    ) -> anyhow::Result<Self> {
        // Fails only when one is installed already, as by a second daemon in a test.
        let metrics = PrometheusBuilder::new().install_recorder().ok();
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}; is it in use?", config.listen))?;
        let bound = listener.local_addr()?;
        let keys = Arc::new(
            Keys::open(&config.signing_key_file, &config.claim_secret_file())
                .context("the signing keys cannot be used")?,
        );
        let catalog = crate::catalog::load(&config.catalog)?;
        let node = Arc::new(connect(&config.bitcoind)?);
        let keychain =
            Keychain::parse(config.wallet.descriptor.expose_secret(), config.bitcoind.network)
                .context("wallet.descriptor cannot be used")?;
        let (db, writer) =
            Db::open(config.database.url().expose_secret(), OpenOptions::default()).await?;
        #[expect(clippy::disallowed_methods, reason = "the daemon starts and ends the tasks")]
        let writer = tokio::spawn(writer.run());
        let keychain = Arc::new(keychain);
        let keychain_id = register(&db, &clock, &config, keychain.clone(), recovered).await?;
        apply_catalog(&db, &clock, catalog).await?;
        bootstrap_key(&db, &clock, &config.admin.bootstrap_key_file).await?;
        let ground = Ground { policy: config.policy.clone(), now: clock.now(), trusted: false };
        let mut after = String::new();
        while let Some(last) = db.write(JudgeNext { ground: ground.clone(), after }).await? {
            after = last;
        }
        if matches!(config.database, config::Database::Sqlite(_)) {
            // Nobody else has it open.
            db.write(ShortenClaims { now: clock.now() }).await?;
        }
        let shop = Arc::new(Shop {
            policy: config.policy.clone(),
            limits: Limits {
                holds_per_source: config.limits.holds_per_source.into(),
                max_open_unpaid: config.limits.max_open_unpaid.into(),
            },
            keychain_id,
            keychain,
            public_url: config.public_url(bound),
        });
        let watch_only = WatchOnly::new(&node, first_wallet_name(&db).await?);
        let (sender, readiness) = watch::channel(Readiness::default());
        let (wallet_sender, wallet) = watch::channel(WalletState::default());
        let live = Live::new(db.clone(), Duration::from_secs(config.gate_max_staleness_s));
        let (rescan, desk) = rescan::channel();
        let (rate_sender, rate) = watch::channel(None);
        let mut daemon = Self {
            config,
            db,
            clock,
            shop,
            keys,
            node,
            readiness,
            watch_only,
            wallet,
            live,
            rescan,
            shutdown: CancellationToken::new(),
            bound,
            rate,
            metrics,
            listener: Some(listener),
            writer,
            tasks: JoinSet::new(),
        };
        daemon.spawn_workers(sender);
        daemon.spawn_keeper(wallet_sender);
        if let Some(hint) = daemon.config.fiat_hint.clone() {
            let (clock, shutdown) = (daemon.clock.clone(), daemon.shutdown.clone());
            daemon.spawn(worker::rate::run(hint, clock, rate_sender, shutdown));
        }
        let client = webhook::Client::new(daemon.reach())?;
        let deliver = Deliver::new(daemon.db.clone(), daemon.clock.clone(), client);
        daemon.spawn(deliver.run(daemon.shutdown.clone()));
        daemon.spawn_caller()?;
        let network = daemon.config.bitcoind.network;
        let (node, db) = (daemon.node.clone(), daemon.db.clone());
        daemon.spawn_until_shutdown(worker::rescan::run(node, db, network, desk));
        Ok(daemon)
    }

    fn spawn_workers(&mut self, readiness: watch::Sender<Readiness>) {
        let settings = Settings {
            network: self.config.bitcoind.network,
            policy: self.config.policy.clone(),
            reach: Reach {
                lookahead: self.config.wallet.recover_lookahead,
                skip: self.config.wallet.recover_skip,
            },
            birthday_height: self.config.wallet.birthday_height,
            max_tip_age_s: self.config.bitcoind.max_tip_age_s,
            poll_interval: self.config.bitcoind.poll_interval,
        };
        let (db, clock) = (self.db.clone(), self.clock.clone());
        let (sender, news) = zmq::channel();
        let told = (readiness, news);
        let follow = Follow::new(self.node.clone(), db.clone(), clock.clone(), settings, told);
        if let Some(endpoint) = self.config.bitcoind.zmq.clone() {
            let listen = zmq::listen(endpoint, sender).map(Ok);
            self.spawn_until_shutdown(listen);
        }
        self.spawn(follow.run(self.shutdown.clone()));
        let live = self.live.clone();
        self.spawn(live.run(self.readiness.clone(), self.shutdown.clone()));
        let (node, shutdown) = (self.node.clone(), self.shutdown.clone());
        let (work_db, work_clock) = (db.clone(), clock.clone());
        let step = move || {
            let (db, node, clock) = (work_db.clone(), node.clone(), work_clock.clone());
            async move {
                while send_again::step(&db, &node, &clock).await? {}
                Ok(())
            }
            .boxed()
        };
        self.spawn(run_every("send again", Duration::from_secs(1), shutdown, step));
        if let Some(handle) = self.metrics.clone() {
            let upkeep = move || {
                handle.run_upkeep();
                futures_util::future::ready(Ok(())).boxed()
            };
            let shutdown = self.shutdown.clone();
            self.spawn(run_every("metrics", Duration::from_secs(5), shutdown, upkeep));
        }
        let step = move || {
            let (db, clock) = (db.clone(), clock.clone());
            async move { housekeeping::step(&db, &clock).await }.boxed()
        };
        let shutdown = self.shutdown.clone();
        self.spawn(run_every("housekeeping", Duration::from_secs(3600), shutdown, step));
    }

    fn spawn_caller(&mut self) -> anyhow::Result<()> {
        let home = self.config.catalog.parent().unwrap_or(Path::new(".")).to_owned();
        let caller = Caller {
            db: self.db.clone(),
            clock: self.clock.clone(),
            policy: Arc::new(self.config.policy.clone()),
            readiness: self.readiness.clone(),
            provisioners: Provisioners::new(home).context("the HTTP client cannot be made")?,
        };
        self.spawn(caller.run(self.shutdown.clone()));
        Ok(())
    }

    fn spawn_keeper(&mut self, state: WalletSender) {
        let network = self.config.bitcoind.network;
        let (db, clock) = (self.db.clone(), self.clock.clone());
        let keeper = Keeper::new(db, clock, network, self.watch_only.clone(), state);
        self.spawn(keeper.run(self.readiness.clone(), self.shutdown.clone()));
    }

    fn reach(&self) -> webhook::Reach {
        webhook::Reach::new(self.config.webhooks.allow_private)
    }

    fn batcher(&self) -> Batcher {
        let payouts = &self.config.payouts;
        Batcher {
            db: self.db.clone(),
            clock: self.clock.clone(),
            node: self.node.clone(),
            watch_only: self.watch_only.clone(),
            wallet: self.wallet.clone(),
            readiness: self.readiness.clone(),
            policy: self.config.policy.clone(),
            rules: Rules {
                fee_policy: payouts.fee_policy,
                max_fee_pct: payouts.max_fee_pct,
                approval: Approval {
                    required: payouts.require_approval,
                    above_sat: payouts.approval_above_sat,
                },
            },
            network: self.config.bitcoind.network,
            keychain_id: self.shop.keychain_id,
        }
    }

    /// The routes of this server; `faucet` are those of a private network that pays by itself.
    pub fn router(&self, faucet: Option<axum::Router<HttpState>>) -> axum::Router {
        let limits = &self.config.limits;
        let state = HttpState {
            db: self.db.clone(),
            clock: self.clock.clone(),
            shop: self.shop.clone(),
            keys: self.keys.clone(),
            readiness: self.readiness.clone(),
            wallet: self.wallet.clone(),
            batcher: Arc::new(self.batcher()),
            token_ttl_s: self.config.token_ttl_s,
            sources: Arc::new(Sources {
                proxy_header: limits.trusted_proxy_header.clone(),
                shared: limits.shared_source.iter().copied().collect(),
            }),
            limits: Arc::new(http::limits::Limits::new(limits.create_per_minute)),
            live: self.live.clone(),
            kept: Arc::default(),
            streams: Arc::default(),
            rescan: self.rescan.clone(),
            reach: self.reach(),
            faucet: faucet.is_some(),
            catalog: self.config.catalog.as_path().into(),
            look: Arc::new(http::look::Look::new(&self.config.brand)),
            rate: self.rate.clone(),
            shutdown: self.shutdown.clone(),
            metrics: self.metrics.clone(),
        };
        http::router(state, faucet.unwrap_or_default())
    }

    /// Starts a task that only ends when it is dropped.
    fn spawn_until_shutdown(
        &mut self,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                result = task => result,
            }
        });
    }

    /// Starts one more task; when it ends, everything ends.
    pub fn spawn(&mut self, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Serves `router` until `shutdown`, then lets everything finish.
    ///
    /// # Errors
    /// The first task that ended on its own.
    pub async fn serve(mut self, router: axum::Router) -> anyhow::Result<()> {
        let listener = self.listener.take().context("it is serving already")?;
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            http::serve::serve(listener, router, Bounds::default(), shutdown).await;
            Ok(())
        });
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            shutdown.cancelled().await;
            Ok(())
        });
        let first = tokio::select! {
            first = self.tasks.join_next() => first,
            _ = &mut self.writer => bail!("the database writer ended"),
        };
        let asked = self.shutdown.is_cancelled();
        self.shutdown.cancel();
        self.finish().await;
        match first {
            _ if asked => Ok(()),
            Some(Ok(Ok(()))) | None => bail!("a task ended without being asked to"),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(error).context("a task panicked"),
        }
    }

    /// Lets the tasks end, the writer last.
    async fn finish(&mut self) {
        let db = self.db.clone();
        let farewell = async {
            while self.tasks.join_next().await.is_some() {}
            // What is queued is written; new writes are refused.
            db.shut_down();
            if (&mut self.writer).await.is_err() {
                tracing::error!("the database writer panicked");
            }
            db.close_readers().await;
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
    }
}

/// The node as configured. Does not connect yet.
///
/// # Errors
/// Unfit URLs.
pub fn connect(bitcoind: &config::Bitcoind) -> anyhow::Result<Bitcoind> {
    let login = match &bitcoind.login {
        config::Login::Cookie(path) => Login::Cookie(path.clone()),
        config::Login::Password { user, password } => {
            Login::Password { user: user.clone(), password: password.clone() }
        }
    };
    Ok(Bitcoind::new(&bitcoind.rpc_url, login, bitcoind.rest_url.as_deref())?)
}

async fn first_wallet_name(db: &Db) -> anyhow::Result<String> {
    let mut conn = db.read().await?;
    let rows = db::keychain::list(&mut conn).await?;
    let first = rows.first().context("the start has registered a keychain")?;
    Ok(wallet_name(&first.identity))
}

async fn register(
    db: &Db,
    clock: &SharedClock,
    config: &Config,
    keychain: Arc<Keychain>,
    recovered: bool,
) -> anyhow::Result<u32> {
    let network = config.bitcoind.network;
    let item = Register { network, keychain, recovered, now: clock.now() };
    match db.write(item).await? {
        Registered::Keychain { id, new } => {
            if new {
                tracing::info!(keychain = id, "a new descriptor: its addresses start at index 0");
            }
            Ok(id)
        }
        Registered::OtherNetwork { found } => {
            let what = format!(
                "is {network}, but this database belongs to {found}; \
                 use another database, or correct the network"
            );
            Err(Problems::of_file("bitcoind.network", what).into())
        }
    }
}

async fn apply_catalog(
    db: &Db,
    clock: &SharedClock,
    catalog: Vec<crate::domain::resource::Terms>,
) -> anyhow::Result<()> {
    let item =
        ApplyCatalog { catalog, now: clock.now(), actor: None, dry_run: false, expect: None };
    for change in db.write(item).await?.changes {
        if change.fate != Fate::Same {
            tracing::info!(resource = change.resource, fate = ?change.fate, "catalogue applied");
        }
    }
    Ok(())
}

/// Makes the first admin key, or takes the one in the file.
async fn bootstrap_key(db: &Db, clock: &SharedClock, file: &Path) -> anyhow::Result<()> {
    if !file.exists() {
        let mut conn = db.read().await?;
        if !db::api_key::list(&mut conn).await?.is_empty() {
            return Ok(());
        }
        drop(conn);
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        keys::write_new(file, &format!("{}\n", bearer::api_key(&random)))?;
    }
    let token = keys::read_api_key(file)?;
    let item = CreateKey {
        name: "bootstrap".into(),
        scopes: "read manage payout admin".into(),
        token_hash: bearer::token_hash(&token),
        key: None,
        now: clock.now(),
        actor: "start".into(),
    };
    if db.write(item).await?.revoked_at.is_some() {
        tracing::warn!(file = %file.display(), "the admin key in this file was revoked");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::ManualClock;
    use crate::db::testing::each;
    use crate::domain::time::Timestamp;

    #[test]
    fn the_admin_key_is_made_once_and_one_that_an_operator_writes_is_taken() {
        each(async |db| {
            let clock: SharedClock =
                Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("admin.key");
            let known = async || {
                let mut conn = db.read().await.unwrap();
                db::api_key::list(&mut conn).await.unwrap().len()
            };
            bootstrap_key(&db, &clock, &file).await.unwrap();
            bootstrap_key(&db, &clock, &file).await.unwrap();
            assert_eq!(known().await, 1);
            fs::remove_file(&file).unwrap();
            bootstrap_key(&db, &clock, &file).await.unwrap();
            assert!(!file.exists() && known().await == 1, "there is one already");
            for broken in ["", "\n", "hunter2", "key_hunter2", "clm_hunter2"] {
                fs::write(&file, broken).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
                let error = bootstrap_key(&db, &clock, &file).await.unwrap_err().to_string();
                assert!(error.contains("admin.key") && !error.contains("hunter2"), "{error}");
            }
            fs::write(&file, format!("{}\n", bearer::api_key(&[7; 32]))).unwrap();
            bootstrap_key(&db, &clock, &file).await.unwrap();
            assert_eq!(known().await, 2);
        });
    }
}
