//! Who stands behind a link: containers of a pod share one network, and nothing in a packet tells which of them
//! sent it.

use super::{Attribution, ContainerIdentity, Kubernetes};
use crate::time::Timestamp;

/// Containers of one network that are told apart (count); more are told as `...`.
const NAMES_MAX: usize = 16;
/// A pod's containers begin one after the other, within this time (seconds).
const YOUNG_S: f64 = 2.0;
/// Containers that have ended and are remembered for what they did before (count).
const ENDED_MAX: usize = 4;

/// A container among those that share a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: Box<str>,
    /// Its name, where known.
    pub name: Option<Box<str>>,
    /// Its image, where known.
    pub image: Option<Box<str>>,
    /// Start of its first process, where known.
    pub started: Option<Timestamp>,
    /// When it was first missed.
    pub ended: Option<Timestamp>,
}

impl Member {
    /// Its name, else its id.
    fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// Takes what is known beyond this.
    fn gain(&mut self, news: &Self) {
        fill(&mut self.name, news.name.as_ref());
        fill(&mut self.image, news.image.as_ref());
        self.started = self.started.or(news.started);
    }
}

/// A link's network, and its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Id of what holds a pod's network, and does nothing else.
    pub sandbox: Option<Box<str>>,
    /// Id of the network: `netns:INODE`, or the link's name.
    pub network: Box<str>,
    /// Its name, where it has one.
    pub network_name: Option<Box<str>>,
    /// The containers, in the order in which they became known; at most 21.
    pub members: Vec<Member>,
    /// Their names, where they are several: drawn from them, and written as `containers`.
    pub names: Vec<Box<str>>,
}

impl Sharing {
    /// A network of which no container is known yet.
    pub fn of_network(network: &str) -> Self {
        Self { network: network.into(), ..Self::default() }
    }

    fn find(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| &*member.id == id)
    }

    fn add(&mut self, member: &Member) {
        let living = self.members.iter().filter(|member| member.ended.is_none()).count();
        if living <= NAMES_MAX && self.sandbox.as_ref() != Some(&member.id) {
            self.members.push(member.clone());
        }
    }

    /// Takes who is there now.
    fn replace_members(&mut self, at: Timestamp, now: &[Member]) {
        for member in &mut self.members {
            if !now.iter().any(|one| one.id == member.id) {
                member.ended = member.ended.or(Some(at));
            }
        }
        for member in now {
            match self.find(&member.id) {
                Some(known) => {
                    known.gain(member);
                    known.ended = None;
                }
                None => self.add(member),
            }
        }
        let ended = |member: &Member| member.ended.is_some();
        let mut over =
            self.members.iter().filter(|one| ended(one)).count().saturating_sub(ENDED_MAX);
        self.members.retain(|member| {
            let goes = over > 0 && ended(member);
            over -= usize::from(goes);
            !goes
        });
    }
}

fn fill<T: Clone>(known: &mut Option<T>, news: Option<&T>) {
    if known.is_none() {
        *known = news.cloned();
    }
}

/// How much is known where this is said of a link's container.
const fn rank(attribution: Attribution) -> u8 {
    match attribution {
        Attribution::Pending => 0,
        Attribution::Interface => 1,
        Attribution::Cgroup => 2,
        _ => 3,
    }
}

