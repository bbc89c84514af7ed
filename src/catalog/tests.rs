use super::*;
use crate::domain::price::Price;
use crate::domain::resource::{Access, ParamFormat, Provisioner, Tier};

const LEAST: &str = "[[resource]]\nid = \"a\"\naccess = \"exclusive\"\ncapacity = 5\n\
                     price = { sat = 500, per = \"1h\" }\n";

fn good(text: &str) -> Vec<Terms> {
    parse("c.toml", text).unwrap()
}

fn wrong(text: &str) -> Vec<String> {
    let problems = parse("c.toml", text).unwrap_err();
    problems.list().iter().map(ToString::to_string).collect()
}

/// One resource with `keys` instead of, or besides, those of [`LEAST`].
fn with(keys: &str) -> String {
    let given: Vec<&str> = keys.lines().filter_map(|line| line.split(" = ").next()).collect();
    let kept: String = LEAST
        .lines()
        .filter(|line| !given.contains(&line.split(" = ").next().unwrap()))
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{kept}{keys}")
}

#[test]
fn the_example_catalogue_is_taken() {
    let text = include_str!("../../examples/catalog.toml");
    let found = good(text);
    let [gpu, mirror] = found.as_slice() else { panic!("two resources") };
    assert_eq!((gpu.id.as_str(), gpu.units.len()), ("gpu-small", 2));
    assert_eq!(gpu.params["ssh_public_key"].format, Some(ParamFormat::SshPublicKey));
    assert!(gpu.params["ssh_public_key"].required);
    assert_eq!(gpu.max_unpaid_holds, 1);
    assert_eq!((mirror.access.clone(), mirror.units.len()), (Access::Shared, 0));
    assert_eq!(mirror.price, Price { sat: 50, per_s: 86_400 });
    assert_eq!(mirror.running_cost, Some(Price { sat: 30_000, per_s: 30 * 86_400 }));
}

#[test]
fn the_defaults_in_the_example_are_the_real_ones() {
    let text = include_str!("../../examples/catalog.toml");
    let spelled = text
        .replace("# grace", "grace")
        .replace("# quote_ttl", "quote_ttl")
        .replace("# max_unpaid_holds", "max_unpaid_holds")
        .replace("# refund_unused", "refund_unused");
    assert_ne!(text, spelled);
    assert_eq!(good(text), good(&spelled));
    let comment = "[{ up_to_sat = 100000, n = 1 }, { up_to_sat = 1000000, n = 2 },\n\
                   #           { up_to_sat = 10000000, n = 3 }, { n = 6 }]";
    assert!(text.contains(comment));
    let value = comment.replace("\n#", "\n");
    assert_eq!(good(LEAST), good(&with(&format!("confirmations = {value}"))));
}

#[test]
fn the_least_that_can_be_said_gets_its_defaults() {
    let terms = good(LEAST).remove(0);
    assert_eq!((terms.title.as_str(), terms.description.as_str()), ("a", ""));
    assert_eq!(terms.units, ["1", "2", "3", "4", "5"]);
    assert_eq!((terms.min_duration_s, terms.max_duration_s), (600, 30 * 86_400));
    assert_eq!((terms.grace_s, terms.quote_ttl_s), (600, 1800));
    assert_eq!(terms.max_unpaid_holds, 2);
    assert!(terms.refund_unused && terms.params.is_empty());
    let needed = [100_000, 100_001, 1_000_001, 10_000_001].map(|sat| terms.confirmations_for(sat));
    assert_eq!(needed, [1, 2, 3, 6]);
}

#[test]
fn a_default_duration_gives_way_to_a_given_one() {
    let short = good(&with("max_duration = \"5m\"")).remove(0);
    assert_eq!((short.min_duration_s, short.max_duration_s), (300, 300));
    let long = good(&with("min_duration = \"60d\"")).remove(0);
    assert_eq!((long.min_duration_s, long.max_duration_s), (60 * 86_400, 60 * 86_400));
}

