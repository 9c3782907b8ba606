"""What a command needs beyond the core, said in one line where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str, command: str = "demo") -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        name = (missing.name or extra).partition(".")[0]
        raise SystemExit(f"anglos {command}: {name} is not installed; pip install 'anglos[{extra}]', "
                         f"or in a clone pip install -e '.[{extra}]'") from None
