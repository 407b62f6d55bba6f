//! `listeners:` and `admin:`, the certificates they show and those they ask for.

use std::{net::SocketAddr, time::SystemTime};

use super::{certificates, settings::number};
use crate::config::{
    pem,
    plan::{Admin, AskedOfClients, Listener, TlsFiles},
    problem::Placed,
    raw,
    read::{List, Reader, Tried},
    section::Required,
    value::{Address, FilePath},
};

/// Enough for any gateway, and within what the system's limit on open files should allow.
const MAX_CONNECTIONS: usize = 10_000;

pub(super) fn listeners(
    raw: Required<Placed<List<raw::Listener>>>,
    raw_admin: Option<raw::Admin>,
    reader: &mut Reader<'_>,
) -> (Vec<Listener>, Option<Admin>) {
    let mut taken = Vec::new();
    let listeners = raw.0.map_or_else(Vec::new, |raw| {
        let mend =
            "without a listener nobody can call the gateway; write `- address: 0.0.0.0:8080`";
        raw.items(mend, reader)
            .filter_map(|raw| listener(raw, &mut taken, reader))
            .collect()
    });
    let admin = raw_admin.and_then(|raw| admin(raw, &mut taken, reader));
    (listeners, admin)
}

fn listener(
    raw: raw::Listener,
    taken: &mut Vec<Placed<SocketAddr>>,
    reader: &mut Reader<'_>,
) -> Option<Listener> {
    let address = raw
        .address
        .0
        .and_then(|address| free(address, taken, reader));
    let mut max_connections = MAX_CONNECTIONS;
    number(
        raw.max_connections,
        1..=1_000_000,
        &mut max_connections,
        reader,
    );
    let tls = match raw.tls {
        Some(raw) => Some(tls(raw, reader)?),
        None => None,
    };
    Some(Listener {
        address: address?.value,
        tls,
        max_connections,
    })
}

/// Elsewhere than on loopback its readers have to show something.
fn admin(
    raw: raw::Admin,
    taken: &mut Vec<Placed<SocketAddr>>,
    reader: &mut Reader<'_>,
) -> Option<Admin> {
    let address = raw
        .address
        .0
        .and_then(|address| free(address, taken, reader));
    let is_token_named = raw.token.is_some();
    let token = raw.token.and_then(|token| token.0).map(|hash| hash.0);
    let is_plain = raw.tls.is_none();
    let asks_at = raw
        .tls
        .as_ref()
        .and_then(|tls| Some(tls.client_ca.as_ref()?.place));
    let tls = match raw.tls {
        Some(raw) => Some(tls(raw, reader)?),
        None => None,
    };
    let asked = asks_at
        .zip(tls.as_ref())
        .map(|(place, value)| Placed { place, value });
    let operators = certificates::operators(raw.certificates, asked, reader);
    let address = address?;
    let asks = is_token_named || tls.as_ref().is_some_and(|tls| tls.of_clients.is_some());
    if !address.value.ip().is_loopback() {
        if !asks {
            let message = "everybody who can reach this address could read metrics and status; write 127.0.0.1, or add token: (`forebay hash-key` prints its hash), or tls: with client_ca: and certificates:";
            reader.problem(address.place, message);
        } else if is_plain {
            let message = "without tls: the token can be read on the network";
            reader.warn(address.place, message);
        }
    }
    Some(Admin {
        address: address.value,
        tls,
        token,
        operators,
    })
}

fn tls(raw: raw::Tls, reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let of_clients = of_clients(raw.client_ca, raw.client_certificate, reader);
    let (certificate, key) = (raw.certificate.0, raw.key.0);
    let chain = certificate
        .as_ref()
        .and_then(|file| reader.take_file(file.place, &file.value.0, pem::certificates));
    let private = key
        .as_ref()
        .and_then(|file| reader.take_file(file.place, &file.value.0, pem::private_key));
    let (certificate, key, chain) = (certificate?, key?, chain?);
    if let Some(warning) =
        pem::term(&chain[0]).and_then(|term| pem::warning(term.standing(SystemTime::now())))
    {
        reader.warn(certificate.place, warning);
    }
    reader.take(key.place, pem::pair(chain, private?))?;
    Some(TlsFiles {
        certificate: certificate.value.0,
        key: key.value.0,
        of_clients: of_clients?,
    })
}

/// Asked of nobody unless there are authorities to believe; required where nothing else is said.
#[expect(clippy::option_option, reason = "nothing asked for is not a mistake")]
fn of_clients(
    client_ca: Option<Placed<Tried<FilePath>>>,
    client_certificate: Option<Placed<raw::AskedFor>>,
    reader: &mut Reader<'_>,
) -> Option<Option<AskedOfClients>> {
    let Some(file) = client_ca else {
        return match client_certificate {
            Some(asked) => {
                let message = "client_certificate: needs client_ca: with the certificate authorities that sign client certificates; add it";
                reader.problem(asked.place, message);
                None
            }
            None => Some(None),
        };
    };
    let authorities = file.value.0?.0;
    reader.take_file(file.place, &authorities, pem::authorities)?;
    let asked = client_certificate.map(|asked| asked.value);
    Some(Some(AskedOfClients {
        authorities,
        required: !matches!(asked, Some(raw::AskedFor::Optional)),
    }))
}

/// The address, unless one before it has taken its port. Port 0 is any free port.
fn free(
    address: Placed<Address>,
    taken: &mut Vec<Placed<SocketAddr>>,
    reader: &mut Reader<'_>,
) -> Option<Placed<SocketAddr>> {
    let address = Placed {
        place: address.place,
        value: address.value.0,
    };
    if let Some(first) = taken
        .iter()
        .find(|other| collide(other.value, address.value))
    {
        let line = first.place.line;
        reader.problem(
            address.place,
            format!("this address is already used in line {line}; choose another port"),
        );
        return None;
    }
    taken.push(address.clone());
    Some(address)
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_ip
}
