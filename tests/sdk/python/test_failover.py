"""One deployment throttled, one dead, and a client that notices nothing."""

import collections
import json

import httpx2
import openai
import pytest

from stage import until

HELLO = [{"role": "user", "content": "Say hello."}]
PTU, STD, FRC = "swc-ptu/gpt-4o-ptu", "swc-std/gpt-4o", "frc-std/gpt-4o"


def chat(client, **options):
    """A chat, and the deployment that answered it."""
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, **options)
    assert answer.parse().choices[0].message.content
    return answer.headers["x-forebay-deployment"]


def stream(client):
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, stream=True)
    chunks = list(answer.parse())
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    return answer.headers["x-forebay-deployment"]


def test_the_first_priority_serves_while_it_can(stage):
    with stage.place.azure() as client:
        assert {chat(client) for _ in range(20)} == {PTU}
    assert stage.simulator.asked() == {"swc-ptu": 20, "swc-std": 0, "frc-std": 0}


def test_one_deployment_throttled_and_one_dead(stage):
    stage.simulator.fault("swc-ptu", "throttle", seconds=60)
    stage.simulator.down("frc-std")
    with stage.place.azure() as client:
        served = [chat(client) for _ in range(30)] + [stream(client) for _ in range(10)]
    assert served == [STD] * 40
    assert stage.simulator.asked()["swc-ptu"] == 1, "asked once, and then left alone as it wished"
    assert stage.simulator.asked()["swc-std"] == 40, "no request was sent twice"


def test_the_dead_one_dies_while_requests_run(stage):
    with stage.place.v1() as client:
        served = collections.Counter()
        for n in range(30):
            if n == 10:
                stage.simulator.down("swc-ptu")
            if n == 20:
                stage.simulator.fault("swc-std", "throttle", seconds=60)
            served[chat(client) if n % 3 else stream(client)] += 1
    assert served[PTU] == 10
    assert served[FRC] >= 9 and sum(served.values()) == 30


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 503, "headers": {"retry-after": "5"}},
        {"kind": "status", "status": 504},
        {"kind": "status", "status": 429},
        {"kind": "throttle", "seconds": 5},
        {"kind": "reset"},
        {"kind": "close"},
        {"kind": "hang"},
    ],
    ids=lambda fault: " ".join(str(v) for v in fault.values() if not isinstance(v, dict)),
)
def test_a_fault_of_one_deployment_is_not_seen(stage, fault):
    stage.simulator.fault("swc-ptu", **fault)
    times = 1 if fault["kind"] == "hang" else 5
    with stage.place.azure() as client:
        served = {chat(client) for _ in range(times)} | {stream(client) for _ in range(times)}
    assert served <= {STD, FRC}


def test_the_throttled_one_serves_again_when_its_time_has_come(stage):
    stage.simulator.fault("swc-ptu", "throttle", seconds=1)
    with stage.place.azure() as client:
        assert chat(client) in {STD, FRC}
        until(lambda: chat(client) == PTU)
    assert stage.simulator.asked()["swc-ptu"] == 2


def test_embeddings_and_responses_move_on_too(stage):
    stage.simulator.fault("swc-ptu", "status", status=503)
    stage.simulator.fault("swc-std", "reset")
    with stage.place.v1() as client:
        for _ in range(10):
            assert client.embeddings.create(model="text-embedding-3-small", input="one").data
            assert client.responses.create(model="gpt-4o", input="Say hello.").output_text
            events = list(client.responses.create(model="gpt-4o", input="Say hello.", stream=True))
            assert events[-1].type == "response.completed"


def test_cookies_stay_where_they_are(stage):
    """The Python SDK keeps a cookie jar: one instance's cookie would be sent back, and then on to another."""
    cookie = {"set-cookie": "affinity=swc-ptu; Path=/"}
    stage.simulator.fault("swc-ptu", "status", status=400, headers=cookie, times=1)
    with httpx2.Client() as http:
        with stage.place.azure(http_client=http, default_headers={"cookie": "session=of-the-client"}) as client:
            with pytest.raises(openai.BadRequestError) as no:
                chat(client)
            assert "set-cookie" not in no.value.response.headers
            assert not list(http.cookies.jar)
            chat(client)
    seen = stage.simulator.requests("swc-ptu")
    assert len(seen) == 2
    assert "of-the-client" not in json.dumps(seen) and "affinity" not in json.dumps(seen)


def test_a_clients_key_reaches_no_instance_and_an_instances_key_no_client(stage):
    # Keys of the three instances' identities; a token of Entra's shape is a bearer.
    secrets = ["sim-key", "sim-secret", "Bearer"]
    for way in ["azure", "v1", "plain"]:
        with getattr(stage.place, way)() as client:
            for instance in ["swc-ptu", "swc-std", "frc-std"]:
                stage.simulator.heal_everywhere()
                for other in {"swc-ptu", "swc-std", "frc-std"} - {instance}:
                    stage.simulator.fault(other, "status", status=503, times=1)
                answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
                assert not [s for s in secrets if s in str(answer.headers) + answer.text]
    for instance in ["swc-ptu", "swc-std", "frc-std"]:
        seen = json.dumps(stage.simulator.requests(instance))
        assert stage.place.key not in seen
    said = stage.gateway.process.said()
    assert not [s for s in [stage.place.key, "sim-key", "sim-secret"] if s in said]


@pytest.mark.parametrize("way", ["azure", "v1", "plain"])
def test_the_models_are_listed(gateway, embedder, way):
    with getattr(gateway, way)() as client:
        assert sorted(m.id for m in client.models.list()) == ["gpt-4o", "gpt-image-1", "text-embedding-3-small"]
    with getattr(embedder, way)() as client:
        assert [m.id for m in client.models.list()] == ["text-embedding-3-small"]


def test_the_plain_openai_path(gateway):
    """`/v1`, as clients that know nothing of Azure have it."""
    with gateway.plain() as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content
        assert list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
        assert client.embeddings.create(model="text-embedding-3-small", input="one").data
        assert client.responses.create(model="gpt-4o", input="Say hello.").output_text
