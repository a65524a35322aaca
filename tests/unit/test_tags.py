"""`--tags` and `--skip-tags` take the tasks that ansible-core takes."""

from __future__ import annotations

from itertools import chain, combinations, product

import pytest
from ansible.playbook.task import Task

from nsprov.playbook.model import Selection

SPECIAL = ("always", "never", "all", "tagged", "untagged")
WORDS = ("a", "b", *SPECIAL)


def subsets(words, most):
    """Give all subsets of up to so many words."""
    return [frozenset(found) for found in chain.from_iterable(combinations(words, size) for size in range(most + 1))]


class Tagged(Task):
    """A task with nothing but tags."""

    def __init__(self, tags):
        """Store them, where ansible-core looks for them."""
        super().__init__()
        self._tags = sorted(tags)

    def _get_all_taggable_objects(self):
        """Give the task alone: it stands in no play."""
        return iter([self])


@pytest.mark.parametrize(
    "tags", subsets(("a", "b", "always", "never", "untagged"), 3), ids=lambda tags: ",".join(sorted(tags)) or "none"
)
def test_tags_are_taken_as_in_ansible(tags):
    """Whatever is asked for, a task is taken here if and only if it is there; to ask for nothing is to ask for all."""
    task, wrong = Tagged(tags), []
    for only, skip in product(subsets(WORDS, 2), subsets(WORDS, 2)):
        expected = task.evaluate_tags(only or {"all"}, skip, {})
        if Selection(only=only, skip=skip).takes(tags) != expected:
            wrong.append((sorted(only), sorted(skip), expected))

    assert wrong == []
