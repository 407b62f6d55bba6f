//! Which of a client's headers go on to a deployment: those that describe the body, Azure's own switches, ids to follow
//! a request by, and what the operator adds. Nothing else, and never more than Azure takes. Likewise which parameters of
//! its query do, and which headers of the answer come back to it.

mod answer;
mod mask;
mod query;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, GetAll},
};

use super::{
    query::Query,
    refusal::Refusal,
    route::Operation,
    trace::{TRACEPARENT, TRACESTATE, Trace},
};

pub use mask::Mask;

/// Azure answers 431 to more than ten custom headers (wire facts: Custom headers), and does not say which are custom: here all
/// that HTTP itself does not define (RFC 9110). One of the ten is kept free for the deployment's own `api-key`.
pub const MOST_CUSTOM: usize = 9;

/// What describes the body, and the answer's: HTTP's own.
static PLAIN: [HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];

/// Azure's and OpenAI's (wire facts: Response headers). First what changes an answer, last what only follows it.
static CUSTOM: [HeaderName; 6] = [
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("aoai-evals"),
    HeaderName::from_static("aoai-copy-ft-checkpoints"),
    HeaderName::from_static("x-ms-client-request-id"),
    TRACEPARENT,
    TRACESTATE,
];

/// The deployment that makes the pictures of a response.
pub const IMAGE_GENERATION: HeaderName =
    HeaderName::from_static("x-ms-oai-image-generation-deployment");
/// The deployment that Azure spills to.
const SPILLOVER: HeaderName = HeaderName::from_static("x-ms-spillover-deployment");
/// Azure's that name a further deployment of the same instance. To clients a model has that name.
static NAMING: [HeaderName; 2] = [IMAGE_GENERATION, SPILLOVER];

/// What names of this kind say is meant for the model's server.
const MEANT_FOR_IT: [&str; 6] = [
    "x-ms-",
    "openai-",
    "aoai-",
    "azureml-",
    "anthropic-",
    "extra-parameters",
];

/// But these are sent by SDKs by themselves and change nothing.
const NOISE: [&str; 5] = [
    "x-ms-useragent",
    "x-ms-date",
    "x-ms-return-client-request-id",
    "openai-organization",
    "openai-project",
];

/// Why an operator may not add a header.
const NEVER: [&str; 26] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "ocp-apim-subscription-key",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-http-method-override",
];

/// Which headers and parameters go on, and which headers come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// The operator's headers.
    more: Vec<HeaderName>,
    /// Its parameters of queries.
    parameters: Vec<Box<str>>,
    /// Its headers of answers.
    answers: Vec<HeaderName>,
}

/// What of one request's headers goes on, and what is left out that its client may miss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What names a further deployment of the instance: a model by its client's word, until an instance is chosen. Room
    /// is kept for it.
    pub naming: Vec<(HeaderName, HeaderValue)>,
    /// Would have gone on, but were too many.
    pub over_limit: Vec<HeaderName>,
    /// Were meant for the model's server, but are not among those that go on.
    pub unlisted: Vec<HeaderName>,
}

impl Forwarding {
    /// `more`: as many as [`MOST_CUSTOM`] at most, each one that [`Self::may_add`] takes.
    pub fn new(more: Vec<HeaderName>) -> Self {
        Self {
            more,
            ..Self::default()
        }
    }

    /// With an operator's parameters of queries, each one that [`Self::may_add_parameter`] takes, and headers of answers,
    /// each one that [`Self::may_answer`] takes.
    #[must_use]
    pub fn with(self, parameters: Vec<Box<str>>, answers: Vec<HeaderName>) -> Self {
        Self {
            parameters,
            answers,
            ..self
        }
    }

