//! `listeners:` and `admin:`, and the certificates they show.

use std::net::SocketAddr;

use crate::config::{
    pem,
    plan::{Listener, TlsFiles},
    problem::Placed,
    raw,
    read::{List, Reader},
    section::Required,
    value::Address,
};

pub(super) fn listeners(
    raw: Required<Placed<List<raw::Listener>>>,
    admin: Option<raw::Admin>,
    reader: &mut Reader<'_>,
) -> (Vec<Listener>, Option<SocketAddr>) {
    let mut taken = Vec::new();
    let listeners = raw.0.map_or_else(Vec::new, |raw| {
        if raw.value.0.is_empty() {
            reader.problem(
                raw.place,
                "without a listener nobody can call; write `- address: 0.0.0.0:8080`",
            );
        }
        raw.value
            .0
            .into_iter()
            .flatten()
            .filter_map(|raw| listener(raw, &mut taken, reader))
            .collect()
    });
    let admin = admin.and_then(|raw| {
        let address = free(raw.address.0?, &mut taken, reader)?;
        if !address.value.ip().is_loopback() {
            reader.warn(
                address.place,
                "whoever reaches this address sees metrics and status; 127.0.0.1 is safer",
            );
        }
        Some(address.value)
    });
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
    let tls = match raw.tls {
        Some(raw) => Some(tls(raw, reader)?),
        None => None,
    };
    Some(Listener {
        address: address?.value,
        tls,
    })
}

fn tls(raw: raw::Tls, reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let (certificate, key) = (raw.certificate.0, raw.key.0);
    let chain = certificate
        .as_ref()
        .and_then(|file| reader.take(file.place, pem::certificates(&file.value.0)));
    let private = key
        .as_ref()
        .and_then(|file| reader.take(file.place, pem::private_key(&file.value.0)));
    let (certificate, key) = (certificate?, key?);
    reader.take(key.place, pem::belong_together(chain?, private?))?;
    Some(TlsFiles {
        certificate: certificate.value.0,
        key: key.value.0,
    })
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
            format!("line {line} has taken this address; choose another port"),
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
