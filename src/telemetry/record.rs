//! The whole story of one request as plain values: what the log line and the counters are made from.
//!
//! Nothing secret has a place in it: no query (it may carry a key), no header, no body.

#[cfg(test)]
mod example;

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Version};
use serde::{Serialize, Serializer};

use crate::domain::{
    deployment::{Capacity, Priority},
    name::{ClientName, DeploymentName, InstanceName, ModelName},
    price::Cost,
    trace::{SpanId, Trace},
    usage::{Guess, Usage},
};

/// The label of a client or a model that we don't know; the config gives it to none.
const NONE: &str = "none";

/// One request from its first line to its last byte.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the request's head had arrived.
    pub arrived: SystemTime,
    /// What `x-request-id` said to the client.
    pub request_id: Arc<str>,
    /// Where it stands in its trace; `None`: traces are sent nowhere.
    pub trace: Option<Box<Trace>>,
    /// `None`: nobody we know.
    pub client: Option<ClientName>,
    /// A configured model; `None`: none was asked for, or one that isn't there.
    pub model: Option<ModelName>,
    /// The version that every deployment of the model's pool serves, where the config says it.
    pub model_version: Option<Arc<str>>,
    /// From a closed set ("chat", "embeddings", …); empty where the path names no operation: "other".
    pub operation: &'static str,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// `None`: what came could not be read as far.
    pub method: Option<Method>,
    /// Without its query; `None` likewise.
    pub path: Option<String>,
    pub version: Version,
    /// Whose end of the connection it is.
    pub address: Option<IpAddr>,
    /// The client's own, as Front Door saw it, where the request came through the operator's; else the connection's.
    pub client_address: Option<IpAddr>,
    /// In the order in which they were made.
    pub attempts: Vec<AttemptRecord>,
    /// The refusal's code where the answer was our own no.
    pub refusal: Option<&'static str>,
    /// What is to be said of it to nobody but operators: why a token let nobody in.
    pub detail: Option<&'static str>,
    /// The retry budget did not allow a further move.
    pub out_of_budget: bool,
    /// What the client got; `None`: it left before it got any.
    pub status: Option<u16>,
    pub end: AnswerEnd,
    /// Whether the body was passed on as it came, so that it could not be sent again.
    pub unreplayable: bool,
    /// What the answer cost; `None`: nothing, or nothing that is counted in tokens.
    pub usage: Option<Usage>,
    /// Why that is an estimate; `None`: it is the deployment's own word.
    pub guess: Option<Guess>,
    /// What that costs by the operator's table; filled in as the record is accounted. `None`: there is no price for it.
    pub cost: Option<Cost>,
    /// Of the body as the client sent it.
    pub request_bytes: u64,
    /// Of the body as the client got it.
    pub response_bytes: u64,
    /// From arrival to the answer's first body byte towards the client.
    pub time_to_first_byte: Option<Duration>,
    /// From arrival to a stream's first event with output of the model; `None`: there was none, or it could not be read.
    pub time_to_first_token: Option<Duration>,
    /// From arrival to the answer's last byte.
    pub duration: Duration,
    /// Our own share of `duration`: waiting for deployments and for the client excluded.
    pub overhead: Option<Duration>,
}

/// One try at one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    pub instance: InstanceName,
    pub deployment: DeploymentName,
    /// How the deployment is paid for.
    pub capacity: Capacity,
    /// In the order in which the pool asks.
    pub priority: Priority,
    /// The outcome's label, from the closed set of the domain.
    pub outcome: &'static str,
    /// Azure may bill for it although it gave no answer to use.
    pub may_be_billed: bool,
    /// Where Azure's own spillover sent it: a deployment of the same instance, by its own word.
    pub spilled_to: Option<Arc<str>>,
    /// The deployment's status; `None`: it gave none.
    pub status: Option<u16>,
    /// From the request's arrival to choosing it.
    pub began: Duration,
    /// From choosing it to knowing the outcome.
    pub took: Duration,
    /// What the deployment was told is the caller's span; `None` likewise to `Record::trace`.
    pub span: Option<SpanId>,
}

impl AttemptRecord {
    /// Whether both were made at the same deployment.
    pub fn is_at(&self, other: &Self) -> bool {
        self.instance == other.instance && self.deployment == other.deployment
    }
}

/// How the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// To its last byte.
    Complete,
    /// Cut short by us or by the deployment, after it had begun.
    Broken,
    /// The client went away first.
    ClientLeft,
    /// A session that was ended because neither side had said anything for too long.
    Idle,
}

impl AnswerEnd {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::ClientLeft => "client_left",
            Self::Idle => "idle",
        }
    }
}

/// How a deployment's capacity is billed, as metrics, logs and `/status` call it.
pub fn capacity_word(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Standard => "standard",
        Capacity::Provisioned => "provisioned",
    }
}

impl Record {
    /// The operation's label: "other" where the path named none.
    pub fn operation(&self) -> &'static str {
        match self.operation {
            "" => "other",
            operation => operation,
        }
    }

    /// The client's label: "none" where nobody was identified.
    pub fn client(&self) -> &str {
        self.client.as_ref().map_or(NONE, ClientName::as_str)
    }

    /// The model's label: "none" where no configured model was asked for.
    pub fn model(&self) -> &str {
        self.model.as_ref().map_or(NONE, ModelName::as_str)
    }

    /// HTTP's version, as logs and traces write it.
    pub(super) fn http_version(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        }
    }
}

/// A time in a log: RFC 3339, UTC, to the millisecond.
pub(super) struct Stamp(pub(super) SystemTime);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(self.0))
    }
}

/// A value in a log as its text.
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    pub(in crate::telemetry) use super::example::record;

    #[test]
    fn what_is_not_known_has_a_label_of_its_own() {
        let mut record = record();
        assert_eq!(
            (record.client(), record.model(), record.operation()),
            ("app", "gpt-4o", "chat")
        );
        (record.client, record.model, record.operation) = (None, None, "");
        assert_eq!(
            (record.client(), record.model(), record.operation()),
            ("none", "none", "other")
        );
    }
}
