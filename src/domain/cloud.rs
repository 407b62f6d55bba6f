//! Azure's own clouds: where their model services are, who hands out tokens for these, and what a token must be for that is
//! sent there. A token opens what it is for to whoever gets it, so it goes nowhere else.

use std::net::IpAddr;

use super::deployment::{Endpoint, Instance};

/// A cloud with an Entra and hosts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cloud {
    Public,
    UsGovernment,
    /// Operated by 21Vianet.
    China,
}

/// What is always what in a cloud.
struct Facts {
    /// What the names of its model services end in.
    hosts: &'static [&'static str],
    /// Where its tokens come from, the usual place first.
    authorities: &'static [&'static str],
    /// What tokens for its model services are for, the usual one first.
    scopes: &'static [&'static str],
    /// What a managed identity's token is for that stands in for an application's secret.
    exchange: &'static str,
}

const PUBLIC: Facts = Facts {
    hosts: &[
        ".openai.azure.com",
        ".cognitiveservices.azure.com",
        ".services.ai.azure.com",
        ".api.cognitive.microsoft.com",
    ],
    authorities: &[
        "login.microsoftonline.com",
        "login.microsoft.com",
        "login.windows.net",
    ],
    scopes: &[
        "https://cognitiveservices.azure.com/.default",
        "https://ai.azure.com/.default",
    ],
    exchange: "api://AzureADTokenExchange/.default",
};
const US_GOVERNMENT: Facts = Facts {
    hosts: &[
        ".openai.azure.us",
        ".cognitiveservices.azure.us",
        ".services.ai.azure.us",
        ".api.cognitive.microsoft.us",
    ],
    authorities: &["login.microsoftonline.us"],
    scopes: &[
        "https://cognitiveservices.azure.us/.default",
        "https://ai.azure.us/.default",
    ],
    exchange: "api://AzureADTokenExchangeUSGov/.default",
};
const CHINA: Facts = Facts {
    hosts: &[
        ".openai.azure.cn",
        ".cognitiveservices.azure.cn",
        ".services.ai.azure.cn",
        ".api.cognitive.azure.cn",
    ],
    authorities: &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
    scopes: &[
        "https://cognitiveservices.azure.cn/.default",
        "https://ai.azure.cn/.default",
    ],
    exchange: "api://AzureADTokenExchangeChina/.default",
};

impl Cloud {
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    fn facts(self) -> &'static Facts {
        match self {
            Self::Public => &PUBLIC,
            Self::UsGovernment => &US_GOVERNMENT,
            Self::China => &CHINA,
        }
    }

    fn find(fits: impl Fn(&Facts) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| fits(cloud.facts()))
    }

    /// The cloud that an instance is in; what is none of Azure's own goes by the public one.
    pub fn of_instance(instance: &Instance) -> Self {
        let by_scope = || Self::of_scope(&instance.scope);
        let by_host = Self::of_host(instance.endpoint.host());
        by_host.or_else(by_scope).unwrap_or(Self::Public)
    }

    /// Whose model service has this name; `None`: nobody's, whatever it begins with.
    pub fn of_host(host: &str) -> Option<Self> {
        let lowercase = host.to_ascii_lowercase();
        let host = lowercase.strip_suffix('.').unwrap_or(&lowercase);
        let is_below = |end: &&str| host.len() > end.len() && host.ends_with(*end);
        Self::find(|facts| facts.hosts.iter().any(is_below))
    }

    /// Whose tokens come from there.
    pub fn of_authority(host: &str) -> Option<Self> {
        let is_same = |known: &&str| known.eq_ignore_ascii_case(host);
        Self::find(|facts| facts.authorities.iter().any(is_same))
    }

    /// Whose model services take tokens for this.
    pub fn of_scope(scope: &str) -> Option<Self> {
        Self::find(|facts| facts.scopes.contains(&scope))
    }

    /// Where its tokens come from: scheme and host.
    pub fn authority(self) -> String {
        format!("https://{}", self.facts().authorities[0])
    }

    /// What tokens for its model services are for, unless an instance says otherwise.
    pub fn scope(self) -> &'static str {
        self.facts().scopes[0]
    }

    pub fn scopes(self) -> &'static [&'static str] {
        self.facts().scopes
    }

    /// What a managed identity's token is for that an application in another tenant trusts in place of a secret.
    pub fn exchange_scope(self) -> &'static str {
        self.facts().exchange
    }

    /// As Microsoft calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "Azure's public cloud",
            Self::UsGovernment => "Azure Government",
            Self::China => "Azure China",
        }
    }
}

