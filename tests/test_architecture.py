"""The structure of nsprov, held by tests: layers, doors, the agent's closure, sizes, names, wording.

Every rule is a function from modules to complaints (`file:line: what`). It is tested on the package, where it must find
nothing, and on a module that breaks it, where it must find something. A rule that today's code breaks is a failing
test; `pytest -s tests/test_architecture.py` prints the measures.
"""

import ast
import importlib
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from statistics import quantiles

import pytest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
PACKAGE = "nsprov"

LAYERS = (
    ("errors", ""),
    ("plan", "errors"),
    ("kernel", "errors plan"),
    ("init", "errors kernel"),
    ("kinds", "errors plan kernel init"),
    ("agent", "errors plan kernel init kinds"),
    ("transport", "errors agent"),
    ("texts", ""),
    ("vault", "errors"),
    ("render", "errors vault texts"),
    ("topology", "errors render"),
    ("graph", "topology"),
    ("inventory", "errors render topology texts vault"),
    ("memory", ""),
    ("placement", ""),
    ("survey", ""),
    ("probes", "plan"),
    ("underlay", ""),
    ("resolve", "errors plan kinds render topology survey"),
    ("wanted", "errors plan topology inventory placement survey resolve probes"),
    ("playbook", "errors plan kinds render topology inventory vault texts"),
    ("fleet", "errors plan agent transport"),
    ("inquiry", "errors transport fleet"),
    ("checkup", "errors transport fleet inquiry"),
    ("provision", "errors plan kinds agent transport survey probes fleet inquiry"),
    ("operate", "errors transport fleet"),
    (
        "cli",
        "errors plan kinds transport texts vault render topology graph inventory memory resolve wanted underlay playbook "
        "fleet provision operate inquiry checkup " + PACKAGE,
    ),
    ("__main__", "cli"),
    (PACKAGE, ""),  # nsprov/__init__.py: the version
)
"""From the bottom up: a part of the package and all that it may import, lazily and for types too."""

DOORS = {
    "yaml": r"topology\.source",
    "jinja2": r"render(\..*)?",
    "cryptography": r"vault|transport\..*",
    "pyroute2": r"kernel\.rare",
    "ctypes": r"kernel\.libc",
    "fabric": r"transport\.ssh",
    "invoke": r"transport\.ssh",
    "paramiko": r"transport\..*",
    "typer": r"cli\..*",
    "click": r"cli\..*",
    "pydantic": r"topology\..*",
    "pydantic_core": r"topology\..*",
}
"""The modules that may import what is not of the standard library, or is dangerous."""

CONTROLLER_ONLY = {f"{PACKAGE}.agent.bundle"}
CLOSURE = re.compile(rf"{PACKAGE}\.(errors$|(plan|kernel|init|kinds|agent)(\.|$))")
"""What travels to a host."""

FILE_LINES, FUNCTION_LINES, PARAMETERS, METHODS, CLASS_LINES, NESTING = 350, 60, 8, 14, 180, 5
SHORT, SHORT_SHARE, MEDIUM, MEDIUM_SHARE = 20, 0.85, 40, 0.97
BROAD_EXCEPT = re.compile(rf"{PACKAGE}\.(cli\..*|transport\.local|agent\.engine)")
"""Where everything may be caught and kept: the command line's end, the child that becomes the agent, the agent's loop."""

MAKERS = re.compile(rf"{PACKAGE}\.(kinds|resolve(\..*)?|agent\.parts|playbook\.running\.resources)")
BANNED_WORDS = {"util", "utils", "helper", "helpers", "common", "manager", "base", "misc"}
KIND_FUNCTIONS = {"observe": 2, "obstacles": 2, "create": 2, "update": 2, "delete": 2}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
MUTATORS = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "appendleft"),
    *("update", "setdefault", "popitem", "add", "discard"),
}
TYPES = {"int", "str", "bytes", "bool", "float", "complex", "object", "list", "dict", "set", "frozenset", "tuple", "type"}
YOUNG = {"pairwise", "StrEnum", "UTC", "ExceptionGroup", "BaseExceptionGroup", "tomllib", "batched", "setns", "unshare"}
"""What the standard library has only since Python 3.10 or later, of what an agent might want."""


