//! What comes back from a signer: everything that is not exactly what was prepared is refused with
//! the reason, and every form of the right thing is taken.

use bitcoin::sighash::{EcdsaSighashType, SighashCache, TapSighashType};
use bitcoin::{Amount, OutPoint, Psbt, Sequence, TxOut};
use secp256k1::SECP256K1;
use serde_json::{Value, json};

use super::owed::{read, written};
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::{Kind, Signer};

/// What somebody does to a PSBT.
type Change<'a> = &'a dyn Fn(&mut Psbt);

/// Owes 20000 sat out of two coins, with change; the batch.
fn prepared(shop: &Shop) -> (Rented, Value) {
    let rich = shop.rent("shared", 15_000);
    shop.node.send(&rich.address, 15_000);
    let rented = shop.due(&[(&shop.node.new_address(), 20_000)]).remove(0);
    let other = shop.due(&[(&shop.node.new_address(), 5000)]).remove(0);
    assert_ne!(rented.claim, other.claim);
    (rented, shop.prepare(&json!({})))
}

/// What submit says of it, which must be a refusal.
fn refused(shop: &Shop, psbt: &str) -> String {
    let (status, answer) = shop.try_submit(psbt);
    assert_eq!((status, &answer["code"]), (422, &json!("invalid_request")), "{answer}");
    assert_eq!(answer["errors"][0]["pointer"], "/psbt");
    text(&answer["detail"])
}

fn changed(batch: &Value, change: impl FnOnce(&mut Psbt)) -> String {
    let mut psbt = read(&batch["psbt"]);
    change(&mut psbt);
    written(&psbt)
}

/// It is still the same batch, and goes through when it is signed as it is.
fn still_good(shop: &Shop, signer: &Signer, batch: &Value) {
    let now = shop.batch(&batch["id"]);
    assert_eq!((&now["state"], &now["psbt"]), (&json!("prepared"), &batch["psbt"]));
    shop.through(signer, batch);
}

#[test]
fn a_transaction_that_is_not_the_one_prepared_is_refused_with_what_differs() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let (_, batch) = prepared(shop);
        let psbt = read(&batch["psbt"]);
        let (coins, thief) = (psbt.unsigned_tx.input.len(), shop.node.new_address());
        assert_eq!((coins, psbt.unsigned_tx.output.len()), (2, 3), "{batch}");
        let thief: bitcoin::Address<_> = thief.parse().unwrap();
        let thief = thief.assume_checked().script_pubkey();
        let foreign = OutPoint { txid: psbt.unsigned_tx.input[0].previous_output.txid, vout: 77 };
        let sat = psbt.unsigned_tx.output[1].value.to_sat();
        let less = format!("output 1 pays {} sat instead of {sat} sat", sat - 1);
        let foreign_said = format!("it spends {foreign}, which is not in it");
        let gone = format!("it does not spend {}", psbt.unsigned_tx.input[1].previous_output);
        let tests: [(&str, Change<'_>); 8] = [
            ("output 0 pays another address", &|psbt| {
                psbt.unsigned_tx.output[0].script_pubkey = thief.clone();
            }),
            (&less, &|psbt| psbt.unsigned_tx.output[1].value -= Amount::ONE_SAT),
            ("output 3 was not prepared", &|psbt| {
                let (value, script_pubkey) = (Amount::from_sat(300), thief.clone());
                psbt.unsigned_tx.output.push(TxOut { value, script_pubkey });
                psbt.outputs.push(Default::default());
            }),
            ("output 2 is missing", &|psbt| {
                psbt.unsigned_tx.output.pop();
                psbt.outputs.pop();
            }),
            (&foreign_said, &|psbt| {
                let mut input = psbt.unsigned_tx.input[0].clone();
                input.previous_output = foreign;
                psbt.unsigned_tx.input.push(input);
                psbt.inputs.push(Default::default());
            }),
            (&gone, &|psbt| {
                psbt.unsigned_tx.input.pop();
                psbt.inputs.pop();
            }),
            ("lock time, sequence numbers or order of inputs differ", &|psbt| {
                psbt.unsigned_tx.input[0].sequence = Sequence::MAX;
            }),
            ("order of inputs differ", &|psbt| {
                psbt.unsigned_tx.input.swap(0, 1);
                psbt.inputs.swap(0, 1);
            }),
        ];
        let begin = format!("this is not version 1 of {} as it was prepared: ", text(&batch["id"]));
        for (why, change) in tests {
            let unsigned = changed(&batch, change);
            let said = refused(shop, &unsigned);
            assert!(said.starts_with(&begin) && said.contains(why), "{why}: {said}");
        }
        still_good(shop, signer, &batch);
    });
}

