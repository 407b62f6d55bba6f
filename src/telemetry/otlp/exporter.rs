//! How a collector is spoken to: gRPC, or protobuf over HTTP. What it says comes back as what it means for us.

use std::{error::Error as StdError, io, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_client::MetricsServiceClient,
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
};
use prost::Message;
use thiserror::Error;
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    domain::collector::{Collector, Protocol},
    http_client::{self, CONNECT_TIME, root_cause},
};

/// For one request to the collector, from the connection's start to the answer's end.
const TIME: Duration = Duration::from_secs(10);
/// An answer says hardly more than that all is well.
const LARGEST: usize = 64 << 10;
const AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));

/// Why nothing can be sent to a collector as it is configured.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("its endpoint can't be used: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    #[error(transparent)]
    Client(#[from] http_client::SetupError),
    #[error("a header for it can't be used: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why something was not taken. Safe to print: it holds nothing of an answer's content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether the same may be taken later; if so, perhaps when.
    pub(super) later: Option<Option<Duration>>,
}

/// A collector, however it is spoken to. Its connections are made when they are needed.
///
/// Not `opentelemetry-otlp`'s exporters: they tell neither what a collector took no more than in part nor each try that
/// failed, which are counted here; end their tries within one timeout; and take metrics that nobody else can make.
#[derive(Clone)]
pub(super) enum Exporter {
    Grpc(Channel, MetadataMap),
    /// The endpoint is without a slash at its end.
    Http(reqwest::Client, String),
}

impl Exporter {
    /// To be called inside the runtime that it is used in.
    pub(super) fn new(collector: &Collector) -> Result<Self, SetupError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &collector.headers {
            let mut value = HeaderValue::from_str(value.expose())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(match collector.protocol {
            Protocol::Grpc => Self::Grpc(channel(collector)?, MetadataMap::from_headers(headers)),
            Protocol::Http => {
                let more = |it: reqwest::ClientBuilder| {
                    it.user_agent(AGENT).timeout(TIME).default_headers(headers)
                };
                let client = http_client::client(collector.ca.as_deref(), more)?;
                Self::Http(client, collector.endpoint.to_string())
            }
        })
    }

    /// Gives how many spans were not taken for good.
    pub(super) async fn traces(&self, batch: ExportTraceServiceRequest) -> Result<u64, Failure> {
        let answer: ExportTraceServiceResponse = match self {
            Self::Grpc(channel, metadata) => {
                let mut client = TraceServiceClient::new(channel.clone());
                by_grpc(client.export(request(batch, metadata))).await?
            }
            Self::Http(client, base) => by_http(client, format!("{base}/v1/traces"), batch).await?,
        };
        let rejected = answer.partial_success.map_or(0, |it| it.rejected_spans);
        Ok(rejected.try_into().unwrap_or(0))
    }

    /// The same of metrics' data points.
    pub(super) async fn metrics(&self, all: ExportMetricsServiceRequest) -> Result<u64, Failure> {
        let answer: ExportMetricsServiceResponse = match self {
            Self::Grpc(channel, metadata) => {
                let mut client = MetricsServiceClient::new(channel.clone());
                by_grpc(client.export(request(all, metadata))).await?
            }
            Self::Http(client, base) => by_http(client, format!("{base}/v1/metrics"), all).await?,
        };
        let partial = answer.partial_success;
        let rejected = partial.map_or(0, |it| it.rejected_data_points);
        Ok(rejected.try_into().unwrap_or(0))
    }
}

impl Failure {
    fn for_good(reason: String) -> Self {
        Self {
            reason,
            later: None,
        }
    }

    fn for_now(reason: String, after: Option<Duration>) -> Self {
        Self {
            reason,
            later: Some(after),
        }
    }
}

fn request<T>(message: T, metadata: &MetadataMap) -> Request<T> {
    Request::from_parts(metadata.clone(), Default::default(), message)
}

async fn by_http<A: Message + Default>(
    client: &reqwest::Client,
    url: String,
    message: impl Message,
) -> Result<A, Failure> {
    let request = client
        .post(url)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .body(message.encode_to_vec());
    let mut answer = request.send().await.map_err(|it| unreachable(&it))?;
    if !answer.status().is_success() {
        return Err(refused(answer.status(), answer.headers()));
    }
    let body = http_client::body(&mut answer, LARGEST).await;
    let body = body.map_err(|it| unreachable(&it))?;
    let body = body.ok_or_else(|| Failure::for_good("its answer has no end".into()))?;
    A::decode(&*body).map_err(|_| Failure::for_good("its answer is not OTLP's".into()))
}

async fn by_grpc<A>(
    call: impl Future<Output = Result<tonic::Response<A>, Status>>,
) -> Result<A, Failure> {
    match tokio::time::timeout(TIME, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(of_status(&status)),
        Err(_) => Err(no_answer()),
    }
}

/// Which may be tried again is OTLP's own list.
fn of_status(status: &Status) -> Failure {
    let code = status.code();
    // With a source it is no word of the collector's.
    let reason = match status.source() {
        Some(source) => format!("it can't be reached: {}", root_cause(source)),
        None => format!("it answered {code:?} ({})", code as i32),
    };
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::for_now(reason, None),
        _ if status.source().is_some() => Failure::for_now(reason, None),
        _ => Failure::for_good(reason),
    }
}

/// The same for HTTP.
fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    let reason = format!("it answered {}", status.as_u16());
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let value = headers.get(header::RETRY_AFTER);
            let seconds = value.and_then(|it| it.to_str().ok()?.parse().ok());
            Failure::for_now(reason, seconds.map(Duration::from_secs))
        }
        _ => Failure::for_good(reason),
    }
}

fn unreachable(error: &reqwest::Error) -> Failure {
    match error.is_timeout() {
        true => no_answer(),
        false => Failure::for_now(format!("it can't be reached: {}", root_cause(error)), None),
    }
}

fn no_answer() -> Failure {
    Failure::for_now(format!("it gave no answer in {}s", TIME.as_secs()), None)
}

fn channel(collector: &Collector) -> Result<Channel, SetupError> {
    http_client::install_provider();
    let mut endpoint = Endpoint::from_shared(collector.endpoint.to_string())?
        .user_agent(AGENT)?
        .connect_timeout(CONNECT_TIME);
    if collector.endpoint.tls() {
        let roots = http_client::roots(collector.ca.as_deref())?.roots;
        let tls = ClientTlsConfig::new().trust_anchors(roots);
        endpoint = endpoint.tls_config(tls.timeout(CONNECT_TIME))?;
    }
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_taken_later_is_told_from_what_never_will() {
        let later = |code| of_status(&Status::new(code, "swordfish")).later.is_some();
        assert!(later(Code::Unavailable) && later(Code::ResourceExhausted));
        assert!(!later(Code::InvalidArgument) && !later(Code::Unauthenticated));
        let after = |status: u16, wait: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(wait))]);
            refused(StatusCode::from_u16(status).unwrap(), &headers).later
        };
        assert_eq!(after(429, "7"), Some(Some(Duration::from_secs(7))));
        assert_eq!(
            (after(503, "soon"), after(400, "7"), after(500, "7")),
            (Some(None), None, None)
        );
    }

    #[test]
    fn a_failure_says_nothing_of_what_the_collector_wrote() {
        let failure = of_status(&Status::new(Code::Unauthenticated, "swordfish"));
        assert_eq!(failure.to_string(), "it answered Unauthenticated (16)");
    }
}