@dataclass
class Module:
    """A module's text and what is in it."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self):
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def path(self):
        """The file, from the root of the project."""
        return self.name.replace(".", "/") + ("/__init__.py" if self.is_package else ".py")

    @property
    def part(self):
        """The part of the package that it belongs to."""
        return self.name.split(".")[1] if "." in self.name else self.name

    def at(self, node, what):
        """Complain about a place."""
        return f"{self.path}:{getattr(node, 'lineno', node)}: {what}"

    def nodes(self, *types):
        """Give all nodes of some types."""
        return (node for node in ast.walk(self.tree) if isinstance(node, types))


@dataclass(frozen=True)
class Import:
    """One imported module: when (`top`, `lazy`, `typing`) and in which line."""

    target: str
    when: str
    line: int


def modules():
    """Read the package."""
    found = []
    for folder, _, names in sorted(os.walk(os.path.join(ROOT, PACKAGE))):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, ROOT)[:-3].replace(os.sep, ".")
                with open(path, encoding="utf-8") as file:
                    found.append(Module(dotted.removesuffix(".__init__"), file.read(), name == "__init__.py"))
    return found


MODULES = modules()


def imports(module, names):
    """Give what a module imports; `names` are the modules that exist."""

    def visit(node, when):
        for child in ast.iter_child_nodes(node):
            inner = "lazy" if isinstance(child, FUNCTIONS) and when == "top" else when
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = "typing"
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, inner, child.lineno) for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                base = origin(child)
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    yield Import(full if full in names else base, inner, child.lineno)
            yield from visit(child, inner)

    def origin(node):
        if not node.level:
            return node.module
        parents = module.name.split(".")[: len(module.name.split(".")) - node.level + module.is_package]
        return ".".join([*parents, *filter(None, [node.module])])

    return list(visit(module.tree, "top"))


def names_of(given):
    """Give the names of all modules, those of the package and those of a synthetic one."""
    return {module.name for module in (*MODULES, *given)}


def own(target):
    """Tell whether a module is of this package."""
    return target == PACKAGE or target.startswith(f"{PACKAGE}.")


# --- imports ---------------------------------------------------------------------------------------------------------


def upward_imports(given):
    """An import goes to a layer that is listed for its importer's, which is a lower one."""
    allowed = {part: {part, *below.split()} for part, below in LAYERS}
    for module in given:
        if module.part not in allowed:
            yield module.at(1, f'"{module.part}" has no layer: add it to LAYERS, with what it may import')
            continue
        for found in imports(module, names_of(given)):
            target = PACKAGE if found.target == PACKAGE else found.target.split(".")[1] if own(found.target) else module.part
            if target not in allowed[module.part]:
                yield module.at(found.line, f'"{module.part}" imports "{found.target}" ({found.when}), LAYERS does not let it')


def cycles(given, kinds):
    """No module imports itself over others (Tarjan's strongly connected components)."""
    names = names_of(given)
    made = {m.name: [i for i in imports(m, names) if i.when in kinds and i.target in names] for m in given}
    paths = {module.name: module.path for module in given}
    for group in components({name: {found.target for found in own_imports} for name, own_imports in made.items()}):
        steps = [f"  {paths[n]}:{i.line}: {i.target} ({i.when})" for n in sorted(group) for i in made[n] if i.target in group]
        yield "\n".join([f"import cycle of {len(group)} modules ({', '.join(sorted(kinds))}):", *steps])


