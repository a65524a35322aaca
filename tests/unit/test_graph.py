"""What is drawn of a topology: everything, escaped, the same each time, and accepted by what reads it."""

import glob
import os
import re
import shutil
import subprocess
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
import typer
from typer.testing import CliRunner

from nsprov import graph
from nsprov.cli import graph as command
from nsprov.graph.layout import layout
from nsprov.graph.picture import picture
from nsprov.graph.ranks import components, path, ranks
from nsprov.graph.wires import runs
from nsprov.topology import Bridge, Endpoint, Interface, Link, Node, Topology, load

TOPOLOGIES = os.path.join(os.path.dirname(__file__), "..", "..", "topologies")
SHIPPED = sorted(os.path.basename(path) for path in glob.glob(os.path.join(TOPOLOGIES, "*.yml")))
FORMATS = {"dot": graph.dot, "mermaid": graph.mermaid, "svg": graph.svg}
EVIL = "a<b>&\"'|;#`]}-->\x00"


def shipped(name, **variables):
    """Load a topology that is shipped."""
    return load(os.path.join(TOPOLOGIES, name), variables)


def lab(nodes, bridges=(), links=(), name="t"):
    """Make a topology without reading one."""
    return Topology(
        name=name,
        prefix="",
        path="",
        nodes={node.name: node for node in nodes},
        bridges={bridge.name: bridge for bridge in bridges},
        links=tuple(links),
    )


def ports(*names, bridge=None, addresses=()):
    """Make interfaces."""
    return {name: Interface(name=name, bridge=bridge, addresses=addresses) for name in names}


def link(first, second):
    """Make a link from two `node:interface`."""
    ends = [Endpoint(node=end.partition(":")[0], interface=end.partition(":")[2]) for end in (first, second)]
    return Link(endpoints=(ends[0], ends[1]))


def evil():
    """Make a topology in which every name is hostile to some format."""
    inner = {"br<0>": Bridge(name="br<0>", ports=('e"0',))}
    node = Node(name=EVIL, host="h&1", interfaces=ports('e"0', "eth0.100", bridge=EVIL), bridges=inner)
    other = Node(name="end", host="h<2>", interfaces=ports("x-->y", addresses=("fd00::1/64",)))
    return lab([node, other], [Bridge(name=EVIL, host="h&1")], [link(f"{EVIL}:p|1", "end:x-->y")], name=EVIL)


def texts(svg):
    """Give every text that an SVG shows."""
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


def graphviz(text):
    """Have graphviz read a graph, and give its names of nodes and how many edges there are."""
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    return sum(line.startswith("node ") for line in lines), sum(line.startswith("edge ") for line in lines)


