//! What the deployments saw, written down as it goes: the simulator's own memory is short.

use std::{collections::HashMap, sync::Arc, time::Duration};

use forebay::simulator::{Ending, SeenRequest};

use super::{ChaosRun, MODEL, names};
use crate::harness::eventually;

/// How often the simulator's memory, which is short, is written down.
const LOOKS_EVERY: Duration = Duration::from_secs(4);

/// What a deployment saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) instance: String,
    pub(crate) id: String,
    /// It was answered with 200, whole, and nothing was wrong with it.
    pub(crate) is_clean: bool,
}

/// Writes down what the deployments saw.
pub(crate) struct Observations(HashMap<(String, u64, String), Observation>);

impl Observations {
    pub(crate) async fn watch(run: Arc<ChaosRun>) -> Vec<Observation> {
        let mut witness = Self(HashMap::new());
        while !run.is_over() {
            tokio::time::sleep(LOOKS_EVERY).await;
            witness.look(&run);
        }
        // What hung is let go when its connection is.
        eventually("every request has ended", || in_flight(&run) == 0).await;
        witness.look(&run);
        witness.0.into_values().collect()
    }

    /// A request that was in flight the last time is seen again as it is now.
    fn look(&mut self, run: &ChaosRun) {
        for seen in run.simulator.requests(None) {
            let id = id_of(&seen);
            let key = (seen.instance.clone(), seen.arrived_us, id.clone());
            let is_clean =
                seen.ending == Some(Ending::Status(200)) && seen.fault.is_none() && !seen.cancelled;
            let instance = seen.instance;
            self.0.insert(
                key,
                Observation {
                    instance,
                    id,
                    is_clean,
                },
            );
        }
    }
}

fn in_flight(run: &ChaosRun) -> u64 {
    let stats = run.simulator.stats();
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
