"""The study from start to end: train what is not in the file, then the tables and pictures of all that is."""

import re
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from anglos.tools.study.cells import Cell, Record, append, curves, key_of, make, read, tuning, with_seeds
from anglos.tools.study.pictures import draw
from anglos.tools.study.tables import tables
from anglos.tools.study.train import STEPS


def run(tasks: list[str], losses: list[str], seeds: int, backend: str, compared: tuple[str, ...], out: str,
        page: str | None, steps: int = STEPS) -> None:
    """Each training is a line of `out` as soon as it is done; those that are there are not made again."""
    path = Path(out)
    done = {key_of(record): record for record in read(path)}
    with threadpool_limits(1):  # products this small gain nothing from threads
        for tune in tuning(tasks, losses, backend, steps):
            for cell in tune:
                _make(cell, done, path)
            for cell in with_seeds(tune, done, seeds):
                _make(cell, done, path)
        for cell in curves(losses, compared, steps):
            _make(cell, done, path)
    made = tables([*done.values()])
    print("\n\n".join(made.values()))
    if page:
        fill(Path(page), made)
        draw([*done.values()], Path(page).parent)


def _make(cell: Cell, done: dict[str, Record], path: Path) -> None:
    if cell.key() in done:
        return
    record = make(cell)
    append(path, record)
    done[cell.key()] = record
    print(f"{cell.part} {cell.task} {cell.loss} {cell.setting} seed {cell.seed} {cell.backend}: "
          f"EER {record['eer']:.2%}, {record['seconds']} s", file=sys.stderr, flush=True)


def fill(page: Path, made: dict[str, str]) -> None:
    """Put each table between `<!-- study: NAME -->` and `<!-- end -->`."""
    page.write_text(filled(page.read_text(), made))


def filled(text: str, made: dict[str, str]) -> str:
    return re.sub(r"(<!-- study: (\w+) -->\n).*?(<!-- end -->)",
                  lambda found: f"{found[1]}\n{made[found[2]]}\n\n{found[3]}" if found[2] in made else found[0], text,
                  flags=re.S)
