//! One `[[resource]]` table: every key with what is allowed and its default.
//! The only place that knows the defaults of a resource. Called by `catalog::parse`.

use std::collections::{BTreeMap, BTreeSet};

use super::doors;
use crate::domain::params::whole;
use crate::domain::price::Price;
use crate::domain::resource::{Access, ParamFormat, ParamRule, Terms, Tier};
use crate::settings::{Fields, duration_text};

use super::provisioner;

/// What is said about keys of parts that this version does not have.
pub(super) const NOT_HERE: &str = "is not available in this version; remove it";

const NOT_HERE_KEYS: [&str; 8] = [
    "throttled_cost",
    "donations",
    "fund",
    "sponsorship",
    "round",
    "operating_when",
    "distribute_every",
    "webhooks",
];
const MOST_SAT: u64 = 21_000_000 * 100_000_000;
const MOST_UNITS: u32 = 10_000;
const MOST_NAME: usize = 63;
const MOST_PARAM_LENGTH: u32 = 16_384;
const MOST_PATTERN: usize = 500;
const MIN_DURATION_S: u64 = 600;
const MAX_DURATION_S: u64 = 30 * 86_400;
const GRACE_S: u64 = 600;
const QUOTE_TTL_S: u64 = 1800;

/// Confirmations when the catalogue names none: what a miner would have to give up to undo a
/// payment should be worth more than the payment.
const CONFIRMATIONS: [Tier; 4] = [
    Tier { up_to_sat: Some(100_000), n: 1 },
    Tier { up_to_sat: Some(1_000_000), n: 2 },
    Tier { up_to_sat: Some(10_000_000), n: 3 },
    Tier { up_to_sat: None, n: 6 },
];

/// Reads one resource. `None` when something is wrong that has no default; it is recorded.
pub(super) fn terms(mut fields: Fields<'_>) -> Option<Terms> {
    let id = id(&mut fields);
    let title = fields.text("title").or_else(|| id.clone());
    let description =
        fields.take("description", "text in quotes", |given| Some(given.text()?.trim().to_owned()));
    let access = access(&mut fields);
    let units = units(&mut fields, access.as_ref());
    let price = price(&mut fields);
    let running_cost = running_cost(&mut fields, access.as_ref());
    let (min_duration_s, max_duration_s) = durations(&mut fields, price);
    let grace_s = fields.seconds("grace").unwrap_or(GRACE_S);
    let quote_ttl_s = fields.seconds("quote_ttl").unwrap_or(QUOTE_TTL_S);
    let confirmations = confirmations(&mut fields);
    let max_unpaid_holds = max_unpaid_holds(&mut fields, access.as_ref(), units.len());
    let refund_unused = fields.flag("refund_unused", true);
    let params = params(&mut fields);
    let provisioner = provisioner::provisioner(&mut fields);
    let site = doors::site(&mut fields);
    let ssh = doors::ssh(&mut fields, access.as_ref(), &params);
    for key in NOT_HERE_KEYS {
        fields.refuse(key, NOT_HERE);
    }
    fields.finish();
    Some(Terms {
        id: id?,
        title: title?,
        description: description.unwrap_or_default(),
        access: access?,
        units,
        price: price?,
        running_cost,
        min_duration_s,
        max_duration_s,
        grace_s,
        quote_ttl_s,
        confirmations,
        max_unpaid_holds,
        refund_unused,
        params,
        provisioner,
        site,
        ssh,
    })
}

fn id(fields: &mut Fields<'_>) -> Option<String> {
    let allowed = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end";
    let id = fields.take("id", allowed, |given| {
        let text = given.text()?;
        let inside = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let fits = (1..=MOST_NAME).contains(&text.len()) && text.bytes().all(inside);
        (fits && !text.starts_with('-') && !text.ends_with('-')).then(|| text.to_owned())
    });
    if id.is_none() && !fields.is_wrong("id") {
        fields.missing("id", "a name for URLs such as \"gpu-small\"");
    }
    id
}

fn access(fields: &mut Fields<'_>) -> Option<Access> {
    let allowed = "\"exclusive\" (each lease holds a unit) or \"shared\" (one thing, many users)";
    let access = fields.take("access", allowed, |given| match given.text()? {
        "exclusive" => Some(Access::Exclusive),
        "shared" => Some(Access::Shared),
        _ => None,
    });
    if access.is_none() && !fields.is_wrong("access") {
        fields.missing("access", allowed);
    }
    access
}

fn units(fields: &mut Fields<'_>, access: Option<&Access>) -> Vec<String> {
    let allowed = "different names, each 1 to 63 letters, digits, \".\", \"_\" and \"-\"";
    let named = fields.take("units", allowed, |given| {
        let names = given.texts()?;
        let different: BTreeSet<&String> = names.iter().collect();
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits =
            |name: &String| (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(inside);
        let all = different.len() == names.len() && names.iter().all(fits);
        (all && !names.is_empty()).then_some(names)
    });
    let allowed = format!("a whole number of units from 1 to {MOST_UNITS}");
    let counted = fields.take("capacity", allowed, |given| {
        u32::try_from(given.whole()?).ok().filter(|n| (1..=MOST_UNITS).contains(n))
    });
    let none = !fields.is_wrong("units") && !fields.is_wrong("capacity");
    match (access, named, counted) {
        (Some(Access::Shared), None, None) => {}
        (Some(Access::Shared), named, _) => {
            let key = if named.is_some() { "units" } else { "capacity" };
            fields.wrong(key, "a shared resource has no units; remove it");
        }
        (_, Some(_), Some(_)) => {
            fields.wrong("capacity", "give either units or capacity, not both");
        }
        (_, Some(names), None) => return names,
        (_, None, Some(n)) => return (1..=n).map(|unit| unit.to_string()).collect(),
        (Some(Access::Exclusive), None, None) if none => {
            fields.missing("units", "the names of the units, or capacity = how many there are");
        }
        (_, None, None) => {}
    }
    Vec::new()
}

const PRICE: &str = "a table such as { sat = 500, per = \"1h\" }";

fn price(fields: &mut Fields<'_>) -> Option<Price> {
    if !fields.has("price") {
        fields.missing("price", PRICE);
        return None;
    }
    rate(fields, "price")
}

fn running_cost(fields: &mut Fields<'_>, access: Option<&Access>) -> Option<Price> {
    if access == Some(&Access::Exclusive) {
        let message = "only a shared resource is kept running for everybody; remove it, or set \
                       access = \"shared\"";
        fields.refuse("running_cost", message);
    }
    rate(fields, "running_cost")
}

/// So many satoshis for so long; `None` when it is not there or wrong.
fn rate(fields: &mut Fields<'_>, key: &str) -> Option<Price> {
    let mut table = fields.table(key, PRICE)?;
    let allowed = format!("a whole number of satoshis from 1 to {MOST_SAT}");
    let sat = table
        .take("sat", allowed, |given| given.whole().filter(|sat| (1..=MOST_SAT).contains(sat)));
    let per_s = table.seconds("per");
    for (key, absent, form) in
        [("sat", sat.is_none(), "satoshis"), ("per", per_s.is_none(), "a duration such as \"1h\"")]
    {
        if absent && !table.is_wrong(key) {
            table.missing(key, form);
        }
    }
    table.finish();
    Some(Price { sat: sat?, per_s: per_s? })
}

/// `min_duration` and `max_duration`. A default gives way to the one that was given.
fn durations(fields: &mut Fields<'_>, price: Option<Price>) -> (u64, u64) {
    let (min_s, max_s) = match (fields.seconds("min_duration"), fields.seconds("max_duration")) {
        (None, None) => (MIN_DURATION_S, MAX_DURATION_S),
        (Some(min_s), None) => (min_s, MAX_DURATION_S.max(min_s)),
        (None, Some(max_s)) => (MIN_DURATION_S.min(max_s), max_s),
        (Some(min_s), Some(max_s)) => (min_s, max_s),
    };
    if min_s > max_s {
        let (min, max) = (duration_text(min_s), duration_text(max_s));
        let message = format!("found {min:?}, allowed: at most max_duration, which is {max:?}");
        fields.wrong("min_duration", message);
    }
    if price.is_some_and(|price| price.cost_sat(max_s) > MOST_SAT) {
        let max = duration_text(max_s);
        fields.wrong("price", format!("max_duration, {max:?}, would cost more than all bitcoin"));
    }
    (min_s, max_s)
}

fn confirmations(fields: &mut Fields<'_>) -> Vec<Tier> {
    const FORM: &str = "a list such as [{ up_to_sat = 1000000, n = 1 }, { n = 3 }]";
    let Some(tables) = fields
        .take("confirmations", FORM, |given| given.tables().filter(|tables| !tables.is_empty()))
    else {
        return CONFIRMATIONS.to_vec();
    };
    let mut tiers: Vec<Tier> = Vec::new();
    let last = tables.len();
    for (n, table) in (1..).zip(tables) {
        let before = tiers.last().copied();
        let mut step = fields.other(&format!("confirmations[{n}]"), table);
        tiers.push(tier(&mut step, before, n == last));
        step.finish();
    }
    tiers
}

fn tier(step: &mut Fields<'_>, before: Option<Tier>, last: bool) -> Tier {
    let least_sat = before.and_then(|tier| tier.up_to_sat).map_or(1, |sat| sat.saturating_add(1));
    let least_n = before.map_or(0, |tier| tier.n);
    if !step.has("n") {
        step.missing("n", "the number of confirmations");
    }
    let n = step.whole("n", least_n..=1000, least_n);
    if last {
        step.refuse("up_to_sat", "the last step is for every larger amount; remove up_to_sat");
        return Tier { up_to_sat: None, n };
    }
    if !step.has("up_to_sat") {
        step.missing("up_to_sat", "it in every step but the last");
    }
    Tier { up_to_sat: Some(step.whole("up_to_sat", least_sat..=MOST_SAT, least_sat)), n }
}

fn max_unpaid_holds(fields: &mut Fields<'_>, access: Option<&Access>, units: usize) -> u32 {
    if access == Some(&Access::Shared) {
        fields.refuse("max_unpaid_holds", "a shared resource has no units to hold; remove it");
        return 0;
    }
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    if units == 0 {
        // The number of units is wrong; that is said already.
        return fields.whole("max_unpaid_holds", 0..=u32::MAX, 1);
    }
    fields.whole("max_unpaid_holds", 0..=units, (units / 2).max(1))
}

fn params(fields: &mut Fields<'_>) -> BTreeMap<String, ParamRule> {
    const FORM: &str = "a table such as { ssh_public_key = { required = true } }";
    let mut rules = BTreeMap::new();
    let Some(mut table) = fields.table("params", FORM) else { return rules };
    for name in table.rest() {
        let inside = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if name.len() > MOST_NAME
            || !name.starts_with(|first: char| first.is_ascii_lowercase())
            || !name.bytes().all(inside)
        {
            let allowed = "lower-case letters, digits and \"_\", a letter first, at most 63";
            table.refuse(&name, format!("found the name {name:?}, allowed: {allowed}"));
            continue;
        }
        let Some(mut rule) =
            table.table(&name, "a table of required, max_length, pattern and format; {} for none")
        else {
            continue;
        };
        rules.insert(name, param_rule(&mut rule));
        rule.finish();
    }
    table.finish();
    rules
}

fn param_rule(rule: &mut Fields<'_>) -> ParamRule {
    let required = rule.flag("required", false);
    let allowed = format!("a whole number of characters from 1 to {MOST_PARAM_LENGTH}");
    let max_length = rule.take("max_length", allowed, |given| {
        u32::try_from(given.whole()?).ok().filter(|n| (1..=MOST_PARAM_LENGTH).contains(n))
    });
    let allowed = "a regular expression for the whole text such as \"[a-z0-9-]+\"";
    let pattern = rule.take("pattern", allowed, |given| {
        let text = given.text()?;
        (text.len() <= MOST_PATTERN && whole(text).is_ok()).then(|| text.to_owned())
    });
    let allowed = "\"ssh-public-key\", \"hostname\" or \"wireguard-public-key\"";
    let format = rule.take("format", allowed, |given| match given.text()? {
        "ssh-public-key" => Some(ParamFormat::SshPublicKey),
        "hostname" => Some(ParamFormat::Hostname),
        "wireguard-public-key" => Some(ParamFormat::WireguardPublicKey),
        _ => None,
    });
    ParamRule { required, max_length, pattern, format }
}
