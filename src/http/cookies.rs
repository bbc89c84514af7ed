//! Cookies of a request. A proxy may pass those of the guarded site along, and a sibling host may
//! have set some with our names: whoever reads one looks at all of a name.

use axum::http::{HeaderMap, header};

/// The values of all cookies with this name, in the order in which they came.
pub fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let pairs = all.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    // One that is no text hides no other.
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn all_of_a_name_are_found_among_others() {
        let mut headers = HeaderMap::new();
        for text in ["a=1; leasehold=x.y;b", "leasehold=z=; leasehold_claim=c"] {
            headers.append(header::COOKIE, text.parse().unwrap());
        }
        assert_eq!(values(&headers, "leasehold").collect::<Vec<_>>(), ["x.y", "z="]);
        assert_eq!(values(&headers, "b").next(), None);
    }

    #[test]
    fn what_a_site_writes_into_its_own_cookies_hides_none_of_ours() {
        let mut headers = HeaderMap::new();
        for bytes in [&b"name=Zo\xc3\xab; leasehold=a"[..], b"leasehold=b; x=\xff\xfe; leasehold=c"]
        {
            headers.append(header::COOKIE, HeaderValue::from_bytes(bytes).unwrap());
        }
        assert_eq!(values(&headers, "leasehold").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(values(&headers, "name").collect::<Vec<_>>(), ["Zo\u{eb}"]);
    }
}
