//! Azure's own spillover: one deployment serves what another can't, and says so (AZURE 8).

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
        response.bytes().await.unwrap();
    }
    let (asked, served) = (caller.page("spilling"), caller.page("small"));
    assert_eq!((asked.requests, asked.fault("spillover")), (3, 2));
    assert_eq!((asked.spent.completion_tokens, served.status(200)), (4, 2));
    assert_eq!(served.spent.completion_tokens, 8);
    assert_eq!((asked.concurrent, served.concurrent), (0, 0));
}

#[tokio::test]
async fn where_both_are_full_the_others_429_comes_with_a_word_on_the_first() {
    let caller = caller().await;
    fill(&caller).await;
    for _ in 0..2 {
        assert_eq!(caller.answered("small", &hello()).await.0, 200);
    }
    let response = caller.chat("spilling", &hello()).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let said = [FROM, ERROR, "x-ms-deployment-name"].map(|name| header(&response, name));
    assert_eq!(
        said.each_ref().map(|it| it.as_deref()),
        [Some("spilling"), Some("429"), Some("small")]
    );
    // The other one's wait, and not the first one's at one token a minute.
    let wait: u64 = header(&response, "retry-after").unwrap().parse().unwrap();
    assert!(wait <= 60, "{wait}");
    assert_eq!(
        (
            caller.page("spilling").fault("spillover"),
            caller.page("small").status(429)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_caller_can_ask_for_spillover_on_one_call() {
    let caller = caller().await;
    caller.fault(json!({ "kind": "status", "status": 503 }));
    let asking = caller.chat("gpt-4o", &hello());
    let asking = asking.header("x-ms-spillover-deployment", "ptu");
    let response = asking.send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            header(&response, FROM).as_deref()
        ),
        (200, Some("gpt-4o"))
    );
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 503);
    // The caller's own mistake is nothing that another deployment mends.
    caller.fault(json!({ "kind": "status", "status": 422 }));
    let asking = caller.chat("gpt-4o", &hello());
    let asking = asking.header("x-ms-spillover-deployment", "ptu");
    assert_eq!(asking.send().await.unwrap().status(), 422);
}
