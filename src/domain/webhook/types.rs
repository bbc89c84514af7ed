//! Which events an endpoint wants: names of kinds, or of whole groups such as `payment.*`.

use std::fmt;

use crate::domain::event::EventKind;

/// A filter by type. Empty: everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Types(Vec<String>);

/// A type that no event has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType(pub String);

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        write!(
            f,
            "no event has the type {:?}; there are {}, and groups such as payment.*",
            self.0,
            known.join(", ")
        )
    }
}

impl std::error::Error for UnknownType {}

impl Types {
    /// From names as people give them.
    ///
    /// # Errors
    /// The first one that no event has.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownType> {
        let mut types: Vec<String> = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            if !EventKind::ALL.iter().any(|kind| matches(name, kind.as_str())) {
                return Err(UnknownType(name.to_owned()));
            }
            if !types.iter().any(|known| known == name) {
                types.push(name.to_owned());
            }
        }
        Ok(Self(types))
    }

    /// As stored: names with a space between them. What this program knows no more stays.
    pub fn stored(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The form that [`Types::stored`] reads.
    pub fn to_stored(&self) -> String {
        self.0.join(" ")
    }

    /// Whether an event of this type is wanted.
    pub fn want(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| matches(name, kind))
    }
}

fn matches(name: &str, kind: &str) -> bool {
    match name.strip_suffix(".*") {
        Some(group) => kind.split_once('.').is_some_and(|(of, _)| of == group),
        None => name == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups_choose_and_nothing_chooses_all() {
        let types = Types::parse(&["payment.*", "lease.ended", "lease.ended"]).unwrap();
        assert_eq!(types.names(), ["payment.*", "lease.ended"]);
        assert!(types.want("payment.seen") && types.want("lease.ended"));
        assert!(!types.want("lease.created") && !types.want("payments.seen"));
        assert_eq!(Types::stored(&types.to_stored()), types);
        let all = Types::parse::<&str>(&[]).unwrap();
        assert!(all.want("lease.created") && all.to_stored().is_empty());
        assert_eq!(Types::stored(""), all);
    }

    #[test]
    fn a_type_that_no_event_has_is_refused_with_those_that_there_are() {
        for wrong in ["payment", "payment.sent", "pay.*", "*", ".*", "", "payment.* lease.*"] {
            let error = Types::parse(&[wrong]).unwrap_err();
            assert_eq!(error, UnknownType(wrong.into()));
            assert!(error.to_string().contains("payment.credited"), "{error}");
        }
    }
}
