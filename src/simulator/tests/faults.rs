//! What a caller meets when things go wrong on purpose, and when it leaves.

use super::*;

#[tokio::test]
async fn a_reset_and_a_close_leave_no_answer() {
    let caller = caller().await;
    for kind in ["reset", "close"] {
        caller.fault(json!({ "kind": kind, "times": 1 }));
        assert!(
            caller.chat("gpt-4o", &hello()).send().await.is_err(),
            "{kind}"
        );
        assert_eq!(caller.stats("gpt-4o").fault(kind), 1);
    }
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 200);
}

#[tokio::test]
async fn a_stream_breaks_after_the_events_it_was_told_to() {
    let caller = caller().await;
    for kind in ["reset_mid_stream", "close_mid_stream"] {
        caller.fault(json!({ "kind": kind, "after_events": 3 }));
        let mut response = caller.chat("gpt-4o", &streamed()).send().await.unwrap();
        let mut seen = Vec::new();
        let end = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
                end => break end,
            }
        };
        assert!(end.is_err(), "{kind}: a clean end");
        assert_eq!(events(&seen).len(), 3, "{kind}");
        assert!(
            caller
                .chat("gpt-4o", &hello())
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .is_err(),
            "{kind}: a plain answer came whole"
        );
    }
}

#[tokio::test]
async fn an_error_can_come_inside_a_stream() {
    let caller = caller().await;
    caller.fault(json!({ "kind": "stream_error", "after_events": 0, "times": 1 }));
    let response = caller.chat("gpt-4o", &streamed()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let all = events(&response.bytes().await.unwrap());
    assert_eq!(
        (all.len(), &all[0]["error"]["code"]),
        (1, &json!("rate_limit_exceeded"))
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_the_model_thinks() {
    let caller = caller().await;
    for body in [hello(), streamed()] {
        caller.simulator.clear_stats();
        let call = tokio::spawn(caller.chat("slow", &body).send());
        caller
            .until("the request arrives", |caller| {
                caller.stats("slow").concurrent == 1
            })
            .await;
        if body["stream"] == true {
            let response = call.await.unwrap().unwrap();
            drop(response);
        } else {
            call.abort();
        }
        caller
            .until("it is counted as cancelled", |caller| {
                caller.stats("slow").cancelled == 1
            })
            .await;
        assert_eq!(caller.stats("slow").concurrent, 0);
    }
}

#[tokio::test]
async fn a_hanging_deployment_reads_and_says_nothing() {
    let caller = caller().await;
    caller.fault(json!({ "kind": "hang" }));
    let call = tokio::spawn(caller.chat("gpt-4o", &hello()).send());
    caller
        .until("it hangs", |caller| {
            caller.stats("gpt-4o").fault("hang") == 1
        })
        .await;
    call.abort();
    caller
        .until("the client is gone", |caller| {
            caller.stats("gpt-4o").cancelled == 1
        })
        .await;
}

#[tokio::test]
async fn an_instance_that_is_down_refuses_connections_and_comes_back_on_its_port() {
    let caller = caller().await;
    let hanging = tokio::spawn(caller.chat("slow", &hello()).send());
    caller
        .until("the request arrives", |caller| {
            caller.stats("slow").concurrent == 1
        })
        .await;
    caller.simulator.down("east").await.unwrap();
    assert!(hanging.await.unwrap().is_err());
    assert!(
        caller
            .chat("gpt-4o", &hello())
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
    caller.simulator.up("east").await.unwrap();
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 200);
}

#[tokio::test]
async fn reset_on_connect_strikes_whole_instances_only() {
    let caller = caller().await;
    let fault = || Some(Fault::from(FaultKind::ResetOnConnect {}));
    assert!(
        caller
            .simulator
            .set_fault("east", Some("gpt-4o"), fault())
            .is_err()
    );
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 200);
    caller.simulator.set_fault("east", None, fault()).unwrap();
    assert!(caller.chat("gpt-4o", &hello()).send().await.is_err());
    caller.simulator.set_fault("east", None, None).unwrap();
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 200);
}
