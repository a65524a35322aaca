"""The words of plays, blocks and tasks: those that are supported, and what Ansible has besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INHERITED = frozenset(
    {
        *("any_errors_fatal", "become", "become_user", "check_mode", "delegate_to", "diff", "environment"),
        *("ignore_errors", "ignore_unreachable", "no_log", "run_once", "tags", "vars", "when"),
    }
)
"""What a block says for all tasks in it."""

TASK = INHERITED | {
    *("args", "changed_when", "delay", "failed_when", "loop", "loop_control", "name", "notify", "register", "retries", "until"),
}
HANDLER = TASK | {"listen"}
BLOCK = INHERITED | {"always", "block", "name", "notify", "rescue"}
PLAY = (INHERITED - {"when", "run_once", "delegate_to"}) | {
    *("gather_facts", "handlers", "hosts", "lab", "max_fail_percentage", "name", "post_tasks", "pre_tasks", "serial"),
    *("strategy", "tasks", "vars_files"),
}

ANSIBLE: Mapping[str, str] = {
    "action": "name the module itself: `command: ...`",
    "async": "use a `workload:`, which stays and is supervised",
    "become_exe": "use sudo, su or doas from the PATH of the host",
    "become_flags": "set what sudo may do in the sudoers file of the host",
    "become_method": "set it in the inventory: `ansible_become_method`",
    "collections": "use the modules of nsprov by their names",
    "connection": "set it in the inventory: `ansible_connection`",
    "debugger": "use --step, or --start-at-task",
    "delegate_facts": "use `register` and `hostvars`",
    "fact_path": "use `vars_files` or host_vars",
    "force_handlers": "put what must run in any case into `always`",
    "gather_subset": "gather all with `gather_facts: true`: it is one message",
    "gather_timeout": "gather all with `gather_facts: true`: it is one message",
    "local_action": "use `delegate_to: localhost`",
    "module_defaults": "use a variable",
    "order": "order the hosts in the inventory",
    "poll": "use a `workload:`, which stays and is supervised",
    "port": "set it in the inventory: `ansible_port`",
    "remote_user": "set it in the inventory: `ansible_user`, or with --user",
    "roles": "use `import_tasks`, and `vars_files` for its defaults",
    "sudo": "use `become: true`",
    "throttle": "use `serial`, or --forks",
    "timeout": "use `timeout` in front of the command, or --host-timeout",
    "vars_prompt": "give the variables with -e",
}
"""What Ansible has and nsprov has not, with what to do."""
