"""Jinja as playbooks use it: values keep their types, variables may refer to variables, secrets stay secrets.

What stands alone in braces is the value itself, whatever its type; text around it makes a string of it, as in Ansible.
Variables are filled in when they are asked for, and only those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import StrictUndefined, TemplateError, Undefined, meta, nodes
from jinja2.exceptions import UndefinedError
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.nodes import Impossible, TemplateData
from jinja2.runtime import Context
from jinja2.utils import missing

from nsprov import render
from nsprov.errors import Diagnostic, InputError
from nsprov.render import filters, networks, predicates
from nsprov.render.tainting import tainting
from nsprov.texts import Sealed, SecretFloat, SecretInt, SecretSource, SecretText, Unsafe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2 import Template

_DEEPEST = 40
"""How many variables may refer to one another in a row; a circle is longer than that."""


class Omitted:
    """The value of `omit`: an argument that is this is left out."""

    def __repr__(self) -> str:
        """Name it."""
        return "omit"


OMIT = Omitted()


def _joined(nodes: Iterable[Any]) -> Any:
    """Give the one value that there is, or all as one text; nothing is nothing."""
    values = list(nodes)
    if len(values) == 1 or (values[1:] == ["\n"] and not isinstance(values[0], str)):  # a block's own last line end
        return _defined(values[0])
    text = "".join("" if value is None else str(_defined(value)) for value in values)
    if len(text) > render.MAX_OUTPUT:
        raise TemplateError(f"the output is longer than {render.MAX_OUTPUT} characters")
    return SecretText(text) if any(isinstance(value, SecretText) for value in values) else text


def _defined(value: Any) -> Any:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()  # noqa: SLF001 - what str() of it calls
    return value


class _Context(Context):
    """Looks variables up when they are asked for, and fills in what they are made of."""

    def resolve_or_missing(self, key: str) -> Any:
        """Give a variable's value, filled in."""
        if key in self.vars:
            return self.vars[key]
        source = self.parent.get(_SOURCE)
        return source.look_up(key, self.parent) if source is not None else super().resolve_or_missing(key)

    def get_all(self) -> dict[str, Any]:
        """Give everything to a template that is included; what cannot be filled in is undefined there."""
        source = self.parent[_SOURCE]
        return {**self.parent, **{key: source.tried(key) for key in source.variables}, **self.vars}


_SOURCE = "__source__"


class _Generator(NativeCodeGenerator):
    """Leaves constants to the run: folded into the text they would lose their types."""

    def _output_child_to_const(self, node: Any, frame: Any, finalize: Any) -> Any:
        if not isinstance(node, TemplateData):
            raise Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _Text(render.Bounded):
    """The sandbox for whole files: nothing is nothing, all else is text."""

    context_class = _Context


class _Native(_Text):
    """The sandbox with native values."""

    code_generator_class = _Generator
    concat = staticmethod(_joined)


