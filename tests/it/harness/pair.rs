//! Two servers on one PostgreSQL, each with a node of its own. The nodes hear of each other's
//! blocks and transactions when a test says so.

use leasehold::db::testing::on_postgres;
use serde_json::Value;

use super::daemon::Shop;
use super::wait::until;

/// The two.
pub struct Pair {
    /// The first.
    pub a: Shop,
    /// The second.
    pub b: Shop,
}

/// Runs `body` with two servers that run, and checks the books after it.
pub fn pair(body: impl Fn(&mut Pair) + Sync) {
    pair_with("", body);
}

/// As [`pair`], with more lines of configuration for both.
pub fn pair_with(config: &str, body: impl Fn(&mut Pair) + Sync) {
    pair_of(None, config, body);
}

/// As [`pair_with`], with addresses of `descriptor`.
pub fn pair_of(descriptor: Option<&str>, config: &str, body: impl Fn(&mut Pair) + Sync) {
    on_postgres(async |place| {
        // The shops block; a thread of its own keeps them off the test's runtime.
        std::thread::scope(|scope| {
            let run = || {
                // So that a session tells whose it is.
                let url = |name| format!("{}?application_name={name}", place.url());
                let mut a = Shop::new(&url("first"), place.folder(), descriptor, config);
                a.start();
                a.stop();
                let b = a.second(&url("second"), config);
                // The node has another port perhaps.
                a.write_config(config);
                let mut pair = Pair { a, b };
                pair.a.start();
                pair.b.start();
                body(&mut pair);
                pair.a.check_books();
                pair.a.check_audit();
            };
            if let Err(panic) = scope.spawn(run).join() {
                std::panic::resume_unwind(panic);
            }
        });
    });
}

impl Pair {
    /// Both.
    pub fn each(&self) -> [&Shop; 2] {
        [&self.a, &self.b]
    }

    /// Each node hears of what the other has.
    pub fn connect(&self) {
        self.a.node.tell(&self.b.node);
        self.b.node.tell(&self.a.node);
    }

    /// Mines on the first server's node, after both nodes have told each other what waits.
    pub fn mine(&self, count: u32) {
        self.connect();
        self.a.node.mine(count);
        self.connect();
    }

    /// Waits until a lease satisfies `right` on both.
    pub fn lease_until(&self, what: &str, id: &str, right: impl Fn(&Value) -> bool) -> Value {
        self.a.lease_until(what, id, &right);
        self.b.lease_until(what, id, &right)
    }

    /// Sessions of the server `name` that hold a transaction open and do nothing in it.
    pub fn idle_in_transaction(&self, name: &str) -> i64 {
        let text = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name = $1 AND state LIKE 'idle in transaction%'";
        self.b.read(async |conn| {
            sqlx::query_scalar(text).bind(name.to_owned()).fetch_one(conn).await.unwrap()
        })
    }

    /// Waits until both follow to the tip of their nodes.
    pub fn wait_for_tip(&self) {
        for shop in self.each() {
            shop.wait_for_tip();
        }
    }

    /// The block that both servers show as the tip.
    pub fn tip(&self) -> String {
        until("both to show one tip", || {
            let [a, b] = self.each().map(|shop| shop.get("/readyz").1["tip_hash"].to_string());
            if a == b { Ok(a.trim_matches('"').to_owned()) } else { Err([a, b]) }
        })
    }
}