#[test]
fn one_mistake_gives_one_message_that_names_resource_key_value_and_what_is_allowed() {
    let cases = [
        ("id = \"Bad_Id\"", "c.toml: resource Bad_Id: id: found \"Bad_Id\", allowed: 1 to 63 low"),
        ("id = \"-a\"", "c.toml: resource -a: id: found \"-a\", allowed: "),
        ("access = \"both\"", "c.toml: resource a: access: found \"both\", allowed: \"exclusive\""),
        ("capacity = 0", "c.toml: resource a: capacity: found 0, allowed: a whole number of units"),
        ("capacity = 2\nunits = [\"x\"]", "c.toml: resource a: capacity: give either units or"),
        ("capacity = 5\naccess = \"shared\"", "c.toml: resource a: capacity: a shared resource"),
        ("price = { sat = 0, per = \"1h\" }", "c.toml: resource a: price.sat: found 0, allowed: "),
        ("price = { sat = 5 }", "c.toml: resource a: price.per: is missing; give a duration"),
        ("price = 5", "c.toml: resource a: price: found 5, allowed: a table such as { sat = 500,"),
        ("price = { sat = 1, per = \"1h\", each = 2 }", "c.toml: resource a: price.each: unknown"),
        ("grace = \"0s\"", "c.toml: resource a: grace: found \"0s\", allowed: a duration"),
        ("quote_ttl = 30", "c.toml: resource a: quote_ttl: found 30, allowed: a duration"),
        (
            "min_duration = \"2d\"\nmax_duration = \"1d\"",
            "c.toml: resource a: min_duration: found \"2d\", allowed: at most max_duration, which \
             is \"1d\"",
        ),
        (
            "price = { sat = 2100000000000000, per = \"1h\" }",
            "c.toml: resource a: price: max_duration, \"30d\", would cost more than all bitcoin",
        ),
        ("max_unpaid_holds = 6", "c.toml: resource a: max_unpaid_holds: found 6, allowed: a whole"),
        (
            "refund_unused = \"no\"",
            "c.toml: resource a: refund_unused: found \"no\", allowed: true",
        ),
        ("confirmations = []", "c.toml: resource a: confirmations: found [], allowed: a list"),
        ("confirmations = 3", "c.toml: resource a: confirmations: found 3, allowed: a list"),
        (
            "confirmations = [{ up_to_sat = 5, n = 1 }]",
            "c.toml: resource a: confirmations[1].up_to_sat: the last step is for every larger",
        ),
        (
            "confirmations = [{ n = 1 }, { n = 2 }]",
            "c.toml: resource a: confirmations[1].up_to_sat: is missing; give it in every step",
        ),
        (
            "confirmations = [{ up_to_sat = 9, n = 1 }, { up_to_sat = 9, n = 2 }, { n = 3 }]",
            "c.toml: resource a: confirmations[2].up_to_sat: found 9, allowed: a whole number from \
             10",
        ),
        (
            "confirmations = [{ up_to_sat = 9, n = 2 }, { n = 1 }]",
            "c.toml: resource a: confirmations[2].n: found 1, allowed: a whole number from 2",
        ),
        (
            "confirmations = [{ up_to_sat = 9 }, { n = 1 }]",
            "c.toml: resource a: confirmations[1].n: is missing; give the number",
        ),
        (
            "params = { Key = {} }",
            "c.toml: resource a: params.Key: found the name \"Key\", allowed: lower-case",
        ),
        (
            "params = { key = { format = \"pem\" } }",
            "c.toml: resource a: params.key.format: found \"pem\", allowed: \"ssh-public-key\"",
        ),
        (
            "params = { key = { requird = true } }",
            "c.toml: resource a: params.key.requird: unknown key; did you mean \"required\"?",
        ),
        ("site = \"https://a.test/path\"", "c.toml: resource a: site: found \"https://a.test/path"),
        ("site = \"a.test\"", "c.toml: resource a: site: found \"a.test\", allowed: an address"),
        (
            "params = { ssh_public_key = { format = \"ssh-public-key\" } }\nssh = {}",
            "c.toml: resource a: ssh.user: is missing; give a user name",
        ),
        (
            "ssh = { user = \"guest\" }",
            "c.toml: resource a: ssh.param: is missing; give the name of a param",
        ),
        (
            "params = { k = { format = \"hostname\" } }\nssh = { user = \"guest\", param = \"k\" }",
            "c.toml: resource a: ssh.param: found \"k\", allowed: the name of a param",
        ),
        (
            "params = { k = { format = \"ssh-public-key\" } }\n\
             ssh = { user = \"a b\", param = \"k\" }",
            "c.toml: resource a: ssh.user: found \"a b\", allowed: a user name",
        ),
        (
            "params = { k = { format = \"ssh-public-key\" } }\n\
             ssh = { user = \"g\", param = \"k\", options = [\"cert-authority\"] }",
            "c.toml: resource a: ssh.options: found [\"cert-authority\"], allowed: a list of",
        ),
        ("params = { key = 1 }", "c.toml: resource a: params.key: found 1, allowed: a table"),
        (
            "min_duraton = \"1h\"",
            "c.toml: resource a: min_duraton: unknown key; did you mean \"min",
        ),
    ];
    for (keys, start) in cases {
        let found = wrong(&with(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert!(found[0].starts_with(start), "{keys}:\n{}\n{start}", found[0]);
    }
}

#[test]
fn two_sites_on_one_host_are_refused_whatever_the_port() {
    let second = |site: &str| {
        let first = with("site = \"https://box.test:8443\"");
        let second = with(&format!("site = \"{site}\"")).replace("id = \"a\"", "id = \"b\"");
        format!("{first}\n{second}")
    };
    let found = wrong(&second("http://Box.test"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("c.toml: resource b: site: is on the same host as that of resource a"),
        "{}",
        found[0]
    );
    assert_eq!(good(&second("https://b.box.test:8443")).len(), 2);
}

#[test]
fn ssh_users_and_sites_are_read_with_their_defaults() {
    let keys = "params = { ssh_public_key = { format = \"ssh-public-key\" } }\n\
                ssh = { user = \"u-{unit}\", options = [\"pty\", \"permitopen=localhost:80\"] }\n\
                site = \"https://Box.example.org/\"";
    let terms = good(&with(keys)).remove(0);
    assert_eq!(terms.site.as_deref(), Some("https://box.example.org"));
    let ssh = terms.ssh.unwrap();
    assert_eq!((ssh.user.as_str(), ssh.param.as_str()), ("u-{unit}", "ssh_public_key"));
    assert_eq!(ssh.options, ["pty", "permitopen=\"localhost:80\""]);
    let shared = with(keys).replace("exclusive", "shared").replace("capacity = 5\n", "");
    let found = wrong(&shared);
    assert!(found[0].contains("ssh.user: found \"u-{unit}\""), "{found:#?}");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(Terms::difference(&good(LEAST)[0], &good(&with(keys))[0]).len(), 3);
}

#[test]
fn unit_names_must_differ_and_be_plain() {
    for units in ["[\"x\", \"x\"]", "[\"a b\"]", "[\"../x\"]", "[]", "[\"\"]", "\"x\""] {
        let text = with(&format!("units = {units}")).replace("capacity = 5\n", "");
        let found = wrong(&text);
        assert!(found[0].contains("units: found"), "{units}: {found:#?}");
        assert_eq!(found.len(), 1, "{units}: {found:#?}");
    }
    let none = wrong(&LEAST.replace("capacity = 5\n", ""));
    assert!(none[0].starts_with("c.toml: resource a: units: is missing; give the names"));
}

#[test]
fn what_this_version_does_not_have_is_refused_by_name() {
    for key in ["donations", "fund", "sponsorship", "throttled_cost"] {
        let found = wrong(&with(&format!("{key} = {{ x = 1 }}")));
        let line =
            format!("c.toml: resource a: {key}: is not available in this version; remove it");
        assert_eq!(found, [line]);
    }
    let round = wrong(&format!("{LEAST}[[resource.round]]\nid = \"founders\"\n"));
    assert_eq!(round, ["c.toml: resource a: round: is not available in this version; remove it"]);
    let hook = wrong(&format!("{LEAST}[[webhook]]\nurl = \"https://example.org\"\n"));
    assert_eq!(hook, ["c.toml: webhook: is not available in this version; remove it"]);
    assert_eq!(good(&with("provisioner = { kind = \"none\" }")), good(LEAST));
}

#[test]
fn a_shared_resource_may_say_what_it_costs_to_keep_it_up_and_no_other() {
    let shared = LEAST.replace("exclusive", "shared").replace("capacity = 5\n", "");
    let of = |keys: &str| format!("{shared}running_cost = {{ {keys} }}\n");
    let mirror = good(&of("sat = 30000, per = \"30d\"")).remove(0);
    assert_eq!(mirror.running_cost, Some(Price { sat: 30_000, per_s: 30 * 86_400 }));
    for (keys, told) in [
        ("sat = 0, per = \"1h\"", "running_cost.sat: found 0, allowed: a whole number"),
        ("sat = 1.5, per = \"1h\"", "running_cost.sat: found 1.5, allowed"),
        ("sat = 20, per = \"0s\"", "running_cost.per: found \"0s\", allowed: a duration"),
        ("sat = 20", "running_cost.per: is missing"),
        ("sat = 20, per = \"1h\", each = 1", "running_cost.each: unknown key"),
    ] {
        let found = wrong(&of(keys));
        assert!(found.len() == 1 && found[0].contains(told), "{keys}: {found:#?}");
    }
    let found = wrong(&with("running_cost = { sat = 20, per = \"1h\" }"));
    let line = "c.toml: resource a: running_cost: only a shared resource is kept running for \
                everybody; remove it, or set access = \"shared\"";
    assert_eq!(found, [line]);
    let told = Terms::difference(&good(&shared)[0], &mirror);
    let told: Vec<_> = told.iter().map(|it| (it.key.as_str(), it.old.as_deref())).collect();
    assert_eq!(told, [("running_cost", None)]);
}

#[test]
fn a_provisioner_is_a_command_or_an_address_with_a_secret() {
    let of = |keys: &str| with(&format!("provisioner = {{ {keys} }}"));
    let exec = good(&of("kind = \"exec\", command = [\"/bin/x\", \"-v\"], timeout = \"5m\""));
    let command = vec!["/bin/x".to_owned(), "-v".into()];
    assert_eq!(exec[0].provisioner, Provisioner::Exec { command, timeout_s: 300 });
    let http = good(&of("kind = \"http\", url = \"http://127.0.0.1:9/x\", secret_file = \"s\""));
    let (url, secret_file) = ("http://127.0.0.1:9/x".to_owned(), "s".to_owned());
    assert_eq!(http[0].provisioner, Provisioner::Http { url, secret_file, timeout_s: 60 });
    for (keys, key) in [
        ("command = [\"/bin/x\"]", "kind"),
        ("kind = \"shell\"", "kind"),
        ("kind = \"exec\"", "command"),
        ("kind = \"exec\", command = []", "command"),
        ("kind = \"exec\", command = [\"x\"]", "command"),
        ("kind = \"exec\", command = \"/bin/x -v\"", "command"),
        ("kind = \"exec\", command = [\"/bin/x\"], timeout = \"0s\"", "timeout"),
        ("kind = \"exec\", command = [\"/bin/x\"], timeout = \"2h\"", "timeout"),
        ("kind = \"exec\", command = [\"/bin/x\"], url = \"http://a.example\"", "url"),
        ("kind = \"http\", url = \"http://a.example\"", "secret_file"),
        ("kind = \"http\", url = \"ftp://a.example\", secret_file = \"s\"", "url"),
        ("kind = \"http\", url = \"http://u:p@a.example\", secret_file = \"s\"", "url"),
    ] {
        let found = wrong(&of(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        let path = format!("c.toml: resource a: provisioner.{key}: ");
        assert!(found[0].starts_with(&path), "{keys}: {}", found[0]);
    }
}

#[test]
fn ids_are_used_once_and_a_catalogue_is_not_empty() {
    let found = wrong(&format!("{LEAST}{LEAST}"));
    assert_eq!(found, ["c.toml: resource a: id: is used twice, by resources 1 and 2"]);
    assert!(wrong("")[0].starts_with("c.toml: resource: is missing; give at least one"));
    assert!(wrong("resource = 1")[0].starts_with("c.toml: resource: found 1, allowed: one or"));
    let both =
        wrong(&format!("{}{}", LEAST.replace("\"a\"", "\"A\""), LEAST.replace("id = \"a\"\n", "")));
    assert_eq!(both.len(), 2, "{both:#?}");
    let nameless = wrong(&LEAST.replace("id = \"a\"\n", ""));
    assert!(nameless[0].starts_with("c.toml: resource number 1: id: is missing"), "{nameless:?}");
}

#[test]
fn the_difference_names_the_changed_keys_in_the_catalogues_words() {
    let old = good(LEAST).remove(0);
    assert_eq!(Terms::difference(&old, &old), []);
    let new = good(&with(
        "price = { sat = 700, per = \"1h\" }\ngrace = \"1h 30m\"\nparams = { host = { required = \
         true, format = \"hostname\" } }\nconfirmations = [{ up_to_sat = 5, n = 0 }, { n = 1 }]",
    ))
    .remove(0);
    let change = |key: &str, old: Option<&str>, new: Option<&str>| Change {
        key: key.into(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    let tiers = "[{ up_to_sat = 100000, n = 1 }, { up_to_sat = 1000000, n = 2 }, \
                 { up_to_sat = 10000000, n = 3 }, { n = 6 }]";
    assert_eq!(
        Terms::difference(&old, &new),
        [
            change(
                "price",
                Some("{ sat = 500, per = \"1h\" }"),
                Some("{ sat = 700, per = \"1h\" }")
            ),
            change("grace", Some("\"10m\""), Some("\"1h 30m\"")),
            change("confirmations", Some(tiers), Some("[{ up_to_sat = 5, n = 0 }, { n = 1 }]")),
            change("params.host", None, Some("{ required = true, format = \"hostname\" }")),
        ]
    );
    let back = Terms::difference(&new, &old);
    assert_eq!(back[3].new, None);
    let mut tiered = old.clone();
    tiered.confirmations = vec![Tier { up_to_sat: None, n: 6 }];
    assert_eq!(Terms::difference(&old, &tiered).len(), 1);
}
