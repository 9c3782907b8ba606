"""Angular-margin and metric-learning losses, each written once, for PyTorch, JAX, NumPy and CuPy."""

from anglos._loss import LOSSES as LOSSES
from anglos._loss import Loss as Loss

from anglos.losses.entropy import entropy as entropy
from anglos.losses.cross_entropy import cross_entropy as cross_entropy
from anglos.losses.linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from anglos.losses.normface import normface as normface
from anglos.losses.l2_softmax import l2_softmax as l2_softmax
from anglos.losses.sphereface import sphereface as sphereface
from anglos.losses.cosface import cosface as cosface
from anglos.losses.am_softmax import am_softmax as am_softmax
from anglos.losses.arcface import arcface as arcface
from anglos.losses.combined_margin import combined_margin as combined_margin
