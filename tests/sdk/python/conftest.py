"""Where the SDKs are pointed: at the gateway, or (to see that it changes nothing) straight at a simulated instance."""

from dataclasses import dataclass

import httpx2
import openai
import pytest

from stage import EMBEDDER_KEY, KEY, Gateway, Simulator, Stage

API_VERSION = "2024-10-21"


@dataclass
class Place:
    """What a user of an SDK knows of a service: where it is, and a key."""

    url: str
    key: str

    def azure(self, **options):
        return openai.AzureOpenAI(azure_endpoint=self.url, **self._common(api_version=API_VERSION, **options))

    def azure_async(self, **options):
        return openai.AsyncAzureOpenAI(azure_endpoint=self.url, **self._common(api_version=API_VERSION, **options))

    def v1(self, **options):
        return openai.OpenAI(base_url=f"{self.url}/openai/v1/", **self._common(**options))

    def plain(self, **options):
        return openai.OpenAI(base_url=f"{self.url}/v1", **self._common(**options))

    def _common(self, **options):
        # No retries: a test sees what the service itself did.
        return {"api_key": self.key, "max_retries": 0, "timeout": 20, **options}


@pytest.fixture(scope="session")
def simulator():
    simulator = Simulator()
    yield simulator
    simulator.stop()


@pytest.fixture(scope="session")
def gateway(simulator):
    gateway = Gateway(simulator)
    yield Place(gateway.url, KEY)
    gateway.stop()


@pytest.fixture(scope="session")
def embedder(gateway):
    """A client that may use one model only."""
    return Place(gateway.url, EMBEDDER_KEY)


@pytest.fixture(params=["gateway", "instance"])
def place(request):
    """Both ends of the comparison: what a client sees must be the same."""
    if request.param == "gateway":
        return request.getfixturevalue("gateway")
    simulator = request.getfixturevalue("simulator")
    return Place(simulator.urls["swc-std"], "sim-key-std")


@pytest.fixture(params=["azure", "v1"])
def client(request, place):
    """The SDK's two ways to call Azure OpenAI: the model in the path, the model in the body."""
    with getattr(place, request.param)() as client:
        yield client


@pytest.fixture
def stage():
    """A simulator and a gateway of a test's own, to be broken."""
    stage = Stage()
    stage.place = Place(stage.gateway.url, KEY)
    yield stage
    stage.stop()


@pytest.fixture
def raw(gateway):
    """Plain HTTP to the gateway, for what no SDK would send."""
    with httpx2.Client(base_url=gateway.url, headers={"api-key": gateway.key}, timeout=20) as client:
        yield client
