//! What clients send is read, and what two readers could read as two forms is not.

use super::*;

const PLAIN: &str = "multipart/form-data; boundary=b";
const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n";
const END: &str = "--b--\r\n";

fn part(head: &str, value: &str) -> String {
    format!("--b\r\n{head}\r\n\r\n{value}\r\n")
}

fn named(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

fn model() -> String {
    part(&named("model"), "allowed")
}

fn model_of(content_type: &str, body: &str) -> Result<Option<String>, Refusal> {
    Ask::read(Some(content_type), body.as_bytes()).map(|ask| ask.model)
}

fn allowed() -> Result<Option<String>, Refusal> {
    Ok(Some("allowed".to_owned()))
}

#[test]
fn what_clients_write_is_read() {
    for head in [
        "content-disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=model",
        "Content-Disposition:form-data;name=\"model\"",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain\r\nContent-Length: 7",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: 8bit\r\nX-Own: a",
    ] {
        let body = [&*part(head, "allowed"), FILE, END].concat();
        assert_eq!(model_of(PLAIN, &body), allowed(), "{head}");
    }
    for head in [
        "Content-Disposition: form-data; name=\"file\"; filename=\"a b; c.wav\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\x\\ü.wav\"",
        "Content-Disposition: form-data; name=file; filename=a.wav; filename*=utf-8''%C3%BC.wav",
        "Content-Disposition: form-data; name=\"timestamp_granularities[]\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"model\"",
    ] {
        for end in [END, "--b--"] {
            let body = [&*part(head, "\u{1} --b\r\n-b --b"), &*model(), end].concat();
            assert_eq!(model_of(PLAIN, &body), allowed(), "{head}");
        }
    }
    for content_type in [
        "multipart/form-data;boundary=b",
        "Multipart/Form-Data; Charset=\"UTF-8\"; Boundary=\"b\"",
    ] {
        let body = [&*model(), END].concat();
        assert_eq!(model_of(content_type, &body), allowed(), "{content_type}");
    }
}

#[test]
fn what_names_a_part_oddly_is_refused() {
    for head in [
        "Content-Disposition: form-data; Name=\"model\"",
        "Content-Disposition: form-data; name = \"model\"",
        "Content-Disposition: form-data; name =\"model\"",
        "Content-Disposition: form-data; name= \"model\"",
        "Content-Disposition: form-data; name*=UTF-8''model",
        "Content-Disposition: form-data; name*0=mo; name*1=del",
        "Content-Disposition: form-data; name=\"x\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"mo\\del\"",
        "Content-Disposition: form-data; name=\"x\\\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"; filename=\"a\\\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"; filename=\"; name=model; \"",
        "Content-Disposition: form-data; name=\"x\" name=\"model\"",
        "Content-Disposition: form-data; name=\"x\";",
        "Content-Disposition: form-data; name=\"\"",
        "Content-Disposition: form-data; name=\"model\u{a0}\"",
        "Content-Disposition: form-data; name=\"=?utf-8?q?model?=\"",
        "Content-Disposition: form-data; name=\"mod%65l\"",
        "Content-Disposition: form-data; x=y; name=\"model\"",
        "Content-Disposition: attachment; name=\"model\"",
        "Content-Disposition: form-data",
        "Content-Disposition : form-data; name=\"model\"",
        "Content-Disposition: form-data;\r\n name=\"model\"",
        "Content-Disposition: form-data;\n name=\"model\"",
        "X: y\rContent-Disposition: form-data; name=\"model\"",
        "X: y\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"\r\ncontent-disposition: form-data; name=\"x\"",
        "Content-Type: text/plain",
        "--b: x\r\nContent-Disposition: form-data; name=\"x\"",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Transfer-Encoding: base64",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Encoding: gzip",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Type: a/b\r\nContent-Type: text/plain",
        "Content-Disposition: form-data; name=\"_charset_\"",
    ] {
        let body = [&*model(), &*part(head, "secret"), END].concat();
        assert_eq!(
            model_of(PLAIN, &body),
            Err(Refusal::BodyNotMultipart),
            "{head}"
        );
    }
    for (name, right) in [
        ("Model", "model"),
        ("MODEL", "model"),
        ("model[]", "model"),
        ("model[0]", "model"),
        ("Model.x", "model"),
        ("STREAM", "stream"),
        ("N", "n"),
    ] {
        let body = [&*model(), &*part(&named(name), "secret"), END].concat();
        assert_eq!(
            model_of(PLAIN, &body),
            Err(Refusal::MemberMisspelled { name: right }),
            "{name}"
        );
    }
    for head in [
        "Content-Disposition: form-data; name=\"model\"; filename=\"x\"",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-7",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: application/json",
    ] {
        let body = [&*part(head, "allowed"), END].concat();
        assert_eq!(
            model_of(PLAIN, &body),
            Err(Refusal::BodyNotMultipart),
            "{head}"
        );
    }
}

#[test]
fn a_delimiter_is_one_to_every_reader_or_the_form_is_refused() {
    let (model, secret) = (model(), part(&named("model"), "secret"));
    let text = part(&named("x"), "y");
    for body in [
        // Behind the end, and behind what is an end to some.
        format!("{model}--b--\r\n{secret}{END}"),
        format!("{model}--b--junk\r\n{secret}{END}"),
        format!("{model}--b-- \r\n"),
        format!("{model}--b--\n"),
        format!("{model}--b--\r\n\r\n"),
        // Line ends that are none to all.
        format!("{model}{}", text.replace("y\r\n", "y\n--b\nz\r\n")) + END,
        format!("{model}{}", text.replace("y\r\n", "y\r--b\rz\r\n")) + END,
        format!("{model}{}", text.replace("y\r\n", "y\n--b--\r\n")) + END,
        model.replace("\r\n", "\n") + END,
        format!("{model}--b \r\n{}", &text["--b\r\n".len()..]) + END,
        format!("{model}--bx\r\n{}", &text["--b\r\n".len()..]) + END,
        // No content at all.
        format!("{model}--b\r\n{}\r\n\r\n--b--\r\n", named("x")),
        // Before the first.
        format!("\r\n{model}{END}"),
        format!("preamble\r\n{model}{END}"),
        format!("{END}{model}{END}"),
    ] {
        assert_eq!(
            model_of(PLAIN, &body),
            Err(Refusal::BodyNotMultipart),
            "{body}"
        );
    }
    let twice = format!("{model}{secret}{END}");
    assert_eq!(model_of(PLAIN, &twice), Err(Refusal::ModelTwice));
}

#[test]
fn a_content_type_means_one_form_to_every_reader_or_is_refused() {
    let body = [&*model(), END].concat();
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=b; Boundary=b",
        "multipart/form-data; x=\"; boundary=a;\"; boundary=b",
        "multipart/form-data; boundary =b",
        "multipart/form-data; boundary= b",
        "multipart/form-data; boundary=b;",
        "multipart/form-data; boundary=b, application/json",
        "multipart/form-data; boundary*=utf-8''b",
        "multipart/form-data; boundary=\"b\\\"\"",
        "multipart/form-data; boundary=b; charset=utf-7",
    ] {
        let read = model_of(content_type, &body);
        assert_eq!(read, Err(Refusal::BodyNotMultipart), "{content_type}");
    }
    for content_type in [
        "multipart/mixed; boundary=b",
        " multipart/form-data; boundary=b",
        "multipart/form-data boundary=b",
        "application/json, multipart/form-data; boundary=b",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16le",
        "application/json; charset =utf-8",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json; x=\"; charset=utf-7\"",
    ] {
        let read = model_of(content_type, r#"{"model":"allowed"}"#);
        assert_eq!(read, Err(Refusal::UnsupportedContentType), "{content_type}");
    }
    for content_type in [
        "",
        "application/json",
        "Application/JSON;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
        "text/plain",
        "application/json; profile=x",
    ] {
        let read = model_of(content_type, r#"{"model":"allowed"}"#);
        assert_eq!(read, allowed(), "{content_type}");
    }
}

#[test]
fn a_part_that_is_made_up_of_parts_is_refused() {
    let inner = "--c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother\r\n--c--";
    for kind in [
        "multipart/mixed; boundary=c",
        "Multipart/Form-Data; boundary=c",
        " multipart/related;boundary=\"c\"",
        "message/rfc822",
    ] {
        for head in [named("file"), format!("{}; filename=\"a\"", named("file"))] {
            let nested = part(&format!("{head}\r\nContent-Type: {kind}"), inner);
            for body in [[&*model(), &nested, END], [&nested, &*model(), END]] {
                let read = model_of(PLAIN, &body.concat());
                assert_eq!(read, Err(Refusal::BodyNotMultipart), "{kind}");
            }
        }
    }
}