#[test]
fn missing_and_wrong_signatures_are_named() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let (_, batch) = prepared(shop);
        let unsigned = text(&batch["psbt"]);
        assert_eq!(refused(shop, &unsigned), "it has no signature; sign it first");
        let signed = read(&json!(signer.sign(&unsigned)));
        let with = |change: Change<'_>| {
            let mut psbt = signed.clone();
            change(&mut psbt);
            refused(shop, &written(&psbt))
        };
        let half = with(&|psbt| psbt.inputs[1].partial_sigs.clear());
        assert_eq!(half, "no signature for input 1");
        let crossed = with(&|psbt| {
            let (key, _) = psbt.inputs[0].partial_sigs.pop_first().unwrap();
            let signature = *psbt.inputs[1].partial_sigs.values().next().unwrap();
            psbt.inputs[0].partial_sigs.insert(key, signature);
        });
        assert!(crossed.starts_with("input 0: the signature of key "), "{crossed}");
        assert!(crossed.ends_with(" does not fit"), "{crossed}");
        let stranger = with(&|psbt| {
            let (message, kind) =
                psbt.sighash_ecdsa(0, &mut SighashCache::new(&psbt.unsigned_tx)).unwrap();
            let key = Signer::new(Kind::Tr).master(0).private_key;
            let signature = SECP256K1.sign_ecdsa(&message, &key);
            let signature = bitcoin::ecdsa::Signature { signature, sighash_type: kind };
            let key = bitcoin::PublicKey::new(key.public_key(SECP256K1));
            psbt.inputs[0].partial_sigs = [(key, signature)].into();
        });
        assert!(stranger.ends_with("which signed it, is none of its keys"), "{stranger}");
        still_good(shop, signer, &batch);
    });
}

#[test]
fn a_signature_that_does_not_cover_everything_is_refused() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let (_, batch) = prepared(shop);
        for kind in [
            EcdsaSighashType::None,
            EcdsaSighashType::Single,
            EcdsaSighashType::AllPlusAnyoneCanPay,
            EcdsaSighashType::NonePlusAnyoneCanPay,
        ] {
            let asked = changed(&batch, |psbt| psbt.inputs[1].sighash_type = Some(kind.into()));
            let signed = signer.sign(&asked);
            let why = "a signature does not cover everything";
            assert_eq!(refused(shop, &signed), format!("input 1: {why}"), "{kind}");
            // Nor finished by somebody else.
            let done = shop.node.call("finalizepsbt", json!([signed, true]));
            let hex = text(&done["hex"]);
            assert_eq!(refused(shop, &hex), format!("input 1: {why}"), "{kind}");
            let whole = shop.node.call("finalizepsbt", json!([signed, false]));
            assert_eq!(refused(shop, &text(&whole["psbt"])), format!("input 1: {why}"), "{kind}");
        }
        still_good(shop, signer, &batch);
    });
}

