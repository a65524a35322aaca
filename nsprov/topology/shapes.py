"""What the models of the file language are made of: scalars that may be Jinja, and mappings that refuse unknown keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Optional

from pydantic import BaseModel, BeforeValidator, ConfigDict

from nsprov.topology.scalars import Pending, Rendered, resolve


@dataclass(frozen=True, eq=False)
class Published:
    """What the JSON Schema says of a field; pydantic's own WithJsonSchema costs 30 ms to import, for every command."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, _core: object, _handler: object) -> dict[str, Any]:
        """Give the schema when it is asked for."""
        return dict(self.schema)


@dataclass(frozen=True, eq=False)
class Short:
    """A shorter form that a field has too, beside what its type says."""

    schemas: tuple[dict[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Give both forms when the schema is asked for."""
        return {"anyOf": [*self.schemas, handler(core)]}


def _number(value: Any) -> Any:
    """Read a rendered number as YAML would; one that waits for `index` is taken on trust until the node is known."""
    if type(value) is Rendered:
        return resolve(value)
    return 1 if type(value) is Pending else value


def _flag(value: Any) -> Any:
    if type(value) is Rendered:
        return resolve(value)
    return False if type(value) is Pending else value


def _word(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _measure(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def trusting(word: str) -> BeforeValidator:
    """Take a word that waits for `index` on trust, as the word given, until the node is known."""
    return BeforeValidator(lambda value: word if type(value) is Pending else value)


def many(value: Any) -> Any:
    """Make a list of one of what is no list."""
    return value if value is None or isinstance(value, (list, dict)) else [value]


Integer = Annotated[int, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Word = Annotated[str, BeforeValidator(_word), Published({"type": ["string", "integer"]})]
"""A word that may be a number, as the values of sysctls mostly are."""

Measure = Annotated[str, BeforeValidator(_measure), Published({"type": ["string", "number"]})]
"""A number that may have a unit, such as `10s`, `256M` or `0.5`."""


def one_or_many(item: dict[str, Any]) -> Published:
    """Publish a list, or one item alone, by the schema of an item."""
    return Published({"anyOf": [item, {"type": "array", "items": item}, {"type": "null"}]})


Many = Annotated[Optional[list[str]], BeforeValidator(many), one_or_many({"type": "string"})]
"""A list of strings; one string alone is a list of one."""

ManyWords = Annotated[Optional[list[Word]], BeforeValidator(many), one_or_many({"type": ["string", "integer"]})]
"""The same of words that may be numbers."""


class Spec(BaseModel):
    """A mapping in the file: unknown keys are refused, and no type is converted into another.

    Every default is immutable: pydantic would copy a list or a mapping for each node.
    """

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, populate_by_name=False)
