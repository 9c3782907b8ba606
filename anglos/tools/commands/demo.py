"""`anglos demo`."""

import argparse

from anglos.tools.command_words import PICTURES, picture_file, some_of, whole
from anglos.tools.commands.extras import needs
from anglos.tools.demo.backends import BACKENDS
from anglos.tools.demo.recipes import PROTOTYPES, RECIPES

HELP = "five losses, one sphere each: train on real digits, draw a picture"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loss", type=some_of(RECIPES), action="extend", metavar="NAME[,NAME]",
                        help=f"which of {', '.join(RECIPES)} (default: the first {len(PROTOTYPES)})")
    parser.add_argument("--backend", choices=BACKENDS, default="numpy", help="the array library (default: numpy)")
    parser.add_argument("--epochs", type=whole(1), default=40, metavar="N", help="times over the digits (default: 40)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of all that is random (default: 0)")
    parser.add_argument("--out", type=picture_file, default="anglos-demo.png", metavar="FILE",
                        help=f"where the picture goes, {PICTURES} (default: %(default)s)")


def run(parsed: argparse.Namespace) -> None:
    with needs("demo"):
        from anglos.tools.demo.run import run as train_and_draw
    with needs(parsed.backend):
        library = BACKENDS[parsed.backend]()
    train_and_draw(list(dict.fromkeys(parsed.loss or PROTOTYPES)), library, parsed.epochs, parsed.seed, parsed.out)
