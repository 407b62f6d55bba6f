//! What a client's tokens must contain.

use std::collections::BTreeSet;

use super::claims::Claims;
use crate::domain::{name::IssuerName, refusal::Rejection};

/// Whose tokens a client shows, and what they must say: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub issuer: IssuerName,
    /// Whom the token must be for: one of these.
    pub audiences: BTreeSet<String>,
    /// At least one: an issuer hands tokens to many.
    pub demands: BTreeSet<Demand>,
}

/// One thing that a token must say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Which application asked Entra for it.
    Application(String),
    /// It is an application's own: nobody has signed in.
    AppOnly,
    /// It is a person's who has signed in to an application.
    Delegated,
    /// In `scope`, or in `scp` where there is none: a list, or words in a text.
    Scope(String),
    /// In `roles`.
    Role(String),
    /// In `groups`, by object id.
    Group(String),
    /// A claim that is this text, or a list that holds it. A name that starts with `/` is a path (RFC 6901).
    Claim { name: String, value: String },
}

impl Rule {
    /// `application`: the one that asked for the token, where the issuer says.
    pub(super) fn fits(
        &self,
        audiences: &[&str],
        claims: &Claims,
        application: Option<&str>,
    ) -> Result<(), Rejection> {
        if !audiences.iter().any(|each| self.audiences.contains(*each)) {
            return Err(Rejection::WrongAudience);
        }
        let missing = |demand: &&Demand| !demand.is_met(claims, application);
        match self.demands.iter().find(missing) {
            None => Ok(()),
            Some(demand) => Err(demand.rejection(claims)),
        }
    }

    /// Whether whatever fits this one fits the other too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.audiences.is_subset(&other.audiences) && self.demands.is_superset(&other.demands)
    }
}

impl Demand {
    fn is_met(&self, claims: &Claims, application: Option<&str>) -> bool {
        match self {
            Self::Application(id) => application == Some(id),
            Self::AppOnly => claims.is_app_only(),
            Self::Delegated => claims.is_delegated(),
            Self::Scope(scope) => claims.has_scope(scope),
            Self::Role(role) => claims.says("roles", role),
            Self::Group(group) => claims.says("groups", group),
            Self::Claim { name, value } => claims.says(name, value),
        }
    }

    fn rejection(&self, claims: &Claims) -> Rejection {
        match self {
            Self::Application(_) => Rejection::WrongApplication,
            Self::AppOnly => Rejection::NotAppOnly,
            Self::Delegated => Rejection::NotDelegated,
            Self::Scope(_) => Rejection::ScopeMissing,
            Self::Role(_) => Rejection::RoleMissing,
            Self::Group(_) if claims.leaves_groups_out() => Rejection::GroupsLeftOut,
            Self::Group(_) => Rejection::GroupMissing,
            Self::Claim { .. } => Rejection::WrongClaim,
        }
    }
}
