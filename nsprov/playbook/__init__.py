"""Playbooks: what happens, in order; the language is Ansible's, as far as it is supported, and says so where it is not.

`reading` makes values of files, `running` carries them out over the sessions of a fleet.
"""
