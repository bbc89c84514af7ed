//! Signs a batch of payouts (PSBT, BIP174) with an extended private key, on a machine that needs no
//! network. Shows what is paid before; checks what a signer must not take on trust. See README.md
//! here. Uses the crate bitcoin, and two small ones for base64 and errors.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::bip32::{KeySource, Xpriv};
use bitcoin::psbt::{Input, Output, Psbt, SigningKeys};
use bitcoin::secp256k1::{self, All, Secp256k1};
use bitcoin::{Address, CompressedPublicKey, Network, OutPoint, PrivateKey, PublicKey};
use bitcoin::{Script, ScriptBuf, TapLeafHash, XOnlyPublicKey};
use data_encoding::BASE64;

const USAGE: &str = "usage: offline-signer [--regtest] KEY-FILE PSBT-FILE [SIGNED-FILE]
  KEY-FILE     holds an extended private key (xprv… or tprv…): the master key or the account's
  PSBT-FILE    what to sign, base64 or binary
  SIGNED-FILE  where to write it signed, base64; without it nothing is signed, only shown";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offline-signer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Vec<String>) -> Result<()> {
    let regtest = args.iter().position(|arg| arg == "--regtest").map(|at| args.remove(at));
    let (key_file, psbt_file, signed_file) = match args.as_slice() {
        [key, psbt] => (key, psbt, None),
        [key, psbt, signed] => (key, psbt, Some(signed)),
        _ => bail!("{USAGE}"),
    };
    let (secp, xpriv) = (Secp256k1::new(), read_key(key_file)?);
    let network = match regtest {
        _ if xpriv.network.is_mainnet() => Network::Bitcoin,
        Some(_) => Network::Regtest,
        None => Network::Signet, // Addresses of testnet4 look the same.
    };
    let mut psbt = read_psbt(psbt_file)?;
    let keys = check_inputs(&psbt, &xpriv, &secp)?;
    show(&psbt, &xpriv, network, &secp)?;
    let Some(signed_file) = signed_file else { return Ok(()) };
    let signed = psbt.sign(&keys, &secp).map_err(|(_, errors)| {
        let all = errors.iter().map(|(input, error)| format!("input {input}: {error}"));
        anyhow::anyhow!("cannot sign {}", all.collect::<Vec<_>>().join("; "))
    })?;
    let count = signed.values().filter(|keys| match keys {
        SigningKeys::Ecdsa(keys) => !keys.is_empty(),
        SigningKeys::Schnorr(keys) => !keys.is_empty(),
    });
    let count = count.count();
    ensure!(count > 0, "signed nothing: no input is of this key, or it has signed all before");
    // Never over another file: it may be the key.
    let file = OpenOptions::new().write(true).create_new(true).open(signed_file);
    let mut file = file.with_context(|| format!("cannot write {signed_file}"))?;
    writeln!(file, "{}", BASE64.encode(&psbt.serialize()))?;
    println!("signed {count} of {} inputs; written to {signed_file}", psbt.inputs.len());
    Ok(())
}

fn read_key(file: &str) -> Result<Xpriv> {
    ensure!(
        file.get(1..4) != Some("prv"),
        "give the key in a file: what is on \
        the command line is seen by others and kept in the shell's history"
    );
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    // What is in the file is not repeated, whatever is wrong with it.
    text.trim().parse().ok().with_context(|| format!("{file} holds no xprv or tprv"))
}

fn read_psbt(file: &str) -> Result<Psbt> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
    let bytes = match bytes.starts_with(b"psbt") {
        true => bytes,
        false => BASE64.decode(bytes.trim_ascii()).with_context(|| format!("{file} is no PSBT"))?,
    };
    Psbt::deserialize(&bytes).with_context(|| format!("{file} is no PSBT"))
}

/// The private keys for all inputs that are of `xpriv`. Refuses what would make the fee a secret or
/// let others change what is paid.
fn check_inputs(
    psbt: &Psbt,
    xpriv: &Xpriv,
    secp: &Secp256k1<All>,
) -> Result<BTreeMap<PublicKey, PrivateKey>> {
    let mut keys = BTreeMap::new();
    for (n, (input, spends)) in psbt.inputs.iter().zip(&psbt.unsigned_tx.input).enumerate() {
        check_input(input, spends.previous_output).with_context(|| format!("input {n}"))?;
        let origins = origins(&input.bip32_derivation, &input.tap_key_origins);
        let ours = origins.filter_map(|(key, origin)| private_key(xpriv, key, origin, secp));
        keys.extend(ours.map(|key| (key.public_key(secp), key)));
    }
    Ok(keys)
}

