//! A simulated deployment at run time: its capacity, its pace, its chance, its statistics.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{
    config,
    faults::FaultSlot,
    latency::{LogNormal, TokenTiming},
    limits::Limiter,
    recorder::RequestStats,
};

/// How many prompt openings are remembered, for cached tokens.
const OPENINGS: usize = 256;
/// Azure caches prompts from 1,024 tokens; a simulated token is four characters.
const OPENING_TOKENS: u64 = 1024;

#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) name: String,
    pub(crate) config: config::Deployment,
    /// As answers name it: `gpt-4o-2024-11-20`.
    pub(crate) model: String,
    pub(crate) limiter: Mutex<Limiter>,
    pub(crate) timing: TokenTiming,
    pub(crate) stats: Arc<Mutex<RequestStats>>,
    pub(crate) faults: FaultSlot,
    output: Option<LogNormal>,
    rng: Mutex<fastrand::Rng>,
    openings: Mutex<VecDeque<u64>>,
}

impl Deployment {
    pub(crate) fn new(name: &str, config: &config::Deployment, seed: u64, now: Instant) -> Self {
        let dash = if config.version.is_empty() { "" } else { "-" };
        Self {
            name: name.to_owned(),
            model: [&config.model, dash, &config.version].concat(),
            limiter: Mutex::new(Limiter::new(config.capacity, now)),
            timing: TokenTiming::new(&config.latency),
            stats: Arc::default(),
            faults: FaultSlot::new(config.fault.clone(), now),
            config: config.clone(),
            output: config.output_tokens.map(LogNormal::from),
            rng: Mutex::new(fastrand::Rng::with_seed(seed ^ fnv(name.as_bytes()))),
            openings: Mutex::default(),
        }
    }

    /// One request's own chance: forked, so that its draws don't depend on what runs beside it.
    pub(crate) fn fork_rng(&self) -> fastrand::Rng {
        self.rng.lock().fork()
    }

    /// Whether an answer says when a limit resets.
    pub(crate) fn tells_reset(&self, rng: &mut fastrand::Rng) -> bool {
        match self.config.tells_reset {
            // Without a draw, so that nothing else of an answer changes by it.
            share if share <= 0.0 => false,
            share if share >= 1.0 => true,
            share => rng.f64() < share,
        }
    }

    /// How long the next answer is, in tokens, if that was configured.
    pub(crate) fn output_tokens(&self, rng: &mut fastrand::Rng) -> Option<u64> {
        self.output
            .map(|output| output.draw(rng).round().max(1.0) as u64)
    }

    /// Models that think before they answer spend tokens on it that nobody sees.
    pub(crate) fn reasons(&self) -> bool {
        let model = &self.config.model;
        model.starts_with("gpt-5") || matches!(model.as_bytes(), [b'o', b'0'..=b'9', ..])
    }

    /// How much of a prompt was cached: its opening, if an earlier request began in the same way.
    pub(crate) fn cached_tokens(&self, prompt: u64, body: &[u8]) -> u64 {
        if prompt <= OPENING_TOKENS {
            return 0;
        }
        let opening = fnv(&body[..body.len().min(OPENING_TOKENS as usize * 4)]);
        let mut openings = self.openings.lock();
        if openings.contains(&opening) {
            return OPENING_TOKENS;
        }
        if openings.len() == OPENINGS {
            openings.pop_front();
        }
        openings.push_back(opening);
        0
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(model: &str) -> Deployment {
        let yaml = format!(
            "instances: {{ i: {{ deployments: {{ d: {{ model: {model}, version: '1' }} }} }} }}"
        );
        let config = config::Config::parse(&yaml).unwrap();
        Deployment::new(
            "d",
            &config.instances["i"].deployments["d"],
            7,
            Instant::now(),
        )
    }

    #[test]
    fn a_long_prompt_is_cached_from_its_second_time_on() {
        let (deployment, body) = (deployment("gpt-4o"), vec![b'x'; 8_000]);
        assert_eq!(
            [0; 3].map(|_| deployment.cached_tokens(2_000, &body)),
            [0, 1_024, 1_024]
        );
        assert_eq!(deployment.cached_tokens(900, &body), 0);
    }

    #[test]
    fn reasoning_models_are_known_by_name() {
        for (model, reasons) in [
            ("o3-mini", true),
            ("gpt-5", true),
            ("gpt-4o", false),
            ("oasis", false),
        ] {
            assert_eq!(deployment(model).reasons(), reasons, "{model}");
        }
    }
}
