"""The demo from start to end: train with each loss, then the table and the picture."""

from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from threadpoolctl import threadpool_limits

from anglos.losses import LOSSES
from anglos.tools.demo.backends import Library
from anglos.tools.demo.data import train_and_test
from anglos.tools.demo.picture import draw
from anglos.tools.demo.recipes import RECIPES, WORDS
from anglos.tools.demo.result import Result
from anglos.tools.demo.train import train
from anglos.tools.table import spell_numbers


def run(losses: list[str], library: Library, epochs: int, seed: int, out: str) -> None:
    """Train with each of the losses, print the table, and save the picture."""
    console = Console()
    train_digits, test_digits = train_and_test(seed)
    # Products this small gain nothing from threads, and on a busy machine they wait for each other.
    with threadpool_limits(1), _progress(console) as progress:
        tasks = {name: progress.add_task(f"{name:20}", total=epochs, start=False, loss="") for name in losses}
        results = []
        for name, task in tasks.items():
            progress.start_task(task)
            report = partial(_advance, progress, task)
            results.append(train(name, library, train_digits, test_digits, epochs, seed, report))
    notes = [" ".join([spell_numbers(LOSSES[name].defaults | RECIPES[name](1.0)), *WORDS.get(name, {}).values()])
             for name in losses]
    console.print(_table(results, notes))
    draw(results, notes, out)
    console.print(f"The picture is in {out}", highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"),
                    TimeElapsedColumn(), TextColumn("{task.fields[loss]}"), console=console)


def _advance(progress: Progress, task: TaskID, loss: float) -> None:
    progress.update(task, advance=1, loss=f"loss {loss:.3f}")


def _table(results: list[Result], notes: list[str]) -> Table:
    table = Table(caption="accuracy: test digits nearest to their own class centre\n"
                          "angle: the smallest between two class centres\n"
                          "softmax margins grow to these over the first four fifths of the training")
    for heading in ("loss", "options"):
        table.add_column(heading, no_wrap=True)
    for heading in ("accuracy", "angle", "seconds"):
        table.add_column(heading, justify="right")
    for result, note in zip(results, notes, strict=True):
        table.add_row(result.loss, note, f"{result.accuracy:.1%}", f"{result.smallest_angle:.1f}°",
                      f"{result.seconds:.1f}")
    return table