/// Whether Entra tokens may go there without a word of the operator's: to Azure's own model services, which prove their
/// names, and to this machine itself. `connect_to`: where the connection goes instead of where the name leads.
pub fn may_have_tokens(endpoint: &Endpoint, connect_to: Option<IpAddr>) -> bool {
    is_here(endpoint, connect_to) || endpoint.tls() && Cloud::of_host(endpoint.host()).is_some()
}

/// Whether what is sent there never leaves this machine.
pub fn is_here(endpoint: &Endpoint, connect_to: Option<IpAddr>) -> bool {
    connect_to.map_or_else(|| endpoint.is_loopback(), |address| address.is_loopback())
}

/// Where Microsoft's own services are.
const MICROSOFTS: [&str; 28] = [
    "azure.com",
    "azure.net",
    "azure.us",
    "azure.cn",
    "azure-api.net",
    "azuredatabricks.net",
    "azuresynapse.net",
    "botframework.com",
    "chinacloudapi.cn",
    "dynamics.com",
    "fabric.microsoft.com",
    "microsoft.com",
    "microsoft.us",
    "microsoftazure.us",
    "microsoftonline.com",
    "microsoftonline.us",
    "microsoftonline.cn",
    "office.com",
    "office.net",
    "office365.com",
    "office365.us",
    "outlook.com",
    "powerbi.com",
    "sharepoint.com",
    "usgovcloudapi.net",
    "visualstudio.com",
    "windows.net",
    "windowsazure.com",
];

/// Their application ids, which tokens of version 2.0 name in place of the address.
const MICROSOFTS_IDS: [&str; 22] = [
    "00000001-0000-0000-c000-000000000000", // Entra's own token service
    "00000002-0000-0000-c000-000000000000", // Azure AD Graph
    "00000002-0000-0ff1-ce00-000000000000", // Exchange Online
    "00000003-0000-0000-c000-000000000000", // Microsoft Graph
    "00000003-0000-0ff1-ce00-000000000000", // SharePoint Online
    "00000007-0000-0000-c000-000000000000", // Dynamics
    "00000009-0000-0000-c000-000000000000", // Power BI
    "0000000c-0000-0000-c000-000000000000", // App Access Panel
    "022907d3-0f1b-48f7-badc-1ba6abab6d66", // Azure SQL
    "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe", // Machine Learning and AI Foundry
    "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", // Databricks
    "499b84ac-1321-427f-aa17-267ca6975798", // Azure DevOps
    "797f4846-ba00-4fd7-ba43-dac1f8f63013", // Azure Resource Manager
    "7d312290-28c8-473c-a0ed-8e53749b6d6d", // Cognitive Services
    "80369ed6-5f11-4dd9-bef3-692475845e77", // Event Hubs
    "80a10ef9-8168-493d-abf9-3297c4ef6e3c", // Service Bus
    "880da380-985e-4198-81b9-e05b1cc53158", // AI Search
    "c44b4083-3bb0-49c1-b47d-974e53cbdf3c", // Azure Portal
    "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5", // Log Analytics
    "cfa8b339-82a2-471a-a3c9-0fc0be7a4093", // Key Vault
    "e406a681-f3d4-42a8-90b6-c2b029497af1", // Storage
    "fb60f99c-7a34-4190-8149-302f77469936", // Token exchange
];

