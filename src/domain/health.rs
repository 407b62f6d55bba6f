//! Whether this gateway should be sent requests, as `/health` tells load balancers: what its models can do now, and for how
//! long that has been so.
//!
//! A gateway that can serve none of its models says so at once. A required model must have been down for `fall` before the
//! whole gateway is taken away from its clients, and everything must be back for `rise` before they are sent here again.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::name::ModelName;

/// `health:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a required model must be down before health says so.
    pub fall: Duration,
    /// How long everything must be back before health says so.
    pub rise: Duration,
    /// Whether a model whose deployments are all throttled counts as one that is down.
    pub throttled_is_down: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fall: Duration::from_secs(5),
            rise: Duration::from_secs(5),
            throttled_is_down: false,
        }
    }
}

/// What can become of a request for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// A deployment can be asked.
    Serves,
    /// Only those whose pause is over can be asked: the next request is a trial.
    Untried,
    /// A request is trying the only one that may be tried.
    OnTrial,
    /// Told waits alone stand in the way.
    Throttled,
    /// Faults, deployments that are set aside, or the want of a token.
    Down,
}

/// What health says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthVerdict {
    Healthy,
    /// It has never been able to serve what it must.
    Starting,
    /// No model at all can be served.
    NothingServes,
    /// These are required and have been down for long enough.
    Missing(Vec<ModelName>),
}

/// What is known of the models, and since when.
#[derive(Debug)]
pub struct Health {
    settings: Settings,
    models: Vec<Model>,
    verdict: HealthVerdict,
    /// Since when nothing has been in the way.
    well_since: Option<Instant>,
}

#[derive(Debug)]
struct Model {
    name: ModelName,
    is_required: bool,
    /// What it was before any trial.
    ability: Ability,
    /// A trial that failed at once is no break in this.
    down_since: Option<Instant>,
    /// Since when it could be tried, and nobody has.
    untried_since: Option<Instant>,
}

impl Health {
    /// `models`: each with whether it is required, in the order in which they are reported.
    pub fn new(settings: Settings, models: impl IntoIterator<Item = (ModelName, bool)>) -> Self {
        let models = models.into_iter().map(|(name, is_required)| Model {
            name,
            is_required,
            ability: Ability::Down,
            down_since: None,
            untried_since: None,
        });
        Self {
            settings,
            models: models.collect(),
            verdict: HealthVerdict::Starting,
            well_since: None,
        }
    }

    pub fn verdict(&self) -> &HealthVerdict {
        &self.verdict
    }

    /// Takes in what each model can do now, in their order; whether health says something else from now on.
    pub fn note(&mut self, abilities: impl IntoIterator<Item = Ability>, now: Instant) -> bool {
        for (model, ability) in self.models.iter_mut().zip(abilities) {
            model.note(ability, &self.settings, now);
        }
        let verdict = self.judge(now);
        let changed = verdict != self.verdict;
        self.verdict = verdict;
        changed
    }

    fn judge(&mut self, now: Instant) -> HealthVerdict {
        let nothing = self.nothing_serves(now);
        let is_well = !nothing && !self.models.iter().any(Model::is_missing);
        self.well_since = is_well.then(|| self.well_since.unwrap_or(now));
        if nothing {
            return match self.verdict {
                HealthVerdict::Starting => HealthVerdict::Starting,
                _ => HealthVerdict::NothingServes,
            };
        }
        let missing =
            |model: &&Model| model.is_missing() && model.is_down_for(self.settings.fall, now);
        let missing: Vec<_> = self
            .models
            .iter()
            .filter(missing)
            .map(|it| it.name.clone())
            .collect();
        match &self.verdict {
            HealthVerdict::Healthy if missing.is_empty() => HealthVerdict::Healthy,
            // The first time it is well it has nothing to come back from.
            HealthVerdict::Starting if is_well => HealthVerdict::Healthy,
            HealthVerdict::Starting => HealthVerdict::Starting,
            before => match self.well_since {
                Some(since) if now.saturating_duration_since(since) >= self.settings.rise => {
                    HealthVerdict::Healthy
                }
                // What it was down for may be back, and is not yet believed.
                _ if missing.is_empty() => before.clone(),
                _ => HealthVerdict::Missing(missing),
            },
        }
    }

