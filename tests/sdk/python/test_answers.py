"""What works against Azure works unchanged: each test runs against the gateway and against a simulated instance itself."""

import asyncio
import json
from dataclasses import replace

import pytest

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = [{"role": "user", "content": "What is the weather in Stockholm?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def finish_of(chunks):
    return [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]


def test_a_chat(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_chat(client):
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert chunks[0].choices == [], "Azure's first chunk has the prompt's filter results and no choice"
    assert text_of(chunks)
    assert finish_of(chunks) == ["stop"]
    assert not any("usage" in c.model_fields_set for c in chunks), "usage was not asked for"


def test_a_streamed_chat_with_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert text_of(chunks) and finish_of(chunks) == ["stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all("usage" in c.model_fields_set and c.usage is None for c in chunks[:-1])


def test_the_sdks_own_stream_reader_puts_the_events_together(client):
    with client.chat.completions.stream(model="gpt-4o", messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_completion()
    assert "content.delta" in kinds and kinds.index("content.delta") < kinds.index("content.done")
    assert whole.choices[0].message.content


def test_tools(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=WEATHER, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "look_up_weather"
    json.loads(call.function.arguments)

    told = [
        *WEATHER,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Sun, 21 degrees."},
    ]
    answer = client.chat.completions.create(model="gpt-4o", messages=told)
    assert answer.choices[0].message.content


def test_streamed_tools(client):
    name, arguments, finish = "", "", []
    for chunk in client.chat.completions.create(model="gpt-4o", messages=WEATHER, tools=TOOLS, stream=True):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            finish += [choice.finish_reason] if choice.finish_reason else []
    assert name == "look_up_weather"
    json.loads(arguments)
    assert finish == ["tool_calls"]


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings(client, options):
    """The SDK asks for base64 by itself and decodes it."""
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], **options)
    assert [e.index for e in answer.data] == [0, 1]
    assert all(len(e.embedding) > 8 and isinstance(e.embedding[0], float) for e in answer.data)
    assert answer.usage.prompt_tokens > 0


def test_embeddings_are_the_same_numbers_in_both_encodings(client):
    packed = client.embeddings.create(model="text-embedding-3-small", input="same")
    plain = client.embeddings.create(model="text-embedding-3-small", input="same", encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_a_response(client):
    answer = client.responses.create(model="gpt-4o", input="Say hello.")
    assert answer.status == "completed"
    assert answer.output_text
    assert answer.usage.output_tokens > 0


def test_a_streamed_response(client):
    events = list(client.responses.create(model="gpt-4o", input="Say hello.", stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert [e.sequence_number for e in events] == sorted(e.sequence_number for e in events)
    pieces = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert pieces == events[-1].response.output_text != ""
    assert events[-1].response.usage.output_tokens > 0


def test_a_compacted_conversation(client):
    short = client.responses.compact(model="gpt-4o", input="Say hello.")
    assert short.object == "response.compaction"
    assert [item.type for item in short.output] == ["message", "compaction"]
    assert short.usage.total_tokens > 0


def test_counted_input_tokens(client):
    assert client.responses.input_tokens.count(model="gpt-4o", input="Say hello.").input_tokens > 0


def test_an_async_client(place):
    async def story():
        async with place.azure_async() as client:
            answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
            stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            chunks = [chunk async for chunk in stream]
            vectors = await client.embeddings.create(model="text-embedding-3-small", input="one")
            response = await client.responses.create(model="gpt-4o", input="Say hello.")
            return answer, chunks, vectors, response

    answer, chunks, vectors, response = asyncio.run(story())
    assert answer.choices[0].message.content
    assert text_of(chunks) and finish_of(chunks) == ["stop"]
    assert vectors.data[0].embedding
    assert response.output_text


def test_many_at_once(place):
    async def story():
        async with place.azure_async() as client:
            ask = client.chat.completions.create
            return await asyncio.gather(*(ask(model="gpt-4o", messages=HELLO, user=f"user-{n}") for n in range(50)))

    assert all(answer.choices[0].message.content for answer in asyncio.run(story()))


def test_a_fixed_deployment(place):
    with place.azure(azure_deployment="gpt-4o") as client:
        assert client.chat.completions.create(model="anything", messages=HELLO).choices[0].message.content


def test_an_endpoint_with_a_slash_at_its_end(place):
    with replace(place, url=place.url + "/").azure() as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content


def test_a_text_beyond_ascii_comes_through(client):
    """Bodies are passed on byte for byte, so what a tokenizer counts does not change either."""
    said = [{"role": "user", "content": "Hej, \u00e5 \u4f60\u597d \U0001f600 \\ \" \u2028"}]
    assert client.chat.completions.create(model="gpt-4o", messages=said).choices[0].message.content
