"""What the real Ansible makes of inventories: cases on stdin as JSON, answers on stdout; one process for all of them."""

import json
import os
import sys

from ansible import context
from ansible.cli.inventory import InventoryCLI
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager


def answer(case):
    """Give what `ansible-inventory` prints, and the hosts of patterns, of one case."""
    os.chdir(case["folder"])
    loader = DataLoader()
    loader.set_basedir(case["beside"])
    inventory = InventoryManager(loader=loader, sources=case["sources"])
    program = InventoryCLI(["ansible-inventory", "--graph", "--vars"])
    program.parse()
    program.loader, program.inventory, program.vm = loader, inventory, VariableManager(loader=loader, inventory=inventory)
    return {
        "list": json.loads(program.dump(program.json_inventory(inventory.groups["all"]))),
        "hosts": {name: variables(program, host) for name, host in inventory.hosts.items()},
        "graph": program.inventory_graph(),
        "patterns": {pattern: named(inventory, pattern) for pattern in case["patterns"]},
        "limits": {limit: limited(inventory, limit) for limit in case["limits"]},
    }


def variables(program, host):
    """Give what `--host` prints."""
    return json.loads(program.dump(program._get_host_variables(host)))  # noqa: SLF001 - there is no other way to ask it


def named(inventory, pattern):
    """Give the hosts of a pattern, or what is wrong with it."""
    try:
        return [host.name for host in inventory.get_hosts(pattern)]
    except AnsibleError as problem:
        return str(problem)


def limited(inventory, limit):
    """Give all hosts that a limit leaves."""
    try:
        inventory.subset(limit)
        return named(inventory, "all")
    except AnsibleError as problem:
        return str(problem)
    finally:
        inventory.subset(None)


def main():
    """Answer all cases."""
    answers = {case["name"]: answer(case) for case in json.load(sys.stdin)}
    assert context.CLIARGS["show_vars"]
    json.dump(answers, sys.stdout)


main()
