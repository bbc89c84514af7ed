//! What a holder hands in with a request, checked against the resource's rules before anything is
//! stored. Nothing with a line break or a control character passes a format, so that a key cannot
//! smuggle a second line into an `authorized_keys` file. Called by the use cases that take params.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::resource::{ParamFormat, ParamRule, Terms};

/// Characters allowed when the rule names no `max_length`.
pub const DEFAULT_MAX_LENGTH: u32 = 1024;

/// One thing that is wrong with a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as a JSON pointer into the body (RFC 6901).
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// Key types of OpenSSH that can be in a public key file.
const SSH_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Checks the `params` object of a request; surrounding blanks of a value are taken off.
///
/// # Errors
/// All that is wrong, with pointers below `/params`.
pub fn check_params(
    terms: &Terms,
    params: &Map<String, Value>,
) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut checked = BTreeMap::new();
    for (name, value) in params {
        let outcome = match (terms.params.get(name), value) {
            (None, _) => Err(unknown(terms)),
            (Some(rule), Value::String(text)) => check_one(rule, text.trim()),
            (Some(_), _) => Err("must be text".into()),
        };
        match outcome {
            Ok(text) => {
                checked.insert(name.clone(), text);
            }
            Err(detail) => errors.push(FieldError { pointer: pointer(name), detail }),
        }
    }
    for (name, rule) in &terms.params {
        if rule.required && !params.contains_key(name) {
            errors.push(FieldError { pointer: pointer(name), detail: "is required".into() });
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

fn unknown(terms: &Terms) -> String {
    if terms.params.is_empty() {
        return format!("is unknown; {} takes no params", terms.id);
    }
    let known: Vec<&str> = terms.params.keys().map(String::as_str).collect();
    format!("is unknown; {} takes: {}", terms.id, known.join(", "))
}

fn check_one(rule: &ParamRule, text: &str) -> Result<String, String> {
    let most = rule.max_length.unwrap_or(DEFAULT_MAX_LENGTH);
    let length = text.chars().count();
    if u32::try_from(length).is_ok_and(|length| length > most) {
        return Err(format!("has {length} characters; at most {most} are allowed"));
    }
    if text.is_empty() && rule.required {
        return Err("is required and must not be empty".into());
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err("must not contain control characters".into());
    }
    let unfit = |pattern: &&String| !text.is_empty() && !matches_all(pattern, text);
    if let Some(pattern) = rule.pattern.as_ref().filter(unfit) {
        return Err(format!("must match {pattern}"));
    }
    let fits = match rule.format {
        _ if text.is_empty() => true,
        None => true,
        Some(ParamFormat::SshPublicKey) => is_ssh_public_key(text),
        Some(ParamFormat::Hostname) => is_hostname(text),
        Some(ParamFormat::WireguardPublicKey) => is_wireguard_key(text),
    };
    if fits { Ok(text.to_owned()) } else { Err(rule.format.map(wanted).unwrap_or_default().into()) }
}

/// The regular expression of a pattern, which all of a text must match.
///
/// # Errors
/// What is wrong with it.
pub fn whole(pattern: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
    regex_lite::Regex::new(&format!("^(?:{pattern})$"))
}

/// One that cannot be read matches nothing; the catalogue refuses it.
fn matches_all(pattern: &str, text: &str) -> bool {
    // `$` is before a last line break, too, in some; a text with one is none that was meant.
    whole(pattern).is_ok_and(|regex| regex.is_match(text))
}

fn wanted(format: ParamFormat) -> &'static str {
    match format {
        ParamFormat::SshPublicKey => {
            "must be one line of an OpenSSH public key file, such as \"ssh-ed25519 AAAA… name\""
        }
        ParamFormat::Hostname => "must be a host name such as \"box.example.org\"",
        ParamFormat::WireguardPublicKey => "must be a WireGuard public key: 32 bytes in base64",
    }
}

/// `type base64 [comment]`, without options, where the base64 part begins with the same type
/// (RFC 4253 section 6.6).
pub(super) fn is_ssh_public_key(text: &str) -> bool {
    if text.chars().any(char::is_control) {
        return false;
    }
    let mut words = text.split(' ');
    let (Some(kind), Some(data)) = (words.next(), words.next()) else { return false };
    let Ok(blob) = BASE64.decode(data.as_bytes()) else { return false };
    SSH_TYPES.contains(&kind)
        && ssh_strings(&blob)
            .is_some_and(|parts| parts.len() > 1 && parts.first() == Some(&kind.as_bytes()))
}

/// The length-prefixed strings that a key blob consists of (RFC 4251 section 5).
fn ssh_strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (part, rest) =
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        parts.push(part);
        blob = rest;
    }
    Some(parts)
}

