"""Carry out plays: each host has a program, a generator; a scheduler sends what the programs ask for, to all at once.

`program` walks the tasks of one host and collects what can travel together; `scheduler` drives all programs of a play;
`work` makes messages of tasks; `locally` does what needs no host; `record` keeps what happened.
"""
