//! The offline signer of `examples/signing`, with a node's watch-only wallet as the other side: what
//! it signs the network takes, and what it must not sign it refuses in words.

use std::path::{Path, PathBuf};
use std::process::Command;

use bitcoin::bip32::Xpub;
use bitcoin::{Amount, Psbt, ScriptBuf};
use data_encoding::BASE64;
use secp256k1::SECP256K1;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::bitcoind::Bitcoind;
use crate::harness::signer::{Kind, Signer};

/// A node with a watch-only wallet of a signer's descriptor, and a batch that waits for signatures.
struct Desk {
    node: Bitcoind,
    signer: Signer,
    folder: TempDir,
    /// base64
    psbt: String,
    /// Whom it pays.
    to: String,
}

impl Desk {
    fn new(kind: Kind) -> Self {
        let signer = Signer::new(kind);
        let descriptor = signer.descriptor();
        Self::of(signer, &descriptor, if kind == Kind::Tr { "bech32m" } else { "bech32" })
    }

    /// With a descriptor of the same keys, and the node's word for its kind of address.
    fn of(signer: Signer, descriptor: &str, form: &str) -> Self {
        let node = Bitcoind::start();
        import(&node, "watch", descriptor, true);
        for sat in [25_000, 18_000] {
            let own = node.call_wallet("watch", "getnewaddress", json!(["", form]));
            node.send(own.as_str().unwrap(), sat);
        }
        node.mine(1);
        let to = node.new_address();
        let outputs = json!([{ to.as_str(): "0.0003" }]);
        let options = json!({ "change_type": form, "fee_rate": 2, "minconf": 1 });
        let params = json!([[], outputs, 0, options]);
        let made = node.call_wallet("watch", "walletcreatefundedpsbt", params);
        let psbt = made["psbt"].as_str().unwrap().to_owned();
        Self { node, signer, folder: tempfile::tempdir().unwrap(), psbt, to }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    /// Has `psbt` signed by the program; the signed one in base64 and what was said, or the error.
    fn signed_offline(
        &self,
        psbt: impl AsRef<[u8]>,
        key: &str,
    ) -> Result<(String, String), String> {
        let (key, psbt) = (self.file("key", key), self.file("batch.psbt", psbt));
        let signed = self.folder.path().join("signed.psbt");
        let _ = std::fs::remove_file(&signed);
        let said = run(&[&key, &psbt, &signed]);
        assert_eq!(said.is_ok(), signed.exists(), "a file if and only if it is signed");
        Ok((std::fs::read_to_string(signed).unwrap_or_default().trim().to_owned(), said?))
    }

    /// Lets the node finish it and say whether it would take it.
    fn is_taken(&self, signed: &[&str]) -> bool {
        let combined = self.node.call("combinepsbt", json!([signed]));
        let done = self.node.call("finalizepsbt", json!([combined]));
        if done["complete"] != true {
            return false;
        }
        let verdict = self.node.call("testmempoolaccept", json!([[done["hex"]]]));
        assert_eq!(verdict[0]["allowed"], true, "{verdict}");
        true
    }

    fn changed(&self, change: impl FnOnce(&mut Psbt)) -> String {
        let mut psbt = read(&self.psbt);
        change(&mut psbt);
        BASE64.encode(&psbt.serialize())
    }

    fn master(&self) -> String {
        self.signer.master(0).to_string()
    }
}

/// Makes a wallet of a descriptor on the node.
fn import(node: &Bitcoind, wallet: &str, descriptor: &str, watch_only: bool) {
    let info = node.call("getdescriptorinfo", json!([descriptor]));
    let descriptor = format!("{descriptor}#{}", info["checksum"].as_str().unwrap());
    node.call("createwallet", json!([wallet, watch_only, true]));
    let list = json!([[{ "desc": descriptor, "active": true, "timestamp": "now" }]]);
    let imported = node.call_wallet(wallet, "importdescriptors", list);
    assert_eq!(imported[0]["success"], true, "{imported}");
}

fn read(psbt: &str) -> Psbt {
    Psbt::deserialize(&BASE64.decode(psbt.as_bytes()).unwrap()).unwrap()
}

/// Runs the program: what it printed, or its complaint.
fn run(files: &[&Path]) -> Result<String, String> {
    let folder = Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap();
    let program = folder.join("examples/offline-signer");
    let output = Command::new(&program).arg("--regtest").args(files).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}; cargo build --examples makes it", program.display())
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Both kinds of keys that an operator may have at hand sign the whole batch.
fn one_key_is_enough(kind: Kind) {
    let desk = Desk::new(kind);
    for key in [desk.signer.master(0), desk.signer.account(0)] {
        let (signed, said) = desk.signed_offline(&desk.psbt, &key.to_string()).unwrap();
        assert!(desk.is_taken(&[&signed]));
        let pays = format!("30000 sat  {}\n", desk.to);
        assert!(said.contains(&pays) && said.contains("change: this key's own, m/8"), "{said}");
        assert!(said.contains("signed 2 of 2 inputs") && said.contains(" sat  fee"), "{said}");
    }
    let binary = read(&desk.psbt).serialize();
    assert!(desk.is_taken(&[&desk.signed_offline(binary, &desk.master()).unwrap().0]));
    assert!(desk.is_taken(&[&desk.signer.sign(&desk.psbt)]), "so does the harness");
    assert!(!desk.is_taken(&[&desk.psbt]), "nothing is taken unsigned");
}

#[test]
fn one_wpkh_key_signs_a_batch_offline() {
    one_key_is_enough(Kind::Wpkh);
}

#[test]
fn one_taproot_key_signs_a_batch_offline() {
    one_key_is_enough(Kind::Tr);
}

#[test]
fn two_of_three_keys_sign_copies_of_a_batch_that_are_combined() {
    two_of_three_sign(&Desk::new(Kind::Wsh2of3));
}

#[test]
fn so_they_do_behind_a_script_hash_of_the_old_kind() {
    let signer = Signer::new(Kind::Wsh2of3);
    let descriptor = format!("sh({})", signer.descriptor());
    two_of_three_sign(&Desk::of(signer, &descriptor, "p2sh-segwit"));
}

fn two_of_three_sign(desk: &Desk) {
    let copies: Vec<String> = [desk.signer.master(0), desk.signer.account(2)]
        .map(|key| desk.signed_offline(&desk.psbt, &key.to_string()).unwrap())
        .map(|(signed, said)| {
            assert!(said.contains("change? this key is one of several"), "{said}");
            signed
        })
        .into();
    assert!(!desk.is_taken(&[&copies[1]]), "one of three is not enough");
    assert!(desk.is_taken(&[&copies[0], &copies[1]]));
    assert!(desk.is_taken(&[&copies[0], &desk.signer.sign_with(&desk.psbt, 1)]));
    assert!(desk.is_taken(&[&desk.signer.sign(&desk.psbt)]), "so does the harness");
}

#[test]
fn a_node_that_has_the_keys_signs_a_batch() {
    for kind in [Kind::Wpkh, Kind::Tr] {
        let desk = Desk::new(kind);
        let public = Xpub::from_priv(SECP256K1, &desk.signer.account(0)).to_string();
        let private = desk.signer.account(0).to_string();
        let descriptor = desk.signer.descriptor().replace(&public, &private);
        import(&desk.node, "keys", &descriptor, false);
        let answer = desk.node.call_wallet("keys", "walletprocesspsbt", json!([desk.psbt]));
        assert!(desk.is_taken(&[answer["psbt"].as_str().unwrap()]));
    }
}

#[test]
fn the_offline_signer_refuses_what_it_cannot_sign_in_words() {
    let desk = Desk::new(Kind::Wpkh);
    let other = Signer::new(Kind::Tr).master(0).to_string();
    for (psbt, key, reason) in [
        (desk.psbt.clone(), other.clone(), "signed nothing: no input is of this key"),
        ("hello".into(), desk.master(), "batch.psbt is no PSBT"),
        (BASE64.encode(b"hello"), desk.master(), "batch.psbt is no PSBT"),
        (desk.psbt.clone(), "tprvsecret".into(), "key holds no xprv or tprv"),
        (desk.psbt.clone(), Signer::new(Kind::Wpkh).descriptor(), "key holds no xprv or tprv"),
    ] {
        let found = desk.signed_offline(&psbt, &key).unwrap_err();
        assert!(found.starts_with("offline-signer: ") && found.contains(reason), "{found}");
        assert!(!found.contains("secret") && found.lines().count() == 1, "{found}");
    }
    let found = run(&[Path::new(&other), Path::new("batch.psbt")]).unwrap_err();
    assert!(found.contains("give the key in a file") && !found.contains(&other), "{found}");
    let (key, psbt) = (desk.file("key", desk.master()), desk.file("batch.psbt", &desk.psbt));
    let found = run(&[&key, &psbt, &key]).unwrap_err();
    assert!(found.contains("cannot write"), "it would overwrite its own key: {found}");
    assert!(run(&[&key, &psbt]).unwrap().contains("30000 sat"), "shown without being signed");
}

#[test]
fn the_offline_signer_refuses_batches_that_deceive() {
    let desk = Desk::new(Kind::Wpkh);
    let wrong = |change: &dyn Fn(&mut Psbt)| {
        desk.signed_offline(desk.changed(change), &desk.master()).unwrap_err()
    };
    let none = bitcoin::EcdsaSighashType::None;
    for (found, reason) in [
        (wrong(&|psbt| psbt.inputs[0].sighash_type = Some(none.into())), "whole transaction"),
        (wrong(&|psbt| psbt.inputs[1].non_witness_utxo = None), "is missing"),
        (wrong(&|psbt| coin(psbt).value += Amount::ONE_SAT), "is something else"),
        (wrong(&|psbt| psbt.inputs.swap(0, 1)), "is something else"),
    ] {
        assert!(found.starts_with("offline-signer: input ") && found.contains(reason), "{found}");
    }
    // What only claims to be change is said so; the operator decides.
    let stolen = desk.changed(|psbt| {
        let change = psbt.outputs.iter().position(|output| !output.bip32_derivation.is_empty());
        let thief = ScriptBuf::new_p2wsh(&ScriptBuf::new().wscript_hash());
        psbt.unsigned_tx.output[change.unwrap()].script_pubkey = thief;
    });
    let (_, said) = desk.signed_offline(stolen, &desk.master()).unwrap();
    assert!(said.contains("NOT this key's, though it is said to be"), "{said}");
}

fn coin(psbt: &mut Psbt) -> &mut bitcoin::TxOut {
    psbt.inputs[0].witness_utxo.as_mut().unwrap()
}