/// Labels of letters, digits and hyphens, at most 63 each and 253 in all (RFC 1123 section 2.1).
fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of a name is not a number; otherwise it is an address.
    let last = text.rsplit('.').next().unwrap_or("");
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_wireguard_key(text: &str) -> bool {
    BASE64.decode(text.as_bytes()).is_ok_and(|key| key.len() == 32)
}

fn pointer(name: &str) -> String {
    format!("/params/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resource::tests::gpu;
    use super::*;

    const ED25519: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@box";

    fn terms(rules: &[(&str, ParamRule)]) -> Terms {
        let params = rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect();
        Terms { params, ..gpu() }
    }

    fn of(format: ParamFormat) -> ParamRule {
        ParamRule { required: true, format: Some(format), ..ParamRule::default() }
    }

    fn check(terms: &Terms, params: Value) -> Result<BTreeMap<String, String>, Vec<String>> {
        let Value::Object(params) = params else { panic!("an object") };
        check_params(terms, &params).map_err(|errors| {
            errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect()
        })
    }

    fn takes(format: ParamFormat, text: &str) -> bool {
        check(&terms(&[("p", of(format))]), json!({ "p": text })).is_ok()
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_pointer() {
        let long = ParamRule { max_length: Some(3), ..ParamRule::default() };
        let terms = terms(&[("key", of(ParamFormat::SshPublicKey)), ("note", long)]);
        assert_eq!(check(&terms, json!({})), Err(vec!["/params/key: is required".into()]));
        let wrong = json!({ "key": 1, "note": "äöüß", "a/b": "x" });
        assert_eq!(
            check(&terms, wrong),
            Err(vec![
                "/params/a~1b: is unknown; gpu-small takes: key, note".into(),
                "/params/key: must be text".into(),
                "/params/note: has 4 characters; at most 3 are allowed".into(),
            ])
        );
        let good = check(&terms, json!({ "key": ED25519, "note": "äöü" })).unwrap();
        assert_eq!((good["key"].as_str(), good["note"].as_str()), (ED25519, "äöü"));
        assert_eq!(
            check(&gpu(), json!({ "x": "y" })),
            Err(vec!["/params/x: is unknown; gpu-small takes no params".into()])
        );
    }

    #[test]
    fn a_pattern_is_for_the_whole_text() {
        let rule = ParamRule { pattern: Some("[a-z]+|x1".into()), ..ParamRule::default() };
        let terms = terms(&[("p", rule)]);
        for good in ["abc", "x1", ""] {
            assert!(check(&terms, json!({ "p": good })).is_ok(), "{good:?}");
        }
        for bad in ["ABC", "abc1", "x1y", "a b", "abc\ndef"] {
            let told = Err(vec!["/params/p: must match [a-z]+|x1".into()]);
            assert_eq!(check(&terms, json!({ "p": bad })), told, "{bad:?}");
        }
    }

    #[test]
    fn the_default_length_is_a_bound() {
        let terms = terms(&[("p", ParamRule::default())]);
        assert!(check(&terms, json!({ "p": "x".repeat(1024) })).is_ok());
        assert!(check(&terms, json!({ "p": "x".repeat(1025) })).is_err());
        assert!(check(&terms, json!({ "p": "two\nlines" })).is_ok());
        assert!(check(&terms, json!({ "p": "nul\u{0}" })).is_err());
    }

    #[test]
    fn an_ssh_key_is_one_line_without_options_whose_parts_agree() {
        let takes = |text: &str| takes(ParamFormat::SshPublicKey, text);
        assert!(takes(ED25519) && takes(&format!("  {ED25519}\n")));
        assert!(takes(&ED25519.replace(" me@box", "")));
        let wrong = [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &format!("command=\"x\" {ED25519}"),
            &format!("{ED25519}\nssh-ed25519 AAAA"),
            &format!("{ED25519}\u{7f}"),
            &ED25519.replacen("ssh-ed25519", "ssh-rsa", 1),
            &ED25519.replacen("ssh-ed25519", "ssh-dss", 1),
            &ED25519.replace("ZGhscHR4f", "ZGhscHR4"),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ];
        for text in wrong {
            assert!(!takes(text), "{text:?}");
        }
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        let takes = |text: &str| takes(ParamFormat::Hostname, text);
        for good in ["a", "box.example.org", "3com.com", "xn--bcher-kva.example", "A-1.b"] {
            assert!(takes(good), "{good}");
        }
        let long = format!("{}.org", "a".repeat(64));
        for wrong in ["-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "10.0.0.1", "bücher.de", &long]
        {
            assert!(!takes(wrong), "{wrong}");
        }
        assert!(!takes(&["abcdefgh"; 29].join(".")));
    }

    #[test]
    fn a_wireguard_key_is_32_bytes_in_base64() {
        let takes = |text: &str| takes(ParamFormat::WireguardPublicKey, text);
        let key = BASE64.encode(&[9; 32]);
        assert!(takes(&key));
        assert!(!takes(&BASE64.encode(&[9; 31])) && !takes(key.trim_end_matches('=')));
    }
}
