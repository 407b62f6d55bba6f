//! Mistakes about who may call: keys and certificates that could be two clients'.

use super::*;

#[test]
fn each_key_is_one_clients_and_a_client_has_two_at_most() {
    let key = |digit: char| format!("\"sha256:{}\"", digit.to_string().repeat(64));
    let keys = |keys: &[char]| {
        keys.iter()
            .map(|digit| key(*digit))
            .collect::<Vec<_>>()
            .join(",")
    };
    let clients = |first: &[char], second: &[char]| {
        let (first, second) = (keys(first), keys(second));
        let sound = SOUND.split("clients:").next().unwrap_or_default();
        format!(
            "{sound}clients:\n  a: {{ keys: [{first}], models: [\"*\"] }}\n  b: {{ keys: [{second}], models: [\"*\"] }}\n"
        )
    };
    assert_eq!(answer(clients(&['1', '2'], &['3'])), "sound");
    for (first, second, words) in [
        (
            &['1', '2', '3'][..],
            &['4'][..],
            "f.yaml:15:8: a client may have at most two keys",
        ),
        (
            &['1'],
            &['2', '1'],
            "f.yaml:16:89: this key is already in line 15",
        ),
        (&['1'], &[], "f.yaml:16:8: a client needs a key"),
    ] {
        let answer = answer(clients(first, second));
        assert!(
            answer.starts_with(words) && answer.lines().count() == 1,
            "{answer}"
        );
    }
}

#[test]
fn a_certificate_that_could_be_two_clients_is_a_mistake() {
    let clients = |first: &str, second: &str| {
        let sound = SOUND.split("clients:").next().unwrap_or_default();
        let client = |name: &str| format!("  {name}: {{ models: [\"*\"], certificates: [");
        format!(
            "{sound}clients:\n{}{{ {first} }}] }}\n{}{{ {second} }}] }}\n",
            client("a"),
            client("b")
        )
    };
    for (first, second) in [
        ("dns: a.contoso", "dns: A.contoso"),
        ("uri: \"spiffe://a\"", "uri: \"spiffe://a\""),
        ("common_name: a", "common_name: a"),
        ("common_name: a", "subject: \"CN=a,O=Contoso\""),
        ("subject: \"CN=a,O=Contoso\"", "common_name: a"),
        (
            "subject: \"CN=a,O=Contoso\"",
            "subject: \"2.5.4.3=a, o=Contoso\"",
        ),
    ] {
        let answer = answer(clients(first, second));
        assert!(
            answer.starts_with("f.yaml:16:") && answer.contains("line 15"),
            "{first} {second}: {answer}"
        );
        assert_eq!(answer.lines().count(), 1, "{answer}");
    }
    for (first, second) in [
        ("dns: a", "common_name: a"),
        ("uri: \"spiffe://a\"", "uri: \"spiffe://A\""),
        (
            "subject: \"CN=a,O=Contoso\"",
            "subject: \"CN=a,O=Fabrikam\"",
        ),
        ("subject: \"CN=a,CN=b\"", "common_name: a"),
    ] {
        assert_eq!(answer(clients(first, second)), "sound", "{first} {second}");
    }
}

#[test]
fn who_may_call_is_spelled_out() {
    let (sound, _) = SOUND.split_once("clients:").unwrap();
    assert!(answer(sound).starts_with("f.yaml:1:1: nobody could call"));
    assert!(
        answer(format!("{sound}anonymous: false\n")).starts_with("f.yaml:1:1: nobody could call")
    );
    assert!(answer(format!("{sound}clients: {{}}\n")).starts_with("f.yaml:14:1: without a client"));
    assert_eq!(answer(format!("{sound}anonymous: true\n")), "sound");
}
