//! A guarded site: where it is, and where in it somebody wanted to go. A destination is a path of
//! that very site and nothing else: whoever made the link must not be able to send a visitor to
//! another host. Called by the catalogue, the gate and the pages.

/// The longest destination, in bytes.
const MOST_BYTES: usize = 2048;

/// Whether `text` is a path (with a query, perhaps) within a site: it starts with one `/`, and a
/// browser that follows it stays on the host. Already escaped: visible ASCII only.
pub fn is_destination(text: &str) -> bool {
    text.len() <= MOST_BYTES
        && text.starts_with('/')
        && !text.starts_with("//")
        && !text.starts_with("/\\")
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `text` for use as a value in a query: all but unreserved characters escaped (RFC 3986).
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `?to=…` for a link, or nothing without a destination.
pub fn to_query(to: Option<&str>) -> String {
    to.map(|to| format!("?to={}", escaped(to))).unwrap_or_default()
}

/// Reads a site's address: `https://` or `http://`, a host, perhaps a port, nothing else. `None`:
/// it is none.
pub fn origin(text: &str) -> Option<String> {
    let text = text.trim().strip_suffix('/').unwrap_or(text.trim());
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let inside = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    let name = host.split(':').next().unwrap_or_default();
    let named = host.starts_with('[') || !name.is_empty();
    (named && !host.is_empty() && host.bytes().all(inside)).then(|| text.to_ascii_lowercase())
}

/// The host in a site's address, without the port: browsers keep the cookies of a host together.
pub fn host(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let end = match rest.starts_with('[') {
        true => rest.find(']').map(|at| at + 1),
        false => rest.find(':'),
    };
    &rest[..end.unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_path_of_the_site_itself() {
        for right in ["/", "/a", "/a?b=c&d=%20", "/a//b", "/.//x", "/a:b@c"] {
            assert!(is_destination(right), "{right}");
        }
        let long = format!("/{}", "a".repeat(MOST_BYTES));
        for wrong in [
            "",
            "a",
            "//evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "https://evil.test",
            " /a",
            "/\t/evil.test",
            "/a\r\nset-cookie: x",
            "/ä",
            "/a b",
            &long,
        ] {
            assert!(!is_destination(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_destination_survives_the_way_through_a_query() {
        assert_eq!(to_query(Some("/a b?c=d&e=%2F")), "?to=%2Fa%20b%3Fc%3Dd%26e%3D%252F");
        assert_eq!(to_query(None), "");
    }

    #[test]
    fn a_site_is_scheme_and_host_and_nothing_else() {
        for (text, found) in [
            ("https://box.example.org", Some("https://box.example.org")),
            ("https://Box.example.org/", Some("https://box.example.org")),
            ("http://127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            ("http://[::1]:80", Some("http://[::1]:80")),
            ("https://", None),
            ("https://:80", None),
            ("ftp://box", None),
            ("box.example.org", None),
            ("https://box/path", None),
            ("https://box?x", None),
            ("https://user@box", None),
            ("https://box;x", None),
        ] {
            assert_eq!(origin(text).as_deref(), found, "{text}");
        }
    }

    #[test]
    fn the_host_of_a_site_is_without_its_port() {
        for (site, found) in [
            ("https://box.example.org", "box.example.org"),
            ("http://127.0.0.1:8081", "127.0.0.1"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            assert_eq!(host(site), found);
        }
    }
}
