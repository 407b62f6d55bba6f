//! The list of models, in the shapes of v1 and of the classic API.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{deployment::Deployment, refusal::Refusal};

/// When the simulated models were made; any moment will do.
const CREATED: u64 = 1_732_060_800;

/// All models, or the one of that id; ids are those of base models, not of deployments (wire facts: Paths).
pub(crate) fn list<'a>(
    deployments: impl Iterator<Item = &'a Arc<Deployment>>,
    id: Option<&str>,
    classic: bool,
) -> Result<Vec<u8>, Refusal> {
    let mut names: Vec<&str> = deployments
        .map(|deployment| deployment.model.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let model = if classic { classic_model } else { plain_model };
    let answer = match id {
        None => {
            json!({ "object": "list", "data": names.into_iter().map(model).collect::<Vec<_>>() })
        }
        Some(id) => model(
            names
                .into_iter()
                .find(|name| *name == id)
                .ok_or_else(Refusal::no_resource)?,
        ),
    };
    Ok(answer.to_string().into_bytes())
}

fn plain_model(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "system" })
}

fn classic_model(id: &str) -> Value {
    json!({
        "id": id, "object": "model", "created_at": CREATED, "status": "succeeded", "lifecycle_status": "generally-available",
        "capabilities": { "fine_tune": false, "inference": true, "completion": false, "chat_completion": true, "embeddings": false },
        "deprecation": { "inference": CREATED + 94_608_000 },
    })
}
