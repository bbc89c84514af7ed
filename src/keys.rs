//! The secrets of a server as files: the keys that sign lease tokens (a JWK Set whose first key
//! with a secret signs, all of which are published), the secret of claim tokens and the first API
//! key. Made on first start with mode 0600; a file that others can read is refused. Never prints
//! what is in them. Called by the daemon's start, `check`, `leasehold token` and operators' commands.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use secp256k1::SecretKey;
use serde_json::{Value, json};

use crate::domain::bearer::{Bearer, ClaimSecret};
use crate::domain::ids::base32;
use crate::domain::jwk::{SigningKey, VerifyingKey};

/// A user and a group.
type Owner = (u32, u32);

/// A secret file that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct KeyError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub what: String,
}

/// Everything that a server signs and recomputes with.
#[derive(Clone)]
pub struct Keys {
    /// Signs lease tokens.
    pub signing: SigningKey,
    /// Checks lease tokens: the signing key and the ones before it.
    pub published: Vec<VerifyingKey>,
    /// Makes claim tokens.
    pub claim_secret: ClaimSecret,
}

impl Keys {
    /// Reads both files; one that is missing is made.
    ///
    /// # Errors
    /// When one cannot be read or written, is broken, or others can read it.
    pub fn open(signing_file: &Path, claim_secret_file: &Path) -> Result<Self, KeyError> {
        if !signing_file.exists() {
            write_new(signing_file, &key_file(&[new_signing_key().to_private_jwk()]))?;
        }
        if !claim_secret_file.exists() {
            write_new(claim_secret_file, &format!("{}\n", HEXLOWER.encode(&random::<32>())))?;
        }
        Self::read(signing_file, claim_secret_file)
    }

    /// Reads both files, which must be there.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn read(signing_file: &Path, claim_secret_file: &Path) -> Result<Self, KeyError> {
        let (signing, published) = read_key_file(signing_file)?;
        let text = read_secret(claim_secret_file)?;
        let bytes = HEXLOWER.decode(text.trim().as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let Some(bytes) = bytes else {
            return Err(error(claim_secret_file, "must hold 64 lower-case hex digits"));
        };
        Ok(Self { signing, published, claim_secret: ClaimSecret::new(bytes) })
    }
}

/// Puts a new signing key into the file. Of the keys before it the newest `keep` stay published,
/// without their secrets, so that tokens they signed are still taken. The file stays its owner's.
/// Returns the new `kid`. A
/// running server goes on with what it has read until it is restarted.
///
/// # Errors
/// When the file cannot be read, is broken, or cannot be replaced.
pub fn rotate(signing_file: &Path, keep: usize) -> Result<String, KeyError> {
    let (_, published) = read_key_file(signing_file)?;
    let new = new_signing_key();
    let mut keys = vec![new.to_private_jwk()];
    keys.extend(published.iter().take(keep).map(VerifyingKey::to_jwk));
    // Root may rotate the key of a server that is not root.
    let old = fs::metadata(signing_file).map_err(|e| error(signing_file, &e))?;
    put(signing_file, &key_file(&keys), Some((old.uid(), old.gid())), true)?;
    Ok(new.kid().to_owned())
}

/// Writes a file with mode 0600 over what is there, whole or not at all. It may be lost when the
/// machine fails.
///
/// # Errors
/// When it cannot be written.
pub fn replace_cache(path: &Path, text: &str) -> Result<(), KeyError> {
    put(path, text, None, false)
}

/// `owner`: user and group, when they must not be those of this process.
fn put(path: &Path, text: &str, owner: Option<Owner>, lasting: bool) -> Result<(), KeyError> {
    let temporary = write_temporary(path, text, owner, lasting)?;
    let replaced = fs::rename(&temporary, path);
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let synced = replaced.and_then(|()| if lasting { sync_folder(path) } else { Ok(()) });
    synced.map_err(|e| error(path, &e))
}

/// Writes a secret into a file that must not exist yet, with mode 0600, whole or not at all.
/// False when somebody else made it meanwhile.
///
/// # Errors
/// When it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Result<bool, KeyError> {
    let temporary = write_temporary(path, text, None, true)?;
    // A link fails when the name is taken; a rename would replace what another node just made.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    match linked {
        Ok(()) => {
            removed.and_then(|()| sync_folder(path)).map_err(|e| error(path, &e))?;
            tracing::info!(file = %path.display(), "made a secret file; keep a copy of it");
            Ok(true)
        }
        Err(taken) if taken.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(other) => Err(error(path, &other)),
    }
}