    /// Told waits end by themselves: where they count, they must have lasted.
    fn nothing_serves(&self, now: Instant) -> bool {
        let mut models = self.models.iter();
        models.all(|model| match model.ability {
            _ if model.untried_since.is_some() => false,
            Ability::Down => true,
            Ability::Throttled => model.is_down_for(self.settings.fall, now),
            Ability::Serves | Ability::Untried | Ability::OnTrial => false,
        })
    }
}

impl Model {
    fn note(&mut self, ability: Ability, settings: &Settings, now: Instant) {
        let untried_since = self.untried_since.take();
        match ability {
            // A trial is no news: its end is.
            Ability::OnTrial => return,
            // Without requests nobody finds out. After a while that is as good as well: load balancers must come back to ask.
            Ability::Untried => {
                let since = untried_since.unwrap_or(now);
                if now.saturating_duration_since(since) >= settings.rise {
                    self.down_since = None;
                }
                self.untried_since = Some(since);
                return;
            }
            _ => self.ability = ability,
        }
        let is_down = match ability {
            Ability::Down => true,
            Ability::Throttled => settings.throttled_is_down,
            _ => false,
        };
        self.down_since = is_down.then(|| self.down_since.unwrap_or(now));
    }

    fn is_missing(&self) -> bool {
        self.is_required && self.down_since.is_some() && self.untried_since.is_none()
    }

    fn is_down_for(&self, time: Duration, now: Instant) -> bool {
        self.down_since
            .is_some_and(|since| now.saturating_duration_since(since) >= time)
    }
}

impl HealthVerdict {
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }
}