def components(edges):
    """Give the strongly connected components of more than one node, or of one with an edge to itself."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in edges.get(node, ()):
                found.append(group)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def top_cycles(given):
    """No cycle of imports that happen when a module is loaded."""
    return cycles(given, {"top"})


def all_cycles(given):
    """No cycle that lazy imports or imports for types hide."""
    return cycles(given, {"top", "lazy", "typing"})


def open_doors(given):
    """A foreign package is imported by its door only, and every one that is used has a door."""
    for module in given:
        for found in imports(module, names_of(given)):
            top = found.target.split(".")[0]
            inside = module.name.partition(".")[2]
            if top in DOORS and not re.fullmatch(DOORS[top], inside):
                yield module.at(found.line, f'"{top}" is imported outside its door ({DOORS[top]})')
            elif top not in DOORS and not own(found.target) and top not in sys.stdlib_module_names:
                yield module.at(found.line, f'"{top}" has no door: add it to DOORS')


def crowded_kinds(given):
    """Kinds do not import each other, and only who makes resources, of a topology or of a task, imports single ones."""
    for module in given:
        for found in imports(module, names_of(given)):
            if found.target.startswith(f"{PACKAGE}.kinds.") and not MAKERS.fullmatch(module.name):
                yield module.at(
                    found.line, f'imports the single kind "{found.target}"; go by KINDS, or move what is shared down'
                )


# --- the agent -------------------------------------------------------------------------------------------------------


def closure(given):
    """Give the modules that travel to a host."""
    return [module for module in given if CLOSURE.match(module.name) and module.name not in CONTROLLER_ONLY]


def foreign_in_agent(given):
    """The agent imports the standard library, pyroute2 and itself."""
    for module in closure(given):
        for found in imports(module, names_of(given)):
            top = found.target.split(".")[0]
            stays = own(found.target) and (not CLOSURE.match(found.target) or found.target in CONTROLLER_ONLY)
            if found.when != "typing" and (
                stays or not (own(found.target) or top in sys.stdlib_module_names or top == "pyroute2")
            ):
                yield module.at(found.line, f'the agent imports "{found.target}", which does not travel')


def new_syntax_in_agent(given):
    """The agent parses as Python 3.9 and evaluates no newer thing."""
    for module in closure(given):
        try:
            ast.parse(module.text, feature_version=(3, 9))
        except SyntaxError as problem:
            yield module.at(problem.lineno, f"no Python 3.9: {problem.msg}")
        lazy = any(alias.name == "annotations" for node in module.nodes(ast.ImportFrom) for alias in node.names)
        if not lazy and list(annotations(module.tree)):
            yield module.at(1, 'annotations are evaluated: begin with "from __future__ import annotations"')
        yield from newer_things(module)


def newer_things(module):
    """Find what Python 3.9 parses and does not know."""
    hidden = {id(inner) for note in annotations(module.tree) for inner in ast.walk(note)}
    typing_only = {id(i) for n in module.nodes(ast.If) if "TYPE_CHECKING" in ast.unparse(n.test) for i in ast.walk(n)}
    for node in ast.walk(module.tree):
        if id(node) in typing_only or id(node) in hidden:
            continue
        if isinstance(node, getattr(ast, "Match", ())):
            yield module.at(node, "match is Python 3.10")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and (is_type(node.left) or is_type(node.right)):
            yield module.at(node, f'"{ast.unparse(node)}" is evaluated: X | Y of types is Python 3.10')
        if isinstance(node, ast.ImportFrom):
            late = sorted({alias.name for alias in node.names} & YOUNG)
            late += [
                a.name
                for a in node.names
                if node.module == "typing" and a.name in ("Self", "ParamSpec", "TypeAlias", "assert_never")
            ]
            yield from (module.at(node, f'"{name}" is newer than Python 3.9') for name in late)
        if isinstance(node, ast.Call):
            yield from newer_calls(module, node)


def newer_calls(module, node):
    """Find calls with what Python 3.9 does not take."""
    name = ast.unparse(node.func).rpartition(".")[2]
    keywords = {keyword.arg for keyword in node.keywords}
    if name == "dataclass" and keywords & {"slots", "kw_only", "match_args"}:
        yield module.at(node, f"dataclass({', '.join(sorted(keywords))}) is Python 3.10")
    if name == "zip" and "strict" in keywords:
        yield module.at(node, "zip(strict) is Python 3.10")
    if name == "get_type_hints":
        yield module.at(node, "get_type_hints evaluates annotations, which hold X | Y")
    if isinstance(node.func, ast.Attribute) and name in YOUNG and ast.unparse(node.func.value) in ("os", "enum", "itertools"):
        yield module.at(node, f'"{ast.unparse(node.func)}" is newer than Python 3.9')


def annotations(tree):
    """Give every annotation, which the future import leaves unevaluated."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
            yield node.annotation
        if isinstance(node, FUNCTIONS) and node.returns:
            yield node.returns


def is_type(node):
    """Guess whether an expression is a type: None, a builtin one, a subscripted one or a CamelCase name."""
    if isinstance(node, ast.Constant):
        return node.value is None
    if isinstance(node, ast.Subscript):
        return is_type(node.value)
    return isinstance(node, ast.Name) and (node.id in TYPES or re.fullmatch(r"_?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", node.id))


# --- sizes and names -------------------------------------------------------------------------------------------------


