"""`anglos bench`."""

import argparse
import sys
from importlib import import_module
from typing import Any

from anglos.tools.bench import device
from anglos.tools.bench.device_rows import TYPES
from anglos.tools.bench.problem import BYTES, HEADS, Problem
from anglos.tools.bench.steps import LIBRARIES, has_device, installed
from anglos.tools.command_words import PICTURES, json_file, one_of, picture_file, some_of, whole
from anglos.tools.commands.extras import needs

HELP = "a loss in every library, beside its peers: measure time and memory"

_NUMBERS = {"batch": (256, 1, "B, embeddings"), "dimension": (512, 1, "D"), "classes": (20_000, 2, "C"),
            "repeats": (3, 1, "turns, of which medians are shown; ratios of at least 3")}
"""Of a measurement: the default, the least, and what it is."""


def add(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--plot", type=picture_file, metavar="FILE",
                        help="measure from 1,000 classes on as well, a row until its step takes 10 s, and draw it all, "
                             f"{PICTURES}")
    parser.add_argument("--classes-max", type=whole(1000), metavar="N", help="where --plot ends (default: --classes)")


def run(parsed: argparse.Namespace) -> None:
    if parsed.device == "cuda":
        return _bench_device(parsed)
    for name, default in (("dtype", "float32"), *((name, default) for name, (default, *_) in _NUMBERS.items())):
        vars(parsed)[name] = vars(parsed)[name] or default
    if parsed.dtype not in BYTES:
        parsed.parser.error(f"argument --dtype: was {parsed.dtype!r}, which is for --device cuda")
    if parsed.classes_max and not parsed.plot:
        parsed.parser.error("argument --classes-max: was given without --plot, which it is for")
    with needs("demo", "bench"):
        from anglos.tools.bench.run import run as measure
        from anglos.tools.bench.run import sizes
        if parsed.plot:
            from anglos.tools.bench.picture import draw
        else:
            import numpy  # noqa: F401
    libraries = list(dict.fromkeys(parsed.library or installed(parsed.dtype)))
    for name in libraries:
        if parsed.dtype not in LIBRARIES[name].dtypes:
            parsed.parser.error(f"argument --dtype: was {parsed.dtype!r}; wanted one of "
                                f"{', '.join(LIBRARIES[name].dtypes)} for {name}")
        with needs(name, "bench"):
            import_module(name)
        if not has_device(name):
            raise SystemExit(f"anglos bench: {name} is installed but finds no GPU")
    if not libraries:
        raise SystemExit(f"anglos bench: no library for {parsed.dtype} is installed; pip install 'anglos[torch]'")
    series = sizes(parsed.classes_max or max(1000, parsed.classes)) if parsed.plot else []
    problem = Problem(parsed.loss, parsed.batch, parsed.dimension, parsed.classes, parsed.dtype)
    done = measure(problem, libraries, parsed.repeats, series, parsed.json)
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
    with needs("torch", "bench"):
        torch: Any = import_module("torch")
    if not torch.cuda.is_available():
        raise SystemExit(f"anglos bench: PyTorch {torch.__version__} finds no CUDA device; "
                         "--device cpu measures the processor")
    device.run(device.problems(parsed.loss, parsed.dtype, parsed.batch, parsed.classes, parsed.dimension), "cuda",
               parsed.repeats or 30, lambda line: print(line, file=sys.stderr, flush=True), parsed.json)
