//! Who a request comes from, for the limits: an IPv4 address or an IPv6 /64. Behind a proxy the
//! configured header is believed, and nothing else.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use super::{HttpState, Problem};

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
    /// The source of a request. Of a list in the proxy's header the last entry is the one that
    /// the proxy itself wrote.
    pub fn find(&self, parts: &Parts) -> Source {
        let forwarded = self.proxy_header.as_ref().and_then(|name| {
            let value = parts.headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
        });
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        match forwarded.or(peer).map(|ip| ip.to_canonical()) {
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

impl FromRequestParts<HttpState> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        Ok(state.sources.find(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(header: Option<(&str, &str)>) -> Parts {
        let mut request = axum::http::Request::builder();
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo::<SocketAddr>("10.0.0.1:5".parse().unwrap()));
        parts
    }

    #[test]
    fn only_the_configured_header_is_believed_and_only_its_last_entry() {
        let plain = Sources::default();
        let header = Some(("x-forwarded-for", "1.2.3.4, 2001:db8:1:2:3::4"));
        assert_eq!(plain.find(&parts(header)).name, "10.0.0.1");
        let proxied = Sources { proxy_header: Some("x-forwarded-for".into()), ..plain };
        assert_eq!(proxied.find(&parts(header)).name, "2001:db8:1:2::/64");
        assert_eq!(proxied.find(&parts(None)).name, "10.0.0.1");
        assert_eq!(proxied.find(&parts(Some(("x-forwarded-for", "junk")))).name, "10.0.0.1");
    }
}
