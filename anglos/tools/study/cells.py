"""The trainings of the study, one a line of a file: what is there is not made again."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anglos.tools.study.recipes import MAIN, RECIPES, Options
from anglos.tools.study.tasks import LONGER, task
from anglos.tools.study.train import STEPS, by_class, embeddings, measure, train

Record = dict[str, Any]
CURVES = ("arcface", "supcon")
"""The losses that are trained in other libraries too."""
_SHOWN = 10  # numbers of a curve, where it is not compared


class Cell(NamedTuple):
    """One training."""

    part: str
    """tune: to choose a setting; test: to report; curve: every step's loss, to compare libraries."""
    task: str
    loss: str
    setting: Options
    seed: int
    backend: str
    steps: int

    def key(self) -> str:
        return json.dumps(self._asdict(), sort_keys=True)


_NUMBER, _WHOLE, _WORD = ((int, float), "a number"), ((int,), "an integer"), ((str,), "a word")
_WANTED = {"part": _WORD, "task": _WORD, "loss": _WORD, "setting": ((dict,), "an object"), "seed": _WHOLE,
           "backend": _WORD, "steps": _WHOLE,
           **dict.fromkeys(("eer", "threshold", "tar", "recall", "map_at_r", "seconds"), _NUMBER)}
"""Of every record: the types of a value, and what they are called."""


def read(path: Path) -> list[Record]:
    """All that is in the file; refused by its line where that is no training."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [_record(path, number, line, number == len(lines)) for number, line in enumerate(lines, 1) if line.strip()]


def append(path: Path, record: Record) -> None:
    """A line of its own, after a last one that does not end in one too."""
    ended = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * (not ended) + json.dumps(record) + "\n")


def _record(path: Path, number: int, line: bytes, unended: bool) -> Record:
    try:
        record = json.loads(line)
        wrong = next((f"{name!r} was {_short(repr(record.get(name)))}, wanted {wanted}" for name, (kinds, wanted)
                      in _WANTED.items() if type(record.get(name)) not in kinds), None)
    except (ValueError, AttributeError, RecursionError):  # no text, no JSON, or no object of it
        wrong = f"was {_short(line.decode(errors='replace'))}, wanted a JSON object"
        wrong += " (an interrupted write: delete this line, and its training is made again)" * unended
    if wrong:
        raise SystemExit(f"anglos study: {path}, line {number}: {wrong}; wanted a file that anglos study wrote, or "
                         "another name after --out")
    return dict(record)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def cell_of(record: Record) -> Cell:
    return Cell(**{name: record[name] for name in Cell._fields})


def key_of(record: Record) -> str:
    return cell_of(record).key()


def tuning(tasks: list[str], losses: list[str], backend: str, steps: int = STEPS) -> Iterator[list[Cell]]:
    """A list for every task and loss: its settings, which are judged by the validation's images."""
    for name in tasks:
        for loss in losses:
            if name == "characters" or loss in MAIN:
                yield [Cell("tune", name, loss, setting, 0, backend, steps * LONGER.get(name, 1))
                       for setting in RECIPES[loss]]


def with_seeds(tune: list[Cell], done: dict[str, Record], seeds: int) -> list[Cell]:
    """The best of the settings, once for every seed."""
    both = tune[0].loss in MAIN and tune[0].task in ("characters", *LONGER)
    best = [chosen(tune, done, figure) for figure in (("eer", "map_at_r") if both else ("eer",))]
    return [tune[0]._replace(part="test", setting=setting, seed=seed)
            for i, setting in enumerate(best) if setting not in best[:i] for seed in range(seeds)]


def chosen(tune: list[Cell], done: dict[str, Record], figure: str = "eer") -> Options:
    """The setting of least EER, or of most of another figure, on the validation's classes; of equals the first."""
    sign = 1 if figure == "eer" else -1
    return min(tune, key=lambda cell: sign * done[cell.key()][figure]).setting


def curves(losses: list[str], backends: tuple[str, ...], steps: int = STEPS) -> list[Cell]:
    """The same training in several libraries, with the first setting of the loss."""
    return [Cell("curve", "characters", loss, RECIPES[loss][0], 0, backend, steps)
            for loss in losses if loss in CURVES for backend in backends]


def make(cell: Cell) -> Record:
    """Train and measure; the seconds are the processor's."""
    started = time.process_time()
    learnt, judged = getattr(task(cell.task), "tune" if cell.part == "tune" else "test")
    trained = train(cell.backend, cell.loss, cell.setting, learnt, cell.seed, cell.steps)
    found = embeddings(trained, learnt, judged)
    measured = measure(found, judged.labels)
    record = cell._asdict() | {name: round(value, 6) for name, value in measured.items()}
    if cell.part == "test" and cell.task in ("characters", *LONGER):
        shares = by_class(found, judged.labels, measured["threshold"])
        record["classes"] = np.rint(1e5 * shares).astype(int).tolist()
    if cell.part != "tune":
        whole = np.asarray(trained.curve)
        shown = whole if cell.part == "curve" else whole.reshape(_SHOWN, -1).mean(axis=1)
        record["curve"] = [float(f"{value:.6g}") for value in shown]
    return record | {"seconds": round(time.process_time() - started, 1)}
