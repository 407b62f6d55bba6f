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
        /// An IP address and a port that nothing else here has.
        address: Required<Placed<Address>>,
        /// Given: TLS, with HTTP/1.1 and HTTP/2.
        tls: Option<Tls>,
        /// What comes beyond so many connections is closed at once.
        #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
        max_connections: Option<Placed<i64>>,
    }
}

section! {
    /// A listener's own certificate, and whose it asks for. The files are read again when they change.
    struct Tls {
        /// PEM: the certificate, then those that lead to its authority.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the certificate's private key.
        key: Required<Placed<FilePath>>,
        /// PEM: the authorities that sign clients' certificates. Clients are asked for none unless given.
        client_ca: Option<Placed<Tried<FilePath>>>,
        /// Whether a client must show one; with `client_ca`, `required` unless given.
        client_certificate: Option<Placed<AskedFor>>,
    }
}

choice! {
    /// Whether a client must show a certificate.
    enum AskedFor {
        /// Without one its handshake fails.
        Required = "required",
        /// It may show another credential instead.
        Optional = "optional",
    }
}

section! {
    /// The operators' own address, never one that clients reach.
    struct Admin {
        /// Best on loopback, like `127.0.0.1:9090`. Any other needs `token`, or `tls` with `client_ca`.
        address: Required<Placed<Address>>,
        /// The hash of what its readers send as `Authorization: Bearer TOKEN`; `/health/live` and `/health/ready` need none.
        /// With `certificates` they show both.
        token: Option<Tried<Hash>>,
        /// Given: TLS.
        tls: Option<Tls>,
        /// Whose certificates are operators', where `tls` has a `client_ca`: any one of these names.
        #[schemars(length(min = 1))]
        certificates: Option<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>,
    }
}

section! {
    /// What stands before the gateway: what did not come through it is refused, but for `/health`.
    struct FrontDoor {
        /// The ids of your Front Door profiles: one of them is in each request's `X-Azure-FDID`.
        #[schemars(length(min = 1))]
        ids: Required<Placed<List<Placed<Guid>>>>,
        /// Where connections may come from, like `10.0.0.0/8`; anywhere unless given. The service tag
        /// `AzureFrontDoor.Backend` lists Front Door's.
        #[schemars(length(min = 1))]
        networks: Option<Placed<List<Placed<Cidr>>>>,
    }
}

section! {
    /// Which web pages may call from a browser: its question before the request (preflight) is answered, and the page may
    /// read the answers. A client's certificate, and `anonymous`, count for no other page.
    struct Cors {
        /// Each as browsers write it, like `https://app.contoso.example`.
        #[schemars(length(min = 1))]
        origins: Required<Placed<List<Placed<PageOrigin>>>>,
    }
}
