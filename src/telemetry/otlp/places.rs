//! Where instances are, and whose API they have, by the conventions' words.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    deployment::{Instance, Kind},
    name::InstanceName,
};

/// The conventions' word for Azure OpenAI.
pub(super) const AZURE: &str = "azure.ai.openai";

/// Where instances are, and whose API they have, by the conventions' words.
pub(super) type Places = HashMap<InstanceName, Place>;

pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) provider: &'static str,
}

pub(super) fn places(instances: &[Arc<Instance>]) -> Places {
    let place = |instance: &Arc<Instance>| {
        let place = Place {
            host: instance.endpoint.host().to_owned(),
            port: instance.endpoint.port(),
            provider: match instance.kind {
                Kind::AzureOpenai => AZURE,
                Kind::Openai => "openai",
            },
        };
        (instance.name.clone(), place)
    };
    instances.iter().map(place).collect()
}
