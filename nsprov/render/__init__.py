"""Fill in Jinja2: single scalars of a topology, the user's template files, and our own; the only importer of jinja2.

The environment is sandboxed and strict: an undefined variable is an error, `range` is bounded, and so is the output.
It keeps mistakes small; it is no boundary against a hostile author, who can still burn time in nested loops.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound, TemplateSyntaxError, meta
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_OUTPUT = 1 << 20
"""How many characters one rendering may give."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BUILTIN = (os.path.join(_PACKAGE, "data", "templates"), os.path.join(os.path.dirname(_PACKAGE), "templates"))
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)
"""What an expression may raise on values it was not made for."""

_UNDEFINED = re.compile(r"'([^']+)' is undefined")


class Bounded(ImmutableSandboxedEnvironment):
    """The sandbox, with products bounded too: `"x" * 10**9` allocates before the output could be counted."""

    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse a product or a power that would not fit the output bound."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int) and right > 64 * 8:
            raise TemplateError(f"{left} ** {right} is too large")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, (str, list, tuple)) and isinstance(times, int) and len(text) * times > MAX_OUTPUT:
                    raise TemplateError("the product is too large")
        return super().call_binop(context, operator, left, right)


def one_line(value: object) -> str:
    """Give a value for one line of a system file.

    Raises:
        TemplateError: the value holds a line break or another control character, and would add lines of its own.

    """
    text = str(value)
    if _BREAKS.search(text):
        raise TemplateError(f"{text!r} does not fit in one line")
    return text


def terms(folders: Iterable[str]) -> dict[str, Any]:
    """Give what every environment of ours is made with."""
    return {
        "undefined": StrictUndefined,
        "keep_trailing_newline": True,
        "autoescape": False,  # what is rendered is configuration text, never HTML
        "trim_blocks": True,
        "lstrip_blocks": True,
        "loader": FileSystemLoader(list(folders)),
    }


def _environment(folders: Iterable[str]) -> Bounded:
    environment = Bounded(**terms(folders))
    environment.filters["one_line"] = one_line
    return environment


@lru_cache(maxsize=1)
def _scalars() -> Bounded:
    return _environment(())


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Template:
    return _scalars().from_string(text)


@lru_cache(maxsize=4096)
def variables_of(text: str) -> frozenset[str]:
    """Give the names that a scalar asks for.

    Raises:
        InputError: the scalar is not valid Jinja.

    """
    try:
        return frozenset(meta.find_undeclared_variables(_scalars().parse(text)))
    except TemplateError as error:
        raise InputError(explain(error, {})) from error


def scalar_renderer(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Compile one scalar into a function that fills it in.

    Raises:
        InputError: the scalar is not valid Jinja; the function raises it when a variable is undefined.

    """
    try:
        template = _compiled(text)
    except TemplateError as error:
        raise InputError(explain(error, {})) from error
    environment, blocks, root, name = template.environment, template.blocks, template.root_render_func, template.name
    shared = environment.globals

    def render(variables: Mapping[str, Any]) -> str:
        try:
            # Template.render would also rewrite the traceback of an error, which says nothing for one line.
            return bounded(root(environment.context_class(environment, {**shared, **variables}, name, blocks)))
        except FAILURES as error:
            raise InputError(explain(error, variables)) from error

    return render


def render_scalar(text: str, variables: Mapping[str, Any]) -> str:
    """Fill in one scalar; it is compiled once however often it is rendered.

    Raises:
        InputError: the scalar is not valid Jinja, a variable is undefined, or the output is too long.

    """
    return scalar_renderer(text)(variables)


def render_file(path: str, variables: Mapping[str, Any]) -> str:
    """Fill in a template file; what it includes is looked for beside it and then among our own.

    Raises:
        InputError: the file cannot be read, is not valid Jinja, asks for what is undefined, or gives too much.

    """
    environment = _environment((os.path.dirname(path) or ".", *_BUILTIN))
    return _render_named(environment, os.path.basename(path), path, variables)


def render_builtin(name: str, **variables: Any) -> str:
    """Fill in one of our own templates: from the installed package, else from the checkout."""
    return _render_named(_builtins(), name, name, variables)


def find_template(name: str, beside: str) -> str | None:
    """Give the path of a template: next to the topology file, else among our own."""
    for folder in (beside, *_BUILTIN):
        path = os.path.join(folder, name) if folder else name
        if os.path.isfile(path):
            return path
    return None


@lru_cache(maxsize=1)
def _builtins() -> Bounded:
    return _environment(_BUILTIN)


def _render_named(environment: Bounded, name: str, path: str, variables: Mapping[str, Any]) -> str:
    try:
        return bounded(environment.get_template(name).generate(variables))
    except TemplateNotFound as error:
        missing = error.name or name
        raise InputError(
            Diagnostic(f'template "{missing}" was not found', path, hint="create it, or correct its name")
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(Diagnostic("the template is not UTF-8", path, hint="save it as UTF-8")) from error
    except FAILURES as error:
        raise InputError(explain(error, variables, path)) from error


def bounded(chunks: Iterable[str]) -> str:
    """Join what a template gives.

    Raises:
        TemplateError: it is more than any file of a lab needs.

    """
    parts: list[str] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_OUTPUT:
            raise TemplateError(f"the output is longer than {MAX_OUTPUT} characters")
    return parts[0] if len(parts) == 1 else "".join(parts)


def explain(error: Exception, variables: Mapping[str, Any], path: str = "") -> Diagnostic:
    """Say in our words what Jinja, or an expression, has met."""
    message = str(error).strip().rstrip(".")
    where = f"{path}:{_line(error, path)}" if path else ""
    undefined = _UNDEFINED.search(message)
    if isinstance(error, UndefinedError) and undefined:
        name = undefined.group(1)
        return Diagnostic(f'variable "{name}" is undefined'[:60], where, hint=_nearest(name, variables))
    if isinstance(error, UndefinedError):
        return Diagnostic("an expression asks for what is undefined", where, f"Jinja says: {message}.", "check its spelling")
    if isinstance(error, TemplateSyntaxError):
        return Diagnostic("the Jinja syntax is wrong", where, f"Jinja says: {message}.", "check the braces and the quotes")
    return Diagnostic("the expression cannot be evaluated", where, f"Jinja says: {message}.", "check the values it uses")


def _nearest(name: str, variables: Mapping[str, Any]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong file pays for it

    near = get_close_matches(name, list(variables), n=1)
    return f'use "{near[0]}"' if near else f'define it under "vars", or give it with -e {name}=...'


def _line(error: BaseException, path: str) -> int:
    """Give the template's line: Jinja puts it on syntax errors, and on the traceback of the others."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, trace = 1, error.__traceback__
    while trace is not None:
        if os.path.basename(trace.tb_frame.f_code.co_filename) == os.path.basename(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
