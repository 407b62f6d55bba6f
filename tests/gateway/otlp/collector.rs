//! A collector of a test's own, by the protocol's own decoder: it keeps what it is sent, over gRPC and over HTTP, and
//! answers as it is told.

use std::{convert::Infallible, io::Read, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        },
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    resource::v1::Resource,
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// How it answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum CollectorBehaviour {
    #[default]
    Takes,
    /// Reads and says nothing.
    Silent,
    /// An HTTP status or a gRPC one.
    Refuses(u16),
    /// So many spans and points are not taken.
    TakesPart(i64),
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    state: Arc<CollectorState>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct CollectorState {
    behaviour: Mutex<CollectorBehaviour>,
    heads: Mutex<Vec<(String, HeaderMap)>>,
    traces: Mutex<Vec<ExportTraceServiceRequest>>,
    metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Collector {
    pub(crate) async fn open() -> Self {
        Self::open_at("127.0.0.1:0".parse().unwrap(), None).await
    }

    /// At an address that was given before.
    pub(crate) async fn open_again(address: SocketAddr) -> Self {
        Self::open_at(address, None).await
    }

    /// Behind TLS, with the certificate `NAME.crt` of `folder`.
    pub(crate) async fn open_behind_tls(folder: &Path, name: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(folder.join(format!("{name}.crt"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        Self::open_at("127.0.0.1:0".parse().unwrap(), Some(tls)).await
    }

    async fn open_at(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let state = Arc::new(CollectorState::default());
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, tls, Arc::clone(&state)));
        Self {
            address,
            state,
            serving,
        }
    }

    pub(crate) fn is(&self, behaviour: CollectorBehaviour) {
        *self.state.behaviour.lock() = behaviour;
    }

    /// How many requests came, whatever became of them.
    pub(crate) fn asked(&self) -> usize {
        self.state.heads.lock().len()
    }

    /// The paths and headers of all requests.
    pub(crate) fn heads(&self) -> Vec<(String, HeaderMap)> {
        self.state.heads.lock().clone()
    }

    /// All spans that were taken, in the order they came.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let batches = self.state.traces.lock();
        let all = batches.iter().flat_map(|batch| &batch.resource_spans);
        let all = all.flat_map(|it| &it.scope_spans);
        all.flat_map(|it| it.spans.clone()).collect()
    }

    /// Who sent spans and metrics.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let (traces, metrics) = (self.state.traces.lock(), self.state.metrics.lock());
        let traces = traces.iter().flat_map(|it| &it.resource_spans);
        let metrics = metrics.iter().flat_map(|it| &it.resource_metrics);
        let traces = traces.filter_map(|it| it.resource.clone());
        traces
            .chain(metrics.filter_map(|it| it.resource.clone()))
            .collect()
    }

    /// The metrics that came last.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let all = self.state.metrics.lock();
        let last = all.iter().flat_map(|it| &it.resource_metrics);
        let last = last.flat_map(|it| &it.scope_metrics);
        let mut newest: Vec<Metric> = Vec::new();
        for metric in last.flat_map(|it| it.metrics.iter().cloned()) {
            newest.retain(|other| other.name != metric.name);
            newest.push(metric);
        }
        newest
    }

    /// What a counter, or a histogram's count, came to over all its points with this attribute.
    pub(crate) fn count(&self, name: &str, with: (&str, &str)) -> f64 {
        let metrics = self.metrics();
        let data = metrics.iter().filter(|it| it.name == name);
        let is_wanted =
            |attributes: &[KeyValue]| attribute(attributes, with.0).as_deref() == Some(with.1);
        data.map(|metric| match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                let points = sum.data_points.iter();
                let wanted = points.filter(|it| is_wanted(&it.attributes));
                wanted.map(|it| real(it.value.as_ref().unwrap())).sum()
            }
            Data::Histogram(histogram) => {
                let points = histogram.data_points.iter();
                let wanted = points.filter(|it| is_wanted(&it.attributes));
                wanted.map(|it| it.count as f64).sum::<f64>()
            }
            other => panic!("{name} is no counter: {other:?}"),
        })
        .sum()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn real(value: &number_data_point::Value) -> f64 {
    match value {
        number_data_point::Value::AsDouble(real) => *real,
        number_data_point::Value::AsInt(number) => *number as f64,
    }
}

/// The attribute's value, as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::DoubleValue(real) => real.to_string(),
        other => format!("{other:?}"),
    })
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<CollectorState>) {
    // Its connections end with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        let answer = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(answer(request, &state).await) }
        });
        connections.spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let _ = match tls {
                None => server.serve_connection(TokioIo::new(socket), answer).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(socket) => server.serve_connection(TokioIo::new(socket), answer).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

async fn answer(request: Request<Incoming>, state: &CollectorState) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map(|it| it.to_bytes());
    state
        .heads
        .lock()
        .push((path.clone(), head.headers.clone()));
    let body = body.unwrap_or_default();
    let is_grpc = head.headers[header::CONTENT_TYPE]
        .as_bytes()
        .starts_with(b"application/grpc");
    let behaviour = *state.behaviour.lock();
    let rejected = match behaviour {
        CollectorBehaviour::Silent => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            0
        }
        CollectorBehaviour::Refuses(status) if is_grpc => return by_grpc(Bytes::new(), status),
        CollectorBehaviour::Refuses(status) => return refusal(status),
        CollectorBehaviour::TakesPart(rejected) => rejected,
        CollectorBehaviour::Takes => 0,
    };
    let message = if is_grpc {
        // Whether it is compressed, then its length.
        assert_eq!(body.len() - 5, length(&body[1..5]));
        body.slice(5..)
    } else {
        body
    };
    let message = if message.starts_with(&[0x1f, 0x8b]) {
        unpacked(&message)
    } else {
        message.to_vec()
    };
    let answer = take(&path, &message, rejected, state);
    if is_grpc {
        by_grpc(answer, 0)
    } else {
        Response::new(whole(answer))
    }
}

/// Keeps what came, and says so in the protocol's words.
fn take(path: &str, message: &[u8], rejected: i64, state: &CollectorState) -> Bytes {
    match path {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            let batch = ExportTraceServiceRequest::decode(message).unwrap();
            state.traces.lock().push(batch);
            let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: rejected,
                ..Default::default()
            });
            ExportTraceServiceResponse { partial_success }
                .encode_to_vec()
                .into()
        }
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
            let all = ExportMetricsServiceRequest::decode(message).unwrap();
            state.metrics.lock().push(all);
            let partial_success = (rejected > 0).then(|| ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                ..Default::default()
            });
            ExportMetricsServiceResponse { partial_success }
                .encode_to_vec()
                .into()
        }
        other => panic!("nobody sends anything to {other}"),
    }
}

/// Out of gzip, whose two first bytes no message has.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(packed);
    reader.read_to_end(&mut message).unwrap();
    message
}

fn length(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().unwrap()) as usize
}

fn whole(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes).boxed_unsync()
}

/// Its text is one that nobody should repeat.
fn refusal(status: u16) -> Response<Body> {
    let mut response = Response::new(whole("a collector's own words".into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn by_grpc(message: Bytes, status: u16) -> Response<Body> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([
        ("grpc-status".parse().unwrap(), HeaderValue::from(status)),
        (
            "grpc-message".parse().unwrap(),
            HeaderValue::from_static("a collector's own words"),
        ),
    ]);
    let frames = [Frame::data(framed.into()), Frame::trailers(trailers)];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}
