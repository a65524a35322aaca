"""Where the `nsprov` command and `python -m nsprov` begin."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # One short run that builds values and never drops cycles: the collector would walk them all again and again.
    gc.disable()
    # Ctrl-C while we are still being loaded ends us as it ends any program: there is nothing to say or to put back.
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loading:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from nsprov.cli.app import run  # noqa: PLC0415 - after the collector is off, for start-up

    if loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking the values of a large lab apart one by one is time that nobody gains from.
    os._exit(code)


if __name__ == "__main__":
    main()
