use super::*;
use crate::domain::usage::{load_tokenizer, tokenizer};

#[test]
fn without_a_report_all_output_in_words_is_counted_and_nothing_else() {
    let passed = |operation, kind, answer: &str| {
        let (reported, estimated) = read(operation, kind, answer);
        assert_eq!(reported, None, "{answer}");
        assert_eq!((estimated.input, estimated.estimated), (7, true));
        estimated.output
    };
    use Operation::*;
    for (operation, event, output) in [
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#,
            0,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"content":" water gathers"}}]}"#,
            2,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"content":" \u0077ater\u0020gathers"}}]}"#,
            2,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"content":"\ud83d\ude00"}}]}"#,
            1,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"content":"😀"}}]}"#,
            1,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"content":" water"}},{"delta":{"content":" gathers"}}]}"#,
            2,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"refusal":" water"}}]}"#,
            1,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"reasoning_content":" water"}}]}"#,
            1,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"water","arguments":" gathers"}}]}}]}"#,
            2,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{"audio":{"data":"aGFsbG8gaGFsbG8=","transcript":" water"}}}]}"#,
            1,
        ),
        (
            ChatCompletions,
            r#"{"choices":[{"delta":{},"finish_reason":"stop","content_filter_results":{"hate":{"severity":"safe"}},"logprobs":{"content":[{"token":"water"}]}}]}"#,
            0,
        ),
        (Completions, r#"{"choices":[{"text":" water gathers"}]}"#, 2),
        (
            Responses,
            r#"{"type":"response.output_text.delta","delta":" water gathers"}"#,
            2,
        ),
        (
            Responses,
            r#"{"type":"response.function_call_arguments.delta","delta":" water"}"#,
            1,
        ),
        (
            Responses,
            r#"{"type":"response.output_text.done","text":" water gathers"}"#,
            0,
        ),
        (
            Responses,
            r#"{"type":"response.output_item.done","item":{"content":[{"text":" water"}]}}"#,
            0,
        ),
        (
            Responses,
            r#"{"type":"response.failed","response":{"output":[{"content":[{"text":" water"}]}]}}"#,
            0,
        ),
        (
            Responses,
            r#"{"type":"response.audio.delta","delta":"aGFsbG8gaGFsbG8="}"#,
            0,
        ),
        (
            AudioTranscriptions,
            r#"{"type":"transcript.text.delta","delta":" water gathers"}"#,
            2,
        ),
        (
            AudioSpeech,
            r#"{"type":"speech.audio.delta","audio":"aGFsbG8gaGFsbG8="}"#,
            0,
        ),
    ] {
        let answer = events(&[event, "[DONE]"]);
        assert_eq!(passed(operation, EVENTS, &answer), output, "{event}");
    }
    let named = "event: response.audio.delta\ndata: {\"delta\":\"aGFsbG8gaGFsbG8=\"}\n\ndata: {\"delta\":\" water\"}\n\n";
    for end in ["\n", "\r\n", "\r"] {
        let named = named.replace('\n', end);
        assert_eq!(passed(Responses, EVENTS, &named), 1, "{end:?}");
        // One event's data on several lines.
        let lines =
            "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\" water gathers\"}}]}\n\n";
        let lines = lines.replace('\n', end);
        assert_eq!(passed(ChatCompletions, EVENTS, &lines), 2, "{end:?}");
    }
    for (operation, answer, output) in [
        (
            ChatCompletions,
            r#"{"choices":[{"message":{"content":" water gathers","tool_calls":[{"function":{"name":"x","arguments":"{}"}}]}}"#,
            4,
        ),
        (
            Responses,
            r#"{"id":"r","output":[{"type":"reasoning","summary":[{"text":" water"}]},{"type":"message","content":[{"text":" gathers"}]}]"#,
            3,
        ),
        (AudioTranscriptions, r#"{"text":" water gathers"}"#, 3),
        (
            Embeddings,
            r#"{"data":[{"embedding":[0.1,0.2]}],"text":7}"#,
            0,
        ),
    ] {
        assert_eq!(passed(operation, JSON, answer), output, "{answer}");
    }
    let plain = passed(
        AudioTranslations,
        "text/plain; charset=utf-8",
        " water gathers",
    );
    assert_eq!(plain, 2);
}

#[test]
fn what_passed_of_a_long_answer_is_counted_as_the_tokenizer_counts_the_whole() {
    let english = "Water gathers above the dam and waits until a turbine is free, while what can't be taken spills over. ".repeat(40);
    let chinese = "大坝上游的水库蓄满了水，等待着涡轮机空闲下来。".repeat(60);
    let code = "fn main() {\n    let answer = vec![1, 2, 3];\n    println!(\"{answer:?}\");\n}\n"
        .repeat(40);
    let mixed = "Grüße 😀 aus Köln! Привет, мир. こんにちは世界 ".repeat(50);
    for text in [english, chinese, code, mixed] {
        let whole = tokenizer::count(&text).unwrap();
        let mut meter = meter(Operation::ChatCompletions, EVENTS);
        let characters: Vec<char> = text.chars().collect();
        for words in characters.chunks(5) {
            let words: String = words.iter().collect();
            let words = serde_json::to_string(&words).unwrap();
            let event = format!(r#"{{"choices":[{{"delta":{{"content":{words}}}}}]}}"#);
            meter.read(events(&[&event]).as_bytes());
        }
        let passed = meter.estimate(0).output;
        let off = passed.abs_diff(whole) as f64 / whole as f64;
        assert!(off < 0.015, "{passed} of {whole}: {text:.40}");
    }
}

#[test]
fn escapes_are_read_as_what_they_mean() {
    let text = "Grüße 🔥👩‍👧 Привет\n\t\"\\/ 世界";
    let escaped: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    let short = text.replace('\\', "\\\\").replace('"', "\\\"");
    let short = short
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('/', "\\/");
    load_tokenizer();
    let whole = tokenizer::count(text).unwrap();
    for text in [escaped, short] {
        let event = format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#);
        let (_, passed) = read(Operation::ChatCompletions, EVENTS, &events(&[&event]));
        assert_eq!(passed.output, whole, "{text}");
    }
}

#[test]
fn what_filters_say_is_passed_over_whatever_they_said_before() {
    let event = |filters: &str, word: &str| {
        format!(
            "data: {{\"choices\":[{{\"content_filter_results\":{filters},\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
        )
    };
    let safe = r#"{"hate":{"filtered":false,"severity":"safe"}}"#;
    let odd = r#"{"hate":{"filtered":false,"severity":"}\"{"},"usage":{"prompt_tokens":1}}"#;
    let stream = [safe, safe, odd, "{}", odd, "null", "[{}]", safe, "{}"]
        .map(|filters| event(filters, " water"))
        .concat();
    let (reported, estimated) = read(Operation::ChatCompletions, "text/event-stream", &stream);
    assert_eq!((reported, estimated.output), (None, 9));
}
