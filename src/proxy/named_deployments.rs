//! Further deployments that a client's headers name, beside the one it asks. To its client each is a model, so that it
//! reaches no other deployment of an instance than those of its models.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{gateway::Gateway, model_backend::ModelBackend};
use crate::domain::{
    client::Client,
    deployment::{Instance, Kind},
    forwarding::IMAGE_GENERATION,
    pool::Pool,
    refusal::Refusal,
};

/// A header and the model that it names.
pub(super) struct Named {
    header: HeaderName,
    served: Arc<ModelBackend>,
}

impl Named {
    /// The header as an instance gets it: with the name that the model's deployment has there, if it has one.
    pub(super) fn on(&self, instance: &Instance) -> Option<(HeaderName, HeaderValue)> {
        if instance.kind != Kind::AzureOpenai {
            return None;
        }
        let mut members = self.served.pool.members().iter();
        let there = members.find(|member| member.deployment().instance.name == instance.name)?;
        let name = HeaderValue::from_str(there.deployment().name.as_str()).ok()?;
        Some((self.header.clone(), name))
    }

    /// Whether an instance can serve nothing for lack of it. What Azure would spill to is only tried in addition.
    fn is_missed_on(&self, instance: &Instance) -> bool {
        self.header == IMAGE_GENERATION
            && instance.kind == Kind::AzureOpenai
            && self.on(instance).is_none()
    }
}

/// Finds the models that headers name among those of their client.
pub(super) fn resolve(
    gateway: &Gateway,
    client: &Client,
    naming: Vec<(HeaderName, HeaderValue)>,
) -> Result<Vec<Named>, Refusal> {
    let resolved = naming.into_iter().map(|(header, value)| {
        let model = value.to_str().unwrap_or_default();
        match gateway.find(client, model.trim()) {
            Ok(served) => Ok(Named { header, served }),
            Err(_) => Err(Refusal::NamedElsewhere { header }),
        }
    });
    resolved.collect()
}

/// The places in a pool where what is named, and needed, isn't.
pub(super) fn barred(named: &[Named], pool: &Pool) -> Result<Vec<usize>, Refusal> {
    let mut barred = Vec::new();
    for named in named {
        let members = pool.members().iter().enumerate();
        let without = members.filter(|(_, it)| named.is_missed_on(&it.deployment().instance));
        barred.extend(without.map(|(place, _)| place));
        if barred.len() == pool.members().len() {
            let header = named.header.clone();
            return Err(Refusal::NamedElsewhere { header });
        }
    }
    Ok(barred)
}
