"""The init of a node: PID 1 of its pid namespace, or a subreaper, that supervises the node's workloads.

`spawn` and `client` are the agent's side. All the rest runs in the node, on the standard library and the `PARTS` alone.
"""

from __future__ import annotations

PARTS = (
    *("nsprov", "nsprov.kernel", "nsprov.kernel.libc", "nsprov.kernel.children"),
    "nsprov.init",
    *("nsprov.init.attempt", "nsprov.init.confine", "nsprov.init.control", "nsprov.init.launch", "nsprov.init.logs"),
    *("nsprov.init.loop", "nsprov.init.main", "nsprov.init.notify", "nsprov.init.offspring", "nsprov.init.passwd"),
    *("nsprov.init.probe", "nsprov.init.process", "nsprov.init.processes", "nsprov.init.protocol"),
    *("nsprov.init.record", "nsprov.init.restarts", "nsprov.init.rlimits", "nsprov.init.run", "nsprov.init.seccomp"),
    *("nsprov.init.server", "nsprov.init.spec", "nsprov.init.supervisor", "nsprov.init.vigil"),
    *("nsprov.init.workload", "nsprov.init.zygote"),
)
"""The modules that an init runs on, which is all that its interpreter gets; packages come empty."""
