"""Evaluation of embeddings: verification, identification, retrieval. Needs NumPy; embeddings may be of any library."""

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
