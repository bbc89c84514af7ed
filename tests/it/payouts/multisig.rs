//! Batches that two of three keys sign: each file is kept until there are enough.

use serde_json::{Value, json};

use super::owed::{read, written};
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Shop, once_of};
use crate::harness::signer::{Kind, Signer};

fn submit(shop: &Shop, psbt: &str) -> Value {
    let (status, answer) = shop.try_submit(psbt);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// One signs, hears that more are needed, comes again; another's file is enough.
fn two_of_three(shop: &mut Shop, signer: &Signer) {
    let to = shop.node.new_address();
    let rented = shop.due(&[(&to, 20_000)]).remove(0);
    let batch = shop.prepare(&json!({}));
    let unsigned = text(&batch["psbt"]);
    let one = signer.sign_with(&unsigned, 2);
    let kept = submit(shop, &one);
    let missing = "1 signature(s) an input are there, more are needed; submit what others signed";
    assert_eq!((&kept["complete"], &kept["missing"]), (&json!(false), &json!(missing)), "{kept}");
    assert_eq!(kept["batch"]["state"], "prepared");
    assert_eq!(submit(shop, &one), kept, "the same once more");
    let (status, refused) = shop.try_submit(&unsigned);
    let bare = json!("it has no signature; sign it first");
    assert_eq!((status, &refused["detail"]), (422, &bare), "{refused}");
    shop.stop();
    shop.start();
    // The one that is kept can be taken out and signed on.
    let kept = text(&shop.batch(&batch["id"])["psbt"]);
    assert_eq!(read(&json!(kept)).inputs[0].partial_sigs.len(), 1);
    let whole = submit(shop, &signer.sign_with(&unsigned, 0));
    assert_eq!((&whole["complete"], &whole["missing"]), (&json!(true), &json!(null)), "{whole}");
    assert_eq!(whole["batch"]["txid"], batch["txid"], "the txid that was said before signing");
    assert!(shop.node.mempool().iter().any(|txid| txid.to_string() == text(&batch["txid"])));
    assert_eq!(submit(shop, &signer.sign_with(&kept, 1))["complete"], true, "a third is harmless");
    shop.node.mine(1);
    shop.payout_in(&rented, "confirmed");
    assert_eq!(shop.arrived_sat(&to), 20_000 - number(&batch["pays"]["fee_sat"]));
}

#[test]
fn two_signers_of_a_script_hash_hand_in_their_files_one_after_the_other() {
    each_signed(Kind::Wsh2of3, CONFIG, two_of_three);
}

#[test]
fn so_they_do_behind_a_script_hash_of_the_old_kind_though_signing_changes_the_txid() {
    let signer = Signer::new(Kind::Wsh2of3);
    let descriptor = format!("sh({})", signer.descriptor());
    once_of(&descriptor, CONFIG, |shop| two_of_three(shop, &signer));
}

#[test]
fn a_signature_of_a_key_that_is_none_of_the_three_is_not_kept() {
    once_signed(Kind::Wsh2of3, CONFIG, |shop, signer| {
        shop.due(&[(&shop.node.new_address(), 20_000)]);
        let batch = shop.prepare(&json!({}));
        let mut psbt = read(&json!(signer.sign_with(&text(&batch["psbt"]), 0)));
        let key = Signer::new(Kind::Tr).master(0).private_key;
        let mut cache = bitcoin::sighash::SighashCache::new(&psbt.unsigned_tx);
        let (message, kind) = psbt.sighash_ecdsa(0, &mut cache).unwrap();
        let signature = secp256k1::SECP256K1.sign_ecdsa(&message, &key);
        let signature = bitcoin::ecdsa::Signature { signature, sighash_type: kind };
        let public = bitcoin::PublicKey::new(key.public_key(secp256k1::SECP256K1));
        psbt.inputs[0].partial_sigs.insert(public, signature);
        let (status, answer) = shop.try_submit(&written(&psbt));
        assert_eq!(status, 422, "{answer}");
        assert!(text(&answer["detail"]).ends_with("is none of its keys"), "{answer}");
        assert_eq!(shop.batch(&batch["id"])["psbt"], batch["psbt"]);
        shop.through(signer, &batch);
    });
}
