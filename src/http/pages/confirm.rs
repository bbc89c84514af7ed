//! A page instead of a dialog: what will happen, a button that does it, a link back. Pages of
//! customers and operators use it.

use askama::Template;

use super::Frame;

/// What to confirm.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm {
    /// The frame.
    pub(crate) frame: Frame,
    /// A question.
    pub(crate) title: String,
    /// What will happen, a paragraph each.
    pub(crate) words: Vec<String>,
    /// Where the form goes.
    pub(crate) action: String,
    /// Fields that it takes along.
    pub(crate) hidden: Vec<(String, String)>,
    /// What the button says.
    pub(crate) button: String,
    /// True for what cannot be undone.
    pub(crate) danger: bool,
    /// Where to go instead.
    pub(crate) back: String,
}
