//! The weight that a draft claims is one that its signed transaction keeps below, and not by much:
//! signed here with keys of one's own.

use bitcoin::hashes::Hash as _;
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::secp256k1::{Message, SECP256K1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{
    Amount, CompressedPublicKey, NetworkKind, PrivateKey, PublicKey, ScriptBuf, Transaction, TxOut,
    Witness, ecdsa, taproot,
};
use miniscript::{Descriptor, DescriptorPublicKey};

use super::{coin, order, wanted, wpkh};
use crate::domain::payout::draft::{Coin, Draft, draft};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Wpkh,
    Tr,
    /// Two of three keys.
    Multisig,
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_slice(&[n; 32]).unwrap()
}

fn public(n: u8) -> PublicKey {
    PrivateKey::new(secret(n), NetworkKind::Test).public_key(SECP256K1)
}

/// The keys of one multisig coin.
fn three(n: u8) -> [u8; 3] {
    [n, n + 50, n + 100]
}

fn descriptor(kind: Kind, n: u8) -> Descriptor<DescriptorPublicKey> {
    let text = match kind {
        Kind::Wpkh => format!("wpkh({})", public(n)),
        Kind::Tr => format!("tr({})", public(n).inner.x_only_public_key().0),
        Kind::Multisig => {
            let [a, b, c] = three(n).map(public);
            format!("wsh(sortedmulti(2,{a},{b},{c}))")
        }
    };
    text.parse().unwrap()
}

fn coin_of(kind: Kind, n: u8) -> Coin {
    let descriptor = descriptor(kind, n).at_derivation_index(0).unwrap();
    Coin {
        script_pubkey: descriptor.script_pubkey(),
        satisfaction_weight: descriptor.max_weight_to_satisfy().unwrap().to_wu(),
        ..coin(n, 10_000)
    }
}

fn ecdsa_of(n: u8, digest: [u8; 32]) -> ecdsa::Signature {
    let message = Message::from_digest(digest);
    let signature = SECP256K1.sign_ecdsa(&message, &secret(n));
    ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All }
}

/// What spends input `place`, a coin of key `n`.
fn witness(tx: &Transaction, made: &Draft, place: usize, kind: Kind) -> Witness {
    let n = u8::try_from(made.inputs[place].outpoint.vout).unwrap();
    let value = Amount::from_sat(made.inputs[place].amount_sat);
    let script = &made.inputs[place].script_pubkey;
    let all = EcdsaSighashType::All;
    let mut cache = SighashCache::new(tx);
    match kind {
        Kind::Wpkh => {
            let hash = cache.p2wpkh_signature_hash(place, script, value, all).unwrap();
            let key = CompressedPublicKey(public(n).inner);
            Witness::p2wpkh(&ecdsa_of(n, hash.to_byte_array()), &key.0)
        }
        Kind::Tr => {
            let spent = |coin: &Coin| TxOut {
                value: Amount::from_sat(coin.amount_sat),
                script_pubkey: coin.script_pubkey.clone(),
            };
            let spent: Vec<TxOut> = made.inputs.iter().map(spent).collect();
            let prevouts = Prevouts::All(&spent);
            let sighash_type = TapSighashType::Default;
            let hash = cache.taproot_key_spend_signature_hash(place, &prevouts, sighash_type);
            let message = Message::from_digest(hash.unwrap().to_byte_array());
            let pair = Keypair::from_secret_key(SECP256K1, &secret(n)).tap_tweak(SECP256K1, None);
            let signature = SECP256K1.sign_schnorr_no_aux_rand(&message, &pair.to_keypair());
            Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type })
        }
        Kind::Multisig => {
            let inner = descriptor(kind, n).at_derivation_index(0).unwrap();
            let script: ScriptBuf = inner.explicit_script().unwrap();
            let hash = cache.p2wsh_signature_hash(place, &script, value, all).unwrap();
            let mut keys = three(n);
            keys.sort_by_key(|n| public(*n));
            let mut witness = Witness::new();
            witness.push([]);
            for n in &keys[..2] {
                witness.push_ecdsa_signature(&ecdsa_of(*n, hash.to_byte_array()));
            }
            witness.push(script);
            witness
        }
    }
}

/// A draft that spends `count` coins of a kind, signed.
fn signed(kind: Kind, count: u8) -> (Draft, Transaction) {
    let coins: Vec<Coin> = (1..=count).map(|n| coin_of(kind, n)).collect();
    let sat = u64::from(count) * 10_000 - 500;
    let payouts = vec![wanted(1, wpkh(1), sat / 2), wanted(2, wpkh(2), sat - sat / 2)];
    let made = draft(&order(coins, payouts)).unwrap();
    assert_eq!((made.inputs.len(), made.outputs.len()), (count.into(), 3));
    let bare = made.transaction();
    let mut tx = bare.clone();
    for (place, input) in tx.input.iter_mut().enumerate() {
        input.witness = witness(&bare, &made, place, kind);
    }
    (made, tx)
}

#[test]
fn a_signed_transaction_weighs_what_was_claimed_or_a_little_less() {
    for kind in [Kind::Wpkh, Kind::Tr, Kind::Multisig] {
        for count in [1, 2, 10, 40] {
            let (made, tx) = signed(kind, count);
            let real = tx.weight().to_wu();
            // Each signature may be two bytes shorter than the longest.
            let spare = 4 * u64::from(count);
            assert!(real <= made.weight, "{kind:?}: {real} WU, {} claimed", made.weight);
            assert!(made.weight <= real + spare, "{kind:?}: {real} WU, {} claimed", made.weight);
        }
    }
}

#[test]
fn so_it_pays_at_least_the_feerate_that_was_asked_for() {
    for kind in [Kind::Wpkh, Kind::Tr, Kind::Multisig] {
        let (made, tx) = signed(kind, 7);
        let into: u64 = made.inputs.iter().map(|coin| coin.amount_sat).sum();
        let out: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        assert!(into - out >= tx.vsize().try_into().unwrap(), "1 sat a vbyte: {kind:?}");
    }
}
