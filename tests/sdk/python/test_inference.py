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


def test_the_model_inference_path(gateway):
    """An instance of Azure OpenAI's has no such path; through the gateway it answers all the same."""
    at = {"endpoint": f"{gateway.url}/models", "credential": AzureKeyCredential(gateway.key)}
    with ChatCompletionsClient(**at) as client:
        assert client.complete(messages=HELLO, model="gpt-4o").choices[0].message.content
        chunks = list(client.complete(messages=HELLO, model="gpt-4o", stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        with pytest.raises(ResourceNotFoundError):
            client.complete(messages=HELLO, model="gpt-17")
    with EmbeddingsClient(**at) as client:
        assert len(client.embed(input=["one"], model="text-embedding-3-small").data[0].embedding) > 8


def test_a_wrong_key(place):
    with inference(ChatCompletionsClient, place, "gpt-4o", key="wrong") as client:
        with pytest.raises(ClientAuthenticationError):
            client.complete(messages=HELLO)


def test_an_unknown_model(place):
    with inference(ChatCompletionsClient, place, "gpt-17") as client:
        with pytest.raises(ResourceNotFoundError):
            client.complete(messages=HELLO)
