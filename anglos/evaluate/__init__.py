"""Evaluation of embeddings: verification, identification, retrieval. Needs NumPy; embeddings may be of any library."""

try:
    import numpy as _numpy  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError("anglos.evaluate needs NumPy, which is not installed: pip install numpy",
                              name=missing.name) from missing

from anglos.evaluate.bootstrap import Interval as Interval
from anglos.evaluate.curve import COSTS as COSTS
from anglos.evaluate.curve import Cost as Cost
from anglos.evaluate.curve import Curve as Curve
from anglos.evaluate.identification import Identification as Identification
from anglos.evaluate.identification import OpenSetPoint as OpenSetPoint
from anglos.evaluate.identification import identification as identification
from anglos.evaluate.of_scores import act_dcf as act_dcf
from anglos.evaluate.of_scores import det_curve as det_curve
from anglos.evaluate.of_scores import eer as eer
from anglos.evaluate.of_scores import min_dcf as min_dcf
from anglos.evaluate.of_scores import tar_at_far as tar_at_far
from anglos.evaluate.of_scores import verification_of_scores as verification_of_scores
from anglos.evaluate.operating import OperatingPoint as OperatingPoint
from anglos.evaluate.operating import Verification as Verification
from anglos.evaluate.retrieval import Retrieval as Retrieval
from anglos.evaluate.retrieval import retrieval as retrieval
from anglos.evaluate.verification import verification as verification

__all__ = ["COSTS", "Cost", "Curve", "Identification", "Interval", "OpenSetPoint", "OperatingPoint", "Retrieval",
           "Verification", "act_dcf", "det_curve", "eer", "identification", "min_dcf", "retrieval", "tar_at_far",
           "verification", "verification_of_scores"]


def __dir__() -> list[str]:
    return __all__
