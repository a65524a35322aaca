"""Broken input and what is said about it: expected texts beside the inputs, written anew with NSPROV_BLESS=1."""

import os


def written(diagnostics):
    """Write diagnostics as the expected texts do."""
    lines = []
    for diagnostic in diagnostics:
        lines.append(f"{diagnostic.where}: {diagnostic.summary}")
        lines += [f"  {word}: {text}" for word in ("detail", "hint") if (text := getattr(diagnostic, word))]
    return "\n".join(lines) + "\n"


def expected(path, found):
    """Give what a text says that is expected, or make it say what was found."""
    if os.environ.get("NSPROV_BLESS"):
        path.write_text(found, encoding="utf-8")
    return path.read_text(encoding="utf-8")