/// For operators.
impl fmt::Display for HealthVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("every required model can be served"),
            Self::Starting => f.write_str("starting: the required models can't be served yet"),
            Self::NothingServes => f.write_str("no model can be served"),
            Self::Missing(models) => {
                f.write_str("no deployment is available for required models: ")?;
                for (at, model) in models.iter().enumerate() {
                    let between = if at > 0 { ", " } else { "" };
                    write!(f, "{between}{model}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ability::*, *};

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A gateway of these models, each required or not.
    struct Story {
        health: Health,
        start: Instant,
    }

    impl Story {
        fn new(settings: Settings, required: &[bool]) -> Self {
            let names = ["a", "b", "c"].map(ModelName::from);
            Self {
                health: Health::new(settings, names.into_iter().zip(required.iter().copied())),
                start: Instant::now(),
            }
        }

        /// What health says so many seconds after the start.
        fn at(&mut self, seconds: u64, abilities: &[Ability]) -> &HealthVerdict {
            let now = self.start + secs(seconds);
            self.health.note(abilities.iter().copied(), now);
            self.health.verdict()
        }

        fn is_healthy(&mut self, seconds: u64, abilities: &[Ability]) -> bool {
            self.at(seconds, abilities).is_healthy()
        }
    }

    fn missing(name: &str) -> HealthVerdict {
        HealthVerdict::Missing(vec![name.into()])
    }

    #[test]
    fn a_gateway_is_well_from_the_moment_that_it_can_serve_what_it_must() {
        let mut story = Story::new(Settings::default(), &[true, false]);
        assert_eq!(*story.at(0, &[Down, Down]), HealthVerdict::Starting);
        assert_eq!(*story.at(60, &[Down, Serves]), HealthVerdict::Starting);
        assert!(story.is_healthy(61, &[Serves, Down]));
    }

    #[test]
    fn without_any_model_that_can_be_served_health_falls_at_once_and_comes_back_after_rise() {
        let mut story = Story::new(Settings::default(), &[false, false]);
        assert!(story.is_healthy(0, &[Serves, Serves]));
        assert!(story.is_healthy(60, &[Down, Serves]));
        assert_eq!(*story.at(61, &[Down, Down]), HealthVerdict::NothingServes);
        assert!(!story.is_healthy(62, &[Serves, Down]));
        assert!(!story.is_healthy(66, &[Serves, Down]));
        assert!(story.is_healthy(67, &[Serves, Down]));
    }

    #[test]
    fn a_required_model_that_is_down_for_fall_takes_health_with_it_and_a_blip_does_not() {
        let mut story = Story::new(Settings::default(), &[true, false]);
        assert!(story.is_healthy(0, &[Serves, Serves]));
        assert!(story.is_healthy(10, &[Down, Serves]));
        assert!(story.is_healthy(14, &[Down, Serves]));
        assert!(story.is_healthy(15, &[Serves, Serves]));
        assert!(story.is_healthy(16, &[Down, Serves]));
        assert!(story.is_healthy(20, &[Down, Serves]));
        assert_eq!(*story.at(21, &[Down, Serves]), missing("a"));
        // It must stay back, without a break, before that is believed.
        assert!(!story.is_healthy(30, &[Serves, Serves]));
        assert!(!story.is_healthy(33, &[Down, Serves]));
        assert_eq!(*story.at(34, &[Serves, Serves]), missing("a"));
        assert!(!story.is_healthy(38, &[Serves, Serves]));
        assert!(story.is_healthy(39, &[Serves, Serves]));
    }

    #[test]
    fn throttling_alone_leaves_health_as_it_is_unless_it_is_to_count() {
        let mut story = Story::new(Settings::default(), &[true]);
        assert!(story.is_healthy(0, &[Serves]));
        assert!(story.is_healthy(1, &[Throttled]) && story.is_healthy(100, &[Throttled]));
        let counts = Settings {
            throttled_is_down: true,
            ..Settings::default()
        };
        for required in [true, false] {
            let mut story = Story::new(counts, &[required]);
            assert!(story.is_healthy(0, &[Serves]));
            assert!(story.is_healthy(1, &[Throttled]) && story.is_healthy(5, &[Throttled]));
            assert!(!story.is_healthy(6, &[Throttled]));
            assert!(!story.is_healthy(7, &[Serves]));
            assert!(story.is_healthy(12, &[Serves]));
        }
        // One model's told waits, another's faults: not everything is down.
        let mut story = Story::new(Settings::default(), &[false, false]);
        assert!(story.is_healthy(0, &[Serves, Serves]));
        assert!(story.is_healthy(1, &[Throttled, Down]));
    }

    #[test]
    fn a_trial_is_no_news_in_either_direction() {
        let mut story = Story::new(Settings::default(), &[false]);
        assert!(story.is_healthy(0, &[Serves]));
        assert!(story.is_healthy(1, &[OnTrial]));
        assert!(!story.is_healthy(2, &[Down]));
        assert!(!story.is_healthy(3, &[OnTrial]) && !story.is_healthy(20, &[OnTrial]));
        assert!(!story.is_healthy(21, &[Serves]) && story.is_healthy(26, &[Serves]));
    }

    #[test]
    fn a_failed_trial_is_no_break_in_being_down_and_waiting_for_one_is_in_the_end() {
        let settings = Settings {
            fall: secs(30),
            ..Settings::default()
        };
        let mut story = Story::new(settings, &[true, false]);
        assert!(story.is_healthy(0, &[Serves, Serves]));
        assert!(story.is_healthy(10, &[Down, Serves]));
        assert!(story.is_healthy(20, &[Untried, Serves]));
        assert!(story.is_healthy(21, &[Down, Serves]) && story.is_healthy(39, &[Down, Serves]));
        assert_eq!(*story.at(40, &[Down, Serves]), missing("a"));
        // Nobody asks any more: load balancers went elsewhere.
        assert!(!story.is_healthy(60, &[Untried, Serves]));
        assert!(story.is_healthy(65, &[Untried, Serves]));
        // That it failed then is a new outage.
        assert!(story.is_healthy(70, &[Down, Serves]) && story.is_healthy(99, &[Down, Serves]));
        assert!(!story.is_healthy(100, &[Down, Serves]));
    }

    #[test]
    fn with_no_time_to_fall_or_rise_health_follows_at_once() {
        let settings = Settings {
            fall: Duration::ZERO,
            rise: Duration::ZERO,
            throttled_is_down: true,
        };
        let mut story = Story::new(settings, &[true, false]);
        assert!(story.is_healthy(0, &[Serves, Serves]));
        assert!(!story.is_healthy(1, &[Down, Serves]));
        assert!(story.is_healthy(2, &[Serves, Serves]));
        assert!(!story.is_healthy(3, &[Throttled, Serves]));
    }

    #[test]
    fn a_change_is_told_once_and_names_what_is_missing() {
        let mut story = Story::new(Settings::default(), &[true, false]);
        let t = story.start;
        assert!(story.health.note([Serves, Serves], t));
        assert!(!story.health.note([Down, Serves], t + secs(1)));
        assert!(story.health.note([Down, Serves], t + secs(6)));
        assert!(!story.health.note([Down, Serves], t + secs(7)));
        let text = story.health.verdict().to_string();
        assert_eq!(text, "no deployment is available for required models: a");
    }
}
