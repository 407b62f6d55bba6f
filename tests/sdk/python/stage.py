"""Simulated Azure OpenAI instances, and the gateway before them: the real binary, on loopback, for as long as a test needs it."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("FOREBAY", str(HERE.parent.parent / "target" / "debug" / "forebay"))

KEY = "sdk-client-key"
EMBEDDER_KEY = "embedder-client-key"
DEPLOYMENTS = {"swc-ptu": "gpt-4o-ptu", "swc-std": "gpt-4o", "frc-std": "gpt-4o"}


def ask(method, url, body=None):
    """One request to what isn't under test, its JSON (or text) given back."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Process:
    """A child that ends with its test run, even one that is killed."""

    def __init__(self, *arguments, env=None, **pipes):
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        dies_with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        self.child = subprocess.Popen(
            [*dies_with_us, BINARY, *arguments],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stderr=self.log,
            text=True,
            **pipes,
        )

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def must_run(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.child.args} ended with {self.child.returncode}:\n{self.said()}")

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child.stdout:
            self.child.stdout.close()
        self.log.close()


def until(condition, seconds=30):
    """Waits for a condition, and not for a length of time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"


class Simulator:
    """`forebay simulate`: instances whose answers and faults a test chooses."""

    def __init__(self):
        self.process = Process("simulate", "--config", str(HERE / "simulator.yaml"), stdout=subprocess.PIPE)
        self.urls = {}
        wanted = {*DEPLOYMENTS, "control", "tokens", "issuer"}
        while wanted - self.urls.keys():
            line = self.process.child.stdout.readline()
            if not line:
                self.process.child.wait(5)
                self.process.must_run()
                raise RuntimeError("the simulator closed its output")
            name, _, url = line.strip().partition(" ")
            if url.startswith("http://"):
                self.urls[name] = url

    def fault(self, instance, kind, deployment="*", **details):
        ask("PUT", f"{self.urls['control']}/instances/{instance}/deployments/{deployment}/fault", {"kind": kind, **details})

    def heal(self, instance, deployment="*"):
        ask("DELETE", f"{self.urls['control']}/instances/{instance}/deployments/{deployment}/fault")

    def everywhere(self, kind, **details):
        for instance in DEPLOYMENTS:
            self.fault(instance, kind, **details)

    def heal_everywhere(self):
        for instance in DEPLOYMENTS:
            self.heal(instance)

    def down(self, instance):
        ask("POST", f"{self.urls['control']}/instances/{instance}/down")

    def up(self, instance):
        ask("POST", f"{self.urls['control']}/instances/{instance}/up")

    def requests(self, instance):
        """What an instance was asked, oldest first."""
        return ask("GET", f"{self.urls['control']}/requests?instance={instance}")

    def asked(self):
        """How many requests each instance saw."""
        return {instance: len(self.requests(instance)) for instance in DEPLOYMENTS}

    def token(self, **claims):
        """A token that an application of the simulated tenant gets, unless `claims` say otherwise."""
        tenant, now = "00000000-0000-0000-0000-000000000001", int(time.time())
        sound = {
            "iss": f"{self.urls['issuer']}/{tenant}/v2.0",
            "tid": tenant,
            "aud": "api://forebay",
            "azp": "00000000-0000-0000-0000-000000000003",
            # Of the application itself: nobody has signed in.
            "oid": "00000000-0000-0000-0000-000000000004",
            "sub": "00000000-0000-0000-0000-000000000004",
            "iat": now,
            "exp": now + 3600,
        }
        return ask("POST", f"{self.urls['control']}/issuer/token", {**sound, **claims})["token"]

    def stop(self):
        self.process.stop()


class Gateway:
    """`forebay serve` before the instances of a simulator."""

    def __init__(self, simulator):
        port, admin_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"
        env = {
            "FOREBAY_PORT": str(port),
            "FOREBAY_ADMIN_PORT": str(admin_port),
            "SIM_TOKENS": simulator.urls["tokens"],
            "SIM_ISSUER": simulator.urls["issuer"],
            "OIDC_ISSUER": "http://127.0.0.1:9",
            "SDK_KEY_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
            "EMBEDDER_KEY_SHA256": hashlib.sha256(EMBEDDER_KEY.encode()).hexdigest(),
        }
        for instance in DEPLOYMENTS:
            env["SIM_" + instance.upper().replace("-", "_")] = simulator.urls[instance]
        self.process = Process("serve", "--config", str(HERE / "gateway.yaml"), env=env, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.ready():
            self.process.must_run()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the gateway is not ready:\n{self.process.said()}")
            time.sleep(0.02)

    def ready(self):
        try:
            ask("GET", f"{self.admin}/health/ready")
            return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self):
        self.process.stop()


class Stage:
    """Simulator and gateway together."""

    def __init__(self):
        self.simulator = Simulator()
        try:
            self.gateway = Gateway(self.simulator)
        except BaseException:
            self.simulator.stop()
            raise

    def stop(self):
        self.gateway.stop()
        self.simulator.stop()
