//! The signatures of a PSBT that came back: which are there, whether they fit, and that each covers
//! the whole transaction.

use bitcoin::key::XOnlyPublicKey;
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{Psbt, Transaction, TxOut};
use secp256k1::SECP256K1;

/// Whether an input has no signature at all.
fn is_bare(input: &bitcoin::psbt::Input) -> bool {
    input.partial_sigs.is_empty()
        && input.tap_key_sig.is_none()
        && input.tap_script_sigs.is_empty()
        && input.final_script_witness.is_none()
        && input.final_script_sig.is_none()
}

/// Inputs without any signature.
pub(super) fn bare(psbt: &Psbt) -> Vec<usize> {
    let inputs = psbt.inputs.iter().enumerate();
    inputs.filter(|(_, input)| is_bare(input)).map(|(n, _)| n).collect()
}

/// Signatures of each input that is not finished, of several keys.
pub(super) fn counts(psbt: &Psbt) -> Vec<usize> {
    psbt.inputs.iter().map(|input| input.partial_sigs.len()).collect()
}

/// Whether several keys sign an input, so that one signer alone cannot finish it.
pub(super) fn is_multisig(psbt: &Psbt) -> bool {
    psbt.inputs.iter().any(|input| input.witness_script.is_some())
}

/// What is wrong with the signatures of `psbt`, whose coins and scripts are known to be right.
pub(super) fn fault(psbt: &Psbt) -> Option<String> {
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    for (n, input) in psbt.inputs.iter().enumerate() {
        for (key, signature) in &input.partial_sigs {
            if !input.bip32_derivation.contains_key(&key.inner) {
                return Some(format!("input {n}: key {key}, which signed it, is none of its keys"));
            }
            if signature.sighash_type != EcdsaSighashType::All {
                return Some(format!("input {n}: a signature does not cover everything"));
            }
            let fits = psbt.sighash_ecdsa(n, &mut cache).is_ok_and(|(message, _)| {
                SECP256K1.verify_ecdsa(&message, &signature.signature, &key.inner).is_ok()
            });
            if !fits {
                return Some(format!("input {n}: the signature of key {key} does not fit"));
            }
        }
        let whole = [TapSighashType::Default, TapSighashType::All];
        if input.tap_key_sig.is_some_and(|it| !whole.contains(&it.sighash_type)) {
            return Some(format!("input {n}: the signature does not cover everything"));
        }
        let fits = |it| fits_taproot(psbt, n, &mut cache, &it).is_some();
        if !input.tap_key_sig.is_none_or(fits) {
            return Some(format!("input {n}: the signature does not fit its key"));
        }
    }
    None
}

/// `Some` when a signature is one of the key that a taproot output names (BIP341).
fn fits_taproot(
    psbt: &Psbt,
    n: usize,
    cache: &mut SighashCache<&Transaction>,
    signature: &bitcoin::taproot::Signature,
) -> Option<()> {
    let coins = (0..psbt.inputs.len()).map(|n| psbt.spend_utxo(n).ok());
    let coins: Vec<&TxOut> = coins.collect::<Option<_>>()?;
    let script = &coins.get(n)?.script_pubkey;
    let key = XOnlyPublicKey::from_slice(script.as_bytes().get(2..34)?).ok()?;
    let all = Prevouts::All(&coins);
    let hash = cache.taproot_key_spend_signature_hash(n, &all, signature.sighash_type).ok()?;
    SECP256K1.verify_schnorr(&signature.signature, &hash.into(), &key).ok()
}

/// The same of a finished transaction: every signature in it ends with SIGHASH_ALL, or is a
/// taproot signature of the default kind.
pub(super) fn fault_in(transaction: &Transaction) -> Option<String> {
    for (n, input) in transaction.input.iter().enumerate() {
        for item in input.witness.iter() {
            let der = (69..=73).contains(&item.len()) && item[0] == 0x30;
            let taproot = item.len() == 65 && !matches!(item[0], 2..=4);
            if (der || taproot) && item.last() != Some(&1) {
                return Some(format!("input {n}: a signature does not cover everything"));
            }
        }
    }
    None
}