def size(function):
    """Count a function's lines without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def nesting(node, depth=0):
    """Count how deep blocks are nested; an elif is no deeper than its if."""
    deepest = depth
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, (*FUNCTIONS, ast.ClassDef)) or not isinstance(child, ast.AST):
                continue
            is_elif = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If) and len(value) == 1
            deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not is_elif)))
    return deepest


def parameters(function):
    """Count a function's parameters without self and cls."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def too_large(given):
    """Files, functions, classes, parameter lists and nesting stay below the hard limits."""
    for module in given:
        lines = len(module.text.splitlines())
        if lines > FILE_LINES:
            yield module.at(1, f"{lines} lines, {FILE_LINES} at most: split it by meaning")
        for function in module.nodes(*FUNCTIONS):
            for what, value, limit in (
                ("lines", size(function), FUNCTION_LINES),
                ("parameters", parameters(function), PARAMETERS),
                ("levels of nesting", nesting(function), NESTING),
            ):
                if value > limit:
                    yield module.at(function, f'"{function.name}" has {value} {what}, {limit} at most')
        for found in module.nodes(ast.ClassDef):
            methods, long = sum(isinstance(node, FUNCTIONS) for node in found.body), found.end_lineno - found.lineno + 1
            if methods > METHODS:
                yield module.at(found, f'"{found.name}" has {methods} methods, {METHODS} at most')
            if long > CLASS_LINES:
                yield module.at(found, f'"{found.name}" has {long} lines, {CLASS_LINES} at most')


def vague_names(given):
    """No module and no class is called by a word that says nothing."""
    for module in given:
        if BANNED_WORDS & set(module.name.split(".")[-1].split("_")):
            yield module.at(1, f'"{module.name}" says nothing: name it after what it holds')
        for found in module.nodes(ast.ClassDef):
            if BANNED_WORDS & {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", found.name)}:
                yield module.at(found, f'"{found.name}" says nothing: name it after what it is')


def without_docstring(given):
    """Every module, public class, public function and public method of a public class has a docstring."""
    for module in given:
        if not ast.get_docstring(module.tree):
            yield module.at(1, "the module has no docstring: what is it for, and what must it not do?")
        yield from bare_members(module, module.tree)


def bare_members(module, owner):
    """Find public members of a module or a class that have no docstring."""
    for node in owner.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield module.at(node, f'"{node.name}" has no docstring')
            if isinstance(node, ast.ClassDef):
                yield from bare_members(module, node)


# --- habits ----------------------------------------------------------------------------------------------------------


def prints(given):
    """Only `cli/views.py` prints."""
    for module in given:
        for call in module.nodes(ast.Call):
            if ast.unparse(call.func) in ("print", "pprint", "pprint.pprint") and module.name != f"{PACKAGE}.cli.views":
                yield module.at(call, "prints; give the text to cli/views.py")


def careless_excepts(given):
    """No bare except; what catches everything raises it again, but for the two ends of the line."""
    for module in given:
        for handler in module.nodes(ast.ExceptHandler):
            if handler.type is None:
                yield module.at(handler, "bare except")
            elif swallows(handler) and not BROAD_EXCEPT.fullmatch(module.name):
                yield module.at(handler, f"catches {ast.unparse(handler.type)} and does not raise it again")


def swallows(handler):
    """Tell whether a handler catches everything and does not end in a bare raise."""
    caught = {node.id for node in ast.walk(handler.type or ast.Tuple([])) if isinstance(node, ast.Name)}
    last = handler.body[-1]
    return bool(caught & {"Exception", "BaseException"}) and not (isinstance(last, ast.Raise) and last.exc is None)


def nameless_raises(given):
    """Nobody raises a plain Exception: callers could not tell causes apart."""
    for module in given:
        for node in module.nodes(ast.Raise):
            if node.exc and re.match(r"(Base)?Exception\b", ast.unparse(node.exc)):
                yield module.at(node, "raises a plain Exception: use a class of nsprov.errors")


def shells(given):
    """No command goes through a shell by accident."""
    for module in given:
        for call in module.nodes(ast.Call):
            name = ast.unparse(call.func)
            if name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"):
                yield module.at(call, f"{name} runs a shell: give an argv to subprocess")
            for keyword in call.keywords:
                if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
                    yield module.at(call, "shell=True: give an argv")


def module_state(given):
    """No `global`, and no container of a module that is not a constant or is changed."""
    for module in given:
        yield from (module.at(node, f"global {', '.join(node.names)}: pass the value") for node in module.nodes(ast.Global))
        containers = dict(module_containers(module.tree))
        for name, line in containers.items():
            if not re.fullmatch(r"_*[A-Z][A-Z0-9_]*|__all__", name):
                yield module.at(line, f'"{name}" is a mutable value of the module: make it a constant, or pass it')
        yield from (
            module.at(node, f'"{name}" of the module is changed') for name, node in changes(module) if name in containers
        )


def module_containers(tree):
    """Give the names and lines of mutable containers of a module."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and is_container(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node.lineno) for target in targets if isinstance(target, ast.Name))


def is_container(value):
    """Tell whether an expression makes a container that can change."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in MUTABLE_CALLS
    return isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))


