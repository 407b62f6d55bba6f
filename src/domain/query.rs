//! A client's query, read once: what of it goes on, and the version of the API that it names.

use form_urlencoded::parse;

/// What goes on of a query: each parameter by its plain name, its value as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    text: String,
    /// Its `api-version`, as it is read; empty: it names none.
    version: String,
}

/// An `api-version`, as a deployment reads it; empty where a query names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersion<'a>(&'a str);

impl Query {
    /// Of parameters that go by their plain names, no version named twice.
    pub fn of(text: String) -> Self {
        let named = parse(text.as_bytes()).find(|(name, _)| name == "api-version");
        let version = named.map(|(_, value)| value.into_owned());
        Self {
            version: version.unwrap_or_default(),
            text,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn api_version(&self) -> ApiVersion<'_> {
        ApiVersion(&self.version)
    }
}

impl ApiVersion<'_> {
    pub fn as_str(&self) -> &str {
        self.0
    }

    /// Its date: `None` where it has none, or is one like `v1` or `preview`.
    pub fn date(&self) -> Option<&str> {
        let date = self.0.get(.."2024-09-01".len())?;
        date.starts_with(|c: char| c.is_ascii_digit())
            .then_some(date)
    }

    /// Whether it is from before this date.
    pub fn is_before(&self, date: &str) -> bool {
        self.0.starts_with("20") && self.0 < date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_may_name_an_api_version() {
        for (query, version) in [
            ("a=b&api-version=2024-10-21&c", "2024-10-21"),
            ("", ""),
            ("api-version", ""),
            ("my-api-version=1&b", ""),
        ] {
            let query = Query::of(query.to_owned());
            assert_eq!(query.api_version().as_str(), version, "{query:?}");
        }
    }

    #[test]
    fn a_version_means_the_same_however_it_is_escaped() {
        for (version, date, is_old) in [
            ("2024-10-21", Some("2024-10-21"), true),
            ("2024%2D10%2d21", Some("2024-10-21"), true),
            ("2025-01-01-preview", Some("2025-01-01"), false),
            ("preview", None, false),
            ("", None, false),
        ] {
            let query = Query::of(format!("api-version={version}"));
            let read = query.api_version();
            assert_eq!((read.date(), read.is_before("2024-12-01")), (date, is_old));
        }
    }
}
