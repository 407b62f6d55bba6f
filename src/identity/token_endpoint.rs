//! Which token endpoint issues an identity's tokens, and where it is.

use url::Url;

use super::error::SetupError;
use crate::http_client::is_loopback;

/// Azure's own places (wire facts: Tokens), and the variables that name others where the platform sets them.
const IMDS: &str = "http://169.254.169.254";
const ENTRA: &str = "https://login.microsoftonline.com";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const APP_SERVICE: &str = "IDENTITY_ENDPOINT";
const APP_SERVICE_HEADER: &str = "IDENTITY_HEADER";

/// Whose word a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenEndpoint {
    /// A VM's metadata service.
    Imds,
    /// The local endpoint of App Service, Functions and Container Apps, named by `IDENTITY_ENDPOINT`.
    AppService,
    /// A token authority.
    Entra,
    /// Whoever has logged in to the Azure CLI; it asks Entra itself.
    AzureCli,
}

impl TokenEndpoint {
    /// As `/status` calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app_service",
            Self::Entra => "entra",
            Self::AzureCli => "azure_cli",
        }
    }
}

/// Azure's own place.
pub(super) fn own(endpoint: TokenEndpoint) -> Result<Url, SetupError> {
    // As azure_identity reads them.
    let (variable, otherwise) = match endpoint {
        TokenEndpoint::Imds => return Url::parse(IMDS).map_err(|_| SetupError::Authority),
        TokenEndpoint::AppService => (APP_SERVICE, ""),
        TokenEndpoint::Entra | TokenEndpoint::AzureCli => (AUTHORITY_HOST, ENTRA),
    };
    let text = std::env::var(variable).unwrap_or_else(|_| otherwise.to_owned());
    let url = Url::parse(&text).ok().filter(Url::has_host);
    url.ok_or(SetupError::Variable(variable))
}

/// Which of the two a managed identity asks: App Service names its endpoint and a secret for it.
pub(super) fn managed_by() -> TokenEndpoint {
    let is_set = |name: &str| std::env::var(name).is_ok();
    match is_set(APP_SERVICE) && is_set(APP_SERVICE_HEADER) {
        true => TokenEndpoint::AppService,
        false => TokenEndpoint::Imds,
    }
}

/// The place that the config names.
pub(super) fn stand_in(text: &str, endpoint: TokenEndpoint) -> Result<Url, SetupError> {
    let url = Url::parse(text).map_err(|_| SetupError::Authority)?;
    let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(SetupError::Authority);
    }
    // What a machine's own endpoint is asked holds no secret, and its way doesn't leave the machine.
    if endpoint == TokenEndpoint::Entra && url.scheme() == "http" && !is_loopback(&url) {
        return Err(SetupError::Insecure);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_https_or_loopback_unless_it_is_imds() {
        let is_good = |text, endpoint| stand_in(text, endpoint).is_ok();
        assert!(is_good(
            "https://login.microsoftonline.us",
            TokenEndpoint::Entra
        ));
        assert!(is_good("http://127.0.0.1:9000", TokenEndpoint::Entra));
        assert!(is_good("http://[::1]:9000/", TokenEndpoint::Entra));
        assert!(is_good("http://169.254.1.1", TokenEndpoint::Imds));
        for text in [
            "http://login.test",
            "ftp://a",
            "a",
            "https://a/b",
            "https://a?b",
            "https://u@a",
        ] {
            assert!(!is_good(text, TokenEndpoint::Entra), "{text}");
        }
    }
}
