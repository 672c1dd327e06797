//! What leaves in one piece, in drips and in parts; what is usual stays quiet.

use super::*;

#[test]
fn finds_what_leaves() {
    type Story = fn(&mut Lab);
    let stories: &[(&str, Story, (Severity, &str))] = &[
        (
            "200 MB to a new name over TLS",
            |lab| lab.upload(NAMED, 210 * MB),
            (Severity::High, "exfil.volume"),
        ),
        (
            "25 MB to a new name over TLS",
            |lab| lab.upload(NAMED, 25 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "scp of 80 MB to an address",
            |lab| lab.upload(SSHD, 80 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "20 MB in TLS to an IPv6 address",
            |lab| lab.upload(SIX, 20 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "20 MB over UDP to an odd port",
            |lab| {
                lab.upload(To { protocol: IpProtocol::UDP, ..RAW }, 20 * MB);
            },
            (Severity::High, "exfil.volume"),
        ),
        (
            "tar into netcat after three quiet hours",
            |lab| {
                lab.live(3 * 3_600);
                lab.upload(RAW, 100 * MB);
            },
            (Severity::High, "exfil.volume"),
        ),
        (
            "6 MB to an address after a quiet quarter of an hour",
            |lab| {
                lab.live(900);
                lab.upload(BARE, 6 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "30 MB to a partner that only ever got requests",
            |lab| {
                lab.live(3_600);
                lab.upload(API, 30 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "40 MB in equal parts with pauses, to a name",
            |lab| {
                for _ in 0..20 {
                    lab.upload(NAMED, 2 * MB);
                    lab.wait(3.0);
                }
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "60 MB at 200 kB/s to a name",
            |lab| lab.connection(NAMED, true, 60 * MB, 90_000, 2e5),
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "30 MB to a public store, in one go, from a container that never did",
            |lab| {
                lab.live(900);
                lab.upload(STORE, 30 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "64 kB each 2 s to an address, 9 MB in all",
            |lab| {
                for _ in 0..135 {
                    lab.upload(BARE, 65_536);
                    lab.wait(2.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "200 kB each 60 s to an address, for an hour",
            |lab| {
                for _ in 0..60 {
                    lab.upload(BARE, 200_000);
                    lab.wait(60.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "100 kB each 60 s for an hour to a name, in a container with a past",
            |lab| {
                lab.live(450);
                for _ in 0..60 {
                    lab.upload(NAMED, 100_000);
                    lab.wait(60.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "20 kB/s in one connection to a name",
            |lab| {
                lab.connection(NAMED, true, 8 * MB, 30_000, 2e4);
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "32 to 96 kB each 4 s to a name, in a container with a past",
            |lab| {
                lab.live(900);
                for step in 0..100 {
                    lab.upload(NAMED, 32_000 + step * 37 % 64 * 1_000);
                    lab.wait(4.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
    ];
    let both = stories.iter().flat_map(|story| [(story, false), (story, true)]);
    for ((story, play, expected), restarts) in both {
        let mut lab = Lab { restarts, ..Lab::new() };
        play(&mut lab);
        // After a restart what goes on is told anew, and by what it looks like then.
        let as_said = |(severity, rule)| (severity, if restarts { "" } else { rule });
        assert_eq!(
            lab.worst().map(as_said),
            Some(as_said(*expected)),
            "{story}; restarts: {restarts}"
        );
        let worst = lab.findings().max_by_key(|finding| finding.severity).unwrap();
        assert!(worst.title.contains("{container}") && !worst.why.is_empty(), "{story}");
        assert!(worst.evidence.contains_key("sent_bytes"), "{story}");
    }
}

#[test]
fn stays_quiet_about_what_is_usual() {
    type Story = fn(&mut Lab);
    let stories: &[(&str, Story)] = &[
        ("a backup of 200 MB into the cluster's store", |lab| lab.upload(INSIDE, 200 * MB)),
        ("a download of 300 MB", |lab| lab.connection(API, true, 400_000, 300 * MB, 50e6)),
        ("a video call, both ways", |lab| {
            let call = To { protocol: IpProtocol::UDP, ..RAW };
            lab.connection(call, true, 60 * MB, 50 * MB, 3e5);
        }),
        ("a web server answers the outside", |lab| {
            for _ in 0..2_000 {
                lab.connection(To { port: 8080, ..API }, false, 90_000, 600, 1e7);
            }
        }),
        ("telemetry each 15 s for 6 hours", |lab| {
            for _ in 0..1_440 {
                lab.connection(LOGS, true, 2_700, 4_800, 1e6);
                lab.wait(15.0);
            }
        }),
        ("logs to a service for logs, 30 kB/s for half an hour", |lab| {
            lab.connection(LOGS, true, 54 * MB, 200_000, 3e4);
        }),
        ("a runner streams its log", |lab| {
            for _ in 0..60 {
                lab.connection(API, true, 12_000, 9_000, 1e6);
                lab.wait(3.0);
            }
        }),
        ("pictures of all sizes to a store, as users bring them", |lab| {
            for step in 0..60_u64 {
                lab.upload(STORE, 100_000 + step * 7_919 % 31 * 90_000);
                lab.wait(6.0);
            }
        }),
        ("pictures of all sizes to a name in no list", |lab| {
            for step in 0..100_u64 {
                lab.upload(NAMED, 100_000 + step * 7_919 % 31 * 60_000);
                lab.wait(6.0);
            }
        }),
        ("a service passes on what callers upload", |lab| {
            for _ in 0..40 {
                lab.connection(INSIDE, false, 500, MB, 1e7);
                lab.upload(STORE, MB);
                lab.wait(1.0);
            }
        }),
        ("a backup of 15 MB each hour, then one of 40 MB", |lab| {
            for size in [15, 14, 15, 40] {
                lab.upload(NAMED, size * MB);
                lab.live(3_600);
            }
        }),
        ("a push of 8 MB to a code host", |lab| {
            lab.upload(to("198.51.100.60", 22, "github.com", &SSH), 8 * MB);
        }),
        ("a crawler of many hosts", |lab| {
            for host in 0..200 {
                let name: &'static str = Box::leak(format!("www.site{host}.example").into());
                let ip: &'static str = Box::leak(format!("198.51.100.{host}").into());
                lab.connection(to(ip, 443, name, &TLS), true, 1_800, 22_000, 1e6);
            }
        }),
    ];
    let both = stories.iter().flat_map(|story| [(story, false), (story, true)]);
    for ((story, play), restarts) in both {
        let mut lab = Lab { restarts, ..Lab::new() };
        play(&mut lab);
        let worst = lab.worst().map_or(Severity::Info, |(severity, _)| severity);
        let why = lab.findings().last().map(|finding| finding.why.clone());
        assert!(worst < Severity::Medium, "{story}; restarts: {restarts}: {worst:?} {why:?}");
    }
}

#[test]
fn siblings_explain_an_upload_where_they_upload_alike() {
    let name = DestinationKey::of_name("drop.example");
    let bare = DestinationKey::of_ip("198.51.100.8".parse().unwrap());
    type Sibling = (u64, [u64; 2]);
    let alike: Sibling = (600, [40 * MB, 90_000]);
    for (story, to, key, siblings, suspected, expected) in [
        ("nobody else", NAMED, name, &[][..], false, Severity::Medium),
        ("three that upload as much", NAMED, name, &[alike; 3], false, Severity::Low),
        ("two do not make a habit", NAMED, name, &[alike; 2], false, Severity::Medium),
        ("a few bytes each", NAMED, name, &[(600, [5, 5]); 7], false, Severity::Medium),
        ("downloads only", NAMED, name, &[(600, [MB, 60 * MB]); 7], false, Severity::Medium),
        ("a tenth each", NAMED, name, &[(600, [6 * MB, 9_000]); 7], false, Severity::Medium),
        ("all at once", NAMED, name, &[(10, alike.1); 7], false, Severity::Medium),
        ("all are robbed, one was found", NAMED, name, &[alike; 7], true, Severity::Medium),
        ("no name", BARE, bare, &[alike; 7], false, Severity::Medium),
    ] {
        let mut lab = Lab::new();
        lab.node.set_containers(lab.now, 8);
        lab.wait(3_600.0);
        for (number, (since_s, moved)) in (1..).zip(siblings) {
            let at = Timestamp::from_nanos(lab.now.nanos() - since_s * 1_000_000_000);
            lab.node.destinations.note_payload(at, key, number, *moved);
        }
        if suspected {
            lab.node.destinations.suspect(lab.now, key);
        }
        lab.upload(to, 60 * MB);
        assert_eq!(lab.worst(), Some((expected, "exfil.volume")), "{story}");
    }
}

#[test]
fn parts_to_many_destinations_are_summed() {
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"];
    for (story, size, restarts, expected) in [
        ("each below its limit, together above", 5 * MB, false, Some("exfil.split")),
        ("the same over restarts", 5 * MB, true, Some("exfil.split")),
        ("little each", MB / 4, false, None),
    ] {
        let mut lab = Lab { restarts, ..Lab::new() };
        for ip in ips {
            lab.upload(To { ip, port: 8443, ..BARE }, size);
        }
        assert_eq!(lab.worst().map(|(_, rule)| rule), expected, "{story}");
    }
    let mut lab = Lab::new();
    for ip in ips {
        lab.upload(To { ip, port: 8443, ..BARE }, 25 * MB);
    }
    let rules: Vec<_> = lab.findings().map(|f| (f.rule.id, f.peer.ip.to_string())).collect();
    let volumes = rules.iter().filter(|(rule, _)| *rule == "exfil.volume");
    assert!(volumes.clone().all(|(_, ip)| ip == ips[0] || ip == ips[1]), "{rules:?}");
    lab.detector.end_capture(&mut lab.verdicts);
    let split = lab.findings().filter(|finding| finding.rule.id == "exfil.split").last().unwrap();
    assert_eq!(split.evidence["destinations"], 5, "the last report has the last numbers");
    assert!(split.evidence["sent_bytes"].as_u64() >= Some(124 * MB), "{:?}", split.evidence);
    assert!(split.evidence["destinations"].as_u64() >= Some(3), "{:?}", split.evidence);
}

#[test]
fn what_is_allowed_is_no_part_of_a_split_upload() {
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "198.51.100.4", "198.51.100.5"];
    for (story, allowed, expected) in [
        ("none allowed", None, Some("exfil.split")),
        ("three of five allowed", Some(("203.0.113.", "exfil.split")), None),
        ("allowed as volume", Some(("203.0.113.", "exfil.volume")), None),
        ("allowed as a pull", Some(("203.0.113.", "exfil.pull")), Some("exfil.split")),
        ("two others allowed", Some(("192.0.2.", "exfil.volume")), Some("exfil.split")),
    ] {
        let mut lab = Lab { allow: Allowed(allowed), ..Lab::new() };
        for ip in ips {
            lab.upload(To { ip, port: 8443, ..BARE }, 5 * MB);
        }
        assert_eq!(lab.worst().map(|(_, rule)| rule), expected, "{story}");
    }
}

#[test]
fn a_fetch_by_an_outsider_counts_where_it_is_new() {
    let fetch = To { ip: "203.0.113.77", port: 9_191, ..RAW };
    for (story, before_s, inside_s, port, expected) in [
        ("a port that is served from the start", 0, 0, 9_191, Some(Severity::Low)),
        ("a port new to a container with a past", 3_600, 0, 9_191, Some(Severity::Medium)),
        ("a port of the web, new or not", 3_600, 0, 8_080, None),
        ("one that only the inside used for long", 0, 900, 8_080, Some(Severity::Medium)),
    ] {
        let mut lab = Lab { restarts: true, ..Lab::new() };
        lab.live(before_s);
        for _ in 0..inside_s / 30 {
            lab.connection(To { port, ..INSIDE }, false, 20_000, 500, 1e6);
            lab.wait(30.0);
        }
        lab.connection(To { port, ..fetch }, false, 50 * MB, 900, 1e7);
        assert_eq!(lab.worst().map(|(severity, _)| severity), expected, "{story}");
    }
}
