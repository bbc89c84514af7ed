//! A field of a form, with what is wrong beside it. `templates/fields.html` draws it; forms of
//! customers and operators have the same.

use super::form::Sent;

/// How a field is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line.
    Line,
    /// Several lines.
    Long,
    /// One line that is not shown.
    Secret,
    /// Boxes to tick, by these words; the value has those that are.
    Boxes(&'static [&'static str]),
}

/// A field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) hint: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// The most characters that it takes.
    pub(super) most: Option<u32>,
    pub(super) value: String,
    pub(super) error: Option<String>,
    /// The first that is wrong, where people begin.
    pub(super) first: bool,
    /// Whether it is for a parameter of a resource.
    pub(super) param: bool,
}

impl Field {
    /// An empty line that must be filled in.
    pub(super) fn line(name: &str, label: &str, hint: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            hint,
            kind: Kind::Line,
            required: true,
            most: None,
            value: String::new(),
            error: None,
            first: false,
            param: false,
        }
    }

    pub(super) fn id(&self) -> String {
        if self.param { format!("param-{}", self.name) } else { self.name.clone() }
    }

    /// Its name in what the form sends.
    pub(super) fn sent_as(&self) -> String {
        if self.param { format!("param.{}", self.name) } else { self.name.clone() }
    }

    pub(super) fn ticked(&self, word: &str) -> bool {
        self.value.split(' ').any(|ticked| ticked == word)
    }

    /// The ids of what describes it.
    pub(super) fn described(&self) -> Option<String> {
        let hint = (!self.hint.is_empty()).then(|| format!("hint-{}", self.name));
        let error = self.error.as_ref().map(|_| format!("error-{}", self.name));
        let ids: Vec<String> = hint.into_iter().chain(error).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    /// Takes what was typed.
    pub(super) fn take(&mut self, sent: &Sent) {
        self.value = match self.kind {
            Kind::Boxes(words) => ticked(words, &self.name, sent).join(" "),
            _ => sent.text(&self.sent_as()).to_owned(),
        };
    }
}

/// The words whose boxes were ticked.
pub(super) fn ticked(words: &[&str], name: &str, sent: &Sent) -> Vec<String> {
    let ticked = words.iter().filter(|word| sent.some(&format!("{name}.{word}")).is_some());
    ticked.map(|word| (*word).to_owned()).collect()
}

/// With a capital letter at the beginning.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A detail of the API as a sentence beside a field.
pub(super) fn sentence(detail: &str) -> String {
    let about = ["is ", "must ", "has "].iter().any(|verb| detail.starts_with(verb));
    let text = if about { format!("This {detail}") } else { capital(detail) };
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}
