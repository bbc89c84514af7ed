//! Traefik's files are read, not run.

use std::path::Path;

fn read(name: &str) -> toml::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/traefik").join(name);
    let text = std::fs::read_to_string(path).expect("the example is there");
    toml::from_str(&text).expect("TOML")
}

#[test]
fn traefiks_files_put_the_gate_before_the_site_and_not_before_the_way_in() {
    let own = read("traefik.toml");
    assert_eq!(own["providers"]["file"]["filename"].as_str(), Some("/etc/traefik/dynamic.toml"));
    let routes = read("dynamic.toml");
    let http = &routes["http"];
    let (site, enter) = (&http["routers"]["site"], &http["routers"]["enter"]);
    let before: Vec<_> =
        site["middlewares"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(before, ["leasehold-clean", "leasehold-gate"]);
    assert!(enter.get("middlewares").is_none());
    assert!(enter["priority"].as_integer() > site["priority"].as_integer());
    let middlewares = &http["middlewares"];
    let gate = &middlewares["leasehold-gate"]["forwardAuth"];
    assert!(gate["address"].as_str().unwrap().ends_with("/v1/gate/mirror?deny=303"));
    assert_eq!(gate["trustForwardHeader"].as_bool(), Some(false));
    let removed = &middlewares["leasehold-clean"]["headers"]["customRequestHeaders"];
    for header in gate["authResponseHeaders"].as_array().unwrap() {
        let name = header.as_str().unwrap();
        let last = name.strip_prefix("X-Leasehold-").unwrap();
        for [first, second] in ["--", "-_", "_-", "__"].map(|two| [&two[..1], &two[1..]]) {
            let forged = format!("X{first}Leasehold{second}{last}");
            assert_eq!(removed[&forged].as_str(), Some(""), "{forged}");
        }
    }
    for router in [site, enter] {
        let service = router["service"].as_str().unwrap();
        assert!(http["services"].get(service).is_some(), "{service}");
        let entry = router["entryPoints"][0].as_str().unwrap();
        assert!(own["entryPoints"].get(entry).is_some(), "{entry}");
    }
}