/// Reads a file that holds one API key.
///
/// # Errors
/// As [`read_secret`], and when it holds anything else.
pub fn read_api_key(path: &Path) -> Result<String, KeyError> {
    let text = read_secret(path)?;
    match Bearer::parse(text.trim()) {
        Some(Bearer::ApiKey(key)) => Ok(key.to_owned()),
        _ => Err(error(path, "must hold one API key: key_ and 52 characters of a-z and 2-7")),
    }
}

/// Reads a secret file that only its owner can read.
///
/// # Errors
/// When it is not there, cannot be read, or group or others may read or write it.
pub fn read_secret(path: &Path) -> Result<String, KeyError> {
    let mut file = File::open(path).map_err(|e| error(path, &e))?;
    let mode = file.metadata().map_err(|e| error(path, &e))?.mode();
    if mode & 0o077 != 0 {
        let what = format!("others can use it (mode {:03o}); run chmod 600 on it", mode & 0o777);
        return Err(error(path, &what));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|e| error(path, &e))?;
    Ok(text)
}

fn read_key_file(path: &Path) -> Result<(SigningKey, Vec<VerifyingKey>), KeyError> {
    let text = read_secret(path)?;
    // serde_json's message is left out: it may repeat what is in the file.
    let set: Value = serde_json::from_str(&text).map_err(|_| error(path, "is not JSON"))?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return Err(error(path, "is not a JWK Set: it has no list \"keys\""));
    };
    let mut signing = None;
    let mut published: Vec<VerifyingKey> = Vec::new();
    for (n, key) in (1..).zip(keys) {
        let wrong = |what| error(path, &format!("key {n} {what}"));
        let public = VerifyingKey::from_jwk(key).map_err(|e| wrong(e.to_string()))?;
        if published.iter().any(|other| other.kid == public.kid) {
            return Err(wrong("has the kid of another one".into()));
        }
        published.push(public);
        if signing.is_none() {
            signing = SigningKey::from_jwk(key).map_err(|e| wrong(e.to_string()))?;
        }
    }
    let signing = signing.ok_or_else(|| error(path, "has no key with its secret \"d\""))?;
    Ok((signing, published))
}

fn key_file(keys: &[Value]) -> String {
    let text = serde_json::to_string_pretty(&json!({ "keys": keys }));
    format!("{}\n", text.expect("JSON values serialize"))
}