    /// A query parameter's name, if an operator may have it passed on.
    pub fn may_add_parameter(name: &str) -> Result<Box<str>, &'static str> {
        query::may_add(name)
    }

    /// The name of an answer's header, if an operator may have it passed on to clients.
    pub fn may_answer(name: &str) -> Result<HeaderName, &'static str> {
        answer::may_add(name)
    }

    /// What goes on of a client's query: without its credential. Any parameter that is not known is refused, and so is
    /// what two readers could read as two.
    pub fn query(&self, operation: Operation, query: &str) -> Result<Query, Refusal> {
        query::read(query, operation, &self.parameters).map(Query::of)
    }

    /// The headers of a deployment's answer that its client does not get. `secret`: what the deployment was asked with.
    pub fn staying(&self, headers: &HeaderMap, secret: Option<&HeaderValue>) -> Vec<HeaderName> {
        answer::staying(headers, &self.answers, secret)
    }

    /// A header's name, if an operator may have it passed on.
    pub fn may_add(name: &str) -> Result<HeaderName, &'static str> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| "this is not a header name; write one like x-team")?;
        let starts = ["x-azure-", "x-forwarded-", "x-original-"];
        if NEVER.contains(&name.as_str())
            || starts.iter().any(|start| name.as_str().starts_with(start))
        {
            return Err(
                "this header is never forwarded: it is a credential, or it describes the connection, the request's route or the body's encoding; remove it",
            );
        }
        if [&PLAIN[..], &CUSTOM, &NAMING]
            .iter()
            .any(|known| known.contains(&name))
        {
            return Err("this header is always forwarded; remove it");
        }
        Ok(name)
    }

    /// Chooses from a request's headers: room for those that name a deployment, the operator's first, then the others in their fixed order. Of several alike
    /// the first goes on: it is the one that was read here. What belongs to one connection alone stays.
    ///
    /// `trace`: what is said of the trace in place of what the client said; where the ten are taken it is not said.
    pub fn choose(&self, headers: &HeaderMap, trace: Option<&Trace>) -> Forwarded {
        let mut forwarded = Forwarded {
            headers: Vec::with_capacity(PLAIN.len() + MOST_CUSTOM),
            ..Forwarded::default()
        };
        let connection = headers.get_all(header::CONNECTION);
        let sent = |name: &HeaderName| {
            let value = match trace {
                Some(trace) if *name == TRACEPARENT => Some(trace.traceparent(trace.span)),
                Some(trace) if *name == TRACESTATE => trace.tracestate().cloned(),
                _ => {
                    let value = headers
                        .get(name)
                        .filter(|_| !is_nominated(&connection, name));
                    value.cloned()
                }
            };
            Some((name.clone(), value?))
        };
        forwarded.headers.extend(PLAIN.iter().filter_map(sent));
        forwarded.naming.extend(NAMING.iter().filter_map(sent));
        let room = MOST_CUSTOM - forwarded.naming.len();
        let custom = self.more.iter().chain(&CUSTOM).filter_map(sent);
        for (i, (name, value)) in custom.enumerate() {
            match i < room {
                true => forwarded.headers.push((name, value)),
                // Our own is nothing that a client would miss.
                false if headers.contains_key(&name) => forwarded.over_limit.push(name),
                false => {}
            }
        }
        let unlisted = headers.keys().filter(|name| self.is_missed(name));
        forwarded.unlisted.extend(unlisted.cloned());
        forwarded
    }

    fn is_missed(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        MEANT_FOR_IT.iter().any(|start| text.starts_with(start))
            && !NOISE.contains(&text)
            && !CUSTOM.contains(name)
            && !NAMING.contains(name)
            && !self.more.contains(name)
    }
}