def names(topology):
    """Give the names that a drawing must show."""
    found = {*topology.nodes, *topology.bridges}
    for node in topology.nodes.values():
        found |= {*node.interfaces, *node.bridges}
        found |= {address for interface in node.interfaces.values() for address in interface.addresses}
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_name_and_address_is_drawn(name, form):
    """A drawing leaves out no node, bridge, interface or address."""
    topology = shipped(name)
    text = FORMATS[form](topology)
    words = set(re.findall(r"[\w.:/-]+", " ".join(texts(text)) if form == "svg" else re.sub(r"<[^>]*>", " ", text)))

    assert set() == names(topology) - words


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_drawing_is_the_same_each_time(name, form):
    """Two loads of a file give the same bytes."""
    assert FORMATS[form](shipped(name)) == FORMATS[form](shipped(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_graphviz_accepts_the_graph(name):
    """Graphviz reads it without a warning and finds every box and wire."""
    topology = shipped(name)
    shown = picture(topology)

    assert (len(shown.boxes), len(shown.wires)) == graphviz(graph.dot(topology))


def test_graphviz_accepts_hostile_names():
    """No name can end a label or a quoted identifier."""
    assert graphviz(graph.dot(evil())) == (3, 3)


def test_svg_shows_hostile_names_as_text():
    """What looks like markup is text, and a control character is replaced."""
    shown = texts(graph.svg(evil()))

    assert EVIL.replace("\x00", "\N{REPLACEMENT CHARACTER}") in shown
    assert {'e"0', "eth0.100", 'br<0> [e"0]', "h<2>", "p|1"} <= set(shown)


def test_mermaid_quotes_hostile_names():
    """Identifiers are plain, and a label holds nothing that could end it."""
    lines = graph.mermaid(evil()).splitlines()
    boxes = [line for line in lines if ":::" in line]

    assert len(boxes) == 3
    for line in boxes:
        assert re.fullmatch(r'\s*\w+\[{1,2}"[^"]*"\]{1,2}:::\w+', line)
        assert not re.search(r"[|`]", line)


def test_mermaid_identifiers_are_unique():
    """Two names that are the same once sanitised stay two boxes."""
    text = graph.mermaid(lab([Node(name="a.b"), Node(name="a-b"), Node(name="a_b__2")]))

    assert len({line.split("[")[0] for line in text.splitlines() if ":::node" in line}) == 3


def test_svg_stands_alone():
    """It refers to nothing outside itself and runs nothing."""
    text = graph.svg(shipped("leaf-spine.yml"))

    assert not re.search(r"href|url\(|@import|<script|<image|foreignObject", text)
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_hosts_are_clusters_if_they_are_several(form):
    """Boxes on different hosts stand in frames with the hosts' names; one host needs no frame."""
    mark = {"dot": "subgraph cluster_", "mermaid": "subgraph on_", "svg": 'class="frame"'}[form]
    several = lab([Node(name="a", host="lab1", interfaces=ports("e")), Node(name="b", host="lab2", interfaces=ports("e"))])
    one = lab([Node(name="a"), Node(name="b")])

    assert (FORMATS[form](several).count(mark), FORMATS[form](one).count(mark)) == (2, 0)
    assert "lab1" in FORMATS[form](several)


@pytest.mark.parametrize("form", FORMATS)
def test_an_end_on_the_host_is_a_box_of_the_host(form):
    """The host's interface is drawn in a box with the host's name."""
    text = FORMATS[form](lab([Node(name="a", host="lab9", interfaces=ports("eth0"))], links=[link("host:veth7", "a:eth0")]))

    assert "lab9" in text
    assert "veth7" in text


@pytest.mark.parametrize("form", FORMATS)
def test_a_bridge_inside_a_node_shows_its_ports(form):
    """It stands in its node's box with the interfaces that are on it."""
    inner = {"lan": Bridge(name="lan", addresses=("10.9.0.1/24",), ports=("p1", "p2"))}

    assert "lan [p1 p2]" in FORMATS[form](lab([Node(name="sw", interfaces=ports("p1", "p2"), bridges=inner)]))


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_lab_can_be_drawn(form):
    """Nothing is a picture too."""
    assert FORMATS[form](lab([]))


def test_a_star_of_500_is_drawn_as_a_grid():
    """A large lab is no long line: it keeps the proportions of a screen."""
    topology = shipped("star.yml", n=500)
    text = graph.svg(topology)
    width, height = (float(value) for value in re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())

    assert len([word for word in texts(text) if re.fullmatch(r"h\d+", word)]) >= 500
    assert 0.5 < width / height < 3


MADE = {
    "ring": lab(
        [Node(name=f"r{i}", interfaces=ports("l", "r")) for i in range(7)],
        [],
        [link(f"r{i}:r", f"r{(i + 1) % 7}:l") for i in range(7)],
    ),
    "mesh": lab(
        [Node(name=f"m{i}") for i in range(5)], [], [link(f"m{a}:e{b}", f"m{b}:e{a}") for a, b in combinations(range(5), 2)]
    ),
    "long": lab([Node(name=f"n{i}") for i in range(40)], [], [link(f"n{i}:r", f"n{i + 1}:l") for i in range(39)]),
    "pairs": lab([Node(name=f"n{i}") for i in range(40)], [], [link(f"n{i}:e", f"n{i + 1}:e") for i in range(0, 40, 2)]),
    "hub": lab([Node(name=f"n{i}") for i in range(40)], [], [link(f"n0:e{i}", f"n{i}:e") for i in range(1, 40)]),
    "double": lab([Node(name="a"), Node(name="b")], [], [link("a:e1", "b:e1"), link("a:e2", "b:e2")]),
    "clos": lab(
        [
            Node(name=name)
            for name in [*(f"s{i}" for i in range(4)), *(f"l{i}" for i in range(16)), *(f"h{i}" for i in range(128))]
        ],
        [],
        [
            *(link(f"s{s}:e{leaf}", f"l{leaf}:e{s}") for s in range(4) for leaf in range(16)),
            *(link(f"l{h // 8}:d{h % 8}", f"h{h}:e") for h in range(128)),
        ],
    ),
}


@pytest.mark.parametrize("topology", [*MADE.values(), *map(shipped, SHIPPED), evil()], ids=[*MADE, *SHIPPED, "evil"])
def test_no_two_boxes_overlap_and_every_wire_touches_its_boxes(topology):
    """The layout is sound, whatever the shape of the lab."""
    shown = picture(topology)
    part = layout(shown, dict.fromkeys(shown.boxes, (120.0, 60.0)), 30)
    drawn = runs(shown, part)

    assert part.places.keys() == shown.boxes.keys()
    for (one, first), (two, second) in combinations(part.places.items(), 2):
        apart = first.right <= second.x or second.right <= first.x or first.bottom <= second.y or second.bottom <= first.y
        assert apart, (one, two)
    assert len(shown.wires) == len(drawn)
    touched = {key for wire in shown.wires for key in wire.boxes}
    ends = [point for run in drawn for point in (run.points[0], run.points[-1])]
    for key in touched:
        place = part.places[key]
        assert any(place.x - 1 <= x <= place.right + 1 and place.y - 1 <= y <= place.bottom + 1 for x, y in ends), key


def near(*pairs):
    """Give the neighbours of each box of a graph that is written as pairs."""
    found = {}
    for first, second in pairs:
        found.setdefault(first, []).append(second)
        found.setdefault(second, []).append(first)
    return found


def test_spines_stand_over_leaves_and_hosts_under_them():
    """What joins most is at the top."""
    fabric = near(*((s, leaf) for s in ("s1", "s2") for leaf in ("l1", "l2", "l3")), *((f"l{i}", f"h{i}") for i in (1, 2, 3)))
    found = ranks(list(fabric), fabric, set())

    assert [list(row) for row in found.rows] == [["s1", "s2"], ["l1", "l2", "l3"]]
    assert found.leaves == {"l1": ["h1"], "l2": ["h2"], "l3": ["h3"]}


def test_a_router_between_bridges_stands_over_them():
    """The centre of a tree is its top."""
    joined = near(("b1", "r"), ("b2", "r"), ("b1", "x"), ("b2", "y"))

    assert [list(row) for row in ranks(list(joined), joined, {"b1", "b2"}).rows] == [["r"], ["b1", "b2"]]


def test_rows_are_ordered_to_cross_less():
    """A row follows the order of the row above it."""
    crossed = near(("t", "a"), ("t", "b"), ("t", "c"), ("a", "x"), ("b", "z"), ("c", "y"), ("x", "u"), ("y", "v"), ("z", "w"))
    rows = ranks(["t", "a", "b", "c", "x", "y", "z", "u", "v", "w"], crossed, set()).rows

    assert list(rows[2]) == ["x", "z", "y"]


def test_a_chain_is_found_and_a_ring_is_none():
    """Only boxes with at most two wires and two ends make a chain."""
    chain, ring = near(("b", "c"), ("a", "b")), near(("a", "b"), ("b", "c"), ("c", "a"))

    assert [sorted(path(list(chain), chain)), path(list(ring), ring)] == [["a", "b", "c"], []]
    assert components(chain) == [["b", "c", "a"]]


@pytest.fixture
def cli(monkeypatch, capsys):
    """Give a function that runs the command."""
    app = typer.Typer()
    command.register(app)
    app.command("other")(lambda: None)  # one command alone would be the whole program

    def run(*arguments):
        return CliRunner().invoke(app, ["graph", *arguments])

    return run


@pytest.mark.parametrize(("form", "start"), [("dot", 'graph "tutorial" {'), ("mermaid", "flowchart TB"), ("svg", "<svg ")])
def test_the_command_writes_to_stdout(cli, form, start):
    """`nsprov graph FILE --format FORM` writes the drawing and nothing else."""
    done = cli(os.path.join(TOPOLOGIES, "bridge.yml"), "--format", form)

    assert (0, start) == (done.exit_code, done.stdout[: len(start)])


def test_the_command_writes_a_file_in_the_format_of_its_suffix(cli, tmp_path):
    """`--out FILE` leaves stdout alone, and `.svg` means SVG."""
    done = cli(os.path.join(TOPOLOGIES, "bridge.yml"), "--out", str(tmp_path / "lab.svg"))

    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "lab.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_the_command_says_what_it_cannot_write(cli, tmp_path):
    """A file that cannot be written is a diagnostic with exit code 3."""
    done = cli(os.path.join(TOPOLOGIES, "bridge.yml"), "--out", str(tmp_path / "no" / "lab.svg"))

    assert done.exception.exit_code == 3
    assert "can't write" in str(done.exception)