def changes(module):
    """Give what is changed in a module: by item, by `del`, in place, by a method; local names hide the module's."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)) and isinstance(node.value, ast.Name):
            yield node.value.id, node
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(method, ast.Attribute) and method.attr in MUTATORS and isinstance(method.value, ast.Name):
            yield method.value.id, node


def left_undone(given):
    """Nothing is left for later."""
    for module in given:
        for number, line in enumerate(module.text.splitlines(), 1):
            if re.search(r"\b(TODO|FIXME)\b", line):
                yield module.at(number, "TODO or FIXME: do it, or open an issue")


def clumsy_messages(given):
    """A summary begins in lower case, or with a quoted name or an acronym, and has no full stop."""
    for module in given:
        for call in module.nodes(ast.Call):
            if ast.unparse(call.func).rpartition(".")[2] not in ("Diagnostic", "Flaw"):
                continue
            first = next((k.value for k in call.keywords if k.arg == "summary"), call.args[0] if call.args else None)
            for text, line in literals(first):
                word = re.match(r"\w*", text)[0]
                if word[:1].isupper() and not re.search(r"[A-Z0-9].*[A-Z0-9]", word):
                    yield module.at(line, f"{text!r} begins in upper case")
                if text.rstrip().endswith((".", "!")):
                    yield module.at(line, f"{text!r} ends with a full stop")


def literals(node):
    """Give the texts that a message can be, with `…` for what is put in."""
    if isinstance(node, ast.IfExp):
        yield from [*literals(node.body), *literals(node.orelse)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, node.lineno
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values), node.lineno
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = list(literals(node.left)) or [("…", node.lineno)], list(literals(node.right)) or [("…", node.lineno)]
        yield from ((one + two, line) for one, line in left for two, _ in right)


# --- kinds -----------------------------------------------------------------------------------------------------------


def incomplete_kinds(given):
    """A module in `kinds/` has the contract's names, and its docstring shows it in YAML."""
    for module in given:
        if not module.name.startswith(f"{PACKAGE}.kinds."):
            continue
        functions = {node.name: node for node in module.tree.body if isinstance(node, FUNCTIONS)}
        assigned = {ast.unparse(t) for n in module.tree.body if isinstance(n, ast.Assign) for t in n.targets}
        for name in sorted({"NAME", "SCHEMA"} - assigned):
            yield module.at(1, f'a kind needs "{name}"')
        for name, count in KIND_FUNCTIONS.items():
            if name not in functions:
                yield module.at(1, f'a kind needs "{name}(kernel, ...)"')
            elif (parameters(functions[name]), functions[name].args.args[0].arg) != (count, "kernel"):
                yield module.at(functions[name], f'"{name}" takes the kernel and {count - 1} more')


def unregistered_kinds(given):
    """Adding a kind is its file and its name in `KINDS`: every file is in it."""
    registry = next(module for module in MODULES if module.name == f"{PACKAGE}.kinds")
    assigned = next(
        n for n in registry.nodes(ast.AnnAssign, ast.Assign) if "KINDS" in ast.unparse(n).split(":")[0].split("="[0])[0]
    )
    listed = {node.id for node in ast.walk(assigned.value) if isinstance(node, ast.Name)}
    for module in given:
        name = module.name.removeprefix(f"{PACKAGE}.kinds.")
        if module.name.startswith(f"{PACKAGE}.kinds.") and name not in listed:
            yield module.at(1, f'"{name}" is not in KINDS of {registry.path}')


# --- the tests -------------------------------------------------------------------------------------------------------