class _Chained(StrictUndefined):
    """What is undefined, and all that is asked of it: it says so when it is used, and `default` may come before."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: object) -> Any:
        return self


class _Variables:
    """The variables of one evaluation, as they are written, and those that were filled in."""

    def __init__(self, expressions: Expressions, variables: Mapping[str, Any]) -> None:
        self._expressions = expressions
        self._known: dict[str, Any] = {}
        self._depth = 0
        self.variables = variables

    def look_up(self, key: str, others: Mapping[str, Any]) -> Any:
        """Give a value, filled in; what is no variable may be a function of ours."""
        if key in self._known:
            return self._known[key]
        if key not in self.variables:
            return others.get(key, missing)
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise TemplateError(f'variable "{key}" refers to itself')
            self._known[key] = self._expressions.fill(self.variables[key], self)
        except UndefinedError as problem:
            return _Chained(str(problem), name=key)  # it says so when it is used, and `is defined` may ask before
        finally:
            self._depth -= 1
        return self._known[key]

    def tried(self, key: str) -> Any:
        """Give a value, filled in, or what is undefined and says why."""
        try:
            return self.look_up(key, {})
        except (InputError, *render.FAILURES) as problem:
            return _Chained(str(problem), name=key)


class Expressions:
    """What a run evaluates with: the usual filters, tests and functions, and more of them if given."""

    def __init__(self, folders: Iterable[str] = (), extra: Mapping[str, Callable[..., Any]] | None = None) -> None:
        """Store where templates are found, and further filters."""
        self.secrets: set[str] = set()
        """Every secret text that was met, or made of one."""
        terms = {**render.terms(folders), "undefined": _Chained}
        self._environment = _Native(**terms)
        self._files = _Text(**terms, finalize=lambda value: "" if value is None else value)
        for environment in (self._environment, self._files):
            ours = {**filters.FILTERS, **networks.FILTERS, **(extra or {}), "mandatory": _mandatory}
            environment.filters = _qualified(tainting({**environment.filters, **ours}, self.secrets.add))
            environment.tests = _qualified({**environment.tests, **predicates.PREDICATES})
            environment.globals["omit"] = OMIT
        self._compiled: Callable[[str], Template] = lru_cache(maxsize=4096)(self._environment.from_string)
        # Every host asks of every task.
        self._asked: Callable[[str], frozenset[str]] = lru_cache(maxsize=4096)(self._undeclared)

    def evaluate(self, raw: Any, variables: Mapping[str, Any]) -> Any:
        """Fill in a value, all that is in it included.

        Raises:
            InputError: what it asks for is undefined, or it cannot be evaluated; the diagnostic has no position.

        """
        try:
            return self.fill(raw, _Variables(self, variables))
        except render.FAILURES as problem:
            raise InputError(render.explain(problem, variables)) from problem

    def condition(self, raw: Any, variables: Mapping[str, Any]) -> bool:
        """Tell whether an expression without braces holds; all of them, if it is a list.

        Raises:
            InputError: it cannot be evaluated, or gives neither true nor false.

        """
        for one in raw if isinstance(raw, (list, tuple)) else (raw,):
            value = self.evaluate("{{ " + one + " }}", variables) if isinstance(one, str) else one
            if not isinstance(value, bool):
                _no_condition(one, value)
            if not value:
                return False
        return True

    def template(self, name: str, variables: Mapping[str, Any]) -> str:
        """Fill in a template file found in the folders; the result is text.

        Raises:
            InputError: as `evaluate`; the diagnostic has the template's line.

        """
        try:
            found = self._files.get_template(name)
            return self._written(found, _Variables(self, variables))
        except render.FAILURES as problem:
            raise InputError(render.explain(problem, variables, name)) from problem

    def names(self, raw: Any) -> frozenset[str]:
        """Give the variables that a value asks for by itself; what these ask for is not among them."""
        try:
            return frozenset().union(*(self._asked(text) for text in _texts(raw)))
        except TemplateError as problem:
            raise InputError(render.explain(problem, {})) from problem

    def flaw(self, text: str) -> Diagnostic | None:
        """Say what is wrong with a template as it stands: its syntax, or a filter, a test or a lookup that there is not."""
        if not _has_jinja(text):
            return None
        try:
            tree = self._environment.parse(text)
        except TemplateError as problem:
            return render.explain(problem, {})
        for what, kind, known in (
            ("filter", nodes.Filter, self._environment.filters),
            ("test", nodes.Test, self._environment.tests),
        ):
            for node in tree.find_all(kind):
                if node.name not in known:
                    return _nameless(what, node.name, known)
        for call in tree.find_all(nodes.Call):
            name = call.node.name if isinstance(call.node, nodes.Name) else ""
            if name in _LOOKUPS and name not in self._environment.globals:
                return Diagnostic("lookups are not supported", detail="Ansible has them; nsprov has not.", hint=_LOOKUPS[name])
        return None

    def _undeclared(self, text: str) -> frozenset[str]:
        return frozenset(meta.find_undeclared_variables(self._environment.parse(text)) if _has_jinja(text) else ())

    def fill(self, raw: Any, source: _Variables) -> Any:
        """Fill in a value with variables that have been looked up before."""
        if isinstance(raw, str):
            return self._text(raw, source)
        if isinstance(raw, Mapping):
            filled = ((self.fill(key, source), self.fill(value, source)) for key, value in raw.items())
            return {key: value for key, value in filled if value is not OMIT}
        if isinstance(raw, (list, tuple)):
            return [value for value in (self.fill(item, source) for item in raw) if value is not OMIT]
        if isinstance(raw, (SecretInt, SecretFloat)):
            self.secrets.add(format(raw))
        if isinstance(raw, Sealed):
            hint = "give --vault-password-file FILE, or --ask-vault-pass"
            raise InputError(Diagnostic("a value is encrypted and no password is given", hint=hint))
        return raw

    def _text(self, raw: str, source: _Variables) -> Any:
        if isinstance(raw, Unsafe):
            return raw
        if isinstance(raw, SecretSource) and _has_jinja(raw):
            raw = SecretText(self._run(self._compiled(str(raw)), source))
        if isinstance(raw, SecretText):
            self.secrets.add(str(raw))
            return raw
        return self._run(self._compiled(raw), source) if _has_jinja(raw) else raw

    def _run(self, template: Template, source: _Variables) -> Any:
        return _joined(template.root_render_func(self._context(template, source)))

    def _written(self, template: Template, source: _Variables) -> str:
        try:
            return render.bounded(template.root_render_func(self._context(template, source)))
        except render.FAILURES:
            template.environment.handle_exception()  # raises it again, with the template's lines in its traceback

    @staticmethod
    def _context(template: Template, source: _Variables) -> _Context:
        environment = template.environment
        return _Context(environment, {**environment.globals, _SOURCE: source}, template.name, template.blocks)


_LOOKUPS = dict.fromkeys(
    ("lookup", "query", "q"), "use `vars_files`, `include_vars`, `slurp` or `-e`, which say where a value comes from"
)
_QUALIFIERS = ("ansible.builtin.", "ansible.utils.", "ansible.netcommon.", "community.general.")


def _qualified(known: Mapping[str, Any]) -> dict[str, Any]:
    """Give filters or tests by the names of Ansible's collections, too."""
    return {**known, **{f"{qualifier}{name}": known[name] for qualifier in _QUALIFIERS for name in known}}


def _nameless(what: str, name: str, known: Mapping[str, Any]) -> Diagnostic:
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong file pays for it

    near = get_close_matches(name, [one for one in known if "." not in one], n=1)
    hint = f'use "{near[0]}"' if near else "see docs/playbooks.md for those that there are"
    return Diagnostic(f'there is no {what} "{name}"'[:60], hint=hint)


def _texts(raw: Any) -> Iterator[str]:
    if isinstance(raw, str):
        yield raw
    elif isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(raw, (list, tuple)):
        for item in raw:
            yield from _texts(item)


def _has_jinja(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def _mandatory(value: Any, message: str | None = None) -> Any:
    """Refuse what is undefined, in one's own words."""
    if isinstance(value, Undefined):
        raise TemplateError(message or "a mandatory variable is undefined")
    return value


def _no_condition(raw: object, value: object) -> NoReturn:
    detail = f'"{raw}" gives {type(value).__name__} {value!r}.' if not isinstance(value, SecretText) else ""
    hint = "compare it, or make it true or false with `| bool`"
    raise InputError(Diagnostic("a condition must be true or false", detail=detail, hint=hint))
