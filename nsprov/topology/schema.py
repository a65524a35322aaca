"""The JSON Schema of a topology file, made from the models that validate it."""

from __future__ import annotations

from typing import Any

from nsprov.topology.spec import TopologySpec

_JINJA = {"type": "string", "pattern": r"\{[{%]"}
_NOISE = frozenset({"title"})


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 7) of a topology file, for editors."""
    made = _draft7(TopologySpec.model_json_schema(by_alias=True))
    short = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    links = next(branch for branch in made["properties"]["links"]["anyOf"] if branch.get("type") == "array")
    links["items"] = {"anyOf": [short, links["items"]]}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "nsprov topology", **made}


def _draft7(node: Any, *, names: bool = False) -> Any:
    """Rewrite one subtree: `$defs` under its old name, and a Jinja expression wherever a scalar of another type stands.

    `names` says that the keys are the user's words and no keywords.
    """
    if isinstance(node, list):
        return [_draft7(item) for item in node]
    if not isinstance(node, dict):
        return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
    result = {}
    for key, value in node.items():
        if key in _NOISE and not names and isinstance(value, str):
            continue
        word = "definitions" if key == "$defs" and not names else key
        result[word] = _draft7(value, names=key in ("properties", "$defs") and not names)
    if names or not (result.get("type") in ("integer", "boolean") or "enum" in result):
        return result
    kept = {key: result.pop(key) for key in ("default", "description") if key in result}
    return {"anyOf": [result, _JINJA], **kept}
