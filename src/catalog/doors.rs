//! The keys of one `[[resource]]` table that say how holders get in: the guarded site, and SSH.
//! Called by `catalog::resource`.

use std::collections::BTreeMap;

use crate::domain::resource::{Access, ParamFormat, ParamRule};
use crate::domain::site;
use crate::domain::ssh::{self, Ssh, UNIT};
use crate::settings::Fields;

const PARAM: &str = "ssh_public_key";
const MOST_NAME: usize = 63;

/// `site`: where the guarded site is.
pub(super) fn site(fields: &mut Fields<'_>) -> Option<String> {
    let allowed = "an address without a path such as \"https://box.example.org\"";
    fields.take("site", allowed, |given| site::origin(given.text()?))
}

/// `ssh`: who logs in there, and what for.
pub(super) fn ssh(
    fields: &mut Fields<'_>,
    access: Option<&Access>,
    params: &BTreeMap<String, ParamRule>,
) -> Option<Ssh> {
    let form = "a table such as { user = \"{unit}\", options = [\"pty\"] }";
    let mut table = fields.table("ssh", form)?;
    let user = user(&mut table, access);
    let allowed = "a list of \"pty\", \"port-forwarding\", \"agent-forwarding\", \"user-rc\", \
        \"X11-forwarding\", \"verify-required\", \"command=…\", \"from=…\", \"permitopen=…\", \
        \"permitlisten=…\", \"tunnel=…\"";
    let options = table.take("options", allowed, |given| {
        given.texts()?.iter().map(|text| ssh::option(text)).collect::<Option<Vec<_>>>()
    });
    let is_key = |name: &str| {
        params.get(name).is_some_and(|rule| rule.format == Some(ParamFormat::SshPublicKey))
    };
    let allowed = "the name of a param with format = \"ssh-public-key\"";
    let given = table.has("param");
    let param = table.take("param", allowed, |given| {
        Some(given.text()?).filter(|name| is_key(name)).map(str::to_owned)
    });
    if !given && !is_key(PARAM) {
        table.missing("param", allowed);
    }
    table.finish();
    Some(Ssh {
        user: user?,
        options: options.unwrap_or_default(),
        param: param.unwrap_or_else(|| PARAM.to_owned()),
    })
}

fn user(table: &mut Fields<'_>, access: Option<&Access>) -> Option<String> {
    let allowed = "a user name, in which {unit} stands for the unit of an exclusive resource";
    let user = table.take("user", allowed, |given| {
        let text = given.text()?;
        let plain = text.replacen(UNIT, "u", 1);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=MOST_NAME).contains(&plain.len())
            && plain.bytes().all(inside)
            && !plain.starts_with('-');
        let known = !text.contains(UNIT) || access != Some(&Access::Shared);
        (fits && known).then(|| text.to_owned())
    });
    if user.is_none() && !table.is_wrong("user") {
        table.missing("user", allowed);
    }
    user
}
