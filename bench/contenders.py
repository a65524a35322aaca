"""Who takes part in the benchmark, with the commands of each; and the topologies that nsprov is given."""

import os
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = "/run/bench"  # inside the sandbox

TOPOLOGY = """\
name: star
prefix: ""
vars: {{n: {count}}}
{defaults}
bridges:
  br0: {{address: 10.64.0.1/16, stp: false}}

nodes:
{nodes}"""

NODE = """\
  {name}:
    interfaces:
      eth0: {{bridge: br0, address: {address}}}
    routes:
      - {{to: default, via: 10.64.0.1}}
    dns: {{nameservers: [10.64.0.1]}}
"""


@dataclass(frozen=True)
class Contender:
    """The commands of one contender: step name -> argv; "up" comes first, "down" last."""

    steps: dict[str, list[str]]
    pins: tuple[str, ...] = ("net",)  # kinds of namespaces that are pinned, per node
    resident: bool = False  # "up" prints a line and stays; "down" is the end of its input
    slow: bool = False  # once at 500 nodes, not at all above, unless all is asked for


def address(number):
    high, low = divmod(number + 1, 256)
    return f"10.64.{high}.{low}/16"


def topology(count, *, full, edited=False):
    """Write the star; the last node stands alone so that an edit of its address changes nothing else."""
    last = "10.64.255.200/16" if edited else address(count)
    nodes = NODE.format(name=f"h{count}", address=last)
    if count > 1:
        pattern = '"10.64.{{ (index + 1) // 256 }}.{{ (index + 1) % 256 }}/16"'
        nodes = NODE.format(name=f'"h[1:{count - 1}]"', address=pattern) + nodes
    defaults = "" if full else "\ndefaults:\n  node: {namespaces: [net]}\n"
    return TOPOLOGY.format(count=count, defaults=defaults, nodes=nodes)


def contenders(count, nsprov, star):
    """Return every contender for a star of `count` nodes, by name.

    Args:
        count: how many nodes.
        nsprov: argv of the command nsprov.
        star: path of the compiled star.c.
    """
    number = str(count)
    shell, batch, mininet = (os.path.join(HERE, name) for name in ("star.sh", "star_batch.sh", "star_mininet.py"))
    lab, edited = f"{WORK}/star.yml", f"{WORK}/edited.yml"
    steps = {
        "up": [*nsprov, "up", lab],
        "no-op": [*nsprov, "up", lab],
        "edit": [*nsprov, "up", edited],
        "down": [*nsprov, "down", lab],
    }
    return {
        "nsprov": Contender(steps),
        "nsprov-full": Contender(steps, pins=("net", "mnt", "uts")),
        "c": Contender({"up": [star, "up", number], "down": [star, "down", number]}),
        "c-full": Contender(
            {"up": [star, "--full", "up", number], "down": [star, "--full", "down", number]}, pins=("net", "mnt", "uts")
        ),
        "batch-inplace": Contender({"up": ["bash", batch, "up", number, "inplace"], "down": ["bash", batch, "down", number]}),
        "batch-move": Contender({"up": ["bash", batch, "up", number, "move"], "down": ["bash", batch, "down", number]}),
        "shell": Contender({"up": ["sh", shell, "up", number], "down": ["sh", shell, "down", number]}, slow=True),
        "mininet": Contender({"up": ["/usr/bin/python3", mininet, number], "down": []}, pins=(), resident=True, slow=True),
    }
