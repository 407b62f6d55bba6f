//! Values written as strings: durations, sizes, addresses, paths, endpoints, hashes, secrets.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    node::{Content, Node},
    read::{Read, Reader},
};
use crate::domain::{
    client::KeyHash,
    cors::Origin,
    deployment::Endpoint,
    front_door::{Network, ProfileId},
    price::{Currency, Price},
    redaction::Pattern,
    secret::Secret,
};

/// The longest duration: what is added to a clock must not overflow it.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Defines values written as strings: what each is for, the pattern editors check, how it is read.
macro_rules! written {
    ($($(#[doc = $about:literal])+ $name:ident($type:ty): $pattern:literal, $parse:expr;)*) => {$(
        $(#[doc = $about])+
        pub(super) struct $name(pub(super) $type);

        impl super::read::Read for $name {
            fn read(node: &super::node::Node, reader: &mut Reader<'_>) -> Option<Self> {
                if let Some(mend) = with_unit(stringify!($name), &node.content) {
                    reader.problem(node.place, mend);
                    return None;
                }
                let text = String::read(node, reader)?;
                let parse: fn(&str, &Reader<'_>) -> Result<$type, String> = $parse;
                let value = parse(&text, reader);
                reader.take(node.place, value).map(Self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                // A reference may stand for anything, so a string that holds one fits every pattern.
                let pattern = format!("^(?:{})$|\\$\\{{", $pattern);
                let about = concat!($($about),+).trim();
                schemars::json_schema!({ "type": "string", "description": about, "pattern": pattern })
            }
        }
    )*};
}

written! {
    /// A duration, like `250ms`, `30s` or `1m 30s`.
    Span(Duration): "([0-9]+ *[a-zA-Z]+ *)+|0", |text, _| {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(duration),
            Ok(_) => Err("nothing here waits longer than a week; write 7days or less".into()),
            Err(_) => Err("a duration is a number with its unit, like 250ms, 30s or 10m".into()),
        }
    };
    /// A size, like `512B`, `32KiB`, `32MiB` or `1GiB`.
    Size(usize): "[0-9]+ *(B|KiB|MiB|GiB)", |text, _| {
        size(text).ok_or_else(|| "a size is written like 512B, 32KiB, 32MiB or 1GiB".into())
    };
    /// A share, like `20%`.
    Percent(f64): "[0-9]+([.][0-9]+)? *%", |text, _| {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
        let share = number.filter(|number| (0.0..=100.0).contains(number));
        share.map(|number| number / 100.0).ok_or_else(|| "a share is written like 20%, from 0% to 100%".into())
    };
    /// An IP address and a port, like `0.0.0.0:8080` or `[::1]:8080`.
    Address(SocketAddr): r".+:[0-9]+", |text, _| {
        text.parse().map_err(|_| "an address is an IP address and a port, like 0.0.0.0:8080 or [::1]:8080".into())
    };
    /// An IP address, with a port where it is not the endpoint's: `10.0.0.4` or `10.0.0.4:8443`.
    Target((IpAddr, Option<u16>)): r"[0-9a-fA-F.:\[\]]+", |text, _| {
        let with_port = text.parse::<SocketAddr>().map(|address| (address.ip(), Some(address.port())));
        with_port.or_else(|_| text.parse().map(|ip| (ip, None)))
            .map_err(|_| "this is an IP address, with or without a port, like 10.0.0.4 or 10.0.0.4:8443".into())
    };
    /// A file. A relative path starts at the config file's folder.
    FilePath(PathBuf): ".+", |text, reader| match text {
        "" => Err("this path is empty".into()),
        content if content.contains('\n') || content.contains("-----BEGIN") => {
            Err("a file's path belongs here, and this is what is in one; name the file alone, without ${file:…} around it".into())
        }
        path => Ok(reader.folder.join(path)),
    };
    /// A URL: scheme, host, port where it is not the scheme's, path.
    Url(Endpoint): "https?://.+", |text, reader| Endpoint::parse(text).map_err(|error| {
        match Endpoint::of_target(text).filter(|_| !reader.is_filled_in) {
            Some(right) => format!("{error}; write {right}"),
            None => error.to_string(),
        }
    });
    /// A URL that is compared letter by letter, so that a slash at its end counts.
    IssuerUrl((String, Endpoint)): "https?://.+", |text, _| {
        Endpoint::parse(text).map(|endpoint| (text.to_owned(), endpoint)).map_err(|error| error.to_string())
    };
    /// The hash of a client's key: `sha256:` and 64 hexadecimal digits. `forebay hash-key` prints it.
    Hash(KeyHash): "sha256:[0-9a-fA-F]{64}", |text, _| KeyHash::parse(text).map_err(|error| error.to_string());
    /// A secret. Better a reference than the value: `${file:/run/credentials/…}` or `${env:NAME}`.
    Hidden(Secret): ".+", |text, _| {
        let fits = text.bytes().all(|b| b.is_ascii_graphic()) && !text.is_empty();
        fits.then(|| Secret::new(text.into()))
            .ok_or_else(|| "a secret is not empty and has only visible ASCII characters, no space or line break".into())
    };
    /// A header's value, kept as a secret. Better a reference than the value: `${file:/run/credentials/…}` or `${env:NAME}`.
    HiddenHeader(Secret): ".+", |text, _| {
        let fits = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && text.trim() == text && !text.is_empty();
        fits.then(|| Secret::new(text.into()))
            .ok_or_else(|| "a header's value is not empty and has only visible ASCII characters and spaces between them".into())
    };
    /// A GUID, like `0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f`.
    Guid(ProfileId): "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", |text, _| {
        ProfileId::parse(text).map_err(|error| error.to_string())
    };
    /// A web page's origin, like `https://app.contoso.example`.
    PageOrigin(Origin): "[a-zA-Z0-9+.-]+://[a-zA-Z0-9._:\\[\\]-]+", |text, _| Origin::parse(text).map_err(|error| error.to_string());
    /// A network, like `10.0.0.0/8` or `2001:db8::/32`, or one address.
    Cidr(Network): "[0-9a-fA-F.:]+(/[0-9]{1,3})?", |text, _| Network::parse(text).map_err(|error| error.to_string());
    /// A currency's code (ISO 4217), like `EUR`.
    Code(Currency): "[A-Z]{3}", |text, _| {
        Currency::parse(text).ok_or_else(|| "a currency is three capital letters, like EUR".into())
    };
    /// A regular expression, like `[0-9]{16}`. Backslashes stand as they are between single quotes.
    Expression(Pattern): ".+", |text, _| Pattern::parse(text).map_err(|error| error.to_string());
    /// A text that is not empty.
    Word(String): ".+", |text, _| match text {
        "" => Err("this is empty; give it a value or leave it out".into()),
        text => Ok(text.into()),
    };
}

/// What to write instead of a number that lacks its unit.
fn with_unit(name: &str, content: &Content) -> Option<String> {
    let number = match content {
        Content::Integer(number) if *number >= 0 => *number,
        Content::Fraction(text) => return whole_with_unit(name, text.parse().ok()?),
        _ => return None,
    };
    match name {
        "Span" => Some(format!(
            "a duration has its unit; write {number}s (or {number}ms, {number}m)"
        )),
        "Size" => Some(format!(
            "a size has its unit; write {number}MiB (or {number}B, {number}KiB)"
        )),
        "Percent" => Some(format!("a share has its sign; write {number}%")),
        _ => None,
    }
}

/// The same for a number that is no whole one, in a unit in which it is.
fn whole_with_unit(name: &str, number: f64) -> Option<String> {
    let as_whole = |times: f64| {
        let whole = (number * times).round();
        (1.0..1e12).contains(&whole).then_some(whole as u64)
    };
    match name {
        "Span" => Some(format!(
            "a duration has its unit; write {}ms",
            as_whole(1e3)?
        )),
        "Size" => Some(format!(
            "a size is a whole number with its unit; write {}KiB",
            as_whole(1024.0)?
        )),
        // Whether 0.1 means a tenth or a thousandth nobody knows.
        _ => None,
    }
}

/// A price per million tokens, like `2.50`.
pub(super) struct Money(pub(super) Price);

impl Read for Money {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match &node.content {
            Content::Integer(number) => number.to_string(),
            // To the letter: a number of the machine's would round it.
            Content::Fraction(text) => text.clone(),
            Content::Text(_) => String::read(node, reader)?,
            _ => return reader.misfit(node, "a price per million tokens, like 2.50"),
        };
        reader.take(node.place, Price::parse(&text)).map(Self)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"], "description": "A price per million tokens, like `2.50`.",
            "minimum": 0, "maximum": 1_000_000, "pattern": r"^[0-9]+([.][0-9]+)?$|\$\{",
        })
    }
}

/// Bytes; `None`: no size, or more than fits.
fn size(text: &str) -> Option<usize> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let shift = match unit.trim_start() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}
