"""A callback of ansible-core that writes all results as one JSON object to stdout, in the order in which they come."""

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: collect
type: stdout
short_description: all results as JSON
description: For tests.
"""


class CallbackModule(CallbackBase):
    """Collects."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "collect"

    def __init__(self):
        super().__init__()
        self.rows = []

    def _add(self, result, **more):
        found = json.loads(json.dumps(dict(result.result), default=str))
        self.rows.append([result.host.get_name(), result.task.get_name(), {**found, **more}])

    def v2_runner_on_ok(self, result):
        self._add(result)

    def v2_runner_on_failed(self, result, **_terms):
        self._add(result, failed=True)

    def v2_runner_on_skipped(self, result):
        self._add(result, skipped=True)

    def v2_runner_on_unreachable(self, result):
        self._add(result, unreachable=True)

    def v2_playbook_on_include(self, included):
        for host in included._hosts:  # noqa: SLF001 - ansible-core offers no other way
            self.rows.append([host.get_name(), included._task.get_name(), {"included": True}])  # noqa: SLF001 - as above

    def v2_playbook_on_stats(self, stats):
        counts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._display.display(json.dumps({"rows": self.rows, "stats": counts}))
