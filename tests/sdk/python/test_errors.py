"""Every kind of no, as the SDK's own exception. Retries are off, so that it is the service's word and not the SDK's patience."""

from dataclasses import replace

import openai
import pytest

HELLO = [{"role": "user", "content": "Say hello."}]


def chat(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **options})


def body_of(error):
    """The error object; the SDK has already taken it out of its envelope."""
    assert isinstance(error.body, dict) and error.body["message"], error.response.text
    return error.body


@pytest.mark.parametrize("way", ["azure", "v1"])
def test_a_wrong_key(place, way):
    with getattr(replace(place, key="not-a-key"), way)() as client, pytest.raises(openai.AuthenticationError) as no:
        chat(client)
    assert body_of(no.value)
    assert "not-a-key" not in no.value.response.text, "a key is not repeated"


def test_no_key(raw):
    del raw.headers["api-key"]
    answer = raw.post("/openai/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO})
    assert answer.status_code == 401 and answer.json()["error"]["message"]


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as no:
        chat(client, model="gpt-17")
    assert no.value.code == "DeploymentNotFound" and body_of(no.value)


def test_a_model_this_client_may_not_use_looks_like_one_that_is_not_there(embedder):
    with embedder.azure() as client:
        assert client.embeddings.create(model="text-embedding-3-small", input="one").data
        with pytest.raises(openai.NotFoundError) as hidden:
            chat(client)
        with pytest.raises(openai.NotFoundError) as absent:
            chat(client, model="gpt-17")
    assert hidden.value.code == absent.value.code == "DeploymentNotFound"
    assert body_of(hidden.value)["message"] == body_of(absent.value)["message"].replace("gpt-17", "gpt-4o")


def test_an_unknown_path(client):
    with pytest.raises(openai.NotFoundError) as no:
        client.post("/no/such/thing", body={"model": "gpt-4o"}, cast_to=object)
    assert body_of(no.value)


@pytest.mark.parametrize("stream", [False, True])
def test_azures_own_refusal_comes_through_as_it_is(client, stream):
    with pytest.raises(openai.BadRequestError) as no:
        chat(client, messages=[{"role": "user", "content": "trigger_content_filter"}], stream=stream)
    error = body_of(no.value)
    assert no.value.code == "content_filter" and no.value.param == "prompt"
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_classic_paths_need_no_model_in_the_body(place):
    """LangChain sends `"model": null` there: the path names the model."""
    with place.azure() as client:
        assert chat(client, extra_body={"model": None}).choices[0].message.content


@pytest.mark.parametrize("model", [None, 7, ["gpt-4o"], {"id": "gpt-4o"}, ""], ids=repr)
def test_a_model_that_is_no_name(gateway, model):
    with gateway.v1() as client, pytest.raises((openai.BadRequestError, openai.NotFoundError)) as no:
        chat(client, extra_body={"model": model})
    assert no.value.status_code == (404 if model == "" else 400)
    assert "model" in body_of(no.value)["message"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpt-4o",
        "[]",
        '{"messages":[]}',
        '{"model":"gpt-4o"',
        '{"model":"gpt-4o","model":"gpt-4o","messages":[]}',
        '{"model":"gpt-4o","messages":' + "[" * 1000 + "]" * 1000 + "}",
    ],
    ids=["empty", "not JSON", "no object", "no model", "unfinished", "two models", "too deep"],
)
def test_a_body_that_names_no_model(raw, text):
    answer = raw.post("/openai/v1/chat/completions", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]
    assert raw.get("/openai/v1/models").status_code == 200, "the connection is still of use"


def test_a_body_over_the_limit(gateway):
    with gateway.azure() as client:
        with pytest.raises(openai.APIStatusError) as no:
            chat(client, messages=[{"role": "user", "content": "x" * (1 << 20)}])
        assert no.value.status_code == 413 and body_of(no.value)
        assert chat(client).choices[0].message.content


