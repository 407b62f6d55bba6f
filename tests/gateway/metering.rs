//! What the meter reads of an instance's answers is what the instance itself has in its books.

use std::time::SystemTime;

use forebay::{
    domain::{
        answer::Answer,
        route::Operation,
        usage::{Memo, Meter, Usage, load_tokenizer},
    },
    simulator::{self, Config, Simulator},
};
use serde_json::{Value, json};

use crate::harness::{INSTANCE_KEY, client};

/// An instance whose answers are of some hundred tokens.
async fn instance() -> Simulator {
    let simulation = format!(
        "control: 127.0.0.1:0\nseed: 7\ninstances:\n  only:\n    address: 127.0.0.1:0\n    keys: [{INSTANCE_KEY}]\n    deployments:\n      m: {{ model: gpt-4o, output_tokens: {{ median: 300, p99: 600 }} }}\n      e: {{ model: text-embedding-3-small }}\n      i: {{ model: gpt-image-1 }}\n"
    );
    let config = Config::parse(&simulation).unwrap();
    simulator::start(config).await.unwrap()
}

/// What the meter makes of an answer that is read in pieces of this size: what was reported, and what passed.
async fn metered(
    simulator: &Simulator,
    operation: Operation,
    body: &Value,
    size: usize,
) -> (Option<Usage>, Usage) {
    let address = simulator.address("only").unwrap();
    let url = format!("http://{address}/openai/v1/{}", operation.path());
    let request = client().post(url).header("api-key", INSTANCE_KEY);
    let answer = request.json(body).send().await.unwrap();
    let meter = Meter::of(operation, answer.status(), answer.headers());
    let mut meter = meter.expect("it can be read");
    let bytes = answer.bytes().await.unwrap();
    let (mut answer, mut memo) = (Answer::default(), Memo::default());
    for piece in bytes.chunks(size) {
        let (piece, meter) = (bytes.slice_ref(piece), (&mut meter, &mut memo));
        answer.pass(piece, false, SystemTime::UNIX_EPOCH, Some(meter));
    }
    (meter.usage(), meter.estimate(5))
}

#[tokio::test]
async fn what_an_instance_reports_is_read_as_its_books_have_it() {
    use Operation::*;
    let simulator = instance().await;
    let messages =
        json!([{"role": "user", "content": "Why do dams spill, and what \"usage\": {} is that?"}]);
    for (operation, deployment, body) in [
        (ChatCompletions, "m", json!({"messages": messages})),
        (
            ChatCompletions,
            "m",
            json!({"messages": messages, "n": 3, "stream": true, "stream_options": {"include_usage": true}}),
        ),
        (
            Completions,
            "m",
            json!({"prompt": "Dams", "max_tokens": 50}),
        ),
        (
            Completions,
            "m",
            json!({"prompt": "Dams", "max_tokens": 50, "stream": true, "stream_options": {"include_usage": true}}),
        ),
        (Responses, "m", json!({"input": "Why do dams spill?"})),
        (
            Responses,
            "m",
            json!({"input": "Why do dams spill?", "stream": true}),
        ),
        (
            Embeddings,
            "e",
            json!({"input": ["Why do dams spill?", "Because."]}),
        ),
        (
            ImageGenerations,
            "i",
            json!({"prompt": "A dam that spills", "n": 2}),
        ),
    ] {
        let mut body = body;
        body["model"] = deployment.into();
        for size in [1, 1000, usize::MAX] {
            simulator.clear_stats();
            let (reported, _) = metered(&simulator, operation, &body, size).await;
            let spent = simulator.stats().deployment("only", deployment).spent;
            let reported = reported.unwrap_or_else(|| panic!("nothing was reported: {body}"));
            assert!(reported.input > 0 && !reported.estimated, "{body}");
            assert_eq!(
                (reported.input, reported.cached, reported.output),
                (
                    spent.prompt_tokens,
                    spent.cached_tokens,
                    spent.completion_tokens
                ),
                "{body} in pieces of {size}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_report_is_counted_within_a_few_tokens_of_the_books() {
    load_tokenizer();
    let simulator = instance().await;
    for (operation, body) in [
        (
            Operation::ChatCompletions,
            json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Why?"}]}),
        ),
        (
            Operation::Completions,
            json!({"model": "m", "stream": true, "max_tokens": 400, "prompt": "Why?"}),
        ),
    ] {
        simulator.clear_stats();
        let (reported, passed) = metered(&simulator, operation, &body, 333).await;
        assert_eq!(reported, None, "{body}");
        assert!(passed.estimated && passed.input == 5, "{passed:?}");
        let told = simulator.stats().deployment("only", "m").spent;
        let off = passed.output.abs_diff(told.completion_tokens);
        assert!(
            told.completion_tokens > 100 && off * 20 <= told.completion_tokens,
            "{} of {}",
            passed.output,
            told.completion_tokens
        );
    }
}
