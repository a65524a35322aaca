"""Use an installed wheel from elsewhere: its templates are found, and the agent for SSH is built from it."""

import os
import subprocess
import sys

import nsprov
from nsprov.agent import bundle

os.chdir("/")
command = os.path.join(os.path.dirname(sys.executable), "nsprov")
assert "site-packages" in nsprov.__file__, nsprov.__file__
text = subprocess.run([command, "render", "-t", sys.argv[1]], check=True, capture_output=True, text=True).stdout
assert "nameserver 8.8.8.8" in text, text
files = bundle.members()
assert {"nsprov/agent/engine.py", "nsprov/kernel/netlink.py", "pyroute2/__init__.py"} <= files.keys()
print(f"templates found; the agent has {len(files)} files, {len(bundle.pack(files)[0]) >> 10} KiB")
