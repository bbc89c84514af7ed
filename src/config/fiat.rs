//! `[fiat_hint]`: the currency that pages show beside satoshis, and the file with its rate. Called by
//! `Config::load`.

use std::path::{Path, PathBuf};

use crate::settings::Fields;

const DAY_S: u64 = 86_400;

/// `[fiat_hint]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiatHint {
    /// Its code, three capital letters.
    pub currency: String,
    /// Holds the price of a bitcoin in it, a plain number that the operator keeps fresh.
    pub rate_file: PathBuf,
    /// An older file gives no hint.
    pub max_age_s: u64,
}

/// Reads the section; nothing in it is none.
pub(super) fn fiat_hint(mut fields: Fields<'_>, base: &Path) -> Option<FiatHint> {
    let currency = fields.take("currency", "a code such as \"EUR\"", |given| {
        let code = given.text()?.trim();
        let fits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        fits.then(|| code.to_owned())
    });
    let rate_file = fields.text("rate_file").map(|name| base.join(name));
    let max_age_s = fields.seconds("max_age");
    if currency.is_none()
        && (rate_file.is_some() || max_age_s.is_some())
        && !fields.is_wrong("currency")
    {
        fields.missing("currency", "a code such as \"EUR\"");
    }
    if rate_file.is_none()
        && (currency.is_some() || max_age_s.is_some())
        && !fields.is_wrong("rate_file")
    {
        fields.missing("rate_file", "a file with the price of a bitcoin in it");
    }
    fields.finish();
    Some(FiatHint {
        currency: currency?,
        rate_file: rate_file?,
        max_age_s: max_age_s.unwrap_or(DAY_S),
    })
}
