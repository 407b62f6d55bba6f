use serde_json::{Value, json};

use super::*;
use crate::domain::{
    ask::scan::{MESSAGE, REPLY},
    usage::{load_tokenizer, tokenizer},
};

const ENGLISH: &str = "Water gathers above the dam and waits until a turbine is free. When a request reaches the gateway, the system picks a suitable deployment, and if that one happens to be throttled it asks another within the same request, so the caller never notices an error. The weather was lovely today, so we decided to walk through the park and have a cup of tea at the cafe by the lake. I don't think that's what he meant, but we'll see tomorrow.";
const GERMAN: &str = "Das Wasser sammelt sich oberhalb der Staumauer und wartet, bis eine Turbine frei ist. Sobald eine Anfrage das Gateway erreicht, wählt das System eine geeignete Bereitstellung aus; ist diese gerade gedrosselt, wird die nächste versucht, ohne dass der Aufrufer einen Fehler bemerkt. Heute war das Wetter ausgezeichnet, deshalb beschlossen wir, im Stadtpark spazieren zu gehen.";
const CHINESE: &str = "大坝上游的水库蓄满了水，等待着涡轮机空闲下来。当请求到达网关时，系统会选择一个合适的部署来处理它。如果该部署受到限流，网关会立即尝试另一个部署，而客户端不会察觉任何错误。今天的天气非常好，我们决定去公园散步，然后在湖边的咖啡馆里喝一杯茶。";
const JAPANESE: &str = "ダムの上流にある貯水池には水が満ちていて、タービンが空くのを待っています。リクエストがゲートウェイに届くと、システムは適切なデプロイメントを選んで処理します。今日はとても天気が良かったので、私たちは公園まで散歩して、湖のほとりの喫茶店でお茶を飲みました。";
const ARABIC: &str = "تتجمع المياه خلف السد وتنتظر حتى تصبح التوربينات متاحة. عندما يصل الطلب إلى البوابة يختار النظام النشر المناسب لمعالجته، وإذا كان هذا النشر مقيداً فإنه يحاول فوراً نشراً آخر دون أن يلاحظ العميل أي خطأ.";
const RUSSIAN: &str = "Вода собирается перед плотиной и ждёт, пока освободится турбина. Когда запрос приходит на шлюз, система выбирает подходящее развёртывание, и если оно ограничено, пробует другое, так что вызывающий не замечает ошибки. Сегодня была прекрасная погода, и мы решили погулять в парке.";
const HINDI: &str = "बांध के पीछे पानी इकट्ठा होता है और टरबाइन के खाली होने की प्रतीक्षा करता है। जब कोई अनुरोध गेटवे पर पहुंचता है, तो सिस्टम उसके लिए उपयुक्त परिनियोजन चुनता है।";
const EMOJI: &str = "😀 Great! 🎉🎉 Let's go 🚀 to the 🏖️ with 👩‍👩‍👧‍👦 and 🐶. ❤️ 🔥🔥🔥 That's 💯! 😂😂 see you 👋🏽 tomorrow 🌞, ok? 👍";
const CODE: &str = "impl OutputCount {\n    pub fn add(&mut self, text: &[u8]) {\n        let mut rest = text;\n        while !rest.is_empty() {\n            let room = &mut self.text[self.length..];\n            self.length += fits.len();\n            if self.length == BLOCK {\n                self.count_block();\n            }\n        }\n    }\n}\n";
const TABLE: &str =
    "12.5,-103.27,88,4\n-7.031,250.5,19,102\n93.1,-4,77.25,60.0\n18,2024,3.14159,-0.5\n";
const DATA: &str = r#"{"id":"a1","name":"dam","height":120.5,"turbines":[{"power":35,"isFree":true},{"power":40,"isFree":false}],"river":{"name":"Elbe","flow":870}}"#;

fn chat(body: &Value) -> u64 {
    prompt_tokens(Operation::ChatCompletions, body.to_string().as_bytes())
}

fn says(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}], "temperature": 0.5})
}

fn counted(text: &str) -> u64 {
    load_tokenizer();
    tokenizer::count(text).unwrap()
}

#[test]
fn text_in_any_script_comes_near_what_the_tokenizer_counts() {
    for text in [
        ENGLISH, GERMAN, CHINESE, JAPANESE, ARABIC, RUSSIAN, HINDI, EMOJI, CODE, TABLE, DATA,
    ] {
        let whole = counted(text) + MESSAGE + REPLY;
        // However an SDK spells it.
        let escaped: String = says(text)
            .to_string()
            .chars()
            .flat_map(|character| {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units).to_vec();
                let is_ascii = character.is_ascii();
                units.into_iter().map(move |unit| match is_ascii {
                    true => character.to_string(),
                    false => format!("\\u{unit:04x}"),
                })
            })
            .collect();
        for body in [says(text).to_string(), escaped] {
            let estimated = prompt_tokens(Operation::ChatCompletions, body.as_bytes());
            let off = estimated as f64 / whole as f64 - 1.0;
            assert!(off.abs() < 0.15, "{off:.2} {estimated} of {whole}: {text}");
        }
    }
}

