//! `prices:` as written.

use crate::config::{
    problem::Placed,
    read::Named,
    section::{Required, section},
    value::{Code, Money},
};

section! {
    /// Prices of tokens: they add the cost to log lines, usage records and `forebay_cost_total`.
    struct Prices {
        /// The currency of all prices.
        currency: Required<Code>,
        /// Prices by the names in `models`.
        #[schemars(extend("minProperties" = 1))]
        models: Required<Placed<Named<ModelPrices>>>,
    }
}

section! {
    /// A model's prices per million tokens.
    struct ModelPrices {
        ..standard: Rates,
        /// Prices by the service tier in the answer. Default: the prices above.
        tiers: Option<TierPrices>,
        /// Prices on deployments of `type: provisioned`. Default: zero, since their capacity is paid for anyway. What Azure's
        /// own spillover served for them has the prices above.
        provisioned: Option<Rates>,
    }
}

section! {
    /// Prices of service tiers.
    struct TierPrices {
        /// Priority processing.
        priority: Option<Rates>,
        /// Flex processing.
        flex: Option<Rates>,
        /// Scale tier.
        scale: Option<Rates>,
    }
}

section! {
    /// Prices per million tokens.
    struct Rates {
        /// Input tokens (prompt).
        input: Required<Money>,
        /// Cached input tokens. Default: as `input`.
        cached: Option<Money>,
        /// Audio input tokens. Default: as `input`.
        audio_input: Option<Money>,
        /// Output tokens (answer); `0` for a model without output tokens.
        output: Required<Money>,
        /// Reasoning tokens. Default: as `output`.
        reasoning: Option<Money>,
        /// Audio output tokens. Default: as `output`.
        audio_output: Option<Money>,
    }
}
