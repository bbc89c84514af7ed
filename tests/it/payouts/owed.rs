//! What the tests of payouts share: money that is owed to the satoshi, batches from the order to
//! the chain, and what an answer says.

use bitcoin::Psbt;
use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};

use super::{number, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::Signer;
use crate::harness::wait::until;

impl Shop {
    /// A lease that is given back before it was paid: whatever pays it goes back whole, to `to`.
    pub fn given_up(&self, to: &str) -> Rented {
        let body = json!({ "resource": "shared", "duration_s": 3600, "refund_address": to });
        let rented = Self::rented(&self.post("/v1/leases", None, &body));
        self.give_back(&rented);
        rented
    }

    /// Owes each amount to its address, each out of a claim of its own. All are paid by one
    /// transaction, which has one confirmation then.
    pub fn owe(&self, debts: &[(&str, u64)]) -> Vec<Rented> {
        let list: Vec<Rented> = debts.iter().map(|(to, _)| self.given_up(to)).collect();
        let addresses = list.iter().map(|rented| rented.address.as_str());
        let pay: Vec<_> = addresses.zip(debts.iter().map(|(_, sat)| *sat)).collect();
        self.node.send_many(&pay);
        self.node.mine(1);
        list
    }

    /// As [`Shop::owe`], and all of it is due.
    pub fn due(&self, debts: &[(&str, u64)]) -> Vec<Rented> {
        let list = self.owe(debts);
        self.node.mine(1);
        for (rented, (_, sat)) in list.iter().zip(debts) {
            assert_eq!(number(&self.payout_in(rented, "due")["amount_sat"]), *sat);
        }
        list
    }

    /// Signs, submits and mines a batch; it and all its payouts are confirmed then.
    pub fn through(&self, signer: &Signer, batch: &Value) -> Value {
        self.sign_and_submit(signer, batch);
        self.node.mine(1);
        self.all_confirmed(&batch["id"])
    }

    /// Waits until a batch and all its payouts are confirmed.
    pub fn all_confirmed(&self, id: &Value) -> Value {
        let batch = self.batch_in(id, "confirmed");
        let outputs = batch["pays"]["outputs"].as_array().unwrap();
        for share in outputs.iter().flat_map(|output| output["payouts"].as_array().unwrap()) {
            let path = format!("payouts/{}", text(&share["id"]));
            until("the payout to be confirmed", || {
                let (_, payout) = self.operate(Method::GET, &path, None);
                if payout["state"] == "confirmed" { Ok(()) } else { Err(payout) }
            });
        }
        batch
    }

    /// The claim's payouts, the oldest first.
    pub fn payouts(&self, rented: &Rented) -> Vec<Value> {
        let mut list = self.claim(rented)["payouts"].as_array().unwrap().clone();
        list.reverse();
        list
    }

    /// Waits until the claim's payouts are in these states, the oldest first.
    pub fn payouts_in(&self, rented: &Rented, states: &[&str]) -> Vec<Value> {
        until(&format!("payouts to be {states:?}"), || {
            let list = self.payouts(rented);
            let found = list.iter().map(|payout| text(&payout["state"]));
            if found.eq(states.iter().copied()) { Ok(list) } else { Err(list) }
        })
    }

    /// The sums of the resource `shared`, which balance.
    pub fn accounts(&self) -> Value {
        let (status, accounts) = self.get("/v1/resources/shared/accounts");
        assert_eq!(status, 200, "{accounts}");
        let sat = |name: &str| accounts[name].as_i64().unwrap();
        let places = ["held", "prepaid", "earned", "fund", "reserved", "owed_investors"];
        let back = ["refundable", "refunded", "distributed", "dust", "unallocated"];
        let sum: i64 = places.iter().chain(&back).map(|name| sat(&format!("{name}_sat"))).sum();
        assert_eq!(sat("received_sat") + sat("lost_sat"), sum, "{accounts}");
        accounts
    }

    /// What prepare refuses, which must be a conflict.
    pub fn unprepared(&self, body: &Value) -> String {
        let mut body = body.clone();
        if body["feerate_msat_vb"].is_null() {
            body["feerate_msat_vb"] = 1000.into();
        }
        let (status, answer) = self.try_prepare(&body);
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        text(&answer["detail"])
    }

    /// Gives a batch up.
    pub fn give_up(&self, batch: &Value) -> Value {
        let path = format!("payouts/batches/{}/abandon", text(&batch["id"]));
        let (status, answer) = self.operate(Method::POST, &path, None);
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// The output of a batch to an address.
pub fn output_to(pays: &Value, address: &str) -> Value {
    let outputs = pays["outputs"].as_array().unwrap();
    let found = outputs.iter().find(|output| output["address"] == address);
    found.unwrap_or_else(|| panic!("nothing to {address}: {pays}")).clone()
}

/// The output of a batch that comes back.
pub fn change_of(pays: &Value) -> Option<Value> {
    pays["outputs"].as_array().unwrap().iter().find(|output| output["change"] == true).cloned()
}

/// What a batch spends, as `TXID:VOUT`.
pub fn coins_of(pays: &Value) -> Vec<String> {
    let name = |coin: &Value| format!("{}:{}", text(&coin["txid"]), coin["vout"]);
    pays["inputs"].as_array().unwrap().iter().map(name).collect()
}

/// The sum of a field over a list.
pub fn sum(list: &Value, field: &str) -> u64 {
    list.as_array().unwrap().iter().map(|item| number(&item[field])).sum()
}

/// Reads base64 of a PSBT.
pub fn read(psbt: &Value) -> Psbt {
    Psbt::deserialize(&BASE64.decode(text(psbt).trim().as_bytes()).unwrap()).unwrap()
}

/// Base64 of a PSBT.
pub fn written(psbt: &Psbt) -> String {
    BASE64.encode(&psbt.serialize())
}
