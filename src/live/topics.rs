//! Who waits for what: a number for each subject that somebody follows, raised when an event
//! concerns it. Knows neither database nor HTTP; holds nothing for subjects without followers.
//! The tail raises, [`Subscription`] waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::db::event::Event;

/// Something that changes are followed of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// A lease, an invoice or a payment, by its id.
    pub fn id(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// A resource. Its name is the operator's and might look like an id.
    pub fn resource(id: &str) -> Self {
        Self(format!("resource {id}"))
    }

    /// What the operator says of a resource: its terms, a pause, its end. Not what is free of it.
    pub fn offer(id: &str) -> Self {
        Self(format!("offer {id}"))
    }

    /// Everything that `event` is about.
    pub fn of(event: &Event) -> Vec<Self> {
        let named = ["lease", "invoice", "payment"];
        let named = named.iter().filter_map(|name| event.data.get(name)?.as_str());
        let ids = std::iter::once(event.subject.as_str()).chain(named);
        let mut subjects: Vec<Self> = ids.map(Self::id).collect();
        subjects.extend(event.resource.as_deref().map(Self::resource));
        subjects
    }
}

/// What is known of a subject's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// Number of the newest event about it since somebody follows it.
    seq: i64,
    /// Counts changes that are no events.
    nudges: u64,
}

#[derive(Debug)]
struct Topic {
    mark: watch::Sender<Mark>,
    followers: usize,
}

/// Everything that is followed.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<HashMap<Subject, Topic>>);

impl Topics {
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Topic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows `subject` from now on.
    pub fn subscribe(self: &Arc<Self>, subject: Subject) -> Subscription {
        let mut topics = self.lock();
        let new = || Topic { mark: watch::Sender::default(), followers: 0 };
        let topic = topics.entry(subject.clone()).or_insert_with(new);
        topic.followers += 1;
        let mark = topic.mark.subscribe();
        let seen = *mark.borrow();
        Subscription { topics: Arc::clone(self), subject, mark, seen }
    }

    /// Wakes those who follow what `events` are about.
    pub fn publish(&self, events: &[Event]) {
        let topics = self.lock();
        if topics.is_empty() {
            return;
        }
        for event in events {
            for subject in Subject::of(event) {
                if let Some(topic) = topics.get(&subject) {
                    topic.mark.send_modify(|mark| mark.seq = mark.seq.max(event.seq));
                }
            }
        }
    }

    /// Wakes those who follow `subject`, for a change that is no event.
    pub fn nudge(&self, subject: &Subject) {
        if let Some(topic) = self.lock().get(subject) {
            topic.mark.send_modify(|mark| mark.nudges += 1);
        }
    }

    /// Wakes everybody: what changed is not known.
    pub fn nudge_all(&self) {
        for topic in self.lock().values() {
            topic.mark.send_modify(|mark| mark.nudges += 1);
        }
    }

    /// How many subjects are followed.
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Waits for changes of one subject. However slow its owner, it holds one number: what happened
/// in between is found by reading the database again.
#[derive(Debug)]
pub struct Subscription {
    topics: Arc<Topics>,
    subject: Subject,
    mark: watch::Receiver<Mark>,
    seen: Mark,
}

impl Subscription {
    /// Waits until there is an event after the last one seen, or another change.
    pub async fn changed(&mut self) {
        let seen = self.seen;
        let news = |mark: &Mark| mark.seq > seen.seq || mark.nudges > seen.nudges;
        // A guard must not be held while waiting.
        let newest = self.mark.wait_for(news).await.ok().map(|mark| *mark);
        match newest {
            Some(mark) => self.seen = Mark { seq: mark.seq.max(seen.seq), ..mark },
            // The topic is there as long as this subscription.
            None => std::future::pending().await,
        }
    }

    /// What was read from the database holds every event up to number `seq`: they are no news.
    pub fn saw(&mut self, seq: i64) {
        self.seen.seq = self.seen.seq.max(seq);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.topics.lock();
        if let Some(topic) = topics.get_mut(&self.subject) {
            topic.followers -= 1;
            if topic.followers == 0 {
                topics.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;

    fn event(seq: i64, subject: &str, data: serde_json::Value) -> Event {
        Event {
            seq,
            id: format!("evt_{seq}"),
            kind: "test.happened".into(),
            at: 0,
            subject: subject.into(),
            resource: Some("gpu".into()),
            data,
        }
    }

    fn is_woken(subscription: &mut Subscription) -> bool {
        subscription.changed().now_or_never().is_some()
    }

    #[test]
    fn an_event_concerns_its_subject_what_its_data_names_and_its_resource() {
        let topics = Arc::new(Topics::default());
        let mut all: Vec<Subscription> = ["lse_1", "inv_1", "pay_1", "lse_2", "gpu"]
            .map(|id| topics.subscribe(Subject::id(id)))
            .into();
        all.push(topics.subscribe(Subject::resource("gpu")));
        let data = json!({ "lease": "lse_1", "invoice": "inv_1", "payment": "pay_1" });
        topics.publish(&[event(1, "lse_1", data)]);
        let woken: Vec<bool> = all.iter_mut().map(is_woken).collect();
        assert_eq!(woken, [true, true, true, false, false, true]);
        assert!(!all.iter_mut().any(is_woken), "once");
    }

    #[test]
    fn what_was_read_already_is_no_news() {
        let topics = Arc::new(Topics::default());
        let mut subscription = topics.subscribe(Subject::id("lse_1"));
        subscription.saw(5);
        topics.publish(&[event(4, "lse_1", json!({})), event(5, "lse_1", json!({}))]);
        assert!(!is_woken(&mut subscription));
        topics.publish(&[event(6, "lse_1", json!({}))]);
        assert!(is_woken(&mut subscription));
        topics.nudge(&Subject::id("lse_1"));
        assert!(is_woken(&mut subscription), "a change that is no event");
        assert!(!is_woken(&mut subscription));
    }

    #[test]
    fn nothing_is_kept_of_what_nobody_follows_any_more() {
        let topics = Arc::new(Topics::default());
        let first = topics.subscribe(Subject::id("lse_1"));
        let second = topics.subscribe(Subject::id("lse_1"));
        drop(first);
        assert_eq!(topics.len(), 1);
        drop(second);
        assert_eq!(topics.len(), 0);
    }
}
