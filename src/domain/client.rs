//! Who may call: a client is known by its key's hash, and may use the models it was given.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::name::{ClientName, ModelName};

/// SHA-256 of a client's key: what the config holds, so that reading it lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// Why a text is no key hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is written as sha256: and 64 hexadecimal digits; `forebay hash-key` prints it")]
pub struct KeyHashError;

impl KeyHash {
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, KeyHashError> {
        let digits = text.strip_prefix("sha256:").ok_or(KeyHashError)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| KeyHashError)?;
        Ok(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which models a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    All,
    These(BTreeSet<ModelName>),
}

/// Who calls: one entry of `clients:`.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: ClientName,
    pub models: Models,
}

impl Client {
    pub fn may_use(&self, model: &str) -> bool {
        match &self.models {
            Models::All => true,
            Models::These(models) => models.contains(model),
        }
    }
}

/// Everyone who may call.
#[derive(Clone, Debug)]
pub enum Clients {
    /// `anonymous: true`: whoever reaches the listener, under one name.
    Anyone(Arc<Client>),
    ByKey(HashMap<KeyHash, Arc<Client>>),
}

impl Clients {
    /// The client of `anonymous: true`.
    pub fn anyone() -> Self {
        let client = Client {
            name: ClientName::from("anonymous"),
            models: Models::All,
        };
        Self::Anyone(Arc::new(client))
    }

    /// Each of them; one with two keys twice.
    pub fn all(&self) -> Box<dyn Iterator<Item = &Arc<Client>> + '_> {
        match self {
            Self::Anyone(client) => Box::new(std::iter::once(client)),
            Self::ByKey(clients) => Box::new(clients.values()),
        }
    }

    /// Whose key this is. The look-up goes by the key's hash, so that its timing tells nothing of a key.
    pub fn by_key(&self, key: &[u8]) -> Option<&Arc<Client>> {
        match self {
            Self::Anyone(client) => Some(client),
            Self::ByKey(clients) => {
                let hash = KeyHash::of(key);
                let (known, client) = clients.get_key_value(&hash)?;
                bool::from(known.0.ct_eq(&hash.0)).then_some(client)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash_and_no_other() {
        let hash = KeyHash::of(b"demo");
        assert_eq!(KeyHash::parse(&hash.to_string()), Ok(hash));
        let client = Client {
            name: "app".into(),
            models: Models::All,
        };
        let clients = Clients::ByKey(HashMap::from([(hash, Arc::new(client))]));
        assert_eq!(clients.by_key(b"demo").unwrap().name.as_str(), "app");
        assert!(clients.by_key(b"Demo").is_none());
        assert!(clients.by_key(b"").is_none());
        assert!(clients.by_key(hash.to_string().as_bytes()).is_none());
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            "",
            "demo",
            "sha256:",
            "sha256:zz",
            &"0".repeat(64),
            &format!("sha256:{}", "+1".repeat(32)),
        ] {
            assert_eq!(KeyHash::parse(text), Err(KeyHashError), "{text}");
        }
    }

    #[test]
    fn a_client_may_use_its_models_only() {
        let models = Models::These(BTreeSet::from(["gpt-4o".into()]));
        let client = Client {
            name: "app".into(),
            models,
        };
        assert!(client.may_use("gpt-4o") && !client.may_use("gpt-4"));
    }
}
