//! Whose certificates stand for clients and operators: a name alone is not enough where several authorities give names.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{examples::Folder, *};

const TLS: &str = "tls: { certificate: tls.crt, key: tls.key, client_ca: ";

/// Two authorities of one name, and one that the first has signed.
fn folder() -> Folder {
    let folder = Folder::new(&format!("certificates-{}", fastrand::u64(..)));
    let authority = || {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        (params, KeyPair::generate().unwrap())
    };
    let write = |name: &str, pem: &str| fs::write(folder.path().join(name), pem).unwrap();
    let (params, key) = authority();
    let ours = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let (mut params, key) = authority();
    params
        .distinguished_name
        .push(DnType::CommonName, "issuing");
    params.use_authority_key_identifier_extension = true;
    let issuing = params.signed_by(&key, &issuer).unwrap().pem();
    let (params, key) = authority();
    let partner = params.self_signed(&key).unwrap().pem();
    write("ours.pem", &ours);
    write("issuing.pem", &issuing);
    write("partner.pem", &partner);
    write("chain.pem", &format!("{issuing}{ours}{ours}"));
    write("both.pem", &format!("{ours}{partner}"));
    folder
}

/// What a config with these listeners' authorities and this client's certificates says.
fn clients(authorities: &[&str], certificates: &str) -> String {
    said(&written(authorities, certificates))
}

fn written(authorities: &[&str], certificates: &str) -> String {
    let listener = |(port, ca): (usize, &&str)| {
        format!("{{ address: \"127.0.0.1:{}\", {TLS}{ca} }} }}", 8443 + port)
    };
    let listeners: Vec<_> = authorities.iter().enumerate().map(listener).collect();
    let listeners = format!("listeners: [{}]", listeners.join(", "));
    let text = with("listeners: [{ address: \"127.0.0.1:8080\" }]", &listeners);
    let clients = format!("models: [gpt-4o], certificates: [{certificates}] }}");
    text.replace("models: [gpt-4o] }", &clients)
}

fn said(text: &str) -> String {
    let folder = folder();
    match folder.read(text) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, []);
            "sound".into()
        }
        Err(problems) => problems,
    }
}

#[test]
fn where_listeners_believe_several_authorities_each_name_says_whose_it_is() {
    let alone = "{ common_name: mesh }";
    for authorities in [
        &["ours.pem"][..],
        &["ours.pem", "ours.pem"],
        &["chain.pem"],
        &["ours.pem", "issuing.pem"],
        &["partner.pem"],
    ] {
        assert_eq!(clients(authorities, alone), "sound", "{authorities:?}");
    }
    for authorities in [&["ours.pem", "partner.pem"][..], &["both.pem"]] {
        let answer = clients(authorities, alone);
        assert!(
            answer.contains("several certificate authorities"),
            "{answer}"
        );
        assert_eq!(answer.lines().count(), 1);
        let bound = "{ common_name: mesh, ca: ours.pem }";
        assert_eq!(clients(authorities, bound), "sound");
        let half = format!("{bound}, {{ uri: \"spiffe://mesh\" }}");
        assert!(clients(authorities, &half).contains("several certificate authorities"));
    }
}

#[test]
fn an_authority_that_no_listener_believes_is_warned_of() {
    for (authorities, ca, is_believed) in [
        (&["ours.pem"][..], "ours.pem", true),
        (&["ours.pem"], "issuing.pem", true),
        (&["issuing.pem"], "ours.pem", true),
        (&["both.pem"], "partner.pem", true),
        (&["ours.pem"], "partner.pem", false),
        (&["ours.pem", "issuing.pem"], "partner.pem", false),
    ] {
        let names = format!("{{ common_name: mesh, ca: {ca} }}");
        let loaded = folder().read(&written(authorities, &names)).unwrap();
        let warnings = loaded.warnings.iter();
        let told = warnings.filter(|it| it.message.contains("no listener's client_ca:"));
        assert_eq!(
            told.count(),
            usize::from(!is_believed),
            "{authorities:?} {ca}"
        );
    }
}

#[test]
fn one_name_may_be_two_clients_where_two_authorities_give_it() {
    let two = |first: &str, second: &str| {
        let entry = |ca: &str| format!("{{ common_name: mesh{ca} }}");
        let text = with(
            "models: [gpt-4o] }",
            &format!(
                "models: [gpt-4o], certificates: [{}] }}\n  partner: {{ models: [gpt-4o], certificates: [{}] }}",
                entry(first),
                entry(second)
            ),
        );
        let listeners = format!("\"127.0.0.1:8443\", {TLS}both.pem }}");
        said(&text.replace("\"127.0.0.1:8080\"", &listeners))
    };
    assert_eq!(two(", ca: ours.pem", ", ca: partner.pem"), "sound");
    let answer = two(", ca: ours.pem", ", ca: ours.pem");
    assert!(answer.contains("this name is already in line"), "{answer}");
    let answer = two(", ca: ours.pem", "");
    assert!(answer.contains("this name is already in line"), "{answer}");
}

#[test]
fn a_bound_name_names_a_sound_file_and_one_name() {
    for (certificates, words) in [
        ("{ common_name: mesh, ca: none.pem }", "can't be read"),
        (
            "{ common_name: mesh, ca: tls.key }",
            "contains no certificate",
        ),
        ("{ ca: ours.pem }", "set exactly one of `subject`"),
        (
            "{ dns: a, uri: \"b:c\", ca: ours.pem }",
            "set exactly one of `subject`",
        ),
    ] {
        let answer = clients(&["ours.pem"], certificates);
        assert!(answer.contains(words), "{answer}");
    }
}

#[test]
fn an_authority_alone_makes_no_operators() {
    let admin = |more: &str| {
        let address = "\"127.0.0.1:9090\"";
        said(&with(
            &format!("{address} }}\nid"),
            &format!("{address}{more} }}\nid"),
        ))
    };
    let tls = |ca: &str| format!(", {TLS}{ca} }}");
    let ours = tls("ours.pem");
    let prometheus = ", certificates: [{ common_name: prometheus }]";
    assert_eq!(admin(&format!("{ours}{prometheus}")), "sound");
    for (more, words) in [
        (ours.clone(), "list the operators' certificates"),
        (prometheus.to_owned(), "add tls: with client_ca:"),
        (
            format!("{ours}, certificates: []"),
            "list a name from an operator's certificate",
        ),
        (
            format!("{}{prometheus}", tls("both.pem")),
            "several certificate authorities",
        ),
    ] {
        let answer = admin(&more);
        assert!(
            answer.contains(words) && answer.lines().count() == 1,
            "{answer}"
        );
    }
    let bound = ", certificates: [{ common_name: prometheus, ca: ours.pem }]";
    assert_eq!(admin(&format!("{}{bound}", tls("both.pem"))), "sound");
}
