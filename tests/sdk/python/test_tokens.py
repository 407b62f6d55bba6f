"""A client that shows Entra's tokens, as the SDK does with `azure_ad_token_provider`."""

import openai
import pytest

API_VERSION = "2024-10-21"
HELLO = [{"role": "user", "content": "Say hello."}]


def connect(gateway, provider):
    return openai.AzureOpenAI(
        azure_endpoint=gateway.url,
        api_version=API_VERSION,
        azure_ad_token_provider=provider,
        max_retries=0,
        timeout=20,
    )


def test_a_token_provider_is_enough(gateway, simulator):
    asked = []

    def provider():
        asked.append(simulator.token())
        return asked[-1]

    with connect(gateway, provider) as client:
        for _ in range(2):
            answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
            assert answer.choices[0].message.content
    assert len(asked) == 2


@pytest.mark.parametrize("claims", [{"aud": "https://cognitiveservices.azure.com"}, {"azp": "another"}, {"exp": 1}])
def test_a_token_for_something_else_is_an_authentication_error(gateway, simulator, claims):
    with connect(gateway, lambda: simulator.token(**claims)) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert "invalid token" in str(refused.value)


def test_a_token_opens_its_clients_models_only(gateway, simulator):
    with connect(gateway, simulator.token) as client:
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="text-embedding-3-small", input="a")
