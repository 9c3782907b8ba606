"""`anglos plot`: a command for every loss, with its options."""

import argparse
from typing import Any

from anglos.call.loss import Loss
from anglos.losses import LOSSES
from anglos.tools.command_words import PICTURES, literal, option, picture_file
from anglos.tools.commands.extras import needs

HELP = "what a loss makes of the angle θ, and its slope: draw a picture"

# They say nothing about one sample and one class.
_NOT_DRAWN = ("label_smoothing", "ignore_index", "keep_bytes", "gradient_products", "reduction")


class _Losses(dict[Any, Any]):
    """A parser for each; other names are refused with those that can be drawn, of which argparse does not know."""

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            with needs("demo", "plot"):
                from anglos.plot import plot_target
            try:
                plot_target(str(name))
            except ValueError as refused:
                raise argparse.ArgumentError(None, str(refused)) from None
        return True


def add(parser: argparse.ArgumentParser) -> None:
    plots = parser.add_subparsers(required=True, metavar="LOSS")
    for loss in LOSSES.values():
        _add_plot(plots.add_parser(loss.name, description=f"{loss.name}: {loss.formula}"), loss)
    plots.choices = _Losses(plots.choices or {})


def _add_plot(parser: argparse.ArgumentParser, loss: Loss[...]) -> None:
    parser.set_defaults(parser=parser, loss=loss)
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
    parser.add_argument("--out", type=picture_file, default=f"anglos-{loss.name}.png", metavar="FILE",
                        help=f"where the picture goes, {PICTURES} (default: %(default)s)")


def run(parsed: argparse.Namespace) -> None:
    with needs("demo", "plot"):
        from anglos.plot import plot_target
    options = {name: value for name, value in vars(parsed).items() if name in {"length", *parsed.loss.defaults}}
    try:
        figure = plot_target(parsed.loss, **options)
    except (TypeError, ValueError) as refused:
        parsed.parser.error(str(refused))
    figure.savefig(parsed.out)
    print(f"The picture is in {parsed.out}")
