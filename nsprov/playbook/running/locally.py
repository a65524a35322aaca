"""Modules that need no host: what they say and what they make known."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.playbook.model import RAW
from nsprov.playbook.reading import load_variables
from nsprov.texts import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.playbook.running.record import Result
    from nsprov.playbook.variables import Known, World
    from nsprov.render.native import Expressions
    from nsprov.vault import Password

HELLO = "Hello world!"


class Locally:
    """Does what a task asks for on the controller; the arguments are filled in, but for conditions."""

    def __init__(self, world: World, expressions: Expressions, folder: str, passwords: Sequence[Password]) -> None:
        """Store what the modules work with."""
        self._world = world
        self._expressions = expressions
        self._folder = folder
        self._passwords = passwords
        self._modules: Mapping[str, Callable[[str, Mapping[str, Any], Mapping[str, Any]], Result]] = {
            "assert": self._assert,
            "debug": self._debug,
            "fail": self._fail,
            "group_by": self._group_by,
            "include_vars": self._include_vars,
            "set_fact": self._set_fact,
        }

    def do(self, module: str, host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        """Do it for a host.

        Raises:
            InputError: an argument cannot be evaluated.

        """
        return self._modules[module](host, raw, variables)

    def _debug(self, _host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        if "var" in raw:
            name = str(self._expressions.evaluate(raw["var"], variables))
            try:
                return {"changed": False, name: self._expressions.evaluate("{{ " + name + " }}", variables)}
            except InputError:
                return {"changed": False, name: "VARIABLE IS NOT DEFINED!"}
        return {"changed": False, "msg": self._expressions.evaluate(dict(raw), variables).get("msg", HELLO)}

    def _assert(self, _host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        that = raw["that"] if isinstance(raw["that"], list) else [raw["that"]]
        for one in that:
            if not self._expressions.condition(one, variables):
                message = raw.get("fail_msg", raw.get("msg", "Assertion failed"))
                return self._failed(message, variables) | {"assertion": one, "evaluated_to": False}
        said = self._expressions.evaluate(raw.get("success_msg", "All assertions passed"), variables)
        return {"changed": False, "msg": said}

    def _fail(self, _host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        return self._failed(raw.get("msg", "Failed as requested from task"), variables)

    def _failed(self, message: Any, variables: Mapping[str, Any]) -> Result:
        return {"changed": False, "failed": True, "msg": self._expressions.evaluate(message, variables)}

    def _set_fact(self, host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        found = {key: value for key, value in self._expressions.evaluate(raw, variables).items() if key != "cacheable"}
        for name in found:
            if not str(name).isidentifier():
                raise InputError(Diagnostic(f'"{name}" is no name of a variable', hint="use letters, digits and _"))
        self._world.of(host).registered.update(literal(found))
        return {"changed": False, "ansible_facts": found}

    def _include_vars(self, host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        args = self._expressions.evaluate(raw, variables)
        path = os.path.join(self._folder, str(args.get("file", args.get(RAW))))
        found = load_variables(path, self._passwords)
        known: Known = self._world.of(host)
        if "name" in args:
            found = {str(args["name"]): dict(found)}
        known.included.update(found)
        return {"changed": False, "ansible_facts": dict(found), "ansible_included_var_files": [path]}

    def _group_by(self, host: str, raw: Mapping[str, Any], variables: Mapping[str, Any]) -> Result:
        name = str(self._expressions.evaluate(raw.get("key"), variables)).replace(" ", "-")
        members = self._world.groups.setdefault(name, [])
        if host in members:
            return {"changed": False}
        members.append(host)
        return {"changed": True}
