"""The schema that editors use, read by a validator that knows nothing of the gateway: every example fits it."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

CONF = Path(__file__).parents[3] / "conf"
EXAMPLES = [file for file in sorted(CONF.glob("*.yaml")) if file.name != "simulator.yaml"]


@pytest.fixture(scope="module")
def validator():
    printed = subprocess.run([os.environ["FOREBAY"], "schema"], check=True, capture_output=True, timeout=60)
    schema = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def mistakes(validator, config):
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(config)]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_fits_the_schema(validator, file):
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert mistakes(validator, config) == []


@pytest.mark.parametrize("more", [{"unknown_field": 1}, {"listeners": []}, {"clients": {"app": {"keys": ["demo"]}}}])
def test_the_schema_refuses_what_the_gateway_refuses(validator, more):
    config = yaml.safe_load(EXAMPLES[0].read_text(encoding="utf-8"))
    assert mistakes(validator, config | more) != []
