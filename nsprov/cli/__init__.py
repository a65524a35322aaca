"""The command line: parse, call `provision`, show the outcome, exit."""
