"""Realtime sessions over WebSockets, as the SDK opens them: with the model in the query."""

import openai
import pytest
from websockets.exceptions import InvalidStatus


def azure(place, **options):
    return place.azure(websocket_base_url=ws(place, "/openai"), **options)


def v1(place, **options):
    return place.v1(websocket_base_url=ws(place, "/openai/v1"), **options)


def ws(place, path):
    """On loopback there is no TLS, which the SDK would take for granted."""
    return place.url.replace("http://", "ws://") + path


@pytest.mark.parametrize("kind", [azure, v1])
def test_a_session_answers(place, kind):
    with kind(place) as client, client.realtime.connect(model="gpt-4o") as connection:
        assert connection.recv().type == "session.created"
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        assert connection.recv().type == "session.updated"
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        connection.conversation.item.create(item=item)
        assert connection.recv().type == "conversation.item.created"
        connection.response.create()
        text, done = "", None
        for event in connection:
            if event.type in ("response.output_text.delta", "response.text.delta"):
                text += event.delta
            if event.type == "response.done":
                done = event
                break
    assert text == "You said: hello"
    assert done.response.usage.output_tokens > 0


@pytest.mark.parametrize("kind", [azure, v1])
def test_a_throttled_deployment_is_not_the_end_of_a_session_that_has_not_begun(stage, kind):
    stage.simulator.fault("swc-ptu", "throttle", seconds=60)
    with kind(stage.place) as client, client.realtime.connect(model="gpt-4o") as connection:
        assert connection.recv().session.model == "gpt-4o"
    assert len(stage.simulator.requests("swc-ptu")) == 1


def test_what_an_instance_is_asked_holds_no_key_of_the_clients(stage):
    with azure(stage.place) as client, client.realtime.connect(model="gpt-4o") as connection:
        connection.recv()
    [seen] = stage.simulator.requests("swc-ptu")
    assert seen["path"] == "/openai/realtime?api-version=2024-10-21&deployment=gpt-4o-ptu"
    assert stage.place.key not in str(seen)


@pytest.mark.parametrize("kind", [azure, v1])
def test_a_client_without_the_grant_is_refused(embedder, kind):
    with kind(embedder) as client, pytest.raises((openai.APIError, InvalidStatus)) as refused:
        with client.realtime.connect(model="text-embedding-3-small"):
            pass
    assert "403" in str(refused.value)
