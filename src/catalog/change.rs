//! What differs between two versions of a resource's terms, in the catalogue's own words.
//! Called by `apply`, which shows it before anything is changed.

use serde::Serialize;

use crate::domain::price::Price;
use crate::domain::resource::{Access, ParamFormat, ParamRule, Provisioner, Terms, Tier};
use crate::domain::ssh::Ssh;
use crate::settings::duration_text;

/// One key whose value changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key, as the catalogue writes it.
    pub key: String,
    /// The value before; `None`: it was not there.
    pub old: Option<String>,
    /// The value after; `None`: it goes away.
    pub new: Option<String>,
}

impl Terms {
    /// What changes from `old` to `new`, defaults included. Empty exactly when they are equal.
    pub fn difference(old: &Self, new: &Self) -> Vec<Change> {
        let (before, after) = (lines(old), lines(new));
        let value = |lines: &[(String, String)], key: &str| {
            lines.iter().find(|line| line.0 == key).map(|line| line.1.clone())
        };
        let mut keys: Vec<&String> = before.iter().map(|line| &line.0).collect();
        keys.extend(after.iter().map(|line| &line.0).filter(|key| value(&before, key).is_none()));
        keys.into_iter()
            .map(|key| Change {
                key: key.clone(),
                old: value(&before, key),
                new: value(&after, key),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }
}

/// Every key with its value. Takes the terms apart, so that a new field cannot be forgotten.
fn lines(terms: &Terms) -> Vec<(String, String)> {
    let Terms {
        id,
        title,
        description,
        access,
        units,
        price,
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
    } = terms;
    let duration = |seconds: &u64| format!("{:?}", duration_text(*seconds));
    let rate =
        |price: &Price| format!("{{ sat = {}, per = {} }}", price.sat, duration(&price.per_s));
    let mut lines = vec![
        ("id", format!("{id:?}")),
        ("title", format!("{title:?}")),
        ("description", format!("{description:?}")),
        ("access", format!("{:?}", access_name(access))),
        ("units", format!("{units:?}")),
        ("price", rate(price)),
        ("min_duration", duration(min_duration_s)),
        ("max_duration", duration(max_duration_s)),
        ("grace", duration(grace_s)),
        ("quote_ttl", duration(quote_ttl_s)),
        ("confirmations", format!("[{}]", list(confirmations.iter().map(tier)))),
        ("max_unpaid_holds", max_unpaid_holds.to_string()),
        ("refund_unused", refund_unused.to_string()),
        ("provisioner", provisioner_text(provisioner)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect::<Vec<_>>();
    lines.extend(running_cost.iter().map(|cost| ("running_cost".to_owned(), rate(cost))));
    lines.extend(site.iter().map(|site| ("site".to_owned(), format!("{site:?}"))));
    lines.extend(ssh.iter().map(|ssh| ("ssh".to_owned(), ssh_text(ssh))));
    lines.extend(params.iter().map(|(name, param)| (format!("params.{name}"), rule(param))));
    lines
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn access_name(access: &Access) -> &'static str {
    match access {
        Access::Exclusive => "exclusive",
        Access::Shared => "shared",
    }
}

fn tier(tier: &Tier) -> String {
    match tier.up_to_sat {
        Some(sat) => format!("{{ up_to_sat = {sat}, n = {} }}", tier.n),
        None => format!("{{ n = {} }}", tier.n),
    }
}

fn provisioner_text(provisioner: &Provisioner) -> String {
    match provisioner {
        Provisioner::None => "{ kind = \"none\" }".into(),
        Provisioner::Exec { command, timeout_s } => {
            let timeout = duration_text(*timeout_s);
            format!("{{ kind = \"exec\", command = {command:?}, timeout = {timeout:?} }}")
        }
        Provisioner::Http { url, secret_file, timeout_s } => {
            let timeout = duration_text(*timeout_s);
            format!(
                "{{ kind = \"http\", url = {url:?}, secret_file = {secret_file:?}, \
                 timeout = {timeout:?} }}"
            )
        }
    }
}

fn ssh_text(ssh: &Ssh) -> String {
    let Ssh { user, options, param } = ssh;
    format!("{{ user = {user:?}, options = {options:?}, param = {param:?} }}")
}

fn rule(rule: &ParamRule) -> String {
    let ParamRule { required, max_length, pattern, format } = rule;
    let format = format.map(|format| match format {
        ParamFormat::SshPublicKey => "ssh-public-key",
        ParamFormat::Hostname => "hostname",
        ParamFormat::WireguardPublicKey => "wireguard-public-key",
    });
    let parts = [
        Some(format!("required = {required}")),
        max_length.map(|n| format!("max_length = {n}")),
        pattern.as_ref().map(|pattern| format!("pattern = {pattern:?}")),
        format.map(|name| format!("format = {name:?}")),
    ];
    format!("{{ {} }}", list(parts.into_iter().flatten()))
}
