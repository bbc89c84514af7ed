//! Cookies of a request. A proxy may pass those of the guarded site along, and a sibling host may
//! have set some with our names: whoever reads one looks at all of a name.

use axum::http::{HeaderMap, header};

/// The values of all cookies with this name, in the order in which they came.
pub fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let pairs = all.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
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
}
