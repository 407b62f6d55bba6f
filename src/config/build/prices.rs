//! `prices:`: what the models' tokens cost.

use super::known::Known;
use crate::{
    config::{raw, read::Reader, section::Required, value::Money},
    domain::{
        deployment::Model,
        price::{ModelPrices, Prices, Rates},
        usage::Tier,
    },
};

pub(super) fn prices(
    raw: Option<raw::Prices>,
    models: &Known<Model>,
    reader: &mut Reader<'_>,
) -> Option<Prices> {
    let raw = raw?;
    let mend = "the price list is empty; add a price, or remove `prices`";
    let mut priced = Vec::new();
    for (name, raw) in raw.models.0?.entries(mend, reader).0 {
        let model = models.find(&name, reader).map(|model| model.name.clone());
        priced.push((name.value, model, raw.and_then(self::model)));
    }
    for name in models.names() {
        if !priced.iter().any(|(priced, ..)| *priced == name.value) {
            let message = "this model has no price: its requests are counted as unpriced and cost nothing in the totals";
            reader.warn(name.place, message);
        }
    }
    let sound = priced
        .into_iter()
        .filter_map(|(_, model, prices)| Some((model?, prices?)));
    Some(Prices {
        currency: raw.currency.0?.0,
        models: sound.collect(),
    })
}

fn model(raw: raw::ModelPrices) -> Option<ModelPrices> {
    let tiers = raw
        .tiers
        .map(|raw| {
            [
                (Tier::Priority, raw.priority),
                (Tier::Flex, raw.flex),
                (Tier::Scale, raw.scale),
            ]
        })
        .into_iter()
        .flatten();
    Some(ModelPrices {
        standard: rates(raw.standard)?,
        tiers: tiers
            .filter_map(|(tier, raw)| Some((tier, rates(raw?)?)))
            .collect(),
        provisioned: raw.provisioned.and_then(rates).unwrap_or_default(),
    })
}

/// A part without a price of its own costs what its whole costs.
fn rates(raw: raw::Rates) -> Option<Rates> {
    let (Required(input), Required(output)) = (raw.input, raw.output);
    let (input, output) = (input?.0, output?.0);
    let own = |part: Option<Money>, whole| part.map_or(whole, |price| price.0);
    Some(Rates {
        input,
        cached: own(raw.cached, input),
        audio_input: own(raw.audio_input, input),
        output,
        reasoning: own(raw.reasoning, output),
        audio_output: own(raw.audio_output, output),
    })
}
