"""The command line: `anglos`, or `python -m anglos`."""

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anglos
from anglos.tools.commands import bench, demo, env, losses, plot, study

COMMANDS = {"losses": losses, "plot": plot, "demo": demo, "bench": bench, "study": study, "env": env}


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: Any = None) -> None:
        """Not as argparse does it, which ignores what cannot be written."""
        print(self.format_help(), end="", file=file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run what it asks for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # formulas are Greek, which not every terminal takes
    parser = _Parser(_called(), description="Angular-margin and metric-learning losses.")
    parser.add_argument("--version", action="version", version=f"anglos {anglos.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.HELP)
        one.set_defaults(run=command.run, parser=one)
        command.add(one)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:  # said by the parser whose usage helps
        parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    parsed.run(parsed)


def _called() -> str:
    """How the user calls it."""
    return "anglos" if Path(sys.argv[0]).stem == "anglos" else "python -m anglos"


def run() -> None:
    """End as Unix tools do.

    By SIGPIPE where nothing reads on; with a line and status 1 where nothing can be written; with status 130 and no
    word where the user interrupts.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # no socket is open here
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        if error.filename is not None:
            raise
        if sys.stdout is not None:  # which Python flushes again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(f"anglos: standard output: {error.strerror}") from None


if __name__ == "__main__":
    run()
