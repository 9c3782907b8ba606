"""Words of the command line as values, refused as argparse shows it."""

import argparse
import ast
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn


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
    if text != "-" and (Path(text).suffix != ".json" or not Path(text).parent.is_dir()):
        raise argparse.ArgumentTypeError(f"was {text!r}; wanted a file ending in .json, in a folder that exists, or -")
    return text


def png_file(text: str) -> str:
    path = Path(text)
    if path.suffix != ".png" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"was {text!r}; wanted a file ending in .png, in a folder that exists")
    return text


def whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"was {text!r}; wanted a whole number of at least {least}")
        return int(text)

    return parse
