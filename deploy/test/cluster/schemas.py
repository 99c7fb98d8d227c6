# SPDX-License-Identifier: MIT
"""Strict validation: an unknown field is an error, in custom resources too.

Kubernetes' own kinds come from its OpenAPI (PyPI kubernetes-validate), custom
ones from the definitions that their operators install.
"""

import functools
import json
from pathlib import Path

import jsonschema
import yaml

from cluster.manifests import STATIC

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OBJECT = {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
           "metadata": {"type": "object"}}


def custom_resource_definitions():
    for path in (*sorted((STATIC / "custom").glob("*.yaml")),
                 Path(__file__).parent / "strimzi.yaml"):
        yield from filter(None, yaml.load_all(path.read_text(), _LOADER))


def _strict(schema):
    """What an apiserver prunes silently is refused."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if (isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
            and not schema.get("x-kubernetes-preserve-unknown-fields")):
        result.setdefault("additionalProperties", False)
    return result


@functools.lru_cache(None)
def _custom():
    schemas = {}
    for definition in custom_resource_definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            schema["properties"].update(_OBJECT)
            name = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            schemas[name] = schema
    return schemas


def _local(value):
    """References by file, as they lie beside each other."""
    if isinstance(value, list):
        return [_local(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: item.replace("/api/_definitions.json", "_definitions.json")
            if key == "$ref" and isinstance(item, str) else _local(item)
            for key, item in value.items() if key != "$id"}


@functools.lru_cache(None)
def _read(name):
    return _local(json.loads((STATIC / "schemas" / name).read_text()))


def _core_name(doc):
    group, _, version = doc["apiVersion"].rpartition("/")
    group = group.split(".")[0]
    return "-".join(filter(None, (doc["kind"].lower(), group, version))) + ".json"


@functools.lru_cache(None)
def _validator(api_version, kind):
    schema = _custom().get((api_version, kind))
    if schema:
        return jsonschema.Draft7Validator(schema)
    name = _core_name({"apiVersion": api_version, "kind": kind})
    if not (STATIC / "schemas" / name).exists():
        return None
    resolver = jsonschema.RefResolver(
        "", _read(name), store={"_definitions.json": _read("_definitions.json")})
    return jsonschema.Draft7Validator(_read(name), resolver=resolver)


def errors(doc):
    """What is wrong with a document, one line each."""
    validator = _validator(doc["apiVersion"], doc["kind"])
    if validator is None:
        return [f"no schema for {doc['apiVersion']} {doc['kind']}"]
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}"
            for e in validator.iter_errors(doc)]
