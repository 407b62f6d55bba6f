//! The metadata service at its own link-local address, on port 80, inside a network namespace of the test's own.

use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::net::TcpListener;

use super::Setup;
use crate::house::served_by;

/// Set where the second of these tests runs inside the namespace that the first one made.
const INSIDE: &str = "FOREBAY_INSIDE_A_NAMESPACE";

/// Debian keeps these where not everybody's PATH looks.
fn command(name: &str) -> Command {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

#[test]
fn imds_is_asked_at_its_own_address_and_through_no_proxy() {
    let inside = "identities::link_local::inside_the_namespace_imds_is_at_its_own_address";
    let run = command("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", inside, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let run = run.expect("this test needs `unshare` (Debian: util-linux)");
    let said = [run.stdout, run.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(
        run.status.success() && said[0].contains("1 passed"),
        "THIS TEST NEEDS A NETWORK NAMESPACE OF ITS OWN (unshare --map-root-user --net), and either none was permitted \
         here or the test failed inside it:\n{}\n{}",
        said[0],
        said[1]
    );
}

#[tokio::test]
#[ignore = "runs inside the network namespace that the test above makes"]
async fn inside_the_namespace_imds_is_at_its_own_address() {
    assert!(
        env::var_os(INSIDE).is_some(),
        "the test beside this one runs it"
    );
    for arguments in ["link set lo up", "address add 169.254.169.254/32 dev lo"] {
        let mut ip = command("ip");
        let run = ip.args(arguments.split(' ')).status();
        let run = run.expect("this test needs `ip` (Debian: iproute2)");
        assert!(run.success(), "ip {arguments}");
    }
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
    let stage = setup.open().await;
    for name in ["system", "user"] {
        let answer = stage.ask(name).await;
        let it = stage.identity(name).await;
        assert_eq!(answer.status(), 200, "{it:#}");
        assert_eq!(served_by(&answer), name);
        assert_eq!(
            (&it["source"], &it["asked_at"]),
            (&"imds".into(), &"http://169.254.169.254".into())
        );
    }
    let issued: Vec<_> = stage
        .simulator
        .books()
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
