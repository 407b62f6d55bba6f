//! Azure Front Door before the gateway: only what came through the operator's own profile is served (wire facts: Front Door).
//!
//! Front Door's addresses are shared by all its customers, so an address alone proves nothing: every request names the
//! profile it came through in `X-Azure-FDID`. Front Door overwrites what a client sent under that name.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use super::refusal::Refusal;

const PROFILE: HeaderName = HeaderName::from_static("x-azure-fdid");
const SOCKET_ADDRESS: HeaderName = HeaderName::from_static("x-azure-socketip");
/// What is open to all: Front Door's probes and the platform's ask for it, and it says nothing of models or clients.
const OPEN: &str = "/health";

/// The id of a Front Door profile, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileId([u8; 36]);

/// Why a text is no profile's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a Front Door id is a GUID like 0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f; the profile's overview page shows it"
)]
pub struct ProfileIdError;

impl ProfileId {
    pub fn parse(text: &str) -> Result<Self, ProfileIdError> {
        let id = Self::of(text.as_bytes()).ok_or(ProfileIdError)?;
        let is_guid = id.0.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        is_guid.then_some(id).ok_or(ProfileIdError)
    }

    /// What may be one: it is as long.
    fn of(text: &[u8]) -> Option<Self> {
        let mut id: [u8; 36] = text.try_into().ok()?;
        id.make_ascii_lowercase();
        Some(Self(id))
    }
}

/// Addresses that start alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error("write a network like 10.0.0.0/8, 2001:db8::/32 or 168.63.129.16")]
    Shape,
    #[error(
        "this address has bits set beyond its prefix length; write the network's first address, or a longer prefix"
    )]
    Loose,
}

impl Network {
    /// One address is a network too.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError::Shape)?,
        };
        match network.trunc() == network {
            true => Ok(Self(network)),
            false => Err(NetworkError::Loose),
        }
    }

    /// An IPv4 address that came over IPv6 counts as what it is.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// `front_door:` what stands between clients and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontDoor {
    /// Never empty.
    pub ids: Vec<ProfileId>,
    /// Where connections may come from; empty: from anywhere.
    pub networks: Vec<Network>,
}

impl FrontDoor {
    /// Lets a request in that came through one of the profiles, from one of the networks; and says which client's
    /// address Front Door saw, where it did come through and Front Door said so.
    pub fn admit(
        &self,
        path: &str,
        connection: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<IpAddr>, Refusal> {
        let is_from = |network: &Network| connection.is_some_and(|from| network.holds(from));
        let is_near = self.networks.is_empty() || self.networks.iter().any(is_from);
        match (path == OPEN, is_near, self.is_named(headers)) {
            (_, true, true) => Ok(socket_address(headers)),
            (true, _, _) => Ok(None),
            (false, false, _) => Err(Refusal::UnknownNetwork),
            (false, true, false) => Err(Refusal::NotFrontDoor),
        }
    }

    /// Whether exactly one id is named, and it is one of the profiles'. As long for any id.
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let Some(named) = only(headers, &PROFILE).and_then(ProfileId::of) else {
            return false;
        };
        let same = self.ids.iter().map(|id| id.0.ct_eq(&named.0));
        same.fold(Choice::from(0), |any, same| any | same).into()
    }
}

fn socket_address(headers: &HeaderMap) -> Option<IpAddr> {
    let text = std::str::from_utf8(only(headers, &SOCKET_ADDRESS)?).ok()?;
    let address: IpAddr = text.parse().ok()?;
    Some(address.to_canonical())
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f";
    const OTHER: &str = "ffffffff-0a1b-2c3d-4e5f-0a1b2c3d4e5f";

    fn door(networks: &[&str]) -> FrontDoor {
        FrontDoor {
            ids: vec![
                ProfileId::parse(OTHER).unwrap(),
                ProfileId::parse(ID).unwrap(),
            ],
            networks: networks
                .iter()
                .map(|text| Network::parse(text).unwrap())
                .collect(),
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_a_request_that_names_one_of_the_profiles_is_let_in() {
        let near = Some([10, 0, 0, 1].into());
        let upper = ID.to_uppercase();
        for (lines, is_let_in) in [
            (vec![("x-azure-fdid", ID)], true),
            (vec![("x-azure-fdid", OTHER)], true),
            (vec![("x-azure-fdid", upper.as_str())], true),
            (vec![], false),
            (vec![("x-azure-fdid", "")], false),
            (vec![("x-azure-fdid", &ID[1..])], false),
            (
                vec![("x-azure-fdid", "1a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f")],
                false,
            ),
            (vec![("x-azure-fdid", ID), ("x-azure-fdid", ID)], false),
            (vec![("x-azure-fdid", ID), ("x-azure-fdid", "x")], false),
        ] {
            let found = door(&[]).admit("/v1/models", near, &headers(&lines));
            let expected = if is_let_in {
                Ok(None)
            } else {
                Err(Refusal::NotFrontDoor)
            };
            assert_eq!(found, expected, "{lines:?}");
            assert_eq!(door(&[]).admit("/health", near, &headers(&lines)), Ok(None));
        }
    }

    #[test]
    fn the_clients_address_is_front_doors_word_and_nobody_elses() {
        let near = Some([10, 0, 0, 1].into());
        let seen = |lines: &[(&'static str, &str)]| {
            door(&["10.0.0.0/8"]).admit("/health", near, &headers(lines))
        };
        let client: IpAddr = [192, 0, 2, 7].into();
        let with_id = ("x-azure-fdid", ID);
        assert_eq!(
            seen(&[with_id, ("x-azure-socketip", "192.0.2.7")]),
            Ok(Some(client))
        );
        assert_eq!(
            seen(&[with_id, ("x-azure-socketip", "::ffff:192.0.2.7")]),
            Ok(Some(client))
        );
        assert_eq!(seen(&[("x-azure-socketip", "192.0.2.7")]), Ok(None));
        assert_eq!(seen(&[with_id, ("x-azure-socketip", "nonsense")]), Ok(None));
        let twice = ("x-azure-socketip", "192.0.2.7");
        assert_eq!(seen(&[with_id, twice, twice]), Ok(None));
        let far = Some([11, 0, 0, 1].into());
        let door = door(&["10.0.0.0/8"]);
        assert_eq!(
            door.admit("/health", far, &headers(&[with_id, twice])),
            Ok(None)
        );
        let elsewhere = door.admit("/v1/models", far, &headers(&[with_id, twice]));
        assert_eq!(elsewhere, Err(Refusal::UnknownNetwork));
    }

    #[test]
    fn a_network_holds_the_addresses_that_start_as_it_does() {
        for (network, address, is_held) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("168.63.129.16", "168.63.129.16", true),
            ("168.63.129.16", "168.63.129.17", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("fe80::1/128", "fe80::1", true),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(
                network.holds(address.parse().unwrap()),
                is_held,
                "{network:?} {address}"
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "a.b",
            "::/129",
        ] {
            assert_eq!(Network::parse(text), Err(NetworkError::Shape), "{text}");
        }
        for text in ["10.0.0.1/8", "2001:db8::1/32", "1.0.0.0/0"] {
            assert_eq!(Network::parse(text), Err(NetworkError::Loose), "{text}");
        }
    }
}
