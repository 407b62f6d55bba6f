//! Prices of tokens. Exact: whole numbers of a small unit, no fraction is ever rounded.

use std::{collections::HashMap, fmt};

use thiserror::Error;

use super::{
    deployment::Capacity,
    name::ModelName,
    usage::{Tier, Usage},
};

/// What a million tokens cost, in millionths of the currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price(u64);

/// Why a text is no price. The message says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PriceError {
    #[error("a price is a plain number per million tokens, like 2.50")]
    NotANumber,
    #[error("a price must not be negative; write 0 for free")]
    Negative,
    #[error("a price may have at most six decimal places, like 0.000125")]
    TooFine,
    #[error("a price may be at most a million, per million tokens")]
    TooHigh,
}

const DIGITS: usize = 6;
const MILLION: u64 = 1_000_000;
/// A whole one of the currency, in what costs are counted in.
const UNIT: u128 = MILLION as u128 * MILLION as u128;

impl Price {
    /// Reads a decimal number, to the letter.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        if text.starts_with('-') {
            return Err(PriceError::Negative);
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(part) {
            return Err(PriceError::NotANumber);
        }
        let digits = part.trim_end_matches('0');
        if digits.len() > DIGITS {
            return Err(PriceError::TooFine);
        }
        let whole: u64 = whole.parse().map_err(|_| PriceError::TooHigh)?;
        let part: u64 = format!("{digits:0<DIGITS$}").parse().unwrap_or(0);
        let price = whole.checked_mul(MILLION).map(|whole| whole + part);
        price
            .filter(|price| *price <= MILLION * MILLION)
            .map(Self)
            .ok_or(PriceError::TooHigh)
    }

    fn cost(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// The prices of each type of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: Price,
    pub cached: Price,
    pub audio_input: Price,
    pub output: Price,
    pub reasoning: Price,
    pub audio_output: Price,
}

impl Rates {
    /// Each token costs once, by what it is. Where parts are told to be more than their whole (some servers count
    /// audio from the cache as both), cached ones count first.
    fn cost(&self, usage: &Usage) -> u128 {
        let split = |whole: u64, first: u64, second: u64| {
            let first = first.min(whole);
            let second = second.min(whole - first);
            [first, second, whole - first - second]
        };
        let [cached, audio_input, input] = split(usage.input, usage.cached, usage.audio_input);
        let [reasoning, audio_output, output] =
            split(usage.output, usage.reasoning, usage.audio_output);
        let parts = [
            (self.cached, cached),
            (self.audio_input, audio_input),
            (self.input, input),
            (self.reasoning, reasoning),
            (self.audio_output, audio_output),
            (self.output, output),
        ];
        // Each is below 2^40 * 2^64, so six of them are far from the end.
        parts
            .iter()
            .map(|(price, tokens)| price.cost(*tokens))
            .sum()
    }
}

/// What a model's tokens cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPrices {
    /// Where a deployment is paid for by the token.
    pub standard: Rates,
    /// Where the answer's service tier has prices of its own.
    pub tiers: Vec<(Tier, Rates)>,
    /// On provisioned deployments: nothing unless the operator says what, since their capacity is paid for anyway.
    pub provisioned: Rates,
}

/// The operator's table.
#[derive(Clone, Debug)]
pub struct Prices {
    pub currency: Currency,
    pub models: HashMap<ModelName, ModelPrices>,
}

/// Where and how an answer was made, as far as its cost goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub capacity: Capacity,
    /// By Azure's own spillover, at a deployment that is paid for by the token.
    pub is_spilled: bool,
}

impl Prices {
    /// What a request cost; `None`: the table has no price for its model.
    pub fn cost(&self, model: &ModelName, served: Served, usage: &Usage) -> Option<Cost> {
        let prices = self.models.get(model)?;
        let rates = match (served.capacity, served.is_spilled) {
            (Capacity::Provisioned, false) => &prices.provisioned,
            _ => {
                let mut tiers = prices.tiers.iter();
                let own = tiers.find(|(tier, _)| Some(*tier) == usage.tier);
                own.map_or(&prices.standard, |(_, rates)| rates)
            }
        };
        Some(Cost {
            amount: rates.cost(usage),
            currency: self.currency,
        })
    }
}

/// A currency's code (ISO 4217), like `EUR`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `None`: not three capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(code))
    }

    pub fn as_str(&self) -> &str {
        // Three ASCII letters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one request cost. Its text is a decimal number, exact and without needless zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In millionths of millionths of the currency.
    amount: u128,
    pub currency: Currency,
}

impl Cost {
    /// For what counts in floating-point numbers: exact to fifteen digits.
    pub fn to_f64(self) -> f64 {
        (self.amount / UNIT) as f64 + (self.amount % UNIT) as f64 / 1e12
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount / UNIT)?;
        // Below the unit, so it fits; dividing the wider number so often would cost more than the rest of a log line.
        let mut part = u64::try_from(self.amount % UNIT).unwrap_or(0);
        let mut width = 2 * DIGITS;
        if part == 0 {
            return Ok(());
        }
        while part.is_multiple_of(10) {
            (part, width) = (part / 10, width - 1);
        }
        write!(f, ".{part:0width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    fn rates(prices: [&str; 6]) -> Rates {
        let [input, cached, audio_input, output, reasoning, audio_output] = prices.map(price);
        Rates {
            input,
            cached,
            audio_input,
            output,
            reasoning,
            audio_output,
        }
    }