LONG = "def f():\n" + "    x = 1\n" * (FUNCTION_LINES + 1)
DEEP = (
    "def f(a):\n"
    + "".join("    " * (level + 1) + "if a:\n" for level in range(NESTING + 1))
    + "    " * (NESTING + 2)
    + "pass\n"
)

BAD = [
    (upward_imports, "nsprov.plan.bad", "import nsprov.kernel.netlink"),
    (upward_imports, "nsprov.kinds.bad", "def f():\n    from nsprov.agent import engine"),
    (
        upward_imports,
        "nsprov.topology.bad",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nsprov import provision",
    ),
    (upward_imports, "nsprov.agent.bad", "from ..cli import app"),
    (upward_imports, "nsprov.novel", ""),
    (top_cycles, "nsprov.errors", "import nsprov.errors"),
    (all_cycles, "nsprov.errors", "def f():\n    import nsprov.errors"),
    (open_doors, "nsprov.resolve", "import yaml"),
    (open_doors, "nsprov.kernel.files", "def f():\n    from ctypes import CDLL"),
    (open_doors, "nsprov.transport.local", "import fabric"),
    (open_doors, "nsprov.cli.app", "import requests"),
    (crowded_kinds, "nsprov.kinds.bad", "from nsprov.kinds import veth"),
    (crowded_kinds, "nsprov.agent.bad", "from nsprov.kinds.veth import Veth"),
    (foreign_in_agent, "nsprov.agent.bad", "import yaml"),
    (foreign_in_agent, "nsprov.kernel.bad", "def f():\n    from nsprov import render"),
    (foreign_in_agent, "nsprov.agent.engine", "from nsprov.agent import bundle"),
    (new_syntax_in_agent, "nsprov.plan.bad", "match 1:\n    case 1: pass"),
    (new_syntax_in_agent, "nsprov.plan.bad", "def f(a) -> int: ..."),
    (new_syntax_in_agent, "nsprov.plan.bad", "Name = int | None"),
    (new_syntax_in_agent, "nsprov.plan.bad", "isinstance(1, Ref | str)"),
    (new_syntax_in_agent, "nsprov.plan.bad", "@dataclass(frozen=True, slots=True)\nclass A: ..."),
    (new_syntax_in_agent, "nsprov.plan.bad", "zip([], [], strict=True)"),
    (new_syntax_in_agent, "nsprov.plan.bad", "import os\nos.setns(3)"),
    (new_syntax_in_agent, "nsprov.plan.bad", "from typing import Self"),
    (too_large, "nsprov.bad", "x = 1\n" * (FILE_LINES + 1)),
    (too_large, "nsprov.bad", LONG),
    (too_large, "nsprov.bad", DEEP),
    (too_large, "nsprov.bad", f"def f({', '.join(f'a{i}' for i in range(PARAMETERS + 1))}): ..."),
    (too_large, "nsprov.bad", "class A:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(METHODS + 1))),
    (too_large, "nsprov.bad", "class A:\n" + "    x = 1\n" * CLASS_LINES),
    (vague_names, "nsprov.kernel.utils", ""),
    (vague_names, "nsprov.topology.link_helpers", ""),
    (vague_names, "nsprov.bad", "class LabManager: ..."),
    (vague_names, "nsprov.bad", "class _BaseKind: ..."),
    (without_docstring, "nsprov.bad", "x = 1"),
    (without_docstring, "nsprov.bad", '"""Doc."""\ndef f(): ...'),
    (without_docstring, "nsprov.bad", '"""Doc."""\nclass A:\n    """Doc."""\n    def f(self): ...'),
    (prints, "nsprov.provision", "print(1)"),
    (careless_excepts, "nsprov.cli.app", "try: ...\nexcept: ..."),
    (careless_excepts, "nsprov.provision", "try: ...\nexcept (OSError, Exception): ..."),
    (careless_excepts, "nsprov.agent.run", "try: ...\nexcept BaseException as e:\n    raise ValueError from e"),
    (nameless_raises, "nsprov.bad", "raise Exception('no')"),
    (shells, "nsprov.bad", "subprocess.run('ls', shell=True)"),
    (shells, "nsprov.bad", "os.system('ls')"),
    (module_state, "nsprov.bad", "def f():\n    global x\n    x = 1"),
    (module_state, "nsprov.bad", "cache = {}"),
    (module_state, "nsprov.bad", "CACHE: dict = defaultdict(list)\ndef f():\n    CACHE['a'].append(1)\n    CACHE['b'] = 1"),
    (module_state, "nsprov.bad", "_SEEN = set()\ndef f():\n    _SEEN.add(1)"),
    (left_undone, "nsprov.bad", "# TODO later"),
    (clumsy_messages, "nsprov.bad", "Diagnostic('Cannot do it')"),
    (clumsy_messages, "nsprov.bad", "Diagnostic(summary=f'link {x} is wrong.')"),
    (clumsy_messages, "nsprov.bad", "errors.Diagnostic('fine' if x else 'Not fine')"),
    (clumsy_messages, "nsprov.bad", "Flaw('a' + x + '.')"),
    (incomplete_kinds, "nsprov.kinds.bad", "NAME = 'bad'"),
    (incomplete_kinds, "nsprov.kinds.bad", "NAME = SCHEMA = 1\n" + "".join(f"def {name}(x): ...\n" for name in KIND_FUNCTIONS)),
    (unregistered_kinds, "nsprov.kinds.bad", ""),
]

GOOD = [
    (clumsy_messages, "Diagnostic('\"Eth0\" is taken')"),
    (clumsy_messages, "Diagnostic('SSH is refused')"),
    (clumsy_messages, "Diagnostic(f'{name} is taken', 'here', 'Sentences end.')"),
    (careless_excepts, "try: ...\nexcept BaseException:\n    close()\n    raise"),
    (module_state, "_WORDS = {'a': 1}\ndef f():\n    found = {}\n    found['a'] = _WORDS['a']"),
    (new_syntax_in_agent, "from __future__ import annotations\ndef f(a: int | None) -> A | B: return MS_BIND | MS_REC"),
    (too_large, "def f(a):\n" + "    if a: pass\n" + "    elif a: pass\n" * 12),
    (shells, "subprocess.run(['ls'], shell=False)"),
]

RULES = list(dict.fromkeys(rule for rule, _, _ in BAD))


def word(rule):
    """Name a rule in a test's id."""
    return rule.__name__


def complaints(rule, given):
    """Give what a rule finds."""
    return sorted(set(rule(given)))


@pytest.mark.parametrize(("rule", "name", "text"), BAD, ids=[f"{word(rule)}-{n}" for n, (rule, _, _) in enumerate(BAD)])
def test_a_rule_finds_what_breaks_it(rule, name, text):
    """A rule that can not fail would hold nothing."""
    assert complaints(rule, [Module(name, text)])


@pytest.mark.parametrize(("rule", "text"), GOOD, ids=[f"{word(rule)}-{n}" for n, (rule, _) in enumerate(GOOD)])
def test_a_rule_lets_pass_what_is_right(rule, text):
    """A rule that cries wolf would soon be switched off."""
    assert complaints(rule, [Module(f"{PACKAGE}.plan.good", text)]) == []


def test_a_cycle_over_several_modules_is_found():
    """Tarjan's algorithm sees a cycle of any length, and no other thing as one."""
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}

    assert [sorted(group) for group in components(edges)] == [["a", "b", "c"]]


