//! What an operator and a holder do about money that goes back, over the API.

use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};

use super::bitcoind::output;
use super::daemon::{Rented, Shop, each_of, once_of};
use super::signer::{Kind, Signer};
use super::wait::until;

/// Few confirmations, so that little has to be mined.
pub const CONFIG: &str = "[payouts]\npayout_confirmations = 2\n";

/// Runs `body` with a shop whose coins `Signer` signs for, on both databases.
pub fn each_signed(kind: Kind, config: &str, body: impl Fn(&mut Shop, &Signer) + Sync) {
    let signer = Signer::new(kind);
    each_of(&signer.descriptor(), config, |shop| body(shop, &signer));
}

/// As [`each_signed`], on SQLite only.
pub fn once_signed(kind: Kind, config: &str, body: impl Fn(&mut Shop, &Signer) + Sync) {
    let signer = Signer::new(kind);
    once_of(&signer.descriptor(), config, |shop| body(shop, &signer));
}

/// A field that is a text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// A field that is a number.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

impl Shop {
    /// Asks as the operator.
    pub fn operate(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.operate_as(&self.admin_key(), method, path, body)
    }

    fn admin_key(&self) -> String {
        let key = std::fs::read_to_string(self.folder().join("admin.key")).expect("it is there");
        key.trim().to_owned()
    }

    /// Asks as the operator, with an Idempotency-Key, a server that may be killed meanwhile.
    pub fn try_operate(&self, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let (path, bearer) = (format!("/v1/admin/{path}"), self.admin_key());
        let headers = [("idempotency-key", key)];
        self.try_ask(Method::POST, &path, &headers, Some(&bearer), Some(body))
    }

