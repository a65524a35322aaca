"""When the kernel refuses one of several that are made at once, the others are known as ours, and go back with the rest."""

import pytest

from nsprov.agent.run import Run
from nsprov.errors import KernelError
from nsprov.kernel.lab import Lab
from nsprov.kinds.bridge import Bridge
from nsprov.kinds.netns import Netns
from nsprov.kinds.veth import Veth
from nsprov.kinds.vxlan import Vxlan

LAB = "refused"
MULTICAST = "01:00:00:00:00:01"
"""No link can have such an address."""

CASES = {
    "bridge": [Bridge(node="", name="t-b1"), Bridge(node="", name="t-b2", mac=MULTICAST), Bridge(node="", name="t-b3")],
    "veth": [
        Veth(node="a", ifname=f"eth{number}", peer_node="", peer_ifname=f"t-v{number}", peer_mac=mac)
        for number, mac in enumerate((None, MULTICAST, None))
    ],
    "vxlan": [
        Vxlan(node="a", ifname=f"eth{number}", vni=vni, port=4789, local="10.9.0.1", remotes=("10.9.0.2",))
        for number, vni in enumerate((7001, 7001, 7002))
    ],
}


@pytest.mark.root
@pytest.mark.parametrize("kind", CASES)
def test_what_was_made_beside_a_refused_one_goes_back(kind, host, forked):
    """The check after each test sees that nothing is left."""
    states = [Netns(node="a", name="t-a"), *CASES[kind]]

    def work():
        with Lab(LAB).locked("a test"):
            run = Run(LAB, {resource.ref(): resource for resource in states})
            run.look()
            run.plan()
            try:
                run.execute(lambda *_: None)
            except KernelError as problem:
                return problem.diagnostics[0].where, run.rollback()
            return "nothing was refused", ()

    assert forked(work) == (str(CASES[kind][1].ref()), ())
