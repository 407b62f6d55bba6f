//! What is simulated, by name: its faults, its ports and its statistics, for the control endpoint and for tests in this process.

use std::{collections::BTreeMap, io, sync::Arc, time::Instant};

use super::{
    faults::{Fault, FaultKind, FaultSlot},
    instance::Instance,
    issuer::Issuer,
    recorder::{RequestLog, Stats},
    server::Listener,
    tokens::TokenStore,
};

/// Everything that the control endpoint and the simulator's own methods work on.
pub(crate) struct Simulation {
    pub(super) instances: BTreeMap<String, (Arc<Instance>, Listener<Instance>)>,
    pub(crate) token_store: Arc<TokenStore>,
    pub(crate) issuer: Option<Issuer>,
    pub(super) request_log: Arc<RequestLog>,
}

/// A name that isn't simulated, or a fault that doesn't fit there.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no instance {name:?}; known instances: {known}")]
    Instance { name: String, known: String },
    #[error("no deployment {name:?} on this instance; known deployments: {known}, and * for all")]
    Deployment { name: String, known: String },
    #[error(
        "reset_on_connect happens before the request names a deployment: set it on deployment *"
    )]
    NotForOne,
    #[error(transparent)]
    Port(#[from] io::Error),
}

impl Simulation {
    fn named(&self, instance: &str) -> Result<&(Arc<Instance>, Listener<Instance>), ControlError> {
        let unknown = || ControlError::Instance {
            name: instance.to_owned(),
            known: listed(self.instances.keys()),
        };
        self.instances.get(instance).ok_or_else(unknown)
    }

    /// Sets or clears a fault; `None` for a deployment means all of them.
    pub(crate) fn set_fault(
        &self,
        instance: &str,
        deployment: Option<&str>,
        fault: Option<Fault>,
    ) -> Result<(), ControlError> {
        let kind = fault.as_ref().map(|fault| &fault.kind);
        if matches!(kind, Some(FaultKind::ResetOnConnect {})) && deployment.is_some() {
            return Err(ControlError::NotForOne);
        }
        let slot = self.fault_slot(instance, deployment)?;
        slot.set(fault, Instant::now());
        Ok(())
    }

    pub(crate) fn fault(
        &self,
        instance: &str,
        deployment: Option<&str>,
    ) -> Result<Option<Fault>, ControlError> {
        Ok(self.fault_slot(instance, deployment)?.current())
    }

    fn fault_slot(
        &self,
        instance: &str,
        deployment: Option<&str>,
    ) -> Result<&FaultSlot, ControlError> {
        let (instance, _) = self.named(instance)?;
        let Some(name) = deployment else {
            return Ok(&instance.faults);
        };
        let unknown = || ControlError::Deployment {
            name: name.to_owned(),
            known: listed(instance.deployments.keys()),
        };
        Ok(&instance.deployments.get(name).ok_or_else(unknown)?.faults)
    }

    pub(crate) async fn down(&self, instance: &str) -> Result<(), ControlError> {
        self.named(instance)?.1.down().await;
        Ok(())
    }

    pub(crate) async fn up(&self, instance: &str) -> Result<(), ControlError> {
        Ok(self.named(instance)?.1.up().await?)
    }

    pub(crate) fn stats(&self) -> Stats {
        let instances = self
            .instances
            .iter()
            .map(|(name, (instance, _))| (name.clone(), instance.stats()));
        Stats {
            instances: instances.collect(),
            tokens: self.token_store.stats(),
        }
    }

    pub(crate) fn clear_stats(&self) {
        self.instances
            .values()
            .for_each(|(instance, _)| instance.clear_stats());
        self.token_store.clear_stats();
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names.join(", ")
}