/// Whether a token for this opens one of Microsoft's own services: it is shown to that service, and often opens far more
/// than models.
pub fn is_microsofts(audience: &str) -> bool {
    let lowercase = audience.to_ascii_lowercase();
    let audience = lowercase.strip_prefix("spn:").unwrap_or(&lowercase);
    let (scheme, rest) = audience.split_once("://").unwrap_or(("", audience));
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let is_theirs = |domain: &&str| {
        let before = host.strip_suffix(*domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    scheme == "api" && host.starts_with("azureadtokenexchange")
        || !scheme.is_empty() && MICROSOFTS.iter().any(is_theirs)
        || MICROSOFTS_IDS.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    #[test]
    fn a_token_goes_to_azures_own_hosts_and_to_this_machine_and_nowhere_else() {
        for (url, may) in [
            ("https://contoso.openai.azure.com", true),
            ("https://CONTOSO.OpenAI.Azure.com:443", true),
            ("https://contoso.openai.azure.com.", true),
            ("https://contoso.cognitiveservices.azure.com", true),
            ("https://contoso.services.ai.azure.com", true),
            ("https://contoso.privatelink.openai.azure.com", true),
            ("https://contoso.openai.azure.us", true),
            ("https://contoso.openai.azure.cn", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost", true),
            ("https://[::1]", true),
            // Nobody on the way may read it.
            ("http://contoso.openai.azure.com", false),
            // Others', however alike.
            ("https://contoso.openai.azure.com.evil.example", false),
            ("https://openai.azure.com", false),
            ("https://contosoopenai.azure.com", false),
            ("https://contoso-openai.azure.com", false),
            ("https://contoso.openai.azure.com.evil", false),
            ("https://api.openai.com", false),
            ("https://vllm.contoso.example", false),
            ("https://10.0.0.4", false),
            ("https://localhost.evil.example", false),
            // Their owners run what answers there.
            ("https://contoso.azure-api.net", false),
            ("https://contoso.inference.ml.azure.com", false),
            ("https://contoso.azurewebsites.net", false),
        ] {
            assert_eq!(may_have_tokens(&at(url), None), may, "{url}");
        }
        let elsewhere = Some([10, 0, 0, 4].into());
        assert!(may_have_tokens(
            &at("https://a.openai.azure.com"),
            elsewhere
        ));
        assert!(!may_have_tokens(&at("http://localhost"), elsewhere));
        assert!(may_have_tokens(
            &at("https://vllm.example"),
            Some([127, 0, 0, 1].into())
        ));
    }

    #[test]
    fn each_cloud_has_hosts_scopes_and_an_authority_of_its_own() {
        for (host, cloud) in [
            ("a.openai.azure.com", Cloud::Public),
            ("a.openai.azure.us", Cloud::UsGovernment),
            ("a.services.ai.azure.cn", Cloud::China),
        ] {
            assert_eq!(Cloud::of_host(host), Some(cloud));
        }
        for cloud in Cloud::ALL {
            let authority = cloud.authority();
            let host = authority.strip_prefix("https://").unwrap();
            assert_eq!(Cloud::of_authority(host), Some(cloud));
            for scope in cloud.scopes() {
                assert_eq!(Cloud::of_scope(scope), Some(cloud));
                assert!(is_microsofts(scope));
            }
            assert!(is_microsofts(cloud.exchange_scope()));
        }
        assert_eq!(
            Cloud::of_authority("login.microsoftonline.com.evil.example"),
            None
        );
        assert_eq!(
            Cloud::of_scope("https://management.azure.com/.default"),
            None
        );
    }

    #[test]
    fn what_opens_microsofts_own_services_is_known_however_it_is_written() {
        for theirs in [
            "https://cognitiveservices.azure.com",
            "https://cognitiveservices.azure.com/",
            "https://AI.azure.com",
            "https://management.azure.com/",
            "https://management.core.windows.net/",
            "https://management.core.usgovcloudapi.net",
            "https://management.usgovcloudapi.net",
            "https://management.chinacloudapi.cn",
            "https://cognitiveservices.azure.cn",
            "https://vault.azure.cn",
            "https://graph.microsoft.us",
            "https://storage.azure.com",
            "https://contoso.sharepoint.com",
            "https://contoso.crm4.dynamics.com",
            "https://dev.azuresynapse.net",
            "https://outlook.office365.com",
            "https://api.botframework.com",
            "https://azure.com",
            "00000003-0000-0000-c000-000000000000",
            "00000003-0000-0000-C000-000000000000",
            "spn:797f4846-ba00-4fd7-ba43-dac1f8f63013",
            "api://797f4846-ba00-4fd7-ba43-dac1f8f63013",
            "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe",
            "api://AzureADTokenExchange",
        ] {
            assert!(is_microsofts(theirs), "{theirs}");
        }
        for ours in [
            "api://forebay.contoso.example",
            "https://contoso.onmicrosoft.com/forebay",
            "https://forebay.contoso.example",
            "https://notazure.com",
            "https://azure.com.evil.example",
            "api://11111111-2222-3333-4444-555555555555",
            "11111111-2222-3333-4444-555555555555",
            "forebay",
            "azure.com",
        ] {
            assert!(!is_microsofts(ours), "{ours}");
        }
    }
}
