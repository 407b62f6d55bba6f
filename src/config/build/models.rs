//! `models:`: pools of deployments. One deployment serves one model, once.

use std::{collections::HashMap, num::TryFromIntError, sync::Arc};

use super::{
    known::{self, Known},
    settings,
};
use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{Named, Reader},
        section::Required,
    },
    domain::deployment::{Capacity, Deployment, Instance, Model, Priority, Weight},
};

/// Which model has a deployment, and in which line, by instance and deployment name.
type Taken = HashMap<(String, String), (String, usize)>;

pub(super) fn models(
    raw: Required<Placed<Named<raw::Model>>>,
    instances: &Known<Arc<Instance>>,
    reader: &mut Reader<'_>,
) -> Known<Model> {
    let mend = "without a model clients can request nothing; add one";
    let section = Required(raw.0.map(|raw| raw.entries(mend, reader)));
    let mut taken = Taken::new();
    let mut names = HashMap::new();
    Known::build("model", section, reader, |name, raw, reader| {
        if name.value == "none" {
            reader.problem(
                name.place,
                "the name `none` is reserved in metrics; give this model another name",
            );
        }
        // Clients may write it in any case, as at Azure.
        if let Some(line) = names.insert(name.value.to_ascii_lowercase(), name.place.line) {
            let message = format!(
                "line {line} has a model whose name differs only in case, but names ignore case; rename one of the two"
            );
            reader.problem(name.place, message);
        }
        let mend = "a model needs at least one deployment; write `- instance: …`";
        let deployments = raw
            .deployments
            .0?
            .items(mend, reader)
            .filter_map(|raw| deployment(raw, &name.value, instances, &mut taken, reader));
        Some(Model {
            name: name.value.as_str().into(),
            version: raw.version.map(|version| version.0),
            deployments: deployments.collect(),
            timeouts: settings::timeouts(
                raw.connect_timeout,
                raw.first_byte_timeout,
                raw.unstreamed_timeout,
                reader,
            ),
            required: raw.required.unwrap_or(false),
        })
    })
}

fn deployment(
    Placed { place, value: raw }: Placed<raw::Deployment>,
    model: &str,
    instances: &Known<Arc<Instance>>,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<Deployment> {
    let priority = number(
        raw.priority,
        Priority::FIRST,
        Priority::new,
        "a priority must be 1 or more; 1 is tried first",
        reader,
    );
    let weight = number(
        raw.weight,
        Weight::ONE,
        Weight::new,
        "a weight must be 1 or more; remove a deployment that should get no requests",
        reader,
    );
    let name = raw
        .deployment
        .filter(|name| known::check_name(name, reader))
        .map_or(model.to_owned(), |name| name.value);
    let instance = raw.instance.0?;
    claim(
        (instance.value.clone(), name.to_ascii_lowercase()),
        model,
        place,
        taken,
        reader,
    );
    let instance = instances.find(&instance, reader)?.clone();
    Some(Deployment {
        instance,
        name: name.as_str().into(),
        capacity: raw.r#type.map_or(Capacity::Standard, Capacity::from),
        priority: priority?,
        weight: weight?,
    })
}

/// A number of 1 or more; its default where none is written, `None` where it is none, which is noted.
fn number<T>(
    raw: Option<Placed<i64>>,
    default: T,
    new: impl Fn(u32) -> Option<T>,
    mend: &str,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let Some(raw) = raw else { return Some(default) };
    let small: Result<u32, TryFromIntError> = raw.value.try_into();
    reader.take(raw.place, small.ok().and_then(new).ok_or(mend))
}

fn claim(
    deployment: (String, String),
    model: &str,
    place: Place,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) {
    match taken.get(&deployment) {
        None => {
            taken.insert(deployment, (model.into(), place.line));
        }
        Some((owner, line)) if owner == model => {
            reader.problem(
                place,
                format!("this deployment is already in line {line}; raise its weight instead"),
            );
        }
        Some((owner, line)) => {
            reader.problem(place, format!("model `{owner}` already has this deployment (line {line}); a deployment serves one model only"));
        }
    }
}
