//! `listeners:`, `admin:`, `front_door:` and `cors:` as written: who reaches the gateway, and where.

use crate::config::{
    problem::Placed,
    read::{List, Tried},
    section::{OnlyOneBeside, Required, choice, section},
    value::{Address, Cidr, FilePath, Guid, Hash, PageOrigin},
};

use super::CertificateName;

section! {
    /// An address that clients connect to.
    struct Listener {
        /// IP address and port; each listener needs its own.
        address: Required<Placed<Address>>,
        /// Enables TLS, with HTTP/1.1 and HTTP/2.
        tls: Option<Tls>,
        /// The maximum number of open connections; further ones are closed at once.
        #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
        max_connections: Option<Placed<i64>>,
    }
}

section! {
    /// A listener's certificate, and the client certificates that it asks for. Changed files are reloaded automatically.
    struct Tls {
        /// PEM: the certificate, followed by its intermediate certificates.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the certificate's private key.
        key: Required<Placed<FilePath>>,
        /// PEM: the certificate authorities of client certificates. Default: clients are not asked for a certificate.
        client_ca: Option<Placed<Tried<FilePath>>>,
        /// Whether a client must send a certificate. Default with `client_ca`: `required`.
        client_certificate: Option<Placed<AskedFor>>,
    }
}

choice! {
    /// Whether a client must send a certificate.
    enum AskedFor {
        /// Without a certificate the TLS handshake fails.
        Required = "required",
        /// The client may use another credential instead.
        Optional = "optional",
    }
}

section! {
    /// The admin listener for operators; clients should not be able to reach it.
    struct Admin {
        /// Best on loopback, like `127.0.0.1:9090`. Any other needs `token`, or `tls` with `client_ca`.
        address: Required<Placed<Address>>,
        /// The hash of the token that operators send as `Authorization: Bearer TOKEN`; `/health/live` and `/health/ready`
        /// need none. Together with `certificates`, both are required.
        token: Option<Tried<Hash>>,
        /// Enables TLS.
        tls: Option<Tls>,
        /// The names in operators' certificates, if `tls` has a `client_ca`: one of them must match.
        #[schemars(length(min = 1))]
        certificates: Option<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>,
    }
}

section! {
    /// Azure Front Door in front of the gateway: requests that did not come through it are rejected, except `/health`.
    struct FrontDoor {
        /// The ids of your Front Door profiles; each request must have one of them in `X-Azure-FDID`.
        #[schemars(length(min = 1))]
        ids: Required<Placed<List<Placed<Guid>>>>,
        /// Networks that connections may come from, like `10.0.0.0/8`. Default: any. The service tag
        /// `AzureFrontDoor.Backend` lists those of Front Door.
        #[schemars(length(min = 1))]
        networks: Option<Placed<List<Placed<Cidr>>>>,
    }
}

section! {
    /// CORS: which web pages may call from a browser. Their preflight requests are answered, and they may read the answers.
    /// Pages of other origins can't use a client certificate or `anonymous`.
    struct Cors {
        /// Each as browsers write it, like `https://app.contoso.example`.
        #[schemars(length(min = 1))]
        origins: Required<Placed<List<Placed<PageOrigin>>>>,
    }
}
