"""Streams before and after their first output, and quiet ones, as real clients see them."""

import json

import httpx2
import openai
import pytest
from azure.ai.inference import ChatCompletionsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError

HELLO = [{"role": "user", "content": "Say hello."}]
BEFORE = {"after_events": 1}
# Long enough for the gateway's keep-alive of a second, twice.
QUIET = {"kind": "silent", "ms": 2500, "after_events": 4}


def chat(client):
    """A streamed chat's text."""
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def respond(client):
    """A streamed response's text, and its last event."""
    events = list(client.responses.create(model="gpt-4o", input="Say hello.", stream=True))
    return "".join(event.delta for event in events if event.type == "response.output_text.delta"), events[-1].type


def inference(stage):
    endpoint = f"{stage.place.url}/openai/deployments/gpt-4o"
    return ChatCompletionsClient(endpoint=endpoint, credential=AzureKeyCredential(stage.place.key), api_version="2024-10-21", retry_total=0)


@pytest.mark.parametrize("error", ["too_many_requests", "server_error", "forbidden"])
def test_an_error_inside_a_200_is_not_seen_while_another_deployment_can_answer(stage, error):
    stage.simulator.fault("swc-ptu", "stream_error", type=error, **BEFORE)
    with stage.place.azure() as client:
        assert chat(client)
    with inference(stage) as client:
        chunks = list(client.complete(messages=HELLO, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@pytest.mark.parametrize("form", ["failed_then_error", "nested", "root", "root_typed", "failed", "failed_text"])
def test_every_form_of_the_responses_api_moves_on(stage, form):
    stage.simulator.fault("swc-ptu", "stream_error", form=form, **BEFORE)
    with stage.place.v1() as client:
        text, last = respond(client)
    assert text and last == "response.completed"


def test_the_callers_own_mistake_reaches_the_caller(stage):
    stage.simulator.fault("swc-ptu", "stream_error", type="user_error", **BEFORE)
    with stage.place.azure() as client:
        with pytest.raises(openai.APIError):
            chat(client)
    assert stage.simulator.asked() == {"swc-ptu": 1, "swc-std": 0, "frc-std": 0}


@pytest.mark.parametrize("kind", ["stream_error", "reset_mid_stream", "close_mid_stream"])
def test_after_its_output_has_begun_a_failure_is_an_error_for_every_client(stage, kind):
    stage.simulator.everywhere(kind, after_events=5)
    with stage.place.azure() as client:
        with pytest.raises((openai.APIError, httpx2.HTTPError)):
            chat(client)
    with inference(stage) as client:
        # It takes any clean end for success, and reads no error events.
        with pytest.raises((AzureError, OSError)):
            list(client.complete(messages=HELLO, stream=True))


def test_a_quiet_stream_is_kept_alive_in_a_form_that_each_client_can_read(stage):
    stage.simulator.everywhere(**QUIET)
    with stage.place.azure() as client:
        assert chat(client)
    with stage.place.v1() as client:
        assert respond(client)[1] == "response.completed"
    with inference(stage) as client:
        chunks = list(client.complete(messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@pytest.mark.parametrize("agent", ["any", "azsdk-python-ai-inference/1.0.0b9"])
def test_what_is_written_into_a_quiet_stream_is_between_its_events(stage, agent):
    stage.simulator.everywhere(**QUIET)
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    headers = {"api-key": stage.place.key, "user-agent": agent}
    with httpx2.Client(base_url=stage.place.url, headers=headers, timeout=20) as client:
        events = client.post("/openai/v1/chat/completions", json=body).text.split("\n\n")
    chunks = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
    comments = [event for event in events if event.startswith(":")]
    # Azure sends one event without choices itself, the first.
    added = [chunk for chunk in chunks[1:] if chunk["choices"] == []]
    assert (len(comments) >= 1, len(added) >= 1) == (agent == "any", agent != "any")
    assert len(events) == len(chunks) + len(comments) + 2  # `[DONE]`, and what follows it


def test_a_client_told_when_to_retry_succeeds_then(stage):
    stage.simulator.everywhere("throttle", seconds=1)
    with stage.place.azure(max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert refused.value.response.headers["x-should-retry"] == "true"
    with stage.place.azure(max_retries=5) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices
