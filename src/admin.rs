//! The admin listener: dashboard, metrics, health and status. It reads what others decide, and decides nothing.

pub mod access;
mod alarms;
mod dashboard;
mod gateway;
mod page;
mod status;

use std::time::{Instant, SystemTime};

use http::{Method, StatusCode};

pub use self::{
    gateway::{Admin, IdentityState, IssuerState, ListenerState, Phase},
    page::Page,
};
use self::{
    page::text,
    status::{Status, Wants},
};
use crate::{
    domain::{breaker::Cause, health::HealthVerdict, refusal::Refusal},
    telemetry::metrics::Metrics,
};

/// What is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// The version that the asker has, by its `If-None-Match`.
    pub known: Option<&'a [u8]>,
}

impl Admin {
    pub fn page(&self, asked: &Asked<'_>) -> Page {
        if !matches!(*asked.method, Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are allowed here",
            );
        }
        match asked.path {
            "/" => dashboard::page(asked.known),
            "/metrics" => self.metrics_page(),
            "/status" => self.status(asked.query),
            "/health/live" => text(StatusCode::OK, "live"),
            "/health/ready" => self.ready(),
            _ => text(
                StatusCode::NOT_FOUND,
                "not found; try /, /metrics, /status, /health/live or /health/ready",
            ),
        }
    }

    fn ready(&self) -> Page {
        let unready = |why| text(StatusCode::SERVICE_UNAVAILABLE, why);
        match ((self.phase)(), (self.health)()) {
            (Phase::Serving, HealthVerdict::Healthy) => text(StatusCode::OK, "ready"),
            (Phase::Serving, HealthVerdict::Starting) => {
                unready("starting: the required models can't be served yet")
            }
            // No names: whoever can reach this address may ask.
            (Phase::Serving, HealthVerdict::NothingServes | HealthVerdict::Missing(_)) => unready(
                "required models can't be served; see /status or the log for which ones and why",
            ),
            (phase, _) => unready(phase.as_str()),
        }
    }

    /// Brings up to date what changes without a request: whenever the metrics are looked at.
    pub fn refresh(&self) {
        // Of two at once each would raise a counter by what the other did.
        let _one_at_a_time = self.refreshing.lock();
        let now = Instant::now();
        let is_serving = (self.phase)() == Phase::Serving;
        self.metrics
            .say_healthy(is_serving && (self.health)().is_healthy());
        for pool in &self.pools {
            for member in pool.members() {
                let deployment = member.deployment();
                let metrics = self.metrics.deployment(
                    pool.model(),
                    &deployment.instance.name,
                    &deployment.name,
                );
                let state = member.state(now);
                let pause = state.pause(now).unwrap_or_default();
                metrics.say_state(member.is_ready(now), pause);
                let cause = state
                    .cause()
                    .or_else(|| member.bars().first().map(|bar| bar.1));
                metrics.say_set_aside(cause.map(Cause::as_str));
            }
        }
        // An api-key has no token that could end.
        let identities = (self.identities)().into_iter();
        for identity in identities.filter(|it| it.source.is_some()) {
            self.metrics
                .identity(&identity.identity, identity.expires_on, identity.failures);
        }
        for issuer in (self.issuers)() {
            self.metrics.issuer(
                &issuer.issuer,
                issuer.fetched_at,
                issuer.fetches,
                issuer.failures,
            );
        }
        self.metrics.token_checks((self.token_checks)());
        self.metrics.limits(&(self.limits)());
    }

    fn metrics_page(&self) -> Page {
        self.refresh();
        Page::new(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.render())
    }

    fn status(&self, query: Option<&str>) -> Page {
        let status = Status::new(
            self,
            Wants::from_query(query),
            Instant::now(),
            SystemTime::now(),
        );
        match serde_json::to_vec_pretty(&status) {
            Ok(mut body) => {
                body.push(b'\n');
                Page::new(StatusCode::OK, "application/json", body)
            }
            Err(error) => {
                tracing::warn!(event = "status_failed", %error, "could not render /status");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "could not render /status",
                )
            }
        }
    }
}

