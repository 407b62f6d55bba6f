//! How a collector is spoken to: gRPC, or protobuf over HTTP. What it says comes back as what it means for us.

use std::{error::Error as StdError, fs, io, path::Path, time::Duration};

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
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tracing::warn;

use crate::domain::collector::{Collector, Protocol};

/// For one request to the collector, from the connection's start to the answer's end.
const TIME: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// An answer says hardly more than that all is well.
const LARGEST: usize = 64 << 10;
const AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));

/// Why nothing can be sent to a collector as it is configured.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("the authorities in {path} can't be used: {reason}")]
    Authorities { path: String, reason: String },
    #[error("its endpoint can't be used: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    #[error("no client can be set up for it: {0}")]
    Client(#[from] reqwest::Error),
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
pub(super) enum Exporter {
    Grpc(Channel, MetadataMap),
    Http {
        client: reqwest::Client,
        /// Without a slash at its end.
        base: String,
        headers: HeaderMap,
    },
}

impl Exporter {
    /// To be called inside the runtime that it is used in.
    pub(super) fn new(collector: &Collector) -> Result<Self, SetupError> {
        // An error says that another thread has just installed one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        for (name, value) in &collector.headers {
            let mut value = HeaderValue::from_str(value.expose())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        match collector.protocol {
            Protocol::Grpc => {
                let channel = channel(collector)?;
                Ok(Self::Grpc(channel, MetadataMap::from_headers(headers)))
            }
            Protocol::Http => Ok(Self::Http {
                client: client(collector)?,
                base: collector.endpoint.to_string(),
                headers,
            }),
        }
    }

    /// Gives how many spans were not taken for good.
    pub(super) async fn traces(&self, batch: ExportTraceServiceRequest) -> Result<u64, Failure> {
        let answer: ExportTraceServiceResponse = match self {
            Self::Grpc(channel, metadata) => {
                let mut client = TraceServiceClient::new(channel.clone());
                by_grpc(client.export(request(batch, metadata))).await?
            }
            Self::Http { .. } => self.post("/v1/traces", batch.encode_to_vec()).await?,
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
            Self::Http { .. } => self.post("/v1/metrics", all.encode_to_vec()).await?,
        };
        let rejected = answer
            .partial_success
            .map_or(0, |it| it.rejected_data_points);
        Ok(rejected.try_into().unwrap_or(0))
    }

    async fn post<A: Message + Default>(&self, path: &str, body: Vec<u8>) -> Result<A, Failure> {
        let Self::Http {
            client,
            base,
            headers,
        } = self
        else {
            return Err(Failure::for_good("it is not spoken to over HTTP".into()));
        };
        let request = client
            .post(format!("{base}{path}"))
            .headers(headers.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let mut answer = request.send().await.map_err(|it| unreachable(&it))?;
        if !answer.status().is_success() {
            return Err(refused(answer.status(), answer.headers()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|it| unreachable(&it))? {
            if body.len() + part.len() > LARGEST {
                return Err(Failure::for_good("its answer has no end".into()));
            }
            body.extend_from_slice(&part);
        }
        A::decode(&*body).map_err(|_| Failure::for_good("its answer is not OTLP's".into()))
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

fn client(collector: &Collector) -> Result<reqwest::Client, SetupError> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(AGENT)
        .connect_timeout(CONNECT_TIME)
        .timeout(TIME);
    let builder = match &collector.ca {
        None => builder,
        Some(path) => {
            let pem = fs::read(path).map_err(|error| unread(path, error))?;
            builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?)
        }
    };
    Ok(builder.build()?)
}

fn channel(collector: &Collector) -> Result<Channel, SetupError> {
    let mut endpoint = Endpoint::from_shared(collector.endpoint.to_string())?
        .user_agent(AGENT)?
        .connect_timeout(CONNECT_TIME);
    if collector.endpoint.tls() {
        let roots = roots(collector.ca.as_deref())?.roots;
        let tls = ClientTlsConfig::new().trust_anchors(roots);
        endpoint = endpoint.tls_config(tls.timeout(CONNECT_TIME))?;
    }
    Ok(endpoint.connect_lazy())
}

/// The system's authorities, and those of a file.
fn roots(file: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    match rustls_native_certs::load_native_certs() {
        Ok(systems) => {
            roots.add_parsable_certificates(systems);
        }
        Err(error) => {
            warn!(event = "system_ca_unreadable", %error, "the system's certificate authorities can't be read")
        }
    }
    if let Some(path) = file {
        let own = CertificateDer::pem_file_iter(path).map_err(|error| unread(path, error))?;
        for certificate in own {
            let certificate = certificate.map_err(|error| unread(path, error))?;
            roots
                .add(certificate)
                .map_err(|error| unread(path, error))?;
        }
    }
    Ok(roots)
}

fn unread(path: &Path, reason: impl ToString) -> SetupError {
    SetupError::Authorities {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// The operating system's or the TLS library's own words, which name no URL and no content.
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
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
