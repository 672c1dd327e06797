//! A series on trial: timing, standing and score, and the finding that comes of them.

use crate::baseline::DestinationKey;
use crate::detect::{Finding, Seen, Severity};
use crate::event::Zone;
use crate::flow::Flow;

use super::Settings;
use super::explain::{Evidence, Kind, Seconds, against};
use super::names::{Domain, distinct_share};
use super::rhythm::{BEATS_MAX, Rhythm, Test};
use super::score::{Score, Sizes};
use super::series::Series;
use super::standing::{self, Standing, Traits};

/// Timing and standing are circumstantial: no finding is certain (percent).
const CONFIDENCE_MAX: u32 = 95;

/// A series on trial.
pub(super) struct Case {
    pub kind: Kind,
    /// Subject of the finding.
    pub key: u64,
    /// See [`Test::many`].
    pub many: bool,
    /// Named places that the container calls at the same pace since the same time, this one included
    /// (count).
    pub in_step: usize,
}

impl Case {
    fn rhythm(&self, settings: &Settings, series: &Series) -> Option<Rhythm> {
        let mut room = [0.0; BEATS_MAX];
        let test = Test {
            scales_s: &settings.collapse_scales_s,
            floor_s: self.kind.floor_s(),
            cv_cap: settings.jitter_cv_max,
            period_min_s: settings.period_min_s,
            many: self.many,
        };
        Rhythm::of(series.moments_s(&mut room), &test)
    }

    /// A series of calls to a flow's responder.
    pub(super) fn judge(
        &self,
        settings: &Settings,
        seen: &Seen<'_>,
        series: &Series,
        traits: &Traits,
    ) -> Option<(Finding, f64)> {
        let rhythm = self.rhythm(settings, series)?;
        let flow = seen.flow;
        let tls = flow.app.is_some_and(|app| app.name == "tls") && self.kind == Kind::Connections;
        let alike = match self.kind {
            Kind::PeerBursts => false,
            // A handshake is much the same each time, and would hide an order's few bytes.
            _ if tls => series.answers_alike_bytes(settings.handshake_bytes[1]).is_some(),
            _ => series.answers_alike_bytes(0).is_some(),
        };
        let traits = &Traits { alike, ..*traits };
        let mut standing =
            Standing::of_flow(seen, traits, (series.first, rhythm.period_median_s), settings);
        self.limit(flow, traits, &mut standing);
        if self.in_step >= settings.in_step_min {
            standing.cap(
                Severity::Low,
                format!(
                    "the container began with {} named places at this pace: it checks or polls sites, and \
                     a controller has few",
                    self.in_step
                ),
            );
        }
        let sizes = (self.kind != Kind::Unanswered).then(|| Sizes::of(series)).flatten();
        let small = f64::from(settings.small_bytes);
        let handshake =
            settings.handshake_bytes.map(|bytes| if tls { f64::from(bytes) } else { 0.0 });
        let small = [small + handshake[0], small + handshake[1]];
        if let Some(sizes) = &sizes
            && standing::name_of(flow).is_some()
            && (sizes.ships(small[0]) || sizes.ships_records(small[0]))
        {
            standing.cap(
                Severity::Low,
                "it sends more than it asks for: telemetry or logs; exfiltration watches the volume",
            );
        }
        let score = Score::of(&rhythm, series.beats, sizes.as_ref(), small, &standing);
        let severity = score.severity(rhythm.beats, &standing, settings)?;
        let destination = match standing::name_of(flow) {
            Some(name) => format!("{name}:{}", flow.responder.port),
            None => flow.responder.to_string(),
        };
        let mut evidence = Evidence::new(
            self.kind,
            destination,
            series.beats,
            &rhythm,
            sizes.as_ref(),
            &standing,
            &score,
        );
        let known = flow.app.or(traits.app.filter(|_| flow.was_open_before()));
        evidence.app_proto = known.map_or_else(|| flow.app_name(), |app| Some(app.name));
        evidence.ja4 = flow.facts.tls.as_deref().and_then(|tls| tls.ja4.as_deref()).map(Into::into);
        let name = standing::name_of(flow);
        let against = against(self.kind, name, &rhythm, sizes.as_ref(), &standing, settings);
        standing.against.extend(against);
        let mut finding = match self.kind {
            Kind::OwnBursts | Kind::PeerBursts => Finding::on_flow(self.kind.rule(), seen),
            _ => Finding::on_peer(self.kind.rule(), flow.responder, flow.protocol),
        };
        finding.peer_name = standing::name_of(flow).map(Into::into);
        finding.title = title(self.kind, &evidence.destination, rhythm.period_median_s);
        self.fill(&mut finding, severity, series, standing, &score);
        Some((finding.explained(&evidence), rhythm.period_median_s))
    }