def hold(rule):
    """Fail with every complaint of a rule about the package."""
    found = complaints(rule, MODULES)
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


def test_imports_go_down_the_layers():
    """A part of the package imports what LAYERS lists for it and nothing else."""
    hold(upward_imports)


def test_layers_are_in_order():
    """LAYERS itself goes upwards: a layer imports only such as stand before it, but for the version."""
    seen = {PACKAGE}
    for part, below in LAYERS:
        assert set(below.split()) <= seen, part
        seen.add(part)


def test_layers_name_what_exists():
    """A layer that has gone is taken from LAYERS."""
    assert {part for part, _ in LAYERS} == {module.part for module in MODULES}


def test_modules_do_not_import_each_other_when_loaded():
    """The order in which modules are loaded does not matter."""
    hold(top_cycles)


def test_no_cycle_is_hidden_by_lazy_imports_or_types():
    """What needs each other is one module, or is missing a third one below."""
    hold(all_cycles)


def test_every_dependency_has_one_door():
    """A foreign package can be replaced by changing its door."""
    hold(open_doors)


def test_the_agent_imports_only_what_travels():
    """The standard library, pyroute2, and itself."""
    hold(foreign_in_agent)


def test_the_agent_runs_on_python_3_9():
    """No newer syntax, and nothing newer that is evaluated."""
    hold(new_syntax_in_agent)


