"""The command line: `python -m anglos losses`, `plot`, `demo` and `bench`."""

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from anglos.call.loss import Loss
from anglos.losses import LOSSES
from anglos.tools.bench import device
from anglos.tools.bench.device_rows import TYPES
from anglos.tools.bench.problem import BYTES, HEADS, Problem
from anglos.tools.bench.steps import LIBRARIES, has_device, installed
from anglos.tools.command_words import json_file, literal, one_of, option, png_file, some_of, whole
from anglos.tools.demo.backends import BACKENDS
from anglos.tools.demo.recipes import PROTOTYPES, RECIPES
from anglos.tools.table import losses_table

_NUMBERS = {"batch": (256, 1, "B, embeddings"), "dimension": (512, 1, "D"), "classes": (20_000, 2, "C"),
            "repeats": (3, 1, "of which the median is shown")}
"""Of a measurement: the default, the least, and what it is."""

# They say nothing about one sample and one class.
_NOT_DRAWN = ("label_smoothing", "ignore_index", "keep_bytes", "gradient_products", "reduction")


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: Any = None) -> None:
        """Not as argparse does it, which ignores what cannot be written."""
        print(self.format_help(), end="", file=file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run what it asks for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # formulas are Greek, which not every terminal takes
    parser = _Parser("python -m anglos", description="Angular-margin and metric-learning losses.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    losses = commands.add_parser("losses", help="the table of losses: formula, defaults, paper")
    losses.set_defaults(run=lambda _: print(losses_table()))
    plot = commands.add_parser("plot", help="what a loss makes of the angle θ, and its slope: draw a picture")
    plots = plot.add_subparsers(required=True, metavar="LOSS")
    for loss in LOSSES.values():
        _add_plot(plots.add_parser(loss.name, description=f"{loss.name}: {loss.formula}"), loss)
    demo = commands.add_parser("demo", help="five losses, one sphere each: train on real digits, draw a picture")
    demo.set_defaults(run=_demo)
    demo.add_argument("--loss", type=some_of(RECIPES), action="extend", metavar="NAME[,NAME]",
                      help=f"which of {', '.join(RECIPES)} (default: the first {len(PROTOTYPES)})")
    demo.add_argument("--backend", choices=BACKENDS, default="numpy", help="the array library (default: numpy)")
    demo.add_argument("--epochs", type=whole(1), default=40, metavar="N", help="times over the digits (default: 40)")
    demo.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of all that is random (default: 0)")
    demo.add_argument("--out", type=png_file, default="anglos-demo.png", metavar="PNG",
                      help="where the picture goes (default: %(default)s)")
    _add_bench(commands.add_parser("bench", help="a loss in every library, beside its peers: measure time and memory"))
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:  # said by the parser whose usage helps
        getattr(parsed, "parser", parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    parsed.run(parsed)


def _add_plot(parser: argparse.ArgumentParser, loss: Loss[...]) -> None:
    """A command for one loss, with its options."""
    parser.set_defaults(run=_plot, parser=parser, loss=loss)
    for name, default in loss.defaults.items():
        if hasattr(loss.kinds[name], "shape") or name in _NOT_DRAWN:
            continue
        choices = getattr(loss.kinds[name], "choices", ())
        parser.add_argument(*dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")), dest=name,
                            type=option(loss.kinds[name]), default=argparse.SUPPRESS,
                            metavar="|".join(map(str, choices)) or name.upper(), help=f"default: {default}")
    if {"norm_range", "norm_mean"} & loss.defaults.keys():
        parser.add_argument("--length", type=literal, default=argparse.SUPPRESS, metavar="LENGTHS",
                            help="of the embedding, up to three with commas: one line each")
    parser.add_argument("--out", type=png_file, default=f"anglos-{loss.name}.png", metavar="PNG",
                        help="where the picture goes (default: %(default)s)")


def _plot(parsed: argparse.Namespace) -> None:
    with _needs("demo", "plot"):
        from anglos.tools.plot import plot_target
    options = {name: value for name, value in vars(parsed).items() if name in {"length", *parsed.loss.defaults}}
    try:
        figure = plot_target(parsed.loss, **options)
    except (TypeError, ValueError) as refused:
        parsed.parser.error(str(refused))
    figure.savefig(parsed.out)
    print(f"The picture is in {parsed.out}")


def _demo(parsed: argparse.Namespace) -> None:
    with _needs("demo"):
        from anglos.tools.demo.run import run
    with _needs(parsed.backend):
        library = BACKENDS[parsed.backend]()
    run(list(dict.fromkeys(parsed.loss or PROTOTYPES)), library, parsed.epochs, parsed.seed, parsed.out)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_bench, parser=parser)
    parser.add_argument("--loss", type=one_of(HEADS), default="arcface", metavar="NAME",
                        help="a loss of embeddings, weights (C, D) and labels (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu",
                        help="cuda: PyTorch alone, in a table of sizes and types, or of those given (default: cpu)")
    for name, (default, least, what) in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=whole(least), metavar="N", help=f"{what} (default: {default:,})")
    parser.add_argument("--dtype", choices=dict.fromkeys((*BYTES, *TYPES)),
                        help="of embeddings and weights (default: float32); tf32 and amp, float32 weights beside "
                             "bfloat16 embeddings, on cuda alone")
    parser.add_argument("--library", type=some_of(LIBRARIES), action="extend", metavar="NAME[,NAME]",
                        help=f"which of {', '.join(LIBRARIES)} (default: all that are installed)")
    parser.add_argument("--json", type=json_file, nargs="?", const="-", metavar="JSON",
                        help="where the numbers go; without a file, or with -, in place of the table")
    parser.add_argument("--plot", type=png_file, metavar="PNG",
                        help="measure from 1,000 classes on as well, a row until its step takes 10 s, and draw it all")
    parser.add_argument("--classes-max", type=whole(1000), metavar="N", help="where --plot ends (default: --classes)")


def _bench(parsed: argparse.Namespace) -> None:
    if parsed.device == "cuda":
        return _bench_device(parsed)
    for name, default in (("dtype", "float32"), *((name, default) for name, (default, *_) in _NUMBERS.items())):
        vars(parsed)[name] = vars(parsed)[name] or default
    if parsed.dtype not in BYTES:
        parsed.parser.error(f"argument --dtype: was {parsed.dtype!r}, which is for --device cuda")
    if parsed.classes_max and not parsed.plot:
        parsed.parser.error("argument --classes-max: was given without --plot, which it is for")
    with _needs("demo", "bench"):
        from anglos.tools.bench.run import run, sizes
        if parsed.plot:
            from anglos.tools.bench.picture import draw
        else:
            import numpy  # noqa: F401
    libraries = list(dict.fromkeys(parsed.library or installed(parsed.dtype)))
    for name in libraries:
        if parsed.dtype not in LIBRARIES[name].dtypes:
            parsed.parser.error(f"argument --dtype: was {parsed.dtype!r}; wanted one of "
                                f"{', '.join(LIBRARIES[name].dtypes)} for {name}")
        with _needs(name, "bench"):
            import_module(name)
        if not has_device(name):
            raise SystemExit(f"anglos bench: {name} is installed but finds no GPU")
    if not libraries:
        raise SystemExit(f"anglos bench: no library for {parsed.dtype} is installed; pip install 'anglos[torch]'")
    series = sizes(parsed.classes_max or max(1000, parsed.classes)) if parsed.plot else []
    problem = Problem(parsed.loss, parsed.batch, parsed.dimension, parsed.classes, parsed.dtype)
    done = run(problem, libraries, parsed.repeats, series, parsed.json)
    if parsed.plot:
        draw(done, parsed.plot)
        print(f"The picture is in {parsed.plot}", file=sys.stderr if parsed.json == "-" else sys.stdout)


def _bench_device(parsed: argparse.Namespace) -> None:
    refused = {"library": set(parsed.library or ()) - {"torch"}, "plot": parsed.plot,
               "classes-max": parsed.classes_max, "dtype": parsed.dtype not in (None, *TYPES)}
    for name, given in refused.items():
        if given:
            parsed.parser.error(f"argument --{name}: is not for --device cuda, which measures PyTorch alone, in "
                                f"{', '.join(TYPES)}" if name in ("library", "dtype") else
                                f"argument --{name}: is for --device cpu")
    with _needs("torch", "bench"):
        torch: Any = import_module("torch")
    if not torch.cuda.is_available():
        raise SystemExit(f"anglos bench: PyTorch {torch.__version__} finds no CUDA device; "
                         "--device cpu measures the processor")
    device.run(device.problems(parsed.loss, parsed.dtype, parsed.batch, parsed.classes, parsed.dimension), "cuda",
               parsed.repeats or 30, lambda line: print(line, file=sys.stderr, flush=True), parsed.json)


@contextmanager
def _needs(extra: str, command: str = "demo") -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        name = (missing.name or extra).partition(".")[0]
        raise SystemExit(f"anglos {command}: {name} is not installed; pip install 'anglos[{extra}]', "
                         f"or in a clone pip install -e '.[{extra}]'") from None


def _end_as_unix_tools_do() -> None:
    """By SIGPIPE where nothing reads on; with a line and status 1 where nothing can be written."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # no socket is open here
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            main()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        if sys.stdout is not None:  # which Python flushes again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(f"anglos: standard output: {error.strerror}") from None


if __name__ == "__main__":
    _end_as_unix_tools_do()
