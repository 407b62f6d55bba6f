"""Whether config files fit the JSON Schema: `forebay schema | python3 tests/schema.py FILE…`.

An independent reading of the schema that editors use; the gateway itself does not read it. Needs jsonschema and PyYAML.
"""

import json
import sys

import jsonschema
import yaml


def mistakes(validator, config):
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(config)]


def main(files):
    schema = json.load(sys.stdin)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    found = 0
    for file in files:
        with open(file, encoding="utf-8") as text:
            config = yaml.safe_load(text)
        for mistake in mistakes(validator, config):
            print(f"{file}: {mistake}")
            found += 1
        # The schema must refuse what the gateway refuses, or it would be of no use to an editor.
        if not mistakes(validator, config | {"unknown_field": 1}) or not mistakes(validator, config | {"listeners": []}):
            print(f"{file}: the schema would accept anything")
            found += 1
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
