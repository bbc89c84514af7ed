//! Which targets a webhook may have: not the operator's own networks, unless the configuration says
//! so. The address that was checked is the one that is connected to: the check is in the resolver
//! that the connection asks, so nothing can change in between.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest URL that is taken.
const MOST_URL: usize = 2048;

/// Networks of IPv4 that are not the internet's, and what they are (IANA's registry of special
/// purposes).
const NOT_PUBLIC: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
];

/// The same of IPv6. Addresses that carry one of IPv4 are refused as they are: where they lead is
/// another machine's decision.
const NOT_PUBLIC_6: [(Ipv6Addr, u32, &str); 14] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, "IPv4-compatible"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 32, "NAT64"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "reserved"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// What an address is if it is not one of the internet's.
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let inside = |net: Ipv4Addr, bits: u32| {
                (address.to_bits() ^ net.to_bits()).leading_zeros() >= bits
            };
            NOT_PUBLIC.into_iter().find(|(net, bits, _)| inside(*net, *bits)).map(|(.., what)| what)
        }
        IpAddr::V6(address) => {
            let inside = |net: Ipv6Addr, bits: u32| {
                (address.to_bits() ^ net.to_bits()).leading_zeros() >= bits
            };
            let known = NOT_PUBLIC_6.into_iter().find(|(net, bits, _)| inside(*net, *bits));
            let global = inside(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
            known.map(|(.., what)| what).or((!global).then_some("reserved"))
        }
    }
}

/// A target that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

/// How far webhooks reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Also into private networks and this machine.
    pub allow_private: bool,
    /// Counts as public.
    #[cfg(test)]
    pub(super) public: Option<IpAddr>,
}

impl Reach {
    /// As `[webhooks] allow_private` says.
    pub fn new(allow_private: bool) -> Self {
        Self {
            allow_private,
            #[cfg(test)]
            public: None,
        }
    }

    /// Refuses an address that is not to be connected to.
    ///
    /// # Errors
    /// What it is, and what to do.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        #[cfg(test)]
        if self.public == Some(address) {
            return Ok(());
        }
        match not_public(address) {
            Some(what) if !self.allow_private => Err(Refused(format!(
                "{address} is not a public address ({what}); [webhooks] allow_private allows it"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a URL that no message can be sent to. What a name means is looked up for each
    /// message only.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_url(&self, text: &str) -> Result<Url, Refused> {
        let refuse = |what: &str| Err(Refused(what.to_owned()));
        if text.len() > MOST_URL {
            return refuse("longer than 2048 characters");
        }
        let Ok(url) = Url::parse(text) else { return refuse("not a URL") };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it has to begin with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it must have no user or password; messages are signed instead");
        }
        if url.fragment().is_some() {
            return refuse("it must have no part after #");
        }
        let host = url.host_str().unwrap_or_default();
        if let Some(address) = literal(host) {
            self.check(address)?;
        }
        let name = host.trim_end_matches('.');
        let local = name == "localhost" || name.ends_with(".localhost");
        if local && !self.allow_private {
            return refuse("it is this machine; [webhooks] allow_private allows it");
        }
        Ok(url)
    }
}

/// The address that a URL's host is written as, if it is none that has to be looked up.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// Where the addresses of a name come from.
pub(super) type Found = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up: the system, or a test.
pub(super) type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;

/// As the system does.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Gives connections only addresses that were checked: one bad address spoils the whole answer.
pub(super) struct Checked {
    pub lookup: Lookup,
    pub reach: Reach,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, reach) = ((self.lookup)(name.as_str().to_owned()), self.reach);
        Box::pin(async move {
            let found = found.await?;
            for address in &found {
                reach.check(*address)?;
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860::8888",
            "2a00::1",
            "2001:200::1",
        ] {
            assert_eq!(not_public(public.parse().unwrap()), None, "{public}");
        }
        for (address, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.1.2.3", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.127.255.255", "carrier-grade NAT"),
            ("127.0.0.1", "loopback"),
            ("127.255.0.1", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("198.19.0.1", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:1.1.1.1", "IPv4-mapped"),
            ("::1.1.1.1", "IPv4-compatible"),
            ("64:ff9b::1.1.1.1", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("2002:101:101::1", "6to4"),
            ("2001:0:1::1", "reserved"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("fc00::1", "private"),
            ("fd12::1", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("100::1", "reserved"),
            ("4000::1", "reserved"),
        ] {
            assert_eq!(not_public(address.parse().unwrap()), Some(what), "{address}");
        }
    }

    #[test]
    fn a_url_that_leads_inside_is_refused_however_it_is_written() {
        let (outside, anywhere) = (Reach::new(false), Reach::new(true));
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "https://[::1]:8443/",
            "http://[::ffff:10.0.0.1]/",
            "http://localhost:3000/hook",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.8./",
        ] {
            let refused = outside.check_url(url).unwrap_err().to_string();
            assert!(refused.contains("allow_private"), "{url}: {refused}");
            assert!(anywhere.check_url(url).is_ok(), "{url}");
        }
        for (url, what) in [
            ("ftp://hooks.example/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("hooks.example", "not a URL"),
            ("http://", "not a URL"),
            ("", "not a URL"),
            ("https://op:pw@hooks.example/", "no user"),
            ("https://op@hooks.example/", "no user"),
            ("https://hooks.example/#x", "#"),
        ] {
            let refused = anywhere.check_url(url).unwrap_err().to_string();
            assert!(refused.contains(what), "{url}: {refused}");
        }
        let long = format!("https://hooks.example/{}", "a".repeat(MOST_URL));
        assert!(anywhere.check_url(&long).is_err());
        assert!(outside.check_url("https://hooks.example:8443/in?a=b").is_ok());
        assert!(outside.check_url("http://1.1.1.1/").is_ok());
    }
}