/// Whether `Connection` says that a header is for this connection alone (RFC 9110, 7.6.1).
fn is_nominated(connection: &GetAll<'_, HeaderValue>, name: &HeaderName) -> bool {
    let lines = connection.iter();
    let mut words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    words.any(|word| {
        word.trim_ascii()
            .eq_ignore_ascii_case(name.as_str().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trace::{Sampling, SpanId};

    fn headers(names: &[&'static str]) -> HeaderMap {
        let line =
            |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("v"));
        names.iter().map(line).collect()
    }

    fn names(chosen: &[(HeaderName, HeaderValue)]) -> Vec<&str> {
        chosen.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn no_more_custom_headers_go_on_than_azure_takes_and_the_operators_are_the_last_to_stay() {
        let own = ["x-a", "x-b", "x-c"];
        let forwarding = Forwarding::new(
            own.iter()
                .map(|name| Forwarding::may_add(name).unwrap())
                .collect(),
        );
        let mut sent = headers(&own);
        sent.extend(
            PLAIN
                .iter()
                .chain(&CUSTOM)
                .chain(&NAMING)
                .map(|name| (Some(name.clone()), HeaderValue::from_static("v"))),
        );
        let forwarded = forwarding.choose(&sent, None);
        let gone = names(&forwarded.headers);
        assert_eq!(
            gone.len() + forwarded.naming.len(),
            PLAIN.len() + MOST_CUSTOM
        );
        assert_eq!(forwarded.naming.len(), NAMING.len());
        assert!(own.iter().all(|name| gone.contains(name)), "{gone:?}");
        assert_eq!(
            forwarded.over_limit,
            [
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("tracestate")
            ]
        );
        assert_eq!(forwarded.unlisted, [] as [HeaderName; 0]);
        let alone = Forwarding::default().choose(&sent, None);
        assert_eq!((alone.headers.len(), alone.over_limit.len()), (8, 0));
    }

    #[test]
    fn our_own_word_on_the_trace_takes_the_clients_place_and_no_more_room_than_there_is() {
        let trace = |sent: &HeaderMap| Trace::begin(sent, Sampling::from_share(1.0), 7, 9);
        let bare = HeaderMap::new();
        let forwarded = Forwarding::default().choose(&bare, Some(&trace(&bare)));
        assert_eq!(names(&forwarded.headers), ["traceparent"]);

        let mut told = headers(&["tracestate"]);
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        told.insert(TRACEPARENT, HeaderValue::from_static(parent));
        told.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        told.insert(header::CONNECTION, HeaderValue::from_static("tracestate"));
        let forwarded = Forwarding::default().choose(&told, Some(&trace(&told)));
        assert_eq!(
            forwarded.headers,
            [
                (TRACEPARENT, trace(&told).traceparent(SpanId::from_draw(9))),
                (TRACESTATE, HeaderValue::from_static("a=1")),
            ]
        );

        let own: Vec<HeaderName> = (0..MOST_CUSTOM)
            .map(|n| Forwarding::may_add(&format!("x-{n}")).unwrap())
            .collect();
        let full: HeaderMap = own
            .iter()
            .map(|name| (name.clone(), HeaderValue::from_static("v")))
            .collect();
        let forwarding = Forwarding::new(own);
        let forwarded = forwarding.choose(&full, Some(&trace(&full)));
        assert_eq!(forwarded.headers.len(), MOST_CUSTOM);
        assert_eq!(forwarded.over_limit, [] as [HeaderName; 0]);
    }

    #[test]
    fn what_was_meant_for_the_model_and_stays_is_told_apart_from_noise() {
        let sent = headers(&[
            "x-ms-new-switch",
            "x-ms-useragent",
            "openai-organization",
            "x-stainless-lang",
            "cookie",
            "x-azure-fdid",
        ]);
        let forwarded = Forwarding::default().choose(&sent, None);
        assert_eq!(forwarded.headers, []);
        assert_eq!(
            forwarded.unlisted,
            [HeaderName::from_static("x-ms-new-switch")]
        );
        let forwarding = Forwarding::new(vec![HeaderName::from_static("x-ms-new-switch")]);
        assert_eq!(
            forwarding.choose(&sent, None).unlisted,
            [] as [HeaderName; 0]
        );
    }

    #[test]
    fn what_belongs_to_one_connection_stays() {
        let mut sent = headers(&["traceparent", "openai-beta"]);
        sent.insert(
            header::CONNECTION,
            HeaderValue::from_static("close, TraceParent"),
        );
        assert_eq!(
            names(&Forwarding::default().choose(&sent, None).headers),
            ["openai-beta"]
        );
    }

    #[test]
    fn an_operator_adds_no_credential_and_nothing_of_the_way() {
        for name in NEVER
            .iter()
            .chain(&["X-Azure-FDID", "X-Forwarded-For", "x-original-url"])
        {
            assert!(
                Forwarding::may_add(name)
                    .unwrap_err()
                    .contains("never forwarded"),
                "{name}"
            );
        }
        assert!(
            Forwarding::may_add("Traceparent")
                .unwrap_err()
                .contains("always forwarded")
        );
        assert!(
            Forwarding::may_add("x team")
                .unwrap_err()
                .contains("not a header name")
        );
        assert!(Forwarding::may_add("").is_err());
        assert_eq!(Forwarding::may_add("X-Team").unwrap(), "x-team");
    }
}
