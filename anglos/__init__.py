"""Angular-margin and metric-learning losses, each written once, for PyTorch, JAX, NumPy and CuPy."""

from importlib import import_module as _import
from typing import TYPE_CHECKING

from anglos import classes as classes
from anglos import memory as memory
from anglos import mining as mining
from anglos.call.loss import Loss as Loss
from anglos.losses import *  # noqa: F403
from anglos.training.class_batches import MPerClassSampler as MPerClassSampler
from anglos.training.correction import correct_sampling as correct_sampling
from anglos.training.diagnosis import diagnose as diagnose
from anglos.training.elastic import elastic_margins as elastic_margins
from anglos.training.findings import Advice as Advice
from anglos.training.findings import Diagnosis as Diagnosis
from anglos.training.matryoshka import matryoshka as matryoshka
from anglos.training.sampling import Sampled as Sampled
from anglos.training.sampling import sample_classes as sample_classes
from anglos.training.schedules import caffe_annealing as caffe_annealing
from anglos.training.schedules import degrees as degrees
from anglos.training.schedules import margin_warmup as margin_warmup
from anglos.training.schedules import suggest_scale as suggest_scale
from anglos.training.subcenters import Cleaning as Cleaning
from anglos.training.subcenters import clean_subcenters as clean_subcenters

__version__ = "0.1.0"

_INNER = {"TYPE_CHECKING", "arrays", "call", "checks", "engines", "losses", "tools", "training"}
_LATER = ("backends", "evaluate", "plot")  # imported when they are asked for: the last two need NumPy


def __dir__() -> list[str]:
    names = {name for name in globals() if name[0] != "_"}
    return sorted({*names, *_LATER, "__version__"} - _INNER)


if TYPE_CHECKING:
    from anglos import evaluate as evaluate
else:  # whose readers would take any name for one, and these for all that there are
    __all__ = [name for name in __dir__() if name in globals() and name not in _LATER]

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return _import(f"anglos.{name}")
        from anglos.call.guesses import of_attribute

        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{of_attribute(name, LOSSES)}")  # noqa: F405