fn check_input(input: &Input, spends: OutPoint) -> Result<()> {
    // SIGHASH_DEFAULT and SIGHASH_ALL; others would leave outputs for somebody else to change.
    ensure!(
        input.sighash_type.is_none_or(|kind| kind.to_u32() <= 1),
        "asks for a signature that does not hold for the whole transaction"
    );
    let Some(previous) = &input.non_witness_utxo else {
        // Only a taproot signature commits to the amounts of all inputs (BIP341).
        let taproot = input.witness_utxo.as_ref().is_some_and(|coin| coin.script_pubkey.is_p2tr());
        ensure!(taproot, "the transaction that it spends is missing, so its amount can be a lie");
        return Ok(());
    };
    let coin = previous.output.get(usize::try_from(spends.vout)?);
    let same = coin.is_some() && input.witness_utxo.as_ref().is_none_or(|said| Some(said) == coin);
    ensure!(
        same && previous.compute_txid() == spends.txid,
        "what it says it spends is something else"
    );
    Ok(())
}

type Origins = BTreeMap<secp256k1::PublicKey, KeySource>;
type TapOrigins = BTreeMap<XOnlyPublicKey, (Vec<TapLeafHash>, KeySource)>;

fn origins<'a>(
    ecdsa: &'a Origins,
    taproot: &'a TapOrigins,
) -> impl Iterator<Item = (XOnlyPublicKey, &'a KeySource)> {
    let ecdsa = ecdsa.iter().map(|(key, origin)| (key.x_only_public_key().0, origin));
    ecdsa.chain(taproot.iter().map(|(key, (_, origin))| (*key, origin)))
}

/// The private key of `public` if `xpriv` is the master key of its origin, or a key on the way. The
/// origin is only a hint: what is derived must be the key itself.
fn private_key(
    xpriv: &Xpriv,
    public: XOnlyPublicKey,
    origin: &KeySource,
    secp: &Secp256k1<All>,
) -> Option<PrivateKey> {
    let (fingerprint, path) = origin;
    let (steps, depth): (&[_], _) = (path.as_ref(), usize::from(xpriv.depth));
    let steps = match steps.get(..depth).and_then(<[_]>::last) {
        _ if xpriv.fingerprint(secp) == *fingerprint => steps,
        Some(last) if *last == xpriv.child_number => &steps[depth..],
        _ => return None,
    };
    let key = xpriv.derive_priv(secp, &steps).ok()?.to_priv();
    (XOnlyPublicKey::from(key.public_key(secp).inner) == public).then_some(key)
}

fn show(psbt: &Psbt, xpriv: &Xpriv, network: Network, secp: &Secp256k1<All>) -> Result<()> {
    println!("pays:");
    for (output, meta) in psbt.unsigned_tx.output.iter().zip(&psbt.outputs) {
        let script = &output.script_pubkey;
        let to = Address::from_script(script, network)
            .map_or_else(|_| format!("script {script}"), |address| address.to_string());
        let note = whose(script, meta, xpriv, secp);
        println!("  {:>14} sat  {to}{note}", output.value.to_sat());
    }
    let fee = psbt.fee().context("the fee cannot be told")?;
    println!("  {:>14} sat  fee", fee.to_sat());
    Ok(())
}

fn whose(script: &Script, output: &Output, xpriv: &Xpriv, secp: &Secp256k1<All>) -> String {
    let mut origins = origins(&output.bip32_derivation, &output.tap_key_origins);
    let Some((key, path)) = origins.find_map(|(public, origin)| {
        private_key(xpriv, public, origin, secp).map(|key| (key.public_key(secp), &origin.1))
    }) else {
        return String::new();
    };
    let inner = key.inner;
    let alone = [
        ScriptBuf::new_p2wpkh(&CompressedPublicKey(inner).wpubkey_hash()),
        ScriptBuf::new_p2tr(secp, inner.x_only_public_key().0, None),
    ];
    let shared = output.witness_script.as_ref().is_some_and(|inside| {
        let own = inside.to_p2wsh();
        let has_key = inside.as_bytes().windows(33).any(|bytes| bytes == inner.serialize());
        has_key && (*script == *own || *script == *own.to_p2sh())
    });
    match (alone.iter().any(|own| *own == *script), shared) {
        (true, _) => format!("  change: this key's own, m/{path}"),
        (_, true) => "  change? this key is one of several; is the address your wallet's?".into(),
        _ => "  NOT this key's, though it is said to be".into(),
    }
}