/// What is answered to a request that is refused before anything else is looked at.
pub fn refused(refusal: &Refusal) -> Page {
    text(refusal.status(), &refusal.message())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        domain::{
            breaker::Settings,
            deployment::{Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight},
            pool::Pool,
        },
        telemetry::traffic_rates::TrafficRates,
    };

    fn admin(phase: Phase) -> Admin {
        let (metrics, now) = (Arc::new(Metrics::new()), Instant::now());
        Admin {
            host: "a".to_owned(),
            rates: Arc::new(TrafficRates::new(Arc::clone(&metrics), Vec::new(), now)),
            metrics,
            failovers: Arc::default(),
            pools: Vec::new(),
            identities: Box::new(Vec::new),
            listeners: Box::new(Vec::new),
            issuers: Box::new(Vec::new),
            limits: Box::new(Vec::new),
            token_checks: Box::new(|| 0),
            phase: Box::new(move || phase),
            health: Box::new(|| HealthVerdict::Healthy),
            started: now,
            refreshing: Mutex::default(),
        }
    }

    fn ask(admin: &Admin, method: Method, path: &str) -> Page {
        admin.page(&Asked {
            method: &method,
            path,
            query: None,
            known: None,
        })
    }

    #[test]
    fn readiness_follows_the_phase_and_liveness_does_not() {
        for (phase, status) in [
            (Phase::Starting, 503),
            (Phase::Serving, 200),
            (Phase::Draining, 503),
        ] {
            let admin = admin(phase);
            assert_eq!(ask(&admin, Method::GET, "/health/ready").status, status);
            assert_eq!(ask(&admin, Method::HEAD, "/health/live").status, 200);
        }
    }

    #[test]
    fn it_is_read_only() {
        let admin = admin(Phase::Serving);
        assert_eq!(ask(&admin, Method::POST, "/status").status, 405);
        assert_eq!(ask(&admin, Method::GET, "/elsewhere").status, 404);
        let page = ask(&admin, Method::GET, "/metrics");
        assert!(
            String::from_utf8(page.body)
                .unwrap()
                .contains("forebay_build_info")
        );
        assert_eq!(ask(&admin, Method::GET, "/").status, 200);
    }

    /// A gateway with so many models, each with two deployments.
    fn large(models: usize) -> Admin {
        let pool = |number: usize| {
            let deployment = |place: usize| Deployment {
                instance: Arc::new(Instance {
                    name: format!("instance-{number}-{place}").as_str().into(),
                    endpoint: Endpoint::parse("https://contoso.openai.azure.com").unwrap(),
                    kind: Kind::AzureOpenai,
                    identity: "vm".into(),
                    scope: "https://cognitiveservices.azure.com/.default".into(),
                    geography: None,
                    ca: None,
                    connect_to: None,
                    stream_usage: true,
                }),
                name: "gpt-4o".into(),
                capacity: Capacity::Standard,
                priority: Priority::FIRST,
                weight: Weight::new(1).unwrap(),
            };
            let model = Model {
                name: format!("model-{number}").as_str().into(),
                version: None,
                deployments: (0..2).map(deployment).collect(),
                timeouts: Default::default(),
                required: false,
            };
            Arc::new(Pool::new(model, Settings::default()))
        };
        Admin {
            pools: (0..models).map(pool).collect(),
            ..admin(Phase::Serving)
        }
    }

    /// The shortest of several times, for both: what else the machine does lengthens some.
    #[test]
    fn a_scrape_costs_as_much_more_as_there_are_more_deployments() {
        let (few, many) = (large(50), large(500));
        let mut shortest = [Duration::MAX; 2];
        let mut lengths = [0; 2];
        for _ in 0..8 {
            for (it, admin) in [&few, &many].into_iter().enumerate() {
                let since = Instant::now();
                lengths[it] = ask(admin, Method::GET, "/metrics").body.len();
                shortest[it] = shortest[it].min(since.elapsed());
            }
        }
        let pages = lengths[1] as f64 / lengths[0] as f64;
        assert!((8.0..11.0).contains(&pages), "{lengths:?}");
        // Ten times as much; a hundred times where each deployment looked at all.
        assert!(shortest[1] < 40 * shortest[0], "{shortest:?}");
    }
}
