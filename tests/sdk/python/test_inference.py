"""azure-ai-inference: the older client, which sends its key twice, in `api-key` and as a bearer."""

import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError

HELLO = [{"role": "user", "content": "Say hello."}]


def inference(kind, place, model, key=None):
    credential = AzureKeyCredential(key or place.key)
    return kind(endpoint=f"{place.url}/openai/deployments/{model}", credential=credential, api_version="2024-10-21")


def test_a_chat(place):
    with inference(ChatCompletionsClient, place, "gpt-4o") as client:
        assert client.complete(messages=HELLO).choices[0].message.content


def test_a_streamed_chat(place):
    with inference(ChatCompletionsClient, place, "gpt-4o") as client:
        chunks = list(client.complete(messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_embeddings(place):
    with inference(EmbeddingsClient, place, "text-embedding-3-small") as client:
        assert len(client.embed(input=["one"]).data[0].embedding) > 8


def test_a_wrong_key(place):
    with inference(ChatCompletionsClient, place, "gpt-4o", key="wrong") as client:
        with pytest.raises(ClientAuthenticationError):
            client.complete(messages=HELLO)


def test_an_unknown_model(place):
    with inference(ChatCompletionsClient, place, "gpt-17") as client:
        with pytest.raises(ResourceNotFoundError):
            client.complete(messages=HELLO)
