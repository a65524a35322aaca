"""What the documents say holds: examples load, command lines parse, links lead somewhere, pages are fresh."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from click import ClickException
from click.exceptions import Exit

from nsprov import topology
from nsprov.cli.app import app
from nsprov.errors import InputError
from nsprov.inventory import load_inventory
from nsprov.kinds import KINDS
from nsprov.playbook import keywords, modules, reading

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "playbooks/README.md", "bench/README.md")
PAGES = [ROOT / name for name in TOP] + sorted(ROOT.glob("docs/**/*.md")) + sorted(ROOT.glob("changelog.d/*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SCRIPTS = [*sorted(ROOT.glob("scripts/*")), *sorted(ROOT.glob(".ci/*"))]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# Registries by name, and what only exists where this was written.
_HOSTS = r"pypi\.|deb\.debian|pythonhosted|npmjs|docker\.io/|ghcr\.io|quay\.io"
_FORBIDDEN = re.compile(rf"{_HOSTS}|/work/|/opt/|/root/|\.pyenv|shims", re.IGNORECASE)


def blocks(page, *languages):
    """Give the fenced blocks of a page that are in one of the languages."""
    return [text for language, text in _FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def anchors(page):
    """Give the anchors that a page's headings make."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def documents(text):
    """Give the YAML documents that a shell block writes by a here-document, and their file's names."""
    return re.findall(r"^cat > (\S+\.yml) <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)


def command_lines():
    """Give every line in a shell block, and every inline command, that begins with `nsprov`."""
    for page in PAGES:
        for block in blocks(page, "sh", "console"):
            for _, text in documents(block):
                block = block.replace(text, "")  # noqa: PLW2901 (what is written is no command)
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|", line.removeprefix("# ")):
                    if part.strip().startswith("nsprov "):
                        yield pytest.param(part, id=f"{page.name}: {part.strip()}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page):
    """A link to a file leads to one, and to a heading that it has."""
    wrong = []
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)

    assert wrong == []


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_of_where_it_was_written(page):
    """No registry's host, no path of one machine; the CI script alone may look for other Pythons where they usually are."""
    found = _FORBIDDEN.findall(page.read_text(encoding="utf-8"))

    assert [word for word in found if not (page.name == "run" and word == ".pyenv")] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_topologies_in_pages_load(page, tmp_path):
    """Every YAML block that is a whole topology loads; a fragment of one is at least YAML with known keys."""
    texts = blocks(page, "yaml") if page.name not in ("inventory.md", "playbooks.md") else []
    for block in blocks(page, "sh"):
        texts += [text for name, text in documents(block) if name not in ("inventory.yml", "site.yml")]
    for text in texts:
        path = tmp_path / "example.yml"
        path.write_text(text, encoding="utf-8")
        if text.startswith("- hosts:"):
            assert reading.load(str(path)).plays
            continue
        try:
            topology.load(str(path))
        except InputError as problem:
            # A kind's example shows its own keys; what it refers to may stand elsewhere.
            elsewhere = r"there is no|gateway|.*is not an interface|.* leads nowhere"
            strange = [told.summary for told in problem.diagnostics if not re.match(elsewhere, told.summary)]
            assert page.parent.name == "kinds", strange
            assert strange == []


def test_playbooks_in_their_page_are_read(tmp_path):
    """Every playbook in docs/playbooks.md can be read; tests/playbook/test_documented.py carries the first one out."""
    for text in blocks(ROOT / "docs" / "playbooks.md", "yaml"):
        (tmp_path / "site.yml").write_text(text, encoding="utf-8")

        assert reading.load(str(tmp_path / "site.yml")).plays


def test_every_word_of_playbooks_is_described():
    """docs/playbooks.md has every keyword, every module and each of its arguments."""
    text = (ROOT / "docs" / "playbooks.md").read_text(encoding="utf-8")
    found = [*modules.ACTIONS.values(), *modules.CONTROLLER.values(), modules.TOPOLOGY]
    words = {*keywords.PLAY, *keywords.TASK, *keywords.BLOCK, *keywords.HANDLER, *modules.STATIC, *modules.META}
    words |= {word for module in found for word in (module.name, *module.takes)}

    assert sorted(word for word in words if f"`{word}`" not in text and f"`{word}:" not in text) == []


def test_the_inventories_of_their_page_are_the_same(tmp_path, monkeypatch):
    """The page's inventory in YAML and the one in INI say the same of every host."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "inventory.md"
    (tmp_path / "hosts.yml").write_text(blocks(page, "yaml")[0], encoding="utf-8")
    (tmp_path / "hosts").write_text(blocks(page, "ini")[0], encoding="utf-8")
    one, two = load_inventory(["hosts.yml"]), load_inventory(["hosts"])
    reached = [[replace(host, variables={}) for host in found.select("all")] for found in (one, two)]

    assert reached[0] == reached[1]
    assert one.groups.keys() == two.groups.keys()
    assert [host.address for host in reached[0]] == ["lab1.example.org", "lab2.example.org", "10.0.0.3"]


def test_the_inventory_in_the_tour_loads(tmp_path):
    """The README's inventory is one."""
    found = [text for block in blocks(ROOT / "README.md", "sh") for name, text in documents(block) if name == "inventory.yml"]
    assert len(found) == 1
    path = tmp_path / "inventory.yml"
    path.write_text(found[0], encoding="utf-8")

    assert list(load_inventory([str(path)]).hosts) == ["lab1", "lab2"]


@pytest.mark.parametrize("line", list(command_lines()))
def test_command_lines_parse(line):
    """A command line in a document names a command that exists, with options and arguments that it takes."""
    words = shlex.split(line, comments=True)[1:]
    words = [word for word in words if not word.startswith(">")]
    group = typer.main.get_command(app)
    name, command, rest = group.resolve_command(group.make_context("nsprov", words, resilient_parsing=True), words)
    try:
        with command.make_context(name, list(rest)):
            pass
    except Exit:
        pass
    except ClickException as problem:
        pytest.fail(f"{line.strip()}: {problem.format_message()}", pytrace=False)


def test_every_command_is_described():
    """docs/commands.md has every command and every option that commands share."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    options = {word for command in group.commands.values() for parameter in command.params for word in parameter.opts}

    assert [name for name in group.commands if f"`nsprov {name}" not in text] == []
    assert [word for word in sorted(options) if word.startswith("--") and word not in text] == []


def test_every_key_is_described():
    """docs/topology.md has every key of the language."""
    text = (ROOT / "docs/topology.md").read_text(encoding="utf-8")
    schema = topology.json_schema()
    parts = [schema, *(schema.get("definitions") or schema["$defs"]).values()]
    keys = {key for part in parts for key in part.get("properties", {})}

    assert {"nodes", "nexthops", "lladdr"} <= keys
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


def test_pages_of_kinds_are_fresh():
    """docs/kinds is what scripts/docs writes, and every kind has its page."""
    done = subprocess.run([sys.executable, ROOT / "scripts/docs", "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {path.stem for path in ROOT.glob("docs/kinds/*.md")} == {kind.NAME for kind in KINDS} | {"README"}


def test_decisions_are_listed():
    """Every decision record is in the list and says context, decision and consequences."""
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("docs/adr/0*.md")):
        assert path.name in index
        assert [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("## ")] == [
            "## Context", "## Decision", "## Consequences",
        ]  # fmt: skip


def test_fragments_have_their_form():
    """A changelog fragment is short, has no heading, and is a sentence in the past."""
    for path in ROOT.glob("changelog.d/*.md"):
        if path.name == "README.md":
            continue
        text = path.read_text(encoding="utf-8")
        assert re.fullmatch(r"[a-z0-9-]+", path.stem), path.name
        assert re.match(r"[A-Z][a-z]+(ed|de|t) ", text), f"{path.name}: begin with a verb in the past"
        assert text.rstrip().endswith("."), path.name
        assert "#" not in text, path.name
        assert text.count(". ") <= 2, f"{path.name}: three sentences at most"


def test_developer_commands_are_short():
    """A developer command fits in twenty lines."""
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob("scripts/*") if path.is_file()}

    assert {"check", "docs", "lint", "setup", "test"} <= lines.keys()
    assert [name for name, count in lines.items() if count > 20] == []