    fn prices() -> Prices {
        let model = ModelPrices {
            standard: rates(["2.50", "1.25", "40", "10", "10", "80"]),
            tiers: vec![(Tier::Priority, rates(["5", "2.5", "5", "20", "20", "20"]))],
            provisioned: Rates::default(),
        };
        Prices {
            currency: Currency::parse("EUR").unwrap(),
            models: HashMap::from([("gpt-4o".into(), model)]),
        }
    }

    const STANDARD: Served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };

    fn cost(served: Served, usage: Usage) -> String {
        let cost = prices().cost(&"gpt-4o".into(), served, &usage);
        cost.unwrap().to_string()
    }

    fn usage(input: u64, cached: u64, output: u64) -> Usage {
        Usage {
            input,
            cached,
            output,
            ..Usage::default()
        }
    }

    #[test]
    fn each_token_costs_once_by_what_it_is() {
        assert_eq!(cost(STANDARD, usage(1_000_000, 0, 0)), "2.5");
        assert_eq!(cost(STANDARD, usage(1_000_000, 1_000_000, 0)), "1.25");
        assert_eq!(cost(STANDARD, usage(0, 0, 0)), "0");
        // 20 * 2.5 + 10 * 1.25 + 12 * 10, in millionths.
        assert_eq!(cost(STANDARD, usage(30, 10, 12)), "0.0001825");
        let audio = Usage {
            input: 100,
            audio_input: 60,
            output: 50,
            reasoning: 5,
            audio_output: 40,
            ..Usage::default()
        };
        // 40 * 2.5 + 60 * 40 + 10 * 10 + 40 * 80.
        assert_eq!(cost(STANDARD, audio), "0.0058");
    }

    #[test]
    fn parts_that_are_more_than_their_whole_cost_no_more_than_it() {
        assert_eq!(cost(STANDARD, usage(10, 30, 0)), "0.0000125");
        let both = Usage {
            input: 10,
            cached: 8,
            audio_input: 8,
            ..Usage::default()
        };
        // Eight from the cache, the other two audio.
        assert_eq!(cost(STANDARD, both), "0.00009");
    }

    #[test]
    fn a_tier_with_prices_of_its_own_has_them_and_any_other_the_models() {
        let with = |tier| Usage {
            tier,
            ..usage(1_000_000, 0, 0)
        };
        assert_eq!(cost(STANDARD, with(Some(Tier::Priority))), "5");
        assert_eq!(cost(STANDARD, with(Some(Tier::Flex))), "2.5");
        assert_eq!(cost(STANDARD, with(None)), "2.5");
    }

    #[test]
    fn what_is_paid_for_anyway_costs_nothing_unless_azure_spilled_it() {
        let provisioned = |is_spilled| Served {
            capacity: Capacity::Provisioned,
            is_spilled,
        };
        assert_eq!(cost(provisioned(false), usage(1_000_000, 0, 0)), "0");
        assert_eq!(cost(provisioned(true), usage(1_000_000, 0, 0)), "2.5");
    }

    #[test]
    fn a_model_without_a_price_has_no_cost() {
        let cost = prices().cost(&"o3".into(), STANDARD, &usage(1, 0, 0));
        assert_eq!(cost, None);
    }

    #[test]
    fn no_number_of_tokens_is_too_many() {
        let most = Usage {
            input: u64::MAX,
            output: u64::MAX,
            ..Usage::default()
        };
        let dear = Rates {
            input: price("1000000"),
            output: price("1000000"),
            ..Rates::default()
        };
        assert_eq!(dear.cost(&most) / UNIT, 2 * u128::from(u64::MAX));
    }

    #[test]
    fn a_price_is_read_to_the_letter() {
        for (text, millionths) in [
            ("0", 0),
            ("2.50", 2_500_000),
            ("10", 10_000_000),
            ("0.000125", 125),
            ("1.2500000000", 1_250_000),
            ("1000000", MILLION * MILLION),
        ] {
            assert_eq!(Price::parse(text), Ok(Price(millionths)), "{text}");
        }
        for (text, error) in [
            ("-1", PriceError::Negative),
            ("-0.5", PriceError::Negative),
            ("", PriceError::NotANumber),
            (".5", PriceError::NotANumber),
            ("5.", PriceError::NotANumber),
            ("1e3", PriceError::NotANumber),
            ("+1", PriceError::NotANumber),
            ("1,5", PriceError::NotANumber),
            ("2.5 EUR", PriceError::NotANumber),
            ("0.0000001", PriceError::TooFine),
            ("1000000.000001", PriceError::TooHigh),
            ("99999999999999999999999", PriceError::TooHigh),
        ] {
            assert_eq!(Price::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_cost_is_told_exactly() {
        let cost = |amount| Cost {
            amount,
            currency: Currency::parse("USD").unwrap(),
        };
        for (amount, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (182_500_000, "0.0001825"),
            (1_000_000_000_000, "1"),
            (12_000_000_000_010, "12.00000000001"),
        ] {
            assert_eq!(cost(amount).to_string(), text);
            assert!((cost(amount).to_f64() - text.parse::<f64>().unwrap()).abs() < 1e-15);
        }
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for text in ["eur", "EURO", "E1R", "", "€"] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
    }
}
