"""Run playbooks, each in a fork of one interpreter that has all imported: many.py nsprov|ansible INVENTORY PLAYBOOK...

Writes to stdout a JSON object of what each has written, by playbook; two run at a time.
"""

import json
import os
import sys
import tempfile

AT_ONCE = 2


def ansible():
    """Give what runs a playbook with ansible-core."""
    from ansible.cli.playbook import PlaybookCLI  # noqa: PLC0415 - only one of the two is wanted
    from ansible.executor import playbook_executor, task_executor  # noqa: F401, PLC0415 - here once, not in each fork

    return lambda playbook, inventory: PlaybookCLI(["ansible-playbook", playbook, "-i", inventory]).run()


def nsprov():
    """Give what runs a playbook with ours."""
    from nsprov.__main__ import main  # noqa: PLC0415 - as above
    from nsprov.playbook.running import plays  # noqa: F401, PLC0415 - as above

    def run(playbook, inventory):
        sys.argv = ["nsprov", "play", playbook, "-i", inventory, "-o", "json"]
        main()

    return run


def start(run, playbook, inventory):
    """Run one in a child, and give its PID and what it writes."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads it
    pid = os.fork()
    if pid:
        return pid, output
    try:
        os.dup2(output.fileno(), 1)
        run(playbook, inventory)
    finally:
        sys.stdout.flush()
        os._exit(0)


def main():
    """Run all."""
    program, inventory, *playbooks = sys.argv[1:]
    run = {"ansible": ansible, "nsprov": nsprov}[program]()
    running, found = [], {}
    for playbook in [*playbooks, *[None] * AT_ONCE]:
        if playbook is not None:
            running.append((playbook, *start(run, playbook, inventory)))
        if len(running) >= AT_ONCE or (playbook is None and running):
            name, pid, output = running.pop(0)
            os.waitpid(pid, 0)
            output.seek(0)
            found[name] = json.loads(output.read() or b"null")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
