//! Azure's own spillover: one deployment serves what another can't, and says so (wire facts: Spillover).

use super::*;

const FROM: &str = "x-ms-spillover-from-deployment";
const ERROR: &str = "x-ms-spillover-error";

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// The first call crosses its capacity and is still let in.
async fn fill(caller: &Caller) {
    assert_eq!(caller.answered("spilling", &hello()).await.0, 200);
}

#[tokio::test]
async fn what_a_full_deployment_cannot_take_is_served_by_its_spillover() {
    let caller = caller().await;
    fill(&caller).await;
    for body in [hello(), streamed()] {
        let response = caller.chat("spilling", &body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, FROM).as_deref(), Some("spilling"));
        assert_eq!(
            header(&response, "x-ms-deployment-name").as_deref(),
            Some("small")
        );
        assert_eq!(header(&response, ERROR).as_deref(), Some("429"));
        // The other one's, at which this one's answer is billed.
        assert!(header(&response, "x-ratelimit-limit-tokens").is_some());
        response.bytes().await.unwrap();
    }
    let (asked, served) = (caller.stats("spilling"), caller.stats("small"));
    assert_eq!((asked.requests, asked.fault("spillover")), (3, 2));
    assert_eq!((asked.spent.completion_tokens, served.status(200)), (4, 2));
    assert_eq!(served.spent.completion_tokens, 8);
    assert_eq!((asked.concurrent, served.concurrent), (0, 0));
}

#[tokio::test]
async fn where_both_are_full_the_answer_is_the_second_ones() {
    let caller = caller().await;
    fill(&caller).await;
    for _ in 0..2 {
        assert_eq!(caller.answered("small", &hello()).await.0, 200);
    }
    let response = caller.chat("spilling", &hello()).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, FROM).as_deref(), Some("spilling"));
    assert_eq!(header(&response, ERROR).as_deref(), Some("429"));
    let name = header(&response, "x-ms-deployment-name");
    assert_eq!(name.as_deref(), Some("small"));
    let wait: u64 = header(&response, "retry-after").unwrap().parse().unwrap();
    assert!(wait <= 60, "{wait}");
    let pages = [caller.stats("spilling"), caller.stats("small")];
    assert_eq!(pages[0].fault("spillover"), 1);
    assert_eq!((pages[1].status(200), pages[1].status(429)), (2, 1));
}

#[tokio::test]
async fn before_2026_06_the_first_ones_own_429_came_with_a_word_on_the_other() {
    let caller = caller().await;
    let path = "/openai/deployments/spilling/chat/completions?api-version=2024-10-21";
    let body = hello();
    let ask = || {
        caller
            .post_to("older", path, &body)
            .header("api-key", "sim-key")
    };
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let spilled = ask().send().await.unwrap();
    assert_eq!(header(&spilled, FROM).as_deref(), Some("spilling"));
    assert!(header(&spilled, ERROR).is_none());
    let response = ask().send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(header(&response, FROM).is_none() && header(&response, ERROR).is_some());
    let name = header(&response, "x-ms-deployment-name");
    assert_eq!(name.as_deref(), Some("spilling"));
    // Its own wait, at one token a minute, and not the other's; nor the other's counters.
    let wait: u64 = header(&response, "retry-after").unwrap().parse().unwrap();
    assert!(wait > 60, "{wait}");
    assert!(header(&response, "x-ratelimit-limit-tokens").is_none());
}

#[tokio::test]
async fn a_prompt_too_long_for_a_provisioned_deployment_spills_over() {
    let caller = caller().await;
    let response = caller.chat("short", &hello()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, ERROR).as_deref(), Some("400"));
    let mut filtered = hello();
    filtered["messages"][0]["content"] = "trigger_content_filter".into();
    let response = caller.chat("short", &filtered).send().await.unwrap();
    assert_eq!(response.status(), 400, "no other 400 does");
    assert!(header(&response, FROM).is_none());
}

#[tokio::test]
async fn a_caller_can_ask_for_spillover_on_one_call_of_a_provisioned_deployment() {
    let caller = caller().await;
    let fault = |deployment: &str, status: u16| {
        let fault = json!({ "kind": "status", "status": status }).to_string();
        let fault = Fault::parse(fault.as_bytes()).unwrap();
        let set = caller
            .simulator
            .set_fault("east", Some(deployment), Some(fault));
        set.unwrap();
    };
    let ask = |deployment: &str| {
        let asking = caller.chat(deployment, &hello());
        asking.header("x-ms-spillover-deployment", "embed")
    };
    fault("ptu", 503);
    let response = ask("ptu").send().await.unwrap();
    assert_eq!(header(&response, FROM).as_deref(), Some("ptu"));
    assert_eq!(response.status(), 200);
    assert_eq!(caller.answered("ptu", &hello()).await.0, 503);
    // The caller's own mistake is nothing that another deployment mends.
    fault("ptu", 422);
    assert_eq!(ask("ptu").send().await.unwrap().status(), 422);
    fault("gpt-4o", 503);
    assert_eq!(
        ask("gpt-4o").send().await.unwrap().status(),
        503,
        "it is no PTU"
    );
}