    /// Ceilings that come with the kind of beat.
    fn limit(&self, flow: &Flow, traits: &Traits, standing: &mut Standing) {
        let named = standing::name_of(flow).is_some();
        let app = flow.app.or(traits.app).map_or("", |app| app.name);
        match self.kind {
            Kind::Unanswered => {
                standing.cap(
                    Severity::Medium,
                    "a client of a service that is down tries again and again too",
                );
            }
            Kind::OwnBursts | Kind::PeerBursts if app == "ssh" => {
                standing.cap(Severity::Low, "ssh keeps idle sessions alive on a timer");
            }
            Kind::PeerBursts if named && matches!(app, "tls" | "websocket" | "http2" | "http") => {
                standing
                    .cap(Severity::Low, "servers push and ping on a timer over channels held open");
            }
            _ => {}
        }
    }

    /// A series of queries under a domain.
    pub(super) fn judge_domain(
        &self,
        settings: &Settings,
        seen: &Seen<'_>,
        series: &Series,
        about: &Domain,
    ) -> Option<(Finding, f64)> {
        let domain = &*about.name;
        let distinct = distinct_share(series.responses.values());
        let new_names = distinct >= settings.dns_distinct_min;
        let data = about.data_queries * 2 >= series.beats;
        // Lookups of hosts are followed by connections; a channel is not.
        if !(data || new_names) || about.connections * 4 >= series.beats {
            return None;
        }
        let rhythm = self.rhythm(settings, series)?;
        let key = DestinationKey::of_name(domain);
        let beats = (series.first, rhythm.period_median_s);
        let mut standing = Standing::of_key(seen, key, beats, settings);
        standing.excuse_heartbeat(true, settings);
        if new_names {
            standing.odd(
                10,
                format!("is asked for a new name each time ({:.0} % distinct)", distinct * 100.0),
            );
        }
        match settings.known_services.find(domain) {
            Some(known) => standing.cap(
                Severity::Info,
                format!("`{}` is a known service ({})", known.entry, known.category),
            ),
            None => standing.odd(8, format!("`{domain}` is on no list of known services")),
        }
        if data {
            standing.odd(6, "is asked for record types that carry data");
        }
        if about.random {
            standing.odd(4, "is asked for names that look random");
        }
        if seen.peer_zone() == Zone::External {
            standing.odd(4, "is asked through a resolver outside");
        }
        let sizes = Sizes::of(series);
        let mut score = Score::of(&rhythm, series.beats, sizes.as_ref(), [0.0; 2], &standing);
        score.payload = None;
        let severity = score.severity(rhythm.beats, &standing, settings)?;
        let mut evidence = Evidence::new(
            self.kind,
            domain.to_owned(),
            series.beats,
            &rhythm,
            None,
            &standing,
            &score,
        );
        evidence.domain = Some(domain.to_owned());
        evidence.distinct_names_share = Some((distinct * 100.0).round() / 100.0);
        evidence.app_proto = Some("dns");
        let against = against(self.kind, Some(domain), &rhythm, None, &standing, settings);
        standing.against.extend(against);
        let resolver = seen.flow.responder;
        let mut finding = Finding::on_peer(self.kind.rule(), resolver, seen.flow.protocol);
        self.fill(&mut finding, severity, series, standing, &score);
        finding.peer_name = Some(domain.into());
        finding.title = title(self.kind, domain, rhythm.period_median_s);
        Some((finding.explained(&evidence), rhythm.period_median_s))
    }

    fn fill(
        &self,
        finding: &mut Finding,
        severity: Severity,
        series: &Series,
        standing: Standing,
        score: &Score,
    ) {
        finding.subject = self.key;
        finding.severity = severity;
        finding.confidence = score.total().min(CONFIDENCE_MAX) as u8;
        finding.first_seen = series.first;
        finding.magnitude = series.beats as f64;
        finding.against = standing.against;
    }
}

fn title(kind: Kind, destination: &str, period_s: f64) -> String {
    format!("Beacon: {{container}} {} {destination} every {}", kind.verb(), Seconds(period_s))
}