#[test]
fn wrong_taproot_signatures_are_named_too() {
    once_signed(Kind::Tr, CONFIG, |shop, signer| {
        let (_, batch) = prepared(shop);
        assert_eq!(refused(shop, &text(&batch["psbt"])), "it has no signature; sign it first");
        let signed = read(&json!(signer.sign(&text(&batch["psbt"]))));
        let mut crossed = signed.clone();
        crossed.inputs[0].tap_key_sig = signed.inputs[1].tap_key_sig;
        let said = refused(shop, &written(&crossed));
        assert_eq!(said, "input 0: the signature does not fit its key");
        let mut half = signed;
        half.inputs[0].tap_key_sig = None;
        assert_eq!(refused(shop, &written(&half)), "no signature for input 0");
        let none = changed(&batch, |psbt| {
            psbt.inputs[0].sighash_type = Some(TapSighashType::None.into());
        });
        let said = refused(shop, &signer.sign(&none));
        assert_eq!(said, "input 0: the signature does not cover everything");
        still_good(shop, signer, &batch);
    });
}

#[test]
fn what_is_no_batch_of_this_server_is_refused() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        for garbage in ["", "hello", "cHNidP8=", "00", "70736274ff", "=", "deadbeef"] {
            let said = refused(shop, garbage);
            assert_eq!(
                said, "this is neither a PSBT in base64 nor a transaction in hex",
                "{garbage}"
            );
        }
        let to = shop.node.new_address();
        let coin = shop.node.coins()[0];
        let foreign = shop.node.sign_from(&[coin], &[(&to, 10_000)], 5);
        let options = json!([[], [{ to.as_str(): "0.1" }], 0, { "fee_rate": 5 }]);
        let made = shop.node.wallet("walletcreatefundedpsbt", options)["psbt"].clone();
        for psbt in [foreign, text(&made)] {
            let said = refused(shop, &psbt);
            assert_eq!(said, "this is no batch of this server: no coin of it is in one");
        }
        let (_, batch) = prepared(shop);
        let signed = signer.sign(&text(&batch["psbt"]));
        shop.give_up(&batch);
        let (status, answer) = shop.try_submit(&signed);
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        assert!(text(&answer["detail"]).contains("was given up; prepare its payouts again"));
        shop.prepare(&json!({}));
        let (status, answer) = shop.try_submit(&signed);
        assert_eq!(status, 409, "{answer}");
        assert!(text(&answer["detail"]).contains("what it paid is in another batch"), "{answer}");
    });
}

#[test]
fn every_form_of_the_signed_batch_is_taken_as_often_as_it_comes() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let (rented, batch) = prepared(shop);
        let signed = signer.sign(&text(&batch["psbt"]));
        let whole = text(&shop.node.call("finalizepsbt", json!([signed, false]))["psbt"]);
        let hex = text(&shop.node.call("finalizepsbt", json!([signed, true]))["hex"]);
        let bytes = data_encoding::BASE64.decode(signed.as_bytes()).unwrap();
        let binary = data_encoding::HEXLOWER.encode(&bytes);
        let wrapped: Vec<_> = signed.as_bytes().chunks(64).collect();
        let wrapped = String::from_utf8(wrapped.join(&b"\r\n"[..])).unwrap();
        for form in [&hex, &whole, &signed, &binary, &wrapped, &hex.to_uppercase()] {
            let (status, answer) = shop.try_submit(form);
            assert_eq!((status, &answer["complete"]), (200, &json!(true)), "{answer}");
            assert_eq!(
                (&answer["missing"], &answer["batch"]["state"]),
                (&json!(null), &json!("broadcast"))
            );
        }
        let id = text(&shop.payout_in(&rented, "broadcast")["id"]);
        shop.node.mine(1);
        shop.batch_in(&batch["id"], "confirmed");
        // The batch follows from the chain at once, its events from settling.
        shop.payout_in(&rented, "confirmed");
        let (status, answer) = shop.try_submit(&signed);
        assert_eq!((status, &answer["batch"]["state"]), (200, &json!("confirmed")), "{answer}");
        let told = shop.events_of(&id);
        let once = ["payout.due", "payout.prepared", "payout.broadcast", "payout.confirmed"];
        assert_eq!(told, once);
        assert_eq!(number(&shop.claim(&rented)["refunded_sat"]), 20_000);
    });
}
