//! The names an operator gives to things. Each is its own type, so that one can't stand for another.

use std::{borrow::Borrow, fmt, sync::Arc};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// Who calls: a key of `clients:`.
    ClientName
    /// What clients ask for: a key of `models:`.
    ModelName
    /// An Azure OpenAI resource: a key of `instances:`.
    InstanceName
    /// A model on an instance, by the name it was deployed under.
    DeploymentName
    /// Who hands tokens to clients: a key of `issuers:`, or an Entra tenant.
    IssuerName
    /// How the gateway proves itself: a key of `identities:`.
    IdentityName
}
