//! `prices:` as written.

use crate::config::{
    problem::Placed,
    read::Named,
    section::{Required, section},
    value::{Code, Money},
};

section! {
    /// What tokens cost: a cost in each log line and usage record, and `forebay_cost_total`.
    struct Prices {
        /// Of all prices here.
        currency: Required<Code>,
        /// By names of `models`.
        #[schemars(extend("minProperties" = 1))]
        models: Required<Placed<Named<ModelPrices>>>,
    }
}

section! {
    /// What a million of a model's tokens cost.
    struct ModelPrices {
        ..standard: Rates,
        /// By the service tier that an answer says it was served with; the prices above unless given.
        tiers: Option<TierPrices>,
        /// On deployments of `type: provisioned`; nothing unless given, since they are paid for anyway. What Azure's own
        /// spillover took from them costs the prices above.
        provisioned: Option<Rates>,
    }
}

section! {
    /// Prices of service tiers.
    struct TierPrices {
        /// Of priority processing.
        priority: Option<Rates>,
        /// Of flex processing.
        flex: Option<Rates>,
        /// Of scale tier.
        scale: Option<Rates>,
    }
}

section! {
    /// What a million tokens cost.
    struct Rates {
        /// Of the prompt.
        input: Required<Money>,
        /// From the cache; as `input` unless given.
        cached: Option<Money>,
        /// Audio in the prompt; as `input` unless given.
        audio_input: Option<Money>,
        /// Of the answer; `0` where a model gives none.
        output: Required<Money>,
        /// Spent on reasoning; as `output` unless given.
        reasoning: Option<Money>,
        /// Audio in the answer; as `output` unless given.
        audio_output: Option<Money>,
    }
}
