use super::*;
use crate::container::LinkOwner;
use crate::event::LinkId;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// `web` is a container of that name, `web@5` one that began in second 5; the id is the text.
fn member(text: &str) -> Member {
    let (name, started) = text.split_once('@').unwrap_or((text, ""));
    Member {
        id: text.into(),
        name: Some(name.trim_end_matches('\'').into()),
        image: Some("busybox".into()),
        started: started.parse().ok().map(at),
        ended: None,
    }
}

fn says(attribution: Attribution, sandbox: bool, members: &str) -> ContainerIdentity {
    let pod = Kubernetes {
        namespace: "shop".into(),
        pod: "web-0".into(),
        pod_uid: Some("uid".into()),
        owner: None,
    };
    let known = attribution == Attribution::Runtime;
    let identity = ContainerIdentity {
        attribution,
        kubernetes: known.then(|| Box::new(pod)),
        ..LinkOwner::unnamed(LinkId(7), "veth1").identity
    };
    identity.of_sharing(Sharing {
        sandbox: sandbox.then(|| "pause".into()),
        members: members.split_whitespace().map(member).collect(),
        ..Sharing::of_network("netns:1")
    })
}

fn pod(members: &str) -> ContainerIdentity {
    says(Attribution::Runtime, true, members)
}

/// Id, name and list, as records have them.
fn reads(identity: &ContainerIdentity) -> String {
    let name = identity.name.as_deref().unwrap_or("-");
    format!("{} {name} {}", identity.id, identity.containers().join(",")).trim_end().to_owned()
}

#[test]
fn a_container_is_named_where_it_is_the_only_one() {
    for (case, identity, expected) in [
        ("a container alone", pod("web"), "web web"),
        ("a pod of which nothing else is known", pod(""), "pause -"),
        ("one of two", pod("web api"), "pause - web,api"),
        ("one after the other, of one name", pod("web web'"), "web web"),
        ("two without a pod", says(Attribution::Runtime, false, "web api"), "netns:1 - web,api"),
        ("a namespace", says(Attribution::Interface, false, ""), "netns:1 -"),
    ] {
        assert_eq!(reads(&identity), expected, "{case}");
        assert_eq!(identity.image.is_some(), expected.starts_with("web"), "{case}");
    }
    let many: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    let many = pod(&many.join(" "));
    assert_eq!(many.containers().len(), NAMES_MAX + 1);
    assert_eq!(&**many.containers().last().unwrap(), "...", "that there are more is told");
}

#[test]
fn a_pods_first_container_is_awaited() {
    for (case, identity, expected) in [
        ("nothing is known", says(Attribution::Pending, false, ""), true),
        ("the sandbox alone", pod(""), true),
        ("a container", pod("web"), false),
        ("a container without a pod", says(Attribution::Cgroup, false, "web"), false),
        ("a namespace that nobody names", says(Attribution::Interface, false, ""), false),
    ] {
        assert_eq!(identity.is_awaited(), expected, "{case}");
    }
}

#[test]
fn a_link_keeps_what_was_known_and_its_last_containers_name() {
    let mut known = pod("web");
    let pending = says(Attribution::Pending, false, "");
    let namespace = says(Attribution::Interface, false, "");
    let cgroup = says(Attribution::Cgroup, false, "pause");
    for (second, news, expected) in [
        (1, &pending, "web web"),
        (2, &pod("web api"), "pause - web,api"),
        (3, &pod("api"), "api api"),
        (4, &pod(""), "api api"),
        (5, &namespace, "api api"),
        (6, &cgroup, "api api"),
        (7, &pod("web'"), "web' web"),
    ] {
        known.renew(at(second), news);
        assert_eq!(reads(&known), expected, "second {second}");
        assert_eq!(known.attribution, Attribution::Runtime, "second {second}");
        assert!(known.pod().is_some(), "second {second}");
    }
}

#[test]
fn a_finding_names_who_was_there() {
    let mut link = pod("first");
    link.renew(at(10), &pod(""));
    assert_eq!(reads(&link), "first first", "flows that end now were its own");
    for (case, first_seen, expected) in
        [("of while it ran", 5, "first first"), ("from after its end", 11, "pause -")]
    {
        assert_eq!(reads(&link.of_finding(at(first_seen))), expected, "{case}");
    }
    link.renew(at(20), &pod("second@19"));
    for (case, first_seen, expected) in
        [("over both", 5, "pause - second,first"), ("of the second", 20, "second@19 second")]
    {
        assert_eq!(reads(&link.of_finding(at(first_seen))), expected, "{case}");
    }
    for turn in 0..99 {
        link.renew(at(30 + turn), &pod(&format!("other@{turn}")));
    }
    assert!(link.sharing.unwrap().members.len() <= ENDED_MAX + 1, "bounded");
}

#[test]
fn what_a_finding_told_is_not_lost() {
    let cgroup = says(Attribution::Cgroup, false, "web");
    let cases: &[(&str, ContainerIdentity, &[ContainerIdentity], &str)] = &[
        (
            "nothing is known any more",
            pod("web"),
            &[says(Attribution::Interface, false, "")],
            "web web",
        ),
        ("its container has ended", pod("web"), &[pod("")], "web web"),
        ("started anew after it", pod("web"), &[pod("web'@11")], "web web"),
        ("the pod's first container", pod(""), &[pod("web@9")], "web@9 web"),
        ("one that began after it", pod(""), &[pod("web@11")], "pause -"),
        ("another was there too", pod("web"), &[pod("web evil@9")], "pause - web,evil"),
        ("another came later", pod("web"), &[pod("web debug@11")], "web web"),
        (
            "the list only grows",
            pod("web api"),
            &[pod("web"), pod("web evil")],
            "pause - web,api,evil",
        ),
        (
            "it was the sandbox all along",
            says(Attribution::Cgroup, false, "pause"),
            &[pod("web")],
            "web web",
        ),
        ("its name comes later", cgroup, &[pod("web")], "web web"),
    ];
    for (case, found, news, expected) in cases {
        let mut identity = found.clone();
        for news in *news {
            identity.learn(news, at(10));
        }
        assert_eq!(reads(&identity), *expected, "{case}");
        let pod = found.pod().is_some() || news.iter().any(|one| one.pod().is_some());
        assert_eq!(identity.pod().is_some(), pod, "{case}");
        let rank_of = |one: &ContainerIdentity| rank(one.attribution);
        assert!(rank_of(&identity) >= rank_of(found), "{case}");
    }
}

#[test]
fn a_finding_that_goes_on_follows_its_container() {
    for (case, now, expected) in [
        ("it runs on", "web", "web web"),
        ("it runs on beside another", "web debug", "web web"),
        ("it was started anew", "web'", "web' web"),
        ("it ended", "", "web web"),
        ("another came instead", "debug", "web web"),
    ] {
        let mut identity = pod("web");
        identity.follow(&pod(now));
        assert_eq!(reads(&identity), expected, "{case}");
    }
    let mut several = pod("web api");
    several.follow(&pod("web' api'"));
    assert_eq!(reads(&several), "pause - web,api");
}

#[test]
fn a_pods_uid_is_known_before_its_name() {
    let mut identity = says(Attribution::Cgroup, false, "web");
    identity.kubernetes =
        Some(Box::new(Kubernetes { pod_uid: Some("uid".into()), ..Kubernetes::default() }));
    assert!(identity.pod().is_none());
    assert_eq!(identity.label(), "web");
    identity.learn(&pod("web"), at(1));
    assert_eq!(identity.label(), "shop/web-0");
}
