"""`anglos study`."""

import argparse

from anglos.tools.command_words import lines_file, page_file, some_of
from anglos.tools.commands.extras import needs
from anglos.tools.demo.backends import BACKENDS
from anglos.tools.study.recipes import MAIN, RECIPES

HELP = "which loss verifies best what it has never seen: train with all, many times; tables and pictures"
TASKS = ("characters", "characters-longer", "characters-200", "characters-20", "digits")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loss", type=some_of(RECIPES), action="extend", metavar="NAME[,NAME]",
                        help=f"which of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--task", type=some_of(TASKS), action="extend", metavar="NAME[,NAME]",
                        help=f"which of {', '.join(TASKS)} (default: all; but for the first, of {', '.join(MAIN)})")
    parser.add_argument("--seeds", type=int, choices=range(2, 11), default=5, metavar="N",
                        help="starts of every training, 2 to 10 (default: 5)")
    parser.add_argument("--backend", choices=BACKENDS, default="numpy", help="the array library (default: numpy)")
    parser.add_argument("--curves", type=some_of(BACKENDS), default=[], metavar="NAME[,NAME]",
                        help="array libraries in which two trainings are compared step by step")
    parser.add_argument("--out", type=lines_file, default="anglos-study.jsonl", metavar="FILE",
                        help="a line for every training; those that are there are not made again "
                             "(default: %(default)s)")
    parser.add_argument("--page", type=page_file, metavar="FILE",
                        help="Markdown whose tables are to be replaced; pictures go beside it")


def run(parsed: argparse.Namespace) -> None:
    with needs("demo", "study"):
        from anglos.tools.study.run import run as train_and_report
    for library in (parsed.backend, *parsed.curves):
        with needs(library, "study"):
            BACKENDS[library]()
    train_and_report(list(dict.fromkeys(parsed.task or TASKS)), list(dict.fromkeys(parsed.loss or RECIPES)),
                     parsed.seeds, parsed.backend, tuple(parsed.curves), parsed.out, parsed.page)
