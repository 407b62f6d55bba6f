//! What the deployments saw, written down as it goes: the simulator's own memory is short.

use std::{collections::HashMap, sync::Arc, time::Duration};

use forebay::simulator::{Ending, SeenRequest};

use super::{MODEL, Scene, names};
use crate::house::eventually;

/// How often the simulator's memory, which is short, is written down.
const LOOKS_EVERY: Duration = Duration::from_secs(4);

/// What a deployment saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) instance: String,
    pub(crate) id: String,
    /// It was answered with 200, whole, and nothing was wrong with it.
    pub(crate) is_clean: bool,
}

/// Writes down what the deployments saw.
pub(crate) struct Witness(HashMap<(String, u64, String), Sight>);

impl Witness {
    pub(crate) async fn watch(scene: Arc<Scene>) -> Vec<Sight> {
        let mut witness = Self(HashMap::new());
        while !scene.is_over() {
            tokio::time::sleep(LOOKS_EVERY).await;
            witness.look(&scene);
        }
        // What hung is let go when its connection is.
        eventually("every request has ended", || in_flight(&scene) == 0).await;
        witness.look(&scene);
        witness.0.into_values().collect()
    }

    /// A request that was in flight the last time is seen again as it is now.
    fn look(&mut self, scene: &Scene) {
        for seen in scene.simulator.requests(None) {
            let id = id_of(&seen);
            let key = (seen.instance.clone(), seen.arrived_us, id.clone());
            let is_clean =
                seen.ending == Some(Ending::Status(200)) && seen.fault.is_none() && !seen.cancelled;
            let instance = seen.instance;
            self.0.insert(
                key,
                Sight {
                    instance,
                    id,
                    is_clean,
                },
            );
        }
    }
}

fn in_flight(scene: &Scene) -> u64 {
    let stats = scene.simulator.stats();
    let pages = names().map(|name| stats.deployment(name, MODEL).concurrent);
    pages.sum()
}

fn id_of(seen: &SeenRequest) -> String {
    let header = seen
        .headers
        .iter()
        .find(|(name, _)| name == "x-ms-client-request-id");
    header.map(|(_, value)| value.clone()).unwrap_or_default()
}
