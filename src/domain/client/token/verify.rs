//! Whether a token may be believed, and whose it is.

use std::{sync::Arc, time::SystemTime};

use super::{claims::Claims, requirements::Rule};
use crate::domain::{
    client::{
        Client,
        issuer::{Issuer, IssuerKind},
    },
    refusal::Rejection,
};

/// A rule, and the client that meets it.
pub type Ruled = (Rule, Arc<Client>);

/// A token that was found good.
#[derive(Clone, Debug)]
pub struct Granted {
    pub client: Arc<Client>,
    /// From then on it is no longer.
    pub until: SystemTime,
}

/// Whose token this is, or why nobody's. Its signature has been found to be `issuer`'s.
///
/// Where several rules fit, the one counts that demands all that the others do and more. Where there is none such, the
/// token is nobody's: which client it means is not ours to guess.
pub fn judge(
    issuer: &Issuer,
    rules: &[Ruled],
    claims: &Claims,
    now: SystemTime,
) -> Result<Granted, Rejection> {
    let until = valid_until(issuer, claims, now)?;
    if claims.has("cnf") {
        // Bound to a key of its owner's, which we could not ask for: as a bearer token it is a stolen one.
        return Err(Rejection::Bound);
    }
    let application = match &issuer.kind {
        IssuerKind::Oidc => None,
        IssuerKind::Entra { tenant_id, v1 } => Some(application(claims, tenant_id, v1)?),
    };
    let audiences = claims.audiences()?;
    let (mut fitting, mut closest) = (Vec::new(), Rejection::WrongAudience);
    for (rule, client) in rules {
        match rule.fits(&audiences, claims, application) {
            Ok(()) => fitting.push((rule, client)),
            Err(rejection) => closest = closest.max(rejection),
        }
    }
    let widest =
        |(rule, _): &&(&Rule, &Arc<Client>)| fitting.iter().all(|(other, _)| rule.includes(other));
    let client = match fitting.iter().find(widest) {
        Some((_, client)) => Arc::clone(client),
        None if fitting.is_empty() => return Err(closest),
        None => return Err(Rejection::SeveralClients),
    };
    Ok(Granted { client, until })
}

/// RFC 7519, 4.1.4 to 4.1.6: a token without an end is none of ours.
fn valid_until(issuer: &Issuer, claims: &Claims, now: SystemTime) -> Result<SystemTime, Rejection> {
    let end = claims.time("exp")?.ok_or(Rejection::NoExpiry)?;
    let until = end + issuer.leeway;
    let soon = now + issuer.leeway;
    match () {
        () if now >= until => Err(Rejection::Expired),
        () if claims.time("nbf")?.is_some_and(|start| start > soon) => Err(Rejection::NotYetValid),
        () if claims.time("iat")?.is_some_and(|issued| issued > soon) => {
            Err(Rejection::IssuedInFuture)
        }
        () => Ok(until),
    }
}

/// The application that asked Entra for the token: `appid` in v1.0 tokens, `azp` in v2.0 ones. An ID token has neither.
fn application<'a>(claims: &'a Claims, tenant: &str, v1: &str) -> Result<&'a str, Rejection> {
    if claims.text("tid")? != Some(tenant) {
        return Err(Rejection::WrongTenant);
    }
    let claim = if claims.text("iss")? == Some(v1) {
        "appid"
    } else {
        "azp"
    };
    claims.text(claim)?.ok_or(Rejection::NoAccessToken)
}
