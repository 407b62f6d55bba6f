//! The metadata service at its own link-local address, on port 80, inside a network namespace of the test's own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::net::TcpListener;

use super::Setup;
use crate::{
    harness::served_by,
    namespace::{assert_inside, run, run_inside},
};

#[test]
fn imds_is_asked_at_its_own_address_and_through_no_proxy() {
    let inside = "identities::link_local::inside_the_namespace_imds_is_at_its_own_address";
    run_inside(&["--net"], inside);
}

#[tokio::test]
#[ignore = "runs inside the network namespace that the test above makes"]
async fn inside_the_namespace_imds_is_at_its_own_address() {
    assert_inside();
    run("ip", "link set lo up");
    run("ip", "address add 169.254.169.254/32 dev lo");
    let (proxy, proxied) = proxy().await;
    let variables = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let variables = variables.map(|name| (name, proxy.as_str()));
    let setup = Setup {
        tokens: "address: \"169.254.169.254:80\", user_assigned: [user-1]",
        proofs: &[
            ("system", "managed_identity: {}", ""),
            ("user", "managed_identity: { client_id: user-1 }", ""),
        ],
        variables: &variables,
        ..Setup::default()
    };
    let fixture = setup.open().await;
    for name in ["system", "user"] {
        let answer = fixture.ask(name).await;
        let it = fixture.identity(name).await;
        assert_eq!(answer.status(), 200, "{it:#}");
        assert_eq!(served_by(&answer), name);
        assert_eq!(
            (&it["source"], &it["asked_at"]),
            (&"imds".into(), &"http://169.254.169.254".into())
        );
    }
    let issued: Vec<_> = fixture
        .simulator
        .stats()
        .tokens
        .issued_to
        .into_values()
        .collect();
    assert_eq!(issued, [1, 1]);
    assert_eq!(proxied.load(Relaxed), 0, "something went through the proxy");
}

/// A proxy that only counts who comes.
async fn proxy() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Relaxed);
        }
    });
    (address, count)
}
