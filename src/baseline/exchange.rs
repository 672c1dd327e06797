//! What several engines that share a node out among them tell each other of its destinations.
//!
//! Each sees only its own containers, and what is rare or suspicious on the node must not depend on who sees
//! whom. At each tick an engine hands on who used what since the last, and takes in what the others did; no
//! packet waits for that. A container's number is its engine's own, and is told with the engine's.

use super::{Baseline, DestinationKey, DestinationUse, Destinations, User};
use crate::time::Timestamp;

/// Destinations told at a time (count). What finds no room is told when it is used again.
const TOLD_MAX: usize = 1_024;

/// What one engine tells the others.
#[derive(Debug)]
pub struct News {
    /// Which engine, from 0 on.
    engine: u32,
    /// Its containers (count).
    containers: u32,
    destinations: Vec<Told>,
}

/// A destination, and how the engine's own containers used it so far.
#[derive(Debug)]
struct Told {
    key: DestinationKey,
    users: Vec<User>,
    suspected: [Timestamp; 2],
}

/// What an engine keeps for telling.
#[derive(Debug)]
pub(super) struct Changed {
    engine: u32,
    keys: Vec<DestinationKey>,
    /// Containers that were told (count).
    containers: u32,
}

impl Changed {
    /// There is news of a destination.
    pub(super) fn note(&mut self, key: DestinationKey, known: &mut DestinationUse) {
        if !known.changed && self.keys.len() < TOLD_MAX {
            known.changed = true;
            self.keys.push(key);
        }
    }
}

impl Baseline {
    /// This engine is one of several: which, from 0 on.
    pub fn share(&mut self, engine: u32) {
        let changed = Changed { engine, keys: Vec::new(), containers: 0 };
        self.destinations.changed = Some(changed);
    }

    /// This engine is one of several.
    pub const fn is_shared(&self) -> bool {
        self.destinations.changed.is_some()
    }

    /// What is new since the last time; nothing for an engine that is alone.
    pub fn news(&mut self) -> Option<News> {
        let containers = self.own_containers;
        let Destinations { uses, changed } = &mut self.destinations;
        let changed = changed.as_mut()?;
        if changed.keys.is_empty() && changed.containers == containers {
            return None;
        }
        changed.containers = containers;
        let told = |key| {
            let known = uses.peek_mut(&key)?;
            known.changed = false;
            let own = known.users.iter().filter(|user| user.engine == 0).copied().collect();
            Some(Told { key, users: own, suspected: [known.suspected_since, known.suspected] })
        };
        let destinations = changed.keys.drain(..).filter_map(told).collect();
        Some(News { engine: changed.engine, containers, destinations })
    }

    /// Takes in what another engine has told.
    pub fn take_in(&mut self, news: &News) {
        let place = news.engine as usize;
        if self.elsewhere.len() <= place {
            self.elsewhere.resize(place + 1, 0);
        }
        self.elsewhere[place] = news.containers;
        self.note_count();
        for told in &news.destinations {
            self.destinations.take_in(news.engine + 1, told);
        }
    }
}

impl Destinations {
    fn take_in(&mut self, engine: u32, told: &Told) {
        let first = told.users.iter().map(|user| user.first).min().unwrap_or(told.suspected[1]);
        let known = self.uses.get_or_insert_with(told.key, || DestinationUse::new(first));
        let [since, latest] = told.suspected;
        if latest != Timestamp::default() {
            known.suspected_since = match known.suspected_since(latest) {
                Some(here) => here.min(since),
                None => since,
            };
            known.suspected = known.suspected.max(latest);
        }
        for user in &told.users {
            let user = User { engine, ..*user };
            let of = |one: &User| (one.engine, one.container);
            let place = known.users.iter().position(|one| of(one) == of(&user));
            match place {
                Some(place) => known.users[place] = user,
                None if known.users.len() < DestinationUse::USERS_MAX => known.users.push(user),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    #[test]
    fn engines_know_of_each_others_containers_and_nothing_is_told_back() {
        let [mut one, mut other] = [0, 1].map(|number| {
            let mut baseline = Baseline::new(&Settings::default());
            baseline.share(number);
            baseline.set_containers(at(0), 3);
            baseline
        });
        let key = DestinationKey::of_name("update.example");
        // The same number in both: two containers.
        one.destinations.note_payload(at(0), key, 7, [10, 10]);
        other.destinations.note_payload(at(1), key, 7, [10, 10]);
        other.destinations.suspect(at(5), key);
        let news = [one.news().unwrap(), other.news().unwrap()];
        one.take_in(&news[1]);
        other.take_in(&news[0]);
        for baseline in [&one, &other] {
            let known = baseline.destinations.get(key).unwrap();
            assert_eq!((baseline.containers(), known.containers()), (6, 2));
            assert_eq!(known.others(7).count(), 1);
            assert_eq!(known.suspected_since(at(6)), Some(at(5)));
        }
        assert!(one.news().is_none() && other.news().is_none(), "what was told is not told back");
        one.destinations.note_payload(at(9), key, 7, [10, 10]);
        other.take_in(&one.news().unwrap());
        let known = other.destinations.get(key).unwrap();
        assert_eq!(known.containers(), 2, "the same container");
        assert_eq!(known.others(7).map(|user| user.exchanges).max(), Some(2), "as it is by now");
    }

    #[test]
    fn news_are_bounded_and_an_engine_alone_has_none() {
        let mut alone = Baseline::new(&Settings::default());
        let mut shared = Baseline::new(&Settings::default());
        shared.share(0);
        for number in 0..2_000 {
            let key = DestinationKey(number);
            alone.destinations.note_payload(at(0), key, 7, [10, 10]);
            shared.destinations.note_payload(at(0), key, 7, [10, 10]);
        }
        assert!(alone.news().is_none());
        assert_eq!(shared.news().map(|news| news.destinations.len()), Some(TOLD_MAX));
        shared.destinations.note_payload(at(2), DestinationKey(1_999), 7, [10, 10]);
        assert_eq!(shared.news().map(|news| news.destinations.len()), Some(1), "used again");
    }
}