def test_our_own_errors_have_an_id_to_ask_support_about(gateway):
    with gateway.v1() as client, pytest.raises(openai.NotFoundError) as no:
        chat(client, model="gpt-17")
    assert no.value.request_id


@pytest.mark.parametrize("way", ["azure", "v1"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_deployment_throttled(stage, way, stream):
    stage.simulator.everywhere("throttle", seconds=30)
    with getattr(stage.place, way)() as client, pytest.raises(openai.RateLimitError) as no:
        chat(client, stream=stream)
    body_of(no.value)
    headers = no.value.response.headers
    seconds, milliseconds = int(headers["retry-after"]), int(headers["retry-after-ms"])
    assert 0 < milliseconds <= 30_000
    assert seconds == -(-milliseconds // 1000), "whole seconds, rounded up"


def test_a_throttled_pool_is_not_asked_again_before_its_time(stage):
    stage.simulator.everywhere("throttle", seconds=30)
    with stage.place.azure() as client:
        for _ in range(5):
            with pytest.raises(openai.RateLimitError):
                chat(client)
    assert stage.simulator.asked() == {"swc-ptu": 1, "swc-std": 1, "frc-std": 1}


def test_the_sdk_waits_as_long_as_it_was_told_and_then_succeeds(stage):
    stage.simulator.everywhere("throttle", seconds=1)
    with stage.place.azure(max_retries=2) as client:
        assert chat(client).choices[0].message.content


@pytest.mark.parametrize("status", [500, 503])
def test_every_deployment_failing(stage, status):
    stage.simulator.everywhere("status", status=status)
    with stage.place.azure() as client, pytest.raises(openai.InternalServerError) as no:
        chat(client)
    assert no.value.status_code == status, "what all of them said"
    assert body_of(no.value)


@pytest.mark.parametrize("stream", [False, True])
def test_every_deployment_down(stage, stream):
    for instance in ["swc-ptu", "swc-std", "frc-std"]:
        stage.simulator.down(instance)
    with stage.place.v1() as client, pytest.raises(openai.InternalServerError) as no:
        chat(client, stream=stream)
    assert no.value.status_code == 503
    assert "127.0.0.1" not in no.value.response.text, "our own errors name no host"


def test_a_client_that_does_not_wait(stage):
    stage.simulator.everywhere("hang")
    with stage.place.azure(timeout=0.5) as client, pytest.raises(openai.APITimeoutError):
        chat(client)
    stage.simulator.heal_everywhere()
    with stage.place.azure() as client:
        assert chat(client).choices[0].message.content


def test_a_gateway_that_is_gone(stage):
    with stage.place.azure() as client:
        assert chat(client).choices[0].message.content
        stage.gateway.stop()
        with pytest.raises(openai.APIConnectionError):
            chat(client)


@pytest.mark.parametrize("kind", ["reset_mid_stream", "close_mid_stream"])
@pytest.mark.parametrize("way", ["azure", "v1"])
def test_a_chat_stream_that_breaks_is_an_error(stage, way, kind):
    """A clean end would be taken for the whole answer."""
    stage.simulator.everywhere(kind, after_events=4)
    got = []
    with getattr(stage.place, way)() as client, pytest.raises(openai.APIError):
        for chunk in chat(client, stream=True):
            got.append(chunk)
    assert got, "what came before the break was passed on"
    stage.simulator.heal_everywhere()
    with stage.place.azure() as client:
        assert list(chat(client, stream=True))


@pytest.mark.parametrize("kind", ["reset_mid_stream", "close_mid_stream"])
def test_a_response_stream_that_breaks_is_an_error(stage, kind):
    stage.simulator.everywhere(kind, after_events=5)
    got = []
    with stage.place.v1() as client, pytest.raises(openai.APIError):
        for event in client.responses.create(model="gpt-4o", input="Say hello.", stream=True):
            got.append(event.type)
    assert "response.created" in got and "response.completed" not in got
