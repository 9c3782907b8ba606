"""Words of the command line as values, refused as argparse shows it."""

import argparse
import ast
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn

_PICTURES = (".png", ".svg", ".pdf")
PICTURES = "PNG, SVG or PDF by its ending"


def option(kind: Any) -> Callable[[str], Any]:
    """Text to a value of a kind (`arguments.py`), refused in its words."""
    def refuse(error: type[Exception], was: str, wanted: str) -> NoReturn:
        raise argparse.ArgumentTypeError(f"{was}; wanted {wanted}")

    return lambda text: kind.static(refuse, literal(text))


def literal(text: str) -> Any:
    """A number, several with commas, True, False or None; all else is a word."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def some_of(names: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        return [one_of(names)(name) for name in text.split(",")]

    return parse


def one_of(names: Collection[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"was {text!r}; wanted one of {', '.join(names)}")
        return text

    return parse


def json_file(text: str) -> str:
    return text if text == "-" else _file(text, (".json",), ", or -")


def picture_file(text: str) -> str:
    return _file(text, _PICTURES)


def lines_file(text: str) -> str:
    return _file(text, (".jsonl",))


def page_file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"was {text!r}; wanted a file ending in .md, with tables to be replaced")
    return _file(text, (".md",))


def _file(text: str, endings: tuple[str, ...], instead: str = "") -> str:
    """Where something will be written; refused where it could not, before anything is computed for it."""
    path, wanted = Path(text), f"a file ending in {_spell(endings)}, in a folder that exists{instead}"
    if path.suffix.lower() not in endings or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"was {text!r}; wanted {wanted}")
    there = os.path.lexists(text)
    try:
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise argparse.ArgumentTypeError(f"was {text!r}, which cannot be written "
                                         f"({getattr(error, 'strerror', None) or error}); wanted {wanted}") from None
    return text


def _spell(endings: tuple[str, ...]) -> str:
    return " or ".join([*filter(None, [", ".join(endings[:-1])]), endings[-1]])


def whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"was {text!r}; wanted a whole number of at least {least}")
        return int(text)

    return parse
