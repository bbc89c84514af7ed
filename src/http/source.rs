//! Who a request comes from, for the limits: an IPv4 address or an IPv6 /64. Behind a proxy the
//! configured header is believed, and nothing else.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use super::HttpState;

/// How sources are found.
#[derive(Debug, Default)]
pub struct Sources {
    /// The header that a trusted proxy writes, in lower case.
    pub proxy_header: Option<String>,
    /// Addresses that many people share.
    pub shared: HashSet<IpAddr>,
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// An address, or the /64 of one.
    pub name: String,
    /// True when many people share it.
    pub shared: bool,
}

impl Sources {
    /// The source of a request.
    pub fn find(&self, headers: &HeaderMap, extensions: &Extensions) -> Source {
        let named = self.proxy_header.as_deref().and_then(|name| forwarded(headers, name));
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        match named.or(peer).map(|ip| ip.to_canonical()) {
            Some(ip) => Source { name: name(ip), shared: self.shared.contains(&ip) },
            None => Source { name: "unknown".into(), shared: true },
        }
    }
}

fn name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The address that the proxy itself wrote: the last one of the last such header. What stands
/// before it came with the request and can be anything.
fn forwarded(headers: &HeaderMap, name: &str) -> Option<IpAddr> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    let node = match name {
        // RFC 7239: for="[2001:db8::1]:4711";proto=https
        "forwarded" => last.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case("for").then_some(value.trim())
        })?,
        _ => last,
    };
    let node = node.trim_matches('"');
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    node.trim_start_matches('[').trim_end_matches(']').parse().ok().or_else(with_port)
}

impl FromRequestParts<HttpState> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        Ok(state.sources.find(&parts.headers, &parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(peer: &str, header: Option<&str>, sent: &[(&'static str, &str)]) -> Source {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 5)));
        let shared = HashSet::from(["10.0.0.9".parse().unwrap()]);
        let sources = Sources { proxy_header: header.map(str::to_owned), shared };
        sources.find(&headers, &extensions)
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        for (peer, name) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(find(peer, None, &[]).name, name);
        }
    }

    #[test]
    fn only_the_configured_header_is_believed() {
        let sent = [("x-forwarded-for", "198.51.100.1"), ("x-real-ip", "198.51.100.2")];
        assert_eq!(find("10.0.0.1", None, &sent).name, "10.0.0.1");
        assert_eq!(find("10.0.0.1", Some("x-real-ip"), &sent).name, "198.51.100.2");
        assert_eq!(find("10.0.0.1", Some("x-forwarded-for"), &[]).name, "10.0.0.1");
    }

    #[test]
    fn of_the_header_only_what_the_proxy_wrote_itself_is_believed() {
        let header = "x-forwarded-for";
        for (sent, name) in [
            ("1.2.3.4, 2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("junk, 198.51.100.3:1234", "198.51.100.3"),
            ("[2001:db8::1]:4711", "2001:db8::/64"),
            ("junk", "10.0.0.1"),
            ("198.51.100.1,", "10.0.0.1"),
        ] {
            assert_eq!(find("10.0.0.1", Some(header), &[(header, sent)]).name, name, "{sent}");
        }
        let twice = [(header, "198.51.100.1"), (header, "198.51.100.2")];
        assert_eq!(find("10.0.0.1", Some(header), &twice).name, "198.51.100.2");
        let standard = [("forwarded", "for=1.1.1.1, for=\"[2001:db8::1]:4711\";proto=https")];
        assert_eq!(find("10.0.0.1", Some("forwarded"), &standard).name, "2001:db8::/64");
    }

    #[test]
    fn a_shared_source_is_known_by_its_address() {
        assert!(find("10.0.0.9", None, &[]).shared);
        assert!(!find("10.0.0.8", None, &[]).shared);
        assert!(find("10.0.0.1", Some("x-real-ip"), &[("x-real-ip", "10.0.0.9")]).shared);
    }
}
