//! The command line, as scripts, pipelines and people at a terminal use it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::harness::{
    CHAT, Harness, Process, chat, exit_and_output, folder, forebay, free_address,
};

/// `forebay` with these arguments and this on its stdin, to its end.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    run_with(arguments, input, &[])
}

fn run_with(arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Output {
    let mut child = forebay()
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn config(identity: &str, more: &str) -> String {
    let address = free_address();
    format!(
        "listeners: [{{ address: \"{address}\", max_connections: 100 }}]\nidentities: {{ one: {identity} }}\n\
         instances: {{ one: {{ endpoint: \"https://127.0.0.1:1\", identity: one }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: one }}] }} }}\nanonymous: true\n{more}"
    )
}

fn written(folder: &Path, text: &str) -> String {
    let file = folder.join("forebay.yaml");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn check_finds_what_keeps_serve_from_starting_on_this_machine_in_the_same_words() {
    let folder = folder();
    let key = "{ api_key: k }";
    let nowhere = folder.join("nowhere/access.jsonl");
    let place = folder.display();
    for (text, word) in [
        (
            config(key, &format!("log: {{ access: {} }}\n", nowhere.display())),
            "log.access",
        ),
        (
            config(key, &format!("log: {{ usage: {place} }}\n")),
            "log.usage",
        ),
        (
            config(
                key,
                &format!("counters: {{ file: {place}/nowhere/c.redb }}\n"),
            ),
            "folder",
        ),
        (config("{ workload_identity: {} }", ""), "identity one"),
    ] {
        let file = written(&folder, &text);
        let (code, out, err) = exit_and_output(&run(&["check", "-c", &file], ""));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(word) && err.lines().count() == 1, "{err}");
        let (code, _, served) = exit_and_output(&run(&["serve", "-c", &file], ""));
        assert_eq!((code, served), (Some(1), err));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_without_secrets_wants_names_right_and_no_values() {
    let folder = folder();
    let tls = "tls: { certificate: nowhere.crt, key: nowhere.key }";
    let text = config(
        "{ api_key: \"${file:/run/nowhere/key}\" }",
        "log: { access: /nowhere/a.jsonl }\ncounters: { file: /nowhere/c.redb }\n",
    )
    .replace("max_connections: 100", tls)
    .replace(
        "anonymous: true",
        "clients: { app: { keys: [\"${env:NOBODYS_HASH}\"], models: [gpt-4o] } }",
    );
    let file = written(&folder, &text);
    let (code, _, err) = exit_and_output(&run(&["check", "--config", &file], ""));
    assert!(code == Some(1) && err.contains("NOBODYS_HASH"), "{err}");
    let arguments = ["check", "--no-secrets", "--strict", "--config", &file];
    let (code, out, err) = exit_and_output(&run(&arguments, ""));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for (part, other, word) in [
        ("models: [gpt-4o]", "models: [gpt-4]", "gpt-4o"),
        ("${env:", "${evn:", "env:NAME"),
        (
            "identity: one",
            "identity: two",
            "no identity has this name",
        ),
    ] {
        let file = written(&folder, &text.replace(part, other));
        let arguments = ["check", "--no-secrets", "--config", &file];
        let (code, _, err) = exit_and_output(&run(&arguments, ""));
        assert!(code == Some(1) && err.contains(word), "{other}: {err}");
    }
    // A value that is there is looked at.
    let file = written(&folder, &text);
    let arguments = ["check", "--no-secrets", "--config", &file];
    let (code, _, err) =
        exit_and_output(&run_with(&arguments, "", &[("NOBODYS_HASH", "swordfish")]));
    assert!(code == Some(1) && err.contains("sha256"), "{err}");
    fs::remove_dir_all(folder).unwrap();
}

/// What an operator wrote counts as written, be its value there or not.
#[test]
fn a_value_that_a_pipeline_has_not_is_not_taken_for_one_that_nobody_wrote() {
    let folder = folder();
    let text = config(
        "{ federated_identity: { tenant_id: t, client_id: c, managed_identity: { client_id: \"${env:NOBODYS_ID}\" } } }",
        "geography: eu\nadmin: { address: \"0.0.0.0:0\", token: \"${env:NOBODYS_HASH}\" }\n",
    )
    .replace(
        "max_connections: 100",
        "tls: { certificate: \"${env:NOBODYS_TLS}\", key: \"${env:NOBODYS_TLS}\", client_ca: \"${env:NOBODYS_TLS}\", client_certificate: optional }",
    )
    .replace("identity: one", "identity: one, geography: \"${env:NOBODYS_GEOGRAPHY}\"")
    .replace(
        "anonymous: true",
        "clients: { app: { certificates: [{ common_name: app, ca: \"${env:NOBODYS_TLS}\" }], models: [gpt-4o] }, \
         job: { entra: { tenant_id: \"${env:NOBODYS_ID}\", audiences: [\"api://a\"], application_id: \"${env:NOBODYS_ID}\" }, models: [gpt-4o] } }",
    );
    let file = written(&folder, &text);
    let arguments = ["check", "--no-secrets", "--config", &file];
    let (code, out, err) = exit_and_output(&run(&arguments, ""));
    assert!(code == Some(0) && !err.contains("client_ca"), "{out}{err}");
    // Nor does a check with secrets tell more than what is missing.
    let (code, _, err) = exit_and_output(&run(&["check", "--config", &file], ""));
    let other = err
        .lines()
        .find(|line| !line.contains("the environment variable"));
    assert_eq!((code, other), (Some(1), None));
    // What nobody wrote is still missed.
    for (part, word) in [
        (
            ", token: \"${env:NOBODYS_HASH}\"",
            "everybody who can reach this address",
        ),
        ("client_ca: \"${env:NOBODYS_TLS}\", ", "needs client_ca"),
        (", geography: \"${env:NOBODYS_GEOGRAPHY}\"", "add geography"),
        (", application_id: \"${env:NOBODYS_ID}\"", "any application"),
        ("client_id: \"${env:NOBODYS_ID}\" } }", "user-assigned"),
    ] {
        let end = if word == "user-assigned" { "} }" } else { "" };
        let file = written(&folder, &text.replace(part, end));
        let arguments = ["check", "--no-secrets", "--config", &file];
        let (code, _, err) = exit_and_output(&run(&arguments, ""));
        assert!(code == Some(1) && err.contains(word), "{part}: {err}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_warning_is_called_one_and_fails_a_strict_check_alone() {
    let folder = folder();
    let text =
        config("{ api_key: k }", "").replace("one: {", "spare: { managed_identity: {} }, one: {");
    let text = text.replacen(
        "spare: { managed_identity: {} }, one: { endpoint",
        "one: { endpoint",
        1,
    );
    let file = written(&folder, &text);
    let (code, out, err) = exit_and_output(&run(&["check", "-c", &file], ""));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("no errors, warnings: 1"), "{out}");
    assert!(
        err.contains(":2:15: warning: no instance uses this identity"),
        "{err}"
    );
    let (code, out, err) = exit_and_output(&run(&["check", "--strict", "-c", &file], ""));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("warning: no instance") && err.contains("--strict"),
        "{err}"
    );
    // More connections than the machine allows files.
    let many =
        config("{ api_key: k }", "").replace("max_connections: 100", "max_connections: 1000000");
    let limited = format!(
        "ulimit -n 4096; {} check -c {}",
        forebay().get_program().display(),
        written(&folder, &many)
    );
    let output = Command::new("sh").args(["-c", &limited]).output().unwrap();
    let (code, _, err) = exit_and_output(&output);
    assert!(
        code == Some(0) && err.contains("warning: ") && err.contains("LimitNOFILE="),
        "{err}"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_reads_a_body_on_stdin_and_shows_the_gateway_its_token() {
    const TOKEN: &str = "an-admin-token-of-the-tests-0123456789";
    let mut harness = Harness::open(&[("only", 1, 1)]).await;
    let hash = forebay::config::hash_key(TOKEN).unwrap().hash;
    let config = harness.gateway.config();
    let guard = format!(", token: \"{hash}\"");
    harness.gateway = crate::harness::Gateway::start_with_admin(
        &config,
        "",
        &guard,
        ("http", crate::harness::client()),
        &[],
    )
    .await;
    let file = harness
        .gateway
        .folder
        .join("forebay.yaml")
        .display()
        .to_string();
    let secret = harness.gateway.folder.join("token");
    fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let secret = secret.display().to_string();
    let url = format!("http://{}/status", harness.gateway.admin);
    let request = [
        "explain", "-c", &file, "--client", "tests", "--path", CHAT, "--body", "-",
    ];
    let body = chat().to_string();
    let explain = |more: &[&str], variables: &[(&str, &str)]| {
        exit_and_output(&run_with(&[&request, more].concat(), &body, variables))
    };
    let (code, out, err) = explain(&[], &[]);
    assert!(code == Some(0) && out.contains("only/only-gpt-4o"), "{err}");
    let (code, _, err) = explain(&["--status", &url], &[]);
    assert!(
        code == Some(1) && err.contains("--admin-token-file"),
        "{err}"
    );
    for (more, variables) in [
        (
            &["--status", &url, "--admin-token-file", &secret][..],
            &[][..],
        ),
        (&["--status", &url], &[("FOREBAY_ADMIN_TOKEN", TOKEN)]),
    ] {
        let (code, out, err) = explain(more, variables);
        assert!(code == Some(0) && out.contains("now: closed"), "{out}{err}");
    }
}

#[test]
fn the_commands_say_how_they_exit() {
    for command in ["check", "explain"] {
        let (code, out, _) = exit_and_output(&run(&[command, "--help"], ""));
        let text = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(code == Some(0) && text.contains("Exit code: 0 if"), "{out}");
    }
}

#[test]
fn a_key_that_is_typed_at_a_terminal_is_asked_for_and_not_shown() {
    const KEY: &str = "0123456789abcdef-a-typed-key";
    let hash = forebay::config::hash_key(KEY).unwrap().hash.to_string();
    let command = format!("{} hash-key", forebay().get_program().display());
    // It makes a terminal of its own for the command.
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = script.stdin.take().unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut all = Vec::new();
    shown.read_until(b':', &mut all).unwrap();
    assert!(String::from_utf8_lossy(&all).contains("not shown"));
    writeln!(input, "{KEY}").unwrap();
    std::io::copy(&mut shown, &mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(script.wait().unwrap().success(), "{all}");
    assert!(all.contains(&hash) && !all.contains(KEY), "{all}");
}

#[test]
fn a_demo_with_traffic_shows_limits_and_prices_in_motion() {
    let (port, admin) = (
        free_address().port().to_string(),
        free_address().port().to_string(),
    );
    let mut demo = forebay();
    demo.args(["demo", "--traffic", "--port", &port, "--admin-port", &admin]);
    demo.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Process::start(&mut demo).unwrap();
    let out = BufReader::new(demo.stdout());
    let mut lines = out
        .lines()
        .map(Result::unwrap)
        .inspect(|line| println!("{line}"));
    assert!(lines.any(|line| line.contains("curl -si ")));
    let is_in_motion = |line: String| {
        line.contains("batch 429:") && line.contains("demo 200:") && !line.contains(" 0.0000 EUR")
    };
    let moves = lines.by_ref().take(600).any(is_in_motion);
    demo.kill();
    assert!(moves);
}