fn write_temporary(
    path: &Path,
    text: &str,
    owner: Option<Owner>,
    lasting: bool,
) -> Result<PathBuf, KeyError> {
    let write = |mut file: File| {
        let made = file.metadata()?;
        if let Some((user, group)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
            fchown(&file, Some(user), Some(group))?;
        }
        file.write_all(text.as_bytes())?;
        if lasting { file.sync_all() } else { Ok(()) }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", base32(&random::<8>())));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(write);
    match written {
        Ok(()) => Ok(temporary),
        Err(failed) => {
            let _ = fs::remove_file(&temporary);
            Err(error(path, &failed))
        }
    }
}

/// A new name in a folder is durable only once the folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn new_signing_key() -> SigningKey {
    loop {
        // Out of range once in 2^128 times.
        if let Ok(secret) = SecretKey::from_slice(&random::<32>()) {
            return SigningKey::new(secret);
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

fn error(path: &Path, what: &(impl ToString + ?Sized)) -> KeyError {
    KeyError { path: path.to_owned(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::bearer::Origin;

    struct Files {
        folder: tempfile::TempDir,
        signing: PathBuf,
        claim: PathBuf,
    }

    fn files() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let (signing, claim) = (folder.path().join("s.key"), folder.path().join("s.claim-secret"));
        Files { folder, signing, claim }
    }

    fn names(files: &Files) -> Vec<String> {
        let entries = fs::read_dir(files.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn claim_token(keys: &Keys) -> String {
        keys.claim_secret.token("e", Origin::IdempotencyKey("k"), b"")
    }

    #[test]
    fn the_first_start_makes_both_files_for_the_owner_only_and_the_next_reads_them() {
        let files = files();
        assert!(Keys::read(&files.signing, &files.claim).is_err(), "nothing is there yet");
        let first = Keys::open(&files.signing, &files.claim).unwrap();
        for file in [&files.signing, &files.claim] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(names(&files), ["s.claim-secret", "s.key"], "nothing temporary is left");
        let second = Keys::open(&files.signing, &files.claim).unwrap();
        assert_eq!(first.signing.kid(), second.signing.kid());
        assert_eq!(first.published, [first.signing.verifying()]);
        assert_eq!(claim_token(&first), claim_token(&second));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_do() {
        let files = files();
        Keys::open(&files.signing, &files.claim).unwrap();
        for (file, mode) in
            [(&files.signing, 0o640), (&files.signing, 0o604), (&files.claim, 0o620)]
        {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            let error = Keys::open(&files.signing, &files.claim).err().unwrap().to_string();
            assert!(error.contains(&format!("mode {mode:03o}")), "{error}");
            assert!(error.contains("chmod 600"), "{error}");
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(Keys::open(&files.signing, &files.claim).is_ok());
    }

    #[test]
    fn rotation_signs_with_a_new_key_and_keeps_the_old_one_published_without_its_secret() {
        let files = files();
        let first = Keys::open(&files.signing, &files.claim).unwrap();
        let kid = rotate(&files.signing, 1).unwrap();
        let second = Keys::open(&files.signing, &files.claim).unwrap();
        assert_eq!(second.signing.kid(), kid);
        assert_eq!(second.published, [second.signing.verifying(), first.signing.verifying()]);
        let text = fs::read_to_string(&files.signing).unwrap();
        assert_eq!(text.matches("\"d\"").count(), 1);
        assert_eq!(fs::metadata(&files.signing).unwrap().permissions().mode() & 0o777, 0o600);
        rotate(&files.signing, 1).unwrap();
        let third = Keys::open(&files.signing, &files.claim).unwrap();
        assert_eq!(third.published.len(), 2, "the first key is out of use by now");
        assert_eq!(claim_token(&first), claim_token(&third));
        assert_eq!(names(&files).len(), 2);
    }

    #[test]
    fn a_rotated_key_stays_its_owners_whoever_rotated_it() {
        let files = files();
        Keys::open(&files.signing, &files.claim).unwrap();
        // Only root can give a file away.
        let mut owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if owner.0 == 0 {
            owner = (61_234, 61_235);
            std::os::unix::fs::chown(&files.signing, Some(owner.0), Some(owner.1)).unwrap();
        }
        rotate(&files.signing, 1).unwrap();
        let found = fs::metadata(&files.signing).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (owner.0, owner.1, 0o600));
    }

    #[test]
    fn of_two_that_make_a_file_at_once_one_wins_and_both_use_it() {
        let files = files();
        assert!(write_new(&files.claim, "one").unwrap());
        assert!(!write_new(&files.claim, "two").unwrap());
        assert_eq!(read_secret(&files.claim).unwrap(), "one");
        assert_eq!(names(&files).len(), 1);
    }

    #[test]
    fn a_broken_file_is_named_and_its_content_is_not_repeated() {
        let files = files();
        Keys::open(&files.signing, &files.claim).unwrap();
        let good = fs::read_to_string(&files.signing).unwrap();
        let doubled = good.replace("{\n  \"keys\": [", "{\n  \"keys\": [{\"kty\":\"RSA\"},");
        let public = good.replace("\"d\"", "\"hunter2\"");
        for (text, what) in [
            ("hunter2", "is not JSON"),
            ("{\"hunter2\": 1}", "no list \"keys\""),
            (&doubled, "key 1 is not a key for ES256K"),
            (&public, "has no key with its secret"),
        ] {
            fs::write(&files.signing, text).unwrap();
            let error = Keys::open(&files.signing, &files.claim).err().unwrap().to_string();
            assert!(error.contains(what) && error.contains("s.key"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        fs::write(&files.signing, good).unwrap();
        fs::write(&files.claim, "hunter2").unwrap();
        let error = Keys::open(&files.signing, &files.claim).err().unwrap().to_string();
        assert!(error.contains("64 lower-case hex") && !error.contains("hunter2"), "{error}");
    }
}
