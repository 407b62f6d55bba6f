//! Who may call: a client proves who it is by a credential of its own, and may use the models it was given.

mod by_certificate;
mod by_key;
pub mod certificate;
pub mod credential;
pub mod issuer;
pub mod key;
mod operations;
mod registry;
pub mod token;

use std::collections::BTreeSet;

use super::{
    name::{ClientName, ModelName},
    quota::ClientLimits,
};
pub use key::{KeyHash, KeyHashError};
pub use operations::Operations;
pub use registry::{Clients, Listed};

/// Which models a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    All,
    These(BTreeSet<ModelName>),
}

/// Who calls: one entry of `clients:`. It has at least one way to prove itself.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: ClientName,
    /// Hashes of its keys, two at most.
    pub keys: Vec<KeyHash>,
    /// What its tokens say, by issuer.
    pub tokens: Vec<token::Rule>,
    /// What its certificates say: any one of these.
    pub certificates: Vec<certificate::Entry>,
    pub models: Models,
    pub operations: Operations,
    pub limits: ClientLimits,
    /// Whether its prompts are kept: the operator's word, for this client alone.
    pub log_prompts: bool,
}

impl Client {
    /// One that may use every model, for inference, and can't prove itself yet.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            keys: Vec::new(),
            tokens: Vec::new(),
            certificates: Vec::new(),
            models: Models::All,
            operations: Operations::INFERENCE,
            limits: ClientLimits::default(),
            log_prompts: false,
        }
    }

    pub fn may_use(&self, model: &str) -> bool {
        match &self.models {
            Models::All => true,
            Models::These(models) => models.contains(model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_use_its_models_only() {
        let models = Models::These(BTreeSet::from(["gpt-4o".into()]));
        let client = Client {
            models,
            ..Client::named("app")
        };
        assert!(client.may_use("gpt-4o") && !client.may_use("gpt-4"));
    }
}
