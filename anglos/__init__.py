"""Angular-margin and metric-learning losses, each written once, for PyTorch, JAX, NumPy and CuPy."""

from typing import TYPE_CHECKING

from anglos.call.loss import Loss as Loss
from anglos.losses import *  # noqa: F403
from anglos.training import mining as mining
from anglos.training.class_batches import MPerClassSampler as MPerClassSampler
from anglos.training.correction import correct_sampling as correct_sampling
from anglos.training.sampling import Sampled as Sampled
from anglos.training.sampling import sample_classes as sample_classes
from anglos.training.schedules import caffe_annealing as caffe_annealing
from anglos.training.schedules import degrees as degrees
from anglos.training.schedules import margin_warmup as margin_warmup
from anglos.training.schedules import suggest_scale as suggest_scale

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anglos import evaluate as evaluate


def __getattr__(name: str) -> object:
    """`anglos.evaluate`, which needs NumPy, is imported where it is used."""
    if name == "evaluate":
        from importlib import import_module

        return import_module("anglos.evaluate")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
