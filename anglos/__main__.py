"""The command line: `python -m anglos losses` and `python -m anglos demo`."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from anglos._table import losses_table
from anglos.demo.backends import BACKENDS
from anglos.demo.recipes import RECIPES


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser("python -m anglos", description="Angular-margin and metric-learning losses.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    losses = commands.add_parser("losses", help="the table of losses: formula, defaults, paper")
    losses.set_defaults(run=lambda _: print(losses_table()))
    demo = commands.add_parser("demo", help="five losses, one sphere each: train on real digits, draw a picture")
    demo.set_defaults(run=_demo)
    demo.add_argument("--loss", type=_losses, action="extend", metavar="NAME[,NAME]",
                      help=f"which losses, by default all: {', '.join(RECIPES)}")
    demo.add_argument("--backend", choices=BACKENDS, default="numpy", help="the array library (default: numpy)")
    demo.add_argument("--epochs", type=_whole(1), default=40, metavar="N", help="times over the digits (default: 40)")
    demo.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of all that is random (default: 0)")
    demo.add_argument("--out", type=_png, default="anglos-demo.png", metavar="PNG",
                      help="where the picture goes (default: %(default)s)")
    parsed = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # formulas are Greek, which not every terminal takes
    parsed.run(parsed)


def _demo(parsed: argparse.Namespace) -> None:
    with _needs("demo"):
        from anglos.demo.run import run
    with _needs(parsed.backend):
        library = BACKENDS[parsed.backend]()
    run(list(dict.fromkeys(parsed.loss or RECIPES)), library, parsed.epochs, parsed.seed, parsed.out)


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        name = (missing.name or extra).partition(".")[0]
        raise SystemExit(f"anglos demo: {name} is not installed; pip install 'anglos[{extra}]', "
                         f"or in a clone pip install -e '.[{extra}]'") from None


def _losses(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in RECIPES:
            raise argparse.ArgumentTypeError(f"was {name!r}; wanted one of {', '.join(RECIPES)}")
    return names


def _png(text: str) -> str:
    path = Path(text)
    if path.suffix != ".png" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"was {text!r}; wanted a file ending in .png, in a folder that exists")
    return text


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"was {text!r}; wanted a whole number of at least {least}")
        return int(text)

    return parse


if __name__ == "__main__":
    main()
