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


def read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