    /// Asks with an API key.
    pub fn operate_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.ask(method, &format!("/v1/admin/{path}"), Some(key), body)
    }

    /// Waits until the node's watch-only wallet is ready.
    pub fn wait_for_wallet(&self) {
        until("the watch-only wallet", || {
            let (_, wallet) = self.operate(Method::GET, "wallet", None);
            (wallet["watch_only"]["state"] == "ready").then_some(()).ok_or(wallet)
        });
    }

    /// Rents, pays, runs, gives back at once and says where the money goes. It is due when two
    /// blocks are mined.
    pub fn returned(&self, sat: u64, refund_to: Option<&str>) -> Rented {
        let rented = self.rent("shared", sat);
        self.node.send(&rented.address, rented.amount_sat);
        self.node.mine(1);
        self.lease_until("the lease to run", &rented.lease, |it| it["state"] == "active");
        self.give_back(&rented);
        if let Some(address) = refund_to {
            self.refund_to(&rented, address);
        }
        rented
    }

    /// The holder gives a lease back.
    pub fn give_back(&self, rented: &Rented) {
        let path = format!("/v1/leases/{}/return", rented.lease);
        self.post(&path, Some(&rented.claim), &json!({}));
    }

    /// The holder says where refunds go.
    pub fn refund_to(&self, rented: &Rented, address: &str) {
        let body = json!({ "refund_address": address });
        let claim = Some(rented.claim.as_str());
        let (status, answer) = self.ask(Method::PATCH, "/v1/claims", claim, Some(&body));
        assert_eq!(status, 200, "{answer}");
    }

    /// What the holder sees.
    pub fn claim(&self, rented: &Rented) -> Value {
        let (status, answer) = self.ask(Method::GET, "/v1/claims", Some(&rented.claim), None);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Waits until the holder's only payout is in `state`.
    pub fn payout_in(&self, rented: &Rented, state: &str) -> Value {
        until(&format!("the payout to be {state}"), || {
            let claim = self.claim(rented);
            let payout = claim["payouts"][0].clone();
            if payout["state"] == state { Ok(payout) } else { Err(claim) }
        })
    }

    /// Prepares a batch; the answer.
    pub fn try_prepare(&self, body: &Value) -> (u16, Value) {
        self.wait_for_wallet();
        self.operate(Method::POST, "payouts/prepare", Some(body))
    }

    /// Prepares a batch of everything that is due, at 1 sat/vB unless `body` says otherwise.
    pub fn prepare(&self, body: &Value) -> Value {
        let mut body = body.clone();
        if body["feerate_msat_vb"].is_null() {
            body["feerate_msat_vb"] = 1000.into();
        }
        let (status, answer) = self.try_prepare(&body);
        assert_eq!(status, 201, "{answer}");
        answer["batch"].clone()
    }

    /// Hands in a signed PSBT or transaction; the answer.
    pub fn try_submit(&self, psbt: &str) -> (u16, Value) {
        self.operate(Method::POST, "payouts/submit", Some(&json!({ "psbt": psbt })))
    }

    /// Signs and submits a batch, which must be taken.
    pub fn sign_and_submit(&self, signer: &Signer, batch: &Value) -> Value {
        let (status, answer) = self.try_submit(&signer.sign(&text(&batch["psbt"])));
        assert_eq!((status, &answer["complete"]), (200, &json!(true)), "{answer}");
        answer["batch"].clone()
    }

    /// A signed transaction, as hex, that spends the coins of a batch and pays only this: the rest
    /// is its fee. Not sent.
    pub fn spend_otherwise(&self, signer: &Signer, batch: &Value, pay: &[(&str, u64)]) -> String {
        let bytes = BASE64.decode(text(&batch["psbt"]).as_bytes()).unwrap();
        let mut psbt = bitcoin::Psbt::deserialize(&bytes).unwrap();
        psbt.unsigned_tx.output = pay.iter().map(|(address, sat)| output(address, *sat)).collect();
        psbt.outputs = vec![bitcoin::psbt::Output::default(); pay.len()];
        let signed = signer.sign(&BASE64.encode(&psbt.serialize()));
        let finished = self.node.call("finalizepsbt", json!([signed]));
        assert_eq!(finished["complete"], true, "{finished}");
        text(&finished["hex"])
    }

    /// The next version of a batch.
    pub fn bump(&self, batch: &Value, feerate_msat: u64) -> Value {
        let path = format!("payouts/batches/{}/bump", text(&batch["id"]));
        let body = json!({ "feerate_msat_vb": feerate_msat });
        let (status, answer) = self.operate(Method::POST, &path, Some(&body));
        assert_eq!(status, 201, "{answer}");
        let version = answer["batch"]["versions"].as_array().unwrap().len();
        let mut batch = answer["batch"].clone();
        batch["newest"] = version.into();
        batch
    }

    /// A batch as it is now.
    pub fn batch(&self, id: &Value) -> Value {
        let path = format!("payouts/batches/{}", text(id));
        let (status, batch) = self.operate(Method::GET, &path, None);
        assert_eq!(status, 200, "{batch}");
        batch
    }

    /// Waits until a batch is in `state`.
    pub fn batch_in(&self, id: &Value, state: &str) -> Value {
        until(&format!("the batch to be {state}"), || {
            let batch = self.batch(id);
            if batch["state"] == state { Ok(batch) } else { Err(batch) }
        })
    }

    /// What the chain holds for an address of the node's own wallet, in satoshis.
    pub fn arrived_sat(&self, address: &str) -> u64 {
        let coins = self.node.wallet("listunspent", json!([1, 9_999_999, [address]]));
        let sat = |coin: &Value| {
            let text = format!("{:.8}", coin["amount"].as_f64().unwrap());
            bitcoin::Amount::from_str_in(&text, bitcoin::Denomination::Bitcoin).unwrap().to_sat()
        };
        coins.as_array().unwrap().iter().map(sat).sum()
    }

    /// Waits until so many payouts are due, whoever they belong to.
    pub fn count_due(&self, count: usize) {
        until("payouts to be due", || {
            let (_, list) = self.operate(Method::GET, "payouts?state=due", None);
            let found = list["items"].as_array().map_or(0, Vec::len);
            if found == count { Ok(()) } else { Err(list) }
        });
    }
}