#[test]
fn every_api_has_its_prompt_in_its_own_place() {
    let text = counted(ENGLISH) as f64;
    for (operation, body) in [
        (Operation::ChatCompletions, says(ENGLISH)),
        (
            Operation::ChatCompletions,
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": ENGLISH}]}]}),
        ),
        (Operation::Completions, json!({"prompt": ENGLISH})),
        (Operation::Completions, json!({"prompt": [ENGLISH]})),
        (Operation::Embeddings, json!({"input": ENGLISH})),
        (Operation::Responses, json!({"input": ENGLISH})),
        (
            Operation::Responses,
            json!({"instructions": ENGLISH, "input": ""}),
        ),
        (
            Operation::Responses,
            json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": ENGLISH}]}]}),
        ),
        (Operation::ImageGenerations, json!({"prompt": ENGLISH})),
        (
            Operation::AudioSpeech,
            json!({"input": ENGLISH, "voice": "alloy"}),
        ),
        (
            Operation::ChatCompletions,
            json!({"messages": [], "tools": [{"type": "function", "function": {"name": "x", "description": ENGLISH, "parameters": {}}}]}),
        ),
    ] {
        let estimated = prompt_tokens(operation, body.to_string().as_bytes()) as f64;
        assert!((estimated / text - 1.0).abs() < 0.15, "{estimated} {body}");
    }
    let of_form = |operation, files: &str| {
        let form = format!(
            "--B\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n{ENGLISH}\r\n{files}--B--\r\n"
        );
        prompt_tokens(operation, form.as_bytes())
    };
    let file =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0\x01\r\n";
    let words = of_form(Operation::AudioTranscriptions, file);
    assert!((words as f64 / text - 1.0).abs() < 0.15, "{words}");
    let pictures = of_form(Operation::ImageEdits, &file.repeat(2));
    assert_eq!(pictures, words + 2 * PICTURE);
    assert_eq!(of_form(Operation::ImageEdits, ""), words);
}

#[test]
fn what_is_no_text_is_not_counted_as_text() {
    let image = "iVBORw0KGgo".repeat(10_000);
    let url = format!("data:image/png;base64,{image}");
    let body = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
    assert_eq!(chat(&body), PICTURE + MESSAGE + REPLY);
    let body = json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]});
    let estimated = prompt_tokens(Operation::Responses, body.to_string().as_bytes());
    assert_eq!(estimated, PICTURE + MESSAGE + REPLY);
    for part in [
        json!({"type": "input_audio", "input_audio": {"data": image, "format": "wav"}}),
        json!({"type": "file", "file": {"file_data": url}}),
        json!({"type": "text", "text": image}),
    ] {
        let body = json!({"messages": [{"role": "user", "content": [part]}]});
        assert!(chat(&body) < 20, "{}", chat(&body));
    }
    let settings = json!({"messages": [], "user": ENGLISH, "metadata": {"messages": ENGLISH}, "stop": [ENGLISH]});
    assert_eq!(chat(&settings), REPLY);
}

#[test]
fn a_prompt_of_tokens_is_as_many() {
    for (operation, body, count) in [
        (Operation::Embeddings, r#"{"input":[1, 2,3]}"#, 3),
        (Operation::Embeddings, r#"{"input":[[1,2],[3],[]]}"#, 3),
        (Operation::Completions, r#"{"prompt":[7],"x":[1,2]}"#, 1),
        (Operation::Responses, r#"{"input":[1,2,3]}"#, REPLY),
    ] {
        assert_eq!(prompt_tokens(operation, body.as_bytes()), count, "{body}");
    }
}

#[test]
fn a_prompt_that_is_too_long_to_look_at_is_taken_to_go_on_as_it_began() {
    let body = |times: usize| {
        let once = chat(&says(&format!("{ENGLISH} ").repeat(10))) as f64 / 10.0;
        let long = chat(&says(&format!("{ENGLISH} ").repeat(times))) as f64;
        long / (once * times as f64)
    };
    assert!((body(5000) - 1.0).abs() < 0.05, "{}", body(5000));
    let message = json!({"role": "user", "content": "Hi"});
    let short = json!({"messages": vec![message; 100_000]});
    let each = chat(&short) as f64 / 100_000.0;
    assert!((5.0..5.5).contains(&each), "{each}");
    let escapes = chat(&says(&"a\n".repeat(1_000_000))) as f64 / 1_000_000.0;
    assert!((1.0..3.0).contains(&escapes), "{escapes}");
}

#[test]
fn a_long_text_is_judged_by_all_of_it() {
    let text = format!("{}{}", ENGLISH.repeat(500), CHINESE.repeat(500));
    let whole = 500 * (counted(ENGLISH) + counted(CHINESE));
    let escaped = says(&text).to_string();
    let escaped: String = escaped
        .chars()
        .map(|character| match character.is_ascii() {
            true => character.to_string(),
            false => format!("\\u{:04x}", u32::from(character)),
        })
        .collect();
    for body in [says(&text).to_string(), escaped] {
        let estimated = prompt_tokens(Operation::ChatCompletions, body.as_bytes());
        let off = estimated as f64 / whole as f64 - 1.0;
        assert!(off.abs() < 0.05, "{off:.3}: {estimated} of {whole}");
    }
}

#[test]
fn whatever_a_body_is_it_can_be_estimated() {
    for body in [
        "",
        " ",
        "{",
        "{\"",
        "{\"messages\":\"\\",
        "{\"input\":\"\\u12",
        "{\"input\":\"\\ud83d\"}",
        "]]}}",
        "--",
        "7",
        "{\"input\":[1",
        "{\"prompt\":\"a\" ",
        "--B\r\nname=\"prompt\"",
    ] {
        for operation in Operation::ALL {
            assert!(prompt_tokens(operation, body.as_bytes()) < 10, "{body}");
        }
    }
}