def test_the_bundle_holds_the_closure():
    """The archive that travels has exactly the modules that this test takes for the agent."""
    members = importlib.import_module(f"{PACKAGE}.agent.bundle").members()
    travelling = {name for name in members if name.startswith(f"{PACKAGE}/")}

    assert {module.path for module in closure(MODULES)} | {f"{PACKAGE}/__init__.py"} == travelling


def test_nothing_is_too_large():
    """The hard limits of the checklist."""
    hold(too_large)


def test_names_say_something():
    """No utils, helpers, common, manager, base, misc."""
    hold(vague_names)


def test_everything_public_has_a_docstring():
    """Modules, classes, functions, methods."""
    hold(without_docstring)


def test_only_views_print():
    """Output has one place."""
    hold(prints)


def test_errors_are_caught_by_name():
    """No bare except, no broad one but at the two ends of the line."""
    hold(careless_excepts)


def test_broad_excepts_are_few():
    """Even at the ends of the line there are three at most."""
    found = [m.at(h, "") for m in MODULES for h in m.nodes(ast.ExceptHandler) if swallows(h)]

    assert len(found) <= 3, found


def test_errors_are_raised_by_name():
    """No plain Exception."""
    hold(nameless_raises)


def test_no_command_goes_through_a_shell():
    """No shell=True, os.system, os.popen."""
    hold(shells)


def test_modules_have_no_state():
    """No global, no mutable value of a module."""
    hold(module_state)


def test_nothing_is_left_undone():
    """No TODO, no FIXME."""
    hold(left_undone)


def test_messages_are_well_formed():
    """Lower case, no full stop."""
    hold(clumsy_messages)


def test_every_kind_keeps_the_contract():
    """NAME, SCHEMA and five functions."""
    hold(incomplete_kinds)


def test_every_kind_is_registered():
    """One file and one line: every module in kinds/ is in KINDS."""
    hold(unregistered_kinds)


def test_kinds_stand_alone():
    """A kind imports no other, and nobody but `resolve` imports a single one."""
    hold(crowded_kinds)


def test_kinds_have_names_of_their_own():
    """The registry holds each file once, under its own name."""
    kinds = importlib.import_module(f"{PACKAGE}.kinds").KINDS
    named = {module.name for module in MODULES if module.name.startswith(f"{PACKAGE}.kinds.")}

    assert {kind.__name__ for kind in kinds} == named
    assert len({kind.NAME for kind in kinds}) == len(kinds)


def test_most_functions_are_short():
    """A screen holds most functions; the table of measures is printed."""
    functions = [node for module in MODULES for node in module.nodes(*FUNCTIONS)]
    classes = [node for module in MODULES for node in module.nodes(ast.ClassDef)]
    sizes = [size(node) for node in functions]
    rows = [
        ("file lines", [len(module.text.splitlines()) for module in MODULES], FILE_LINES),
        ("function lines", sizes, FUNCTION_LINES),
        ("nesting", [nesting(node) for node in functions], NESTING),
        ("parameters", [parameters(node) for node in functions], PARAMETERS),
        ("methods per class", [sum(isinstance(n, FUNCTIONS) for n in c.body) for c in classes], METHODS),
        ("class lines", [c.end_lineno - c.lineno + 1 for c in classes], CLASS_LINES),
    ]
    short, medium = (sum(lines <= limit for lines in sizes) / len(sizes) for limit in (SHORT, MEDIUM))
    print(f"\n{len(MODULES)} modules, {sum(rows[0][1])} lines, {len(functions)} functions, {len(classes)} classes")
    print(f"{'measure':20}{'p50':>6}{'p90':>6}{'max':>6}{'hard':>6}")
    for what, values, limit in rows:
        print(f"{what:20}{quantiles(values, n=10)[4]:6.0f}{quantiles(values, n=10)[8]:6.0f}{max(values):6}{limit:6}")
    print(f"functions of at most {SHORT} lines: {short:.0%}, of at most {MEDIUM}: {medium:.0%}")
    for part, count in sorted(Counter(module.part for module in MODULES).items()):
        print(f"  {part:12}{count:3} modules{sum(len(m.text.splitlines()) for m in MODULES if m.part == part):7} lines")

    assert short >= SHORT_SHARE, f"only {short:.0%} of functions have at most {SHORT} lines"
    assert medium >= MEDIUM_SHARE, f"only {medium:.0%} of functions have at most {MEDIUM} lines"
