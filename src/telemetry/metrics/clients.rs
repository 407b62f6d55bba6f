//! Which clients are told apart on the page, so that it stays bounded however many there are and whatever they ask for.
//!
//! Who is told apart is known before the first request, and never changes. A count is never lost: what is not counted
//! under its client's own name is counted under [`OTHER`], and every sum stays what it is.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use prometheus::{IntCounter, IntGauge};

use super::handles::Handles;
use crate::domain::name::ClientName;

/// The label of who is nobody we know.
const NONE: &str = "none";
/// The label of those who have none of their own.
pub(super) const OTHER: &str = "other";

/// How far clients are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// So many clients have a label of their own.
    pub clients: usize,
    /// So many series may carry the name of one.
    pub series: usize,
}

/// Whose label a count goes under.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Label {
    None,
    Own(ClientName),
    Other,
}

impl Label {
    fn as_str(&self) -> &str {
        match self {
            Self::None => NONE,
            Self::Own(name) => name.as_str(),
            Self::Other => OTHER,
        }
    }
}

/// Who has a label of its own, and how much room there is for series with one.
pub(super) struct ToldApart {
    /// Those without one.
    folded: HashSet<ClientName>,
    room: AtomicUsize,
    series: IntGauge,
    overflows: IntCounter,
}

impl ToldApart {
    /// `clients`: all there are, those to be told apart first.
    pub(super) fn new<'a>(
        clients: impl IntoIterator<Item = &'a ClientName>,
        bounds: Bounds,
        series: IntGauge,
        overflows: IntCounter,
    ) -> Self {
        let folded = clients.into_iter().skip(bounds.clients).cloned().collect();
        Self {
            folded,
            room: AtomicUsize::new(bounds.series),
            series,
            overflows,
        }
    }

    /// How many clients have no label of their own.
    pub(super) fn folded(&self) -> usize {
        self.folded.len()
    }

    fn has_own(&self, client: &ClientName) -> bool {
        !self.folded.contains(client)
    }

    fn label(&self, client: Option<&ClientName>) -> Label {
        match client {
            None => Label::None,
            Some(client) if self.has_own(client) => Label::Own(client.clone()),
            Some(_) => Label::Other,
        }
    }

    /// Takes room for so many more series.
    fn take(&self, series: usize) -> bool {
        let taken = self
            .room
            .fetch_update(Relaxed, Relaxed, |room| room.checked_sub(series));
        if taken.is_ok() {
            self.series.add(series as i64);
        }
        taken.is_ok()
    }

    fn has_room(&self, series: usize) -> bool {
        self.room.load(Relaxed) >= series
    }
}

/// Instruments by client and something else; each handle stands for so many series.
pub(super) struct ByClient<K, H> {
    clients: Arc<ToldApart>,
    series: usize,
    handles: Handles<(Label, K), H>,
}

impl<K: Eq + Hash + Clone, H: Clone> ByClient<K, H> {
    pub(super) fn new(clients: &Arc<ToldApart>, series: usize) -> Self {
        Self {
            clients: Arc::clone(clients),
            series,
            handles: Handles::default(),
        }
    }

    /// The handle of this client's, or, where it can't have one of its own, of those who share one. `make` is given the label.
    pub(super) fn find_or_make(
        &self,
        client: Option<&ClientName>,
        key: K,
        make: impl Fn(&str) -> H,
    ) -> H {
        let label = self.clients.label(client);
        if !matches!(label, Label::Own(_)) {
            let text = label.as_str();
            return self
                .handles
                .find_or_make((label.clone(), key), || make(text));
        }
        self.made_own(label, key.clone(), &make).unwrap_or_else(|| {
            self.clients.overflows.inc();
            self.handles
                .find_or_make((Label::Other, key), || make(OTHER))
        })
    }

    /// The handle of this client's own, if it can have one: for what can't be added up with that of others.
    pub(super) fn own(&self, client: &ClientName, key: K, make: impl Fn(&str) -> H) -> Option<H> {
        let label = self.clients.label(Some(client));
        let is_own = matches!(label, Label::Own(_));
        is_own.then(|| self.made_own(label, key, &make)).flatten()
    }

    fn made_own(&self, label: Label, key: K, make: &impl Fn(&str) -> H) -> Option<H> {
        let own = (label, key);
        if let Some(handle) = self.handles.find(&own) {
            return Some(handle);
        }
        if !self.clients.has_room(self.series) {
            return None;
        }
        let label = own.0.clone();
        self.handles.of_if(own, || {
            let has_room = self.clients.take(self.series);
            has_room.then(|| make(label.as_str()))
        })
    }

    /// Shows all that there are, by what they are beside their client. Not for the request path.
    pub(super) fn each(&self, mut show: impl FnMut(&K, &H)) {
        self.handles.each(|(_, key), handle| show(key, handle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_apart(names: &[&str], clients: usize, series: usize) -> Arc<ToldApart> {
        let names: Vec<ClientName> = names.iter().map(|name| (*name).into()).collect();
        let bounds = Bounds { clients, series };
        let gauge = IntGauge::new("series", "series").unwrap();
        let counter = IntCounter::new("overflows", "overflows").unwrap();
        Arc::new(ToldApart::new(&names, bounds, gauge, counter))
    }

    fn label(by: &ByClient<&'static str, String>, client: &str, key: &'static str) -> String {
        let client = (!client.is_empty()).then(|| client.into());
        by.find_or_make(client.as_ref(), key, str::to_owned)
    }

    #[test]
    fn the_first_clients_of_the_config_are_told_apart_and_the_rest_is_other() {
        let clients = told_apart(&["a", "b", "c"], 2, 100);
        let by = ByClient::new(&clients, 1);
        let labels = ["c", "b", "a", "", "c"].map(|client| label(&by, client, "k"));
        assert_eq!(labels, ["other", "b", "a", "none", "other"]);
        assert_eq!((clients.folded(), clients.series.get()), (1, 2));
        assert_eq!(clients.overflows.get(), 0);
    }

    #[test]
    fn what_cant_be_added_up_is_there_for_clients_with_a_label_alone() {
        let clients = told_apart(&["a", "b", "c"], 2, 2);
        let by = ByClient::new(&clients, 2);
        let own = |client: &str| by.own(&client.into(), "k", str::to_owned);
        assert_eq!(own("c"), None);
        assert_eq!(own("a").as_deref(), Some("a"));
        // No room is left for another.
        assert_eq!(own("b"), None);
        assert_eq!(own("a").as_deref(), Some("a"));
        assert_eq!((clients.series.get(), clients.overflows.get()), (2, 0));
    }

    #[test]
    fn where_there_is_no_room_for_a_new_series_what_is_there_stays() {
        let clients = told_apart(&["a", "b"], 9, 5);
        let (by, wide) = (ByClient::new(&clients, 1), ByClient::new(&clients, 3));
        assert_eq!(label(&by, "a", "1"), "a");
        assert_eq!(label(&wide, "a", "1"), "a");
        // One more would fit, three do not.
        assert_eq!(label(&wide, "b", "1"), "other");
        assert_eq!(label(&by, "b", "1"), "b");
        assert_eq!(label(&by, "b", "2"), "other");
        assert_eq!([label(&by, "a", "1"), label(&wide, "a", "1")], ["a", "a"]);
        assert_eq!((clients.series.get(), clients.overflows.get()), (5, 2));
    }
}
