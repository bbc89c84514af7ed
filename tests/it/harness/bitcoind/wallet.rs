//! What a test pays, bumps and spends twice. Amounts are satoshis, feerates 10 sat/vB.

use bitcoin::{Amount, OutPoint, Txid};
use serde_json::{Map, Value, json};

use super::Bitcoind;

const FEERATE_SAT_VB: u32 = 10;

/// Whole bitcoin as text: bitcoind takes that, and it has no rounding.
fn btc(sat: u64) -> String {
    Amount::from_sat(sat).to_string_in(bitcoin::Denomination::Bitcoin)
}

fn outputs(pay: &[(&str, u64)]) -> Value {
    let list = pay.iter().map(|(address, sat)| {
        let mut output = Map::new();
        output.insert((*address).to_owned(), btc(*sat).into());
        Value::Object(output)
    });
    Value::Array(list.collect())
}

fn inputs(spend: &[OutPoint]) -> Value {
    spend.iter().map(|coin| json!({ "txid": coin.txid, "vout": coin.vout })).collect()
}

fn txid(value: &Value) -> Txid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no txid: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

impl Bitcoind {
    /// A fresh address of the wallet.
    pub fn new_address(&self) -> String {
        text(&self.wallet("getnewaddress", json!([])))
    }

    /// Confirmed coins of the wallet that no unconfirmed transaction spends, the oldest first:
    /// a reorg makes the youngest immature again, and what spends them is dropped.
    pub fn coins(&self) -> Vec<OutPoint> {
        let mut list = self.wallet("listunspent", json!([1]));
        let depth = |coin: &Value| std::cmp::Reverse(coin["confirmations"].as_u64());
        list.as_array_mut().unwrap().sort_by_key(depth);
        let coin = |coin: &Value| OutPoint {
            txid: txid(&coin["txid"]),
            vout: u32::try_from(coin["vout"].as_u64().unwrap()).unwrap(),
        };
        list.as_array().unwrap().iter().map(coin).collect()
    }

    /// Pays an address; the transaction can be replaced.
    pub fn send(&self, address: &str, sat: u64) -> Txid {
        self.send_many(&[(address, sat)])
    }

    /// Pays several outputs in one transaction, also several to one address.
    pub fn send_many(&self, pay: &[(&str, u64)]) -> Txid {
        let coin = self.coins()[0];
        self.send_from(&[coin], pay)
    }

    /// Spends exactly these coins; the rest is change of the wallet.
    pub fn send_from(&self, spend: &[OutPoint], pay: &[(&str, u64)]) -> Txid {
        self.submit(&self.sign_from(spend, pay, FEERATE_SAT_VB))
    }

    /// A signed transaction as hex that was not sent: to be mined directly, sent elsewhere or
    /// later. Several of them may spend the same coin.
    pub fn sign_from(&self, spend: &[OutPoint], pay: &[(&str, u64)], feerate: u32) -> String {
        // bitcoind refuses one address twice, so the outputs are put in by ourselves.
        let params = json!([inputs(spend), [], 0, true]);
        let empty = text(&self.call("createrawtransaction", params));
        let mut tx: bitcoin::Transaction =
            bitcoin::consensus::encode::deserialize_hex(&empty).unwrap();
        tx.output = pay.iter().map(|(address, sat)| output(address, *sat)).collect();
        let raw = bitcoin::consensus::encode::serialize_hex(&tx);
        let options = json!({ "add_inputs": false, "fee_rate": feerate, "replaceable": true });
        let funded = self.wallet("fundrawtransaction", json!([raw, options]));
        let signed = self.wallet("signrawtransactionwithwallet", json!([funded["hex"]]));
        assert_eq!(signed["complete"], true, "{signed}");
        text(&signed["hex"])
    }

    /// Replaces an unconfirmed payment by one with a higher fee and the same outputs.
    pub fn bump(&self, txid_: &Txid) -> Txid {
        txid(&self.wallet("bumpfee", json!([txid_]))["txid"])
    }

    /// Replaces an unconfirmed payment by one that pays these outputs instead.
    pub fn replace(&self, txid_: &Txid, pay: &[(&str, u64)]) -> Txid {
        txid(&self.wallet("bumpfee", json!([txid_, { "outputs": outputs(pay) }]))["txid"])
    }

    /// Replaces an unconfirmed payment by one that pays the wallet itself.
    pub fn double_spend(&self, txid_: &Txid) -> Txid {
        self.replace(txid_, &[(&self.new_address(), 10_000)])
    }

    /// A signed transaction as hex, not sent, that spends the inputs of one in the mempool and
    /// pays the wallet itself. Mined directly it makes the other impossible.
    pub fn conflicting(&self, txid_: &Txid) -> String {
        let decoded = self.call("getrawtransaction", json!([txid_, 1]));
        let spend: Vec<_> = decoded["vin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| OutPoint {
                txid: txid(&input["txid"]),
                vout: u32::try_from(input["vout"].as_u64().unwrap()).unwrap(),
            })
            .collect();
        self.sign_from(&spend, &[(&self.new_address(), 10_000)], 4 * FEERATE_SAT_VB)
    }

    pub(super) fn pay_itself(&self) -> Txid {
        self.send_many(&[(&self.new_address(), 10_000)])
    }

    /// Lets the wallets give up a transaction, also one that pays them, so that they never send it
    /// again.
    pub(super) fn abandon(&self, txid_: &Txid) {
        for wallet in self.loaded_wallets() {
            // Somebody else's needs no giving up.
            if self.try_call_wallet(&wallet, "gettransaction", json!([txid_])).is_ok() {
                self.call_wallet(&wallet, "abandontransaction", json!([txid_]));
            }
        }
    }

    pub(super) fn abandon_unconfirmed(&self) {
        for wallet in self.loaded_wallets() {
            let list = self.call_wallet(&wallet, "listtransactions", json!(["*", 1000]));
            for entry in list.as_array().unwrap() {
                if entry["confirmations"] == 0 && entry["abandoned"] != true {
                    self.abandon(&txid(&entry["txid"]));
                }
            }
        }
    }

    fn loaded_wallets(&self) -> Vec<String> {
        let list = self.call("listwallets", json!([]));
        list.as_array().unwrap().iter().map(text).collect()
    }
}

/// An output to an address.
pub fn output(address: &str, sat: u64) -> bitcoin::TxOut {
    let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().unwrap();
    bitcoin::TxOut {
        value: Amount::from_sat(sat),
        script_pubkey: address.assume_checked().script_pubkey(),
    }
}
