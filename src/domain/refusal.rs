//! Every reason the gateway itself says no to a client. Status, code, message, metric label and log field
//! all come from the variant, so a new reason is one variant and the compiler lists what it still needs.

mod answers;
mod limited;
mod token;

use std::time::Duration;

use http::{HeaderName, StatusCode};

pub use limited::Limited;
pub use token::Rejection;

/// The longest wait ever told to a client: the official Python client does not retry at all after a longer
/// one (wire facts: What clients retry).
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// When to come back after a token could not be checked.
const KEYS_WAIT: Duration = Duration::from_secs(5);

/// When to come back after there was no room for a body.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// Our own no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not follow the grammar of HTTP.
    MalformedRequest,
    /// Its body could end in more than one place.
    AmbiguousFraming,
    /// It could mean more than one host.
    AmbiguousHost,
    /// It expects something that is not known here.
    ExpectationFailed,
    UriTooLong,
    HeadTooSlow,
    /// It did not come through the operator's own Front Door.
    NotFrontDoor,
    /// It comes from no network that the operator allows.
    UnknownNetwork,
    UnknownPath,
    MethodNotAllowed {
        /// The path's methods; empty where it has none.
        allow: &'static str,
    },
    NoCredential,
    UnknownKey,
    /// Two credentials that belong to two clients.
    AmbiguousCredential,
    /// A certificate that its authority vouches for, and that is no client's.
    UnknownCertificate,
    /// A certificate that has ended since its connection was opened.
    EndedCertificate,
    /// A web page of elsewhere, with nothing but what its reader's browser sends by itself.
    ForeignOrigin,
    /// A token that lets nobody in; why is for our own eyes.
    InvalidToken(Rejection),
    /// A token whose issuer's keys could not be fetched yet: it may be good.
    UncheckedToken,
    /// Also what a client is told that may not use the model.
    UnknownModel,
    /// A header names a deployment by something that is no model of the client's, or none that is deployed beside the model
    /// asked for.
    NamedElsewhere {
        header: HeaderName,
    },
    /// The query has a parameter that does not go on; `None`: its name may be a value.
    UnknownParameter {
        name: Option<Box<str>>,
    },
    /// The query says something twice, or in a way that has two readings.
    AmbiguousParameter {
        name: Box<str>,
    },
    /// The client was not granted this kind of work.
    OperationNotAllowed {
        /// The grant that is missing, in the config's word.
        needs: &'static str,
    },
    /// A response in the background, which nobody could ask for afterwards.
    NoBackground,
    /// A path for WebSockets was asked for something else, or not over HTTP/1.1.
    NotAWebSocket,
    HeadersTooLarge,
    BodyTooLarge {
        max: usize,
    },
    /// The connection ended before the body did.
    BodyUnfinished,
    BodyTooSlow,
    /// There is no room to keep the body in.
    BodyMemoryFull,
    BodyNotJson,
    BodyTooDeep,
    BodyNotMultipart,
    /// A body that is compressed.
    UnsupportedContentEncoding,
    /// A body that others could read by another grammar than is read here.
    UnsupportedContentType,
    /// A member or field whose name is one that is read here, in other letters.
    MemberMisspelled {
        /// As the API writes it.
        name: &'static str,
    },
    /// A member that is read here stands twice.
    MemberTwice {
        name: &'static str,
    },
    /// A tool names a model that is none of the client's.
    ToolModel,
    /// A realtime call's id that is none.
    CallIdMalformed,
    ModelMissing,
    /// Its model is said to stand in a stored prompt, which no gateway can read.
    ModelInPrompt,
    ModelNotText,
    ModelTwice,
    /// Every deployment that could serve this said to come back later.
    Throttled {
        wait: Duration,
    },
    /// Every deployment that could serve this failed, or can't be asked.
    Unavailable {
        wait: Duration,
    },
    DeadlineExceeded,
    /// A deployment failed that may have done already what must not be done twice.
    MayHaveActed,
    /// A deployment was asked and said nothing in its time, and nobody else could serve.
    Silence,
    /// The client is at one of its own limits.
    Limited(Box<Limited>),
    /// A fault of the gateway's own.
    Internal,
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        Self::Limited(Box::new(limited))
    }
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        self.answer().status
    }

    /// The `code` of the body.
    pub fn code(&self) -> &'static str {
        self.answer().code
    }

    /// The label in metrics and the field in the log: a closed set.
    pub fn reason(&self) -> &'static str {
        self.answer().reason
    }

    /// What the log says beyond the reason, and no client hears: a closed set.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken(rejection) => Some(rejection.as_str()),
            _ => None,
        }
    }

    /// What a 401 must ask for (RFC 6750, 3).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken(_) => Some("Bearer error=\"invalid_token\""),
            Self::NoCredential | Self::UnknownKey | Self::AmbiguousCredential => Some("Bearer"),
            _ => None,
        }
    }

    /// The methods that a 405 must name (RFC 9110, 15.5.6).
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(allow),
            _ => None,
        }
    }

    /// When to come back; at least a millisecond, at most two minutes.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled { wait } | Self::Unavailable { wait } => {
                Some((*wait).clamp(Duration::from_millis(1), LONGEST_WAIT))
            }
            Self::BodyMemoryFull => Some(MEMORY_WAIT),
            Self::UncheckedToken => Some(KEYS_WAIT),
            Self::Limited(limited) => limited
                .wait()
                .map(|wait| wait.clamp(Duration::from_millis(1), LONGEST_WAIT)),
            _ => None,
        }
    }

    /// What a client that would retry by itself is told (wire facts: What clients retry): yes where the wait makes sense, no where a
    /// retry would only make it worse; `None`: as its own rules say.
    pub fn should_retry(&self) -> Option<bool> {
        match self {
            Self::Throttled { wait } | Self::Unavailable { wait } => Some(*wait <= LONGEST_WAIT),
            // It has waited this long already, and Azure may bill for each try.
            Self::DeadlineExceeded | Self::Silence => Some(false),
            // Whoever repeats it by itself could do it twice.
            Self::MayHaveActed => Some(false),
            Self::Limited(limited) => Some(limited.wait().is_some()),
            _ => None,
        }
    }

    /// What the client can do about it. It names no host, deployment or secret.
    pub fn message(&self) -> String {
        let message = self.answer().message;
        match self {
            Self::BodyTooLarge { max } => message.replace("{max}", &max.to_string()),
            Self::OperationNotAllowed { needs } => message.replace("{needs}", needs),
            Self::MemberMisspelled { name } | Self::MemberTwice { name } => {
                message.replace("{name}", name)
            }
            Self::NamedElsewhere { header } => message.replace("{header}", header.as_str()),
            Self::UnknownParameter { name: Some(name) } | Self::AmbiguousParameter { name } => {
                message.replace("{name}", name)
            }
            Self::Limited(limited) => limited.message(self.seconds()),
            Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::BodyMemoryFull
            | Self::UncheckedToken => message.replace("{wait}", &self.seconds().to_string()),
            _ => message.to_owned(),
        }
    }

    /// The wait in whole seconds, rounded up, as `Retry-After` wants it; never 0, which some clients
    /// take for no word at all (wire facts: What clients retry).
    pub fn seconds(&self) -> u64 {
        let wait = self.wait().unwrap_or_default();
        wait.as_millis().div_ceil(1000).max(1) as u64
    }

    /// What of the request it is about, where that is one member of its body.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::NoBackground => Some("background"),
            Self::ToolModel => Some("tools"),
            Self::MemberMisspelled { name } | Self::MemberTwice { name } => Some(name),
            _ => None,
        }
    }

    /// The error's `type`, by OpenAI's words.
    pub fn kind(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "too_many_requests",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up_and_never_zero() {
        for (wait_ms, told_ms, told_s) in [
            (0, 1, 1),
            (1, 1, 1),
            (1000, 1000, 1),
            (1001, 1001, 2),
            (86_400_000, 120_000, 120),
        ] {
            let refusal = Refusal::Throttled {
                wait: Duration::from_millis(wait_ms),
            };
            assert_eq!(refusal.wait(), Some(Duration::from_millis(told_ms)));
            assert_eq!(refusal.seconds(), told_s);
            assert!(
                refusal
                    .message()
                    .contains(&format!("after {told_s} seconds"))
            );
        }
    }

    #[test]
    fn a_client_is_told_to_retry_only_where_that_can_help() {
        let throttled = |seconds| Refusal::Throttled {
            wait: Duration::from_secs(seconds),
        };
        assert_eq!(throttled(120).should_retry(), Some(true));
        assert_eq!(throttled(121).should_retry(), Some(false));
        assert_eq!(Refusal::DeadlineExceeded.should_retry(), Some(false));
        assert_eq!(Refusal::MayHaveActed.should_retry(), Some(false));
        assert_eq!(Refusal::MayHaveActed.wait(), None);
        assert_eq!(Refusal::UnknownKey.should_retry(), None);
    }

    #[test]
    fn a_limit_is_named_in_its_message() {
        assert!(
            Refusal::BodyTooLarge { max: 1024 }
                .message()
                .contains("1024 bytes")
        );
    }
}