impl ContainerIdentity {
    /// Of a link, as its containers make it.
    #[must_use]
    pub fn of_sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = Some(Box::new(sharing));
        self.draw(|_| true);
        self
    }

    /// Names of the containers of which it is one, where the host tells several.
    pub fn containers(&self) -> &[Box<str>] {
        self.sharing.as_deref().map_or(&[], |sharing| &sharing.names)
    }

    /// More may become known that says whose it is.
    pub fn is_awaited(&self) -> bool {
        let alone = |sharing: &Sharing| sharing.sandbox.is_some() && sharing.members.is_empty();
        self.attribution == Attribution::Pending || self.sharing.as_deref().is_some_and(alone)
    }

    /// A container of the network had just begun at that time: others may have begun beside it, and are
    /// not known yet.
    pub fn is_young(&self, at: Timestamp) -> bool {
        let begun = |member: &Member| {
            member.started.is_some_and(|started| at.seconds_since(started) < YOUNG_S)
        };
        self.sharing.as_deref().is_some_and(|sharing| sharing.members.iter().any(begun))
    }

    /// Records say the same of both.
    pub fn reads_like(&self, other: &Self) -> bool {
        let told = |one: &Self| Self { sharing: None, ..one.clone() };
        self.containers() == other.containers() && told(self) == told(other)
    }

    /// Takes what the host says now of the link's container. Who was known does not become unknown.
    pub(super) fn renew(&mut self, at: Timestamp, news: &Self) {
        if news.attribution == Attribution::Pending && self.attribution.is_by_link() {
            return;
        }
        if self.sharing.is_none() || news.sharing.is_none() {
            self.clone_from(news);
            return;
        }
        self.gain(news);
        if let (Some(sharing), Some(news)) = (&mut self.sharing, &news.sharing) {
            sharing.replace_members(at, &news.members);
        }
        let lives = |member: &Member| member.ended.is_none();
        let members = self.sharing.iter().flat_map(|sharing| &sharing.members);
        let any = members.clone().any(lives);
        let last = members.max_by_key(|member| member.ended).map(|member| member.id.clone());
        // What the last one did may be told only now.
        self.draw(|member| if any { lives(member) } else { Some(&member.id) == last.as_ref() });
    }

    /// Who a finding is about: whoever runs now, or ran when what it rests on began.
    #[must_use]
    pub fn of_finding(&self, first_seen: Timestamp) -> Self {
        let mut identity = self.clone();
        let Some(sharing) = &mut identity.sharing else { return identity };
        sharing.members.retain(|member| member.ended.is_none_or(|ended| ended >= first_seen));
        sharing.members.sort_by_key(|member| member.ended.is_some());
        identity.draw(|_| true);
        identity
    }

    /// Takes what became known later to a finding of `found`. Nothing that was told is lost, but that one
    /// container was named: where another was there too, it may be either.
    pub fn learn(&mut self, news: &Self, found: Timestamp) {
        if self.sharing.is_none() || news.sharing.is_none() {
            self.clone_from(news);
            return;
        }
        self.gain(news);
        let (Some(sharing), Some(now)) = (&mut self.sharing, &news.sharing) else { return };
        for member in &now.members {
            // What began later did not do it.
            let may_be = member.started.is_none_or(|started| started <= found);
            match sharing.find(&member.id) {
                Some(known) => known.gain(member),
                None if may_be && member.ended.is_none() => sharing.add(member),
                None => {}
            }
        }
        self.draw(|_| true);
    }

    /// A finding goes on: where its container has ended, it is by the one of that name that was started in its place.
    pub fn follow(&mut self, news: &Self) {
        let (Some(sharing), Some(now)) = (&mut self.sharing, &news.sharing) else { return };
        let living = || now.members.iter().filter(|one| one.ended.is_none());
        for member in &mut sharing.members {
            let heir = living().find(|one| one.name.is_some() && one.name == member.name);
            if let Some(heir) = heir
                && !living().any(|one| one.id == member.id)
            {
                member.clone_from(heir);
            }
        }
        sharing.members.dedup_by(|one, before| one.id == before.id);
        self.draw(|_| true);
    }

    /// All but the containers.
    fn gain(&mut self, news: &Self) {
        if !news.ip.is_unspecified() {
            self.ip = news.ip;
        }
        if rank(news.attribution) >= rank(self.attribution) {
            self.attribution = news.attribution;
            if let (Some(sharing), Some(news)) = (&mut self.sharing, &news.sharing) {
                sharing.network.clone_from(&news.network);
                sharing.network_name.clone_from(&news.network_name);
            }
        }
        match (&mut self.kubernetes, &news.kubernetes) {
            (Some(known), Some(news)) => known.gain(news),
            (known, news) => fill(known, news.as_ref()),
        }
        let (Some(sharing), Some(news)) = (&mut self.sharing, &news.sharing) else { return };
        if news.sandbox.is_some() {
            sharing.sandbox.clone_from(&news.sandbox);
            // Before a runtime told what it is, it was taken for one of them.
            sharing.members.retain(|member| Some(&member.id) != news.sandbox.as_ref());
        }
    }

    /// Names the container that those of these members come to: one of that name, or none of several.
    fn draw(&mut self, counts: impl Fn(&Member) -> bool) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let mut names: Vec<Box<str>> = Vec::new();
        let members = || sharing.members.iter().filter(|member| counts(member));
        for label in members().map(Member::label) {
            if !names.iter().any(|name| **name == *label) {
                names.push(label.into());
            }
        }
        let whole = sharing.sandbox.as_ref().unwrap_or(&sharing.network);
        match (members().next(), &names[..]) {
            (Some(member), [_]) => {
                self.id.clone_from(&member.id);
                self.name.clone_from(&member.name);
                self.image.clone_from(&member.image);
                names.clear();
            }
            (member, _) => {
                self.id.clone_from(whole);
                let unnamed = member.is_none() && sharing.sandbox.is_none();
                self.name = sharing.network_name.clone().filter(|_| unnamed);
                self.image = None;
            }
        }
        if names.len() > NAMES_MAX {
            names.truncate(NAMES_MAX);
            names.push("...".into());
        }
        sharing.names = names;
    }
}

impl Kubernetes {
    /// The pod is known by its name.
    pub fn is_named(&self) -> bool {
        !self.pod.is_empty()
    }

    fn gain(&mut self, news: &Self) {
        if !self.is_named() {
            self.namespace.clone_from(&news.namespace);
            self.pod.clone_from(&news.pod);
        }
        fill(&mut self.pod_uid, news.pod_uid.as_ref());
        fill(&mut self.owner, news.owner.as_ref());
    }
}

#[cfg(test)]
mod tests;
