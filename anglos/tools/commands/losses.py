"""`anglos losses`."""

import argparse
import shutil
import sys

from anglos.tools.table import losses_table

HELP = "the table of losses: formula, defaults, paper"


def add(parser: argparse.ArgumentParser) -> None:
    """Takes nothing."""


def run(parsed: argparse.Namespace) -> None:
    print(losses_table(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
