//! Who may look at the admin listener.

use std::fs;

use reqwest::{Client, Identity, StatusCode};

use crate::{
    authority::{Authority, Says},
    house::{Gateway, House, client, client_builder, folder},
};

const TOKEN: &str = "a-token-of-the-operators";
const PATHS: [(&str, bool); 6] = [
    ("/metrics", false),
    ("/status", false),
    ("/elsewhere", false),
    ("/", true),
    ("/health/live", true),
    ("/health/ready", true),
];

/// What a page answers: 200 and 404 let in, the rest does not.
async fn answers(http: &Client, url: &str, headers: &[(&str, &str)]) -> (StatusCode, bool) {
    let request = http.get(url);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = request.send().await.unwrap();
    let asks = answer.headers().get("www-authenticate");
    let asks = asks.is_some_and(|value| value == "Bearer realm=\"forebay\"");
    (answer.status(), asks)
}

#[tokio::test]
async fn on_loopback_nobody_is_asked_but_pages_of_other_names_are_turned_away() {
    let house = House::open(&[("well", 1, 1)]).await;
    let admin = house.gateway.admin;
    let hosts = [
        (admin.to_string(), 200),
        (format!("localhost:{}", admin.port()), 200),
        ("rebound.example".to_owned(), 403),
        (format!("rebound.example:{}", admin.port()), 403),
        ("10.0.0.4".to_owned(), 403),
    ];
    for path in ["/metrics", "/"] {
        let url = format!("http://{admin}{path}");
        for (host, status) in &hosts {
            let answer = answers(&house.http, &url, &[("host", host)]).await;
            assert_eq!((answer.0.as_u16(), answer.1), (*status, false), "{host}");
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_and_nothing_like_it_is_taken() {
    let house = House::open(&[("well", 1, 1)]).await;
    let hash = forebay::config::hash_key(TOKEN).unwrap().hash;
    let guard = format!(", token: \"{hash}\"");
    let config = house.gateway.config();
    let gateway = Gateway::start_guarded(&config, "", &guard, ("http", client()), &[]).await;
    let hash = hash.to_string();
    let digits = hash.trim_start_matches("sha256:");
    for (shown, known) in [
        (vec![], false),
        (vec![format!("Bearer {TOKEN}")], true),
        (vec![format!("bearer {TOKEN}")], true),
        (vec![format!("Bearer {TOKEN}x")], false),
        (vec![format!("Bearer {}", &TOKEN[1..])], false),
        (vec!["Bearer ".to_owned()], false),
        (vec![TOKEN.to_owned()], false),
        (vec![format!("Basic {TOKEN}")], false),
        // The hash is no token.
        (vec![format!("Bearer {hash}")], false),
        (vec![format!("Bearer {digits}")], false),
        // Of two, who knows which one somebody else looks at.
        (
            vec![format!("Bearer {TOKEN}"), "Bearer x".to_owned()],
            false,
        ),
        (vec![format!("Bearer {}", "x".repeat(5000))], false),
    ] {
        let shown: Vec<_> = shown
            .iter()
            .map(|it| ("authorization", it.as_str()))
            .collect();
        for (path, open) in PATHS {
            let url = format!("http://{}{path}", gateway.admin);
            let (status, asks) = answers(&house.http, &url, &shown).await;
            let let_in = open || known;
            assert_eq!(status != 401, let_in, "{path} {shown:?}: {status}");
            assert_eq!(asks, !let_in, "{path} {shown:?}");
        }
    }
    let told = gateway.stderr();
    assert!(!told.contains(TOKEN) && !told.contains(digits), "{told}");
}

#[tokio::test]
async fn over_tls_a_certificate_of_the_operators_authority_opens_too() {
    let folder = folder();
    let (ours, another) = (
        Authority::new(&folder, "ours"),
        Authority::new(&folder, "another"),
    );
    ours.certify(&folder, "gateway", "localhost");
    let subject = &[(rcgen::DnType::CommonName, "prometheus")][..];
    let says = |has_ended| Says {
        subject,
        has_ended,
        ..Says::default()
    };
    ours.certify_as(&folder, "prometheus", &says(false));
    ours.certify_as(&folder, "ended", &says(true));
    another.certify_as(&folder, "stranger", &says(false));
    let ca = fs::read(folder.join("ours.ca")).unwrap();
    let http = |shows: Option<&str>| {
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let builder = client_builder().add_root_certificate(ca);
        let builder = match shows {
            None => builder,
            Some(name) => {
                let file = |kind| fs::read(folder.join(format!("{name}.{kind}"))).unwrap();
                let both = [file("crt"), file("key")].concat();
                builder.identity(Identity::from_pem(&both).unwrap())
            }
        };
        builder.build().unwrap()
    };
    let house = House::open(&[("well", 1, 1)]).await;
    let config = house.gateway.config();
    let at = folder.display();
    let files =
        format!("certificate: {at}/gateway.crt, key: {at}/gateway.key, client_ca: {at}/ours.ca");
    let hash = forebay::config::hash_key(TOKEN).unwrap().hash;
    let token = format!("Bearer {TOKEN}");
    let token = [("authorization", token.as_str())];

    let guard = format!(", tls: {{ {files}, client_certificate: optional }}, token: \"{hash}\"");
    let ready = ("https", http(None));
    let gateway = Gateway::start_guarded(&config, "", &guard, ready, &[]).await;
    for (shows, headers, known) in [
        (None, &[][..], false),
        (None, &token[..], true),
        (Some("prometheus"), &[], true),
        (Some("prometheus"), &token, true),
    ] {
        for (path, open) in PATHS {
            let url = format!("https://localhost:{}{path}", gateway.admin.port());
            let (status, asks) = answers(&http(shows), &url, headers).await;
            assert_eq!(status != 401, open || known, "{shows:?} {path}: {status}");
            assert_eq!(asks, !(open || known));
        }
    }
    let url = format!("https://localhost:{}/health/live", gateway.admin.port());
    for shows in ["stranger", "ended"] {
        assert!(http(Some(shows)).get(&url).send().await.is_err(), "{shows}");
    }

    // Required: who shows none does not even get to ask.
    let guard = format!(", tls: {{ {files} }}");
    let ready = ("https", http(Some("prometheus")));
    let gateway = Gateway::start_guarded(&config, "", &guard, ready, &[]).await;
    let url = format!("https://localhost:{}/metrics", gateway.admin.port());
    for shows in [None, Some("stranger"), Some("ended")] {
        assert!(http(shows).get(&url).send().await.is_err(), "{shows:?}");
    }
    assert_eq!(answers(&http(Some("prometheus")), &url, &[]).await.0, 200);
    fs::remove_dir_all(&folder).unwrap();
}
