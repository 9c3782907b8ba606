"""The names by which losses say what their arguments may be, each with the text that docstrings have for it."""

import math
from typing import Annotated, Any, Literal, Protocol

from anglos.call.kinds import ArrayOf, Idle
from anglos.call.kinds import Number as _Number
from anglos.call.static_kinds import Integer, OneOf, Pair


class Array(Protocol):
    """An array of any library, as a type checker sees it: a list and a word are none."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def __neg__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __rpow__(self, other: Any, /) -> Any: ...


# Arrays.
Embeddings = Annotated[Array, ArrayOf("B D", role="embeddings", text=(
    "One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0."))]
Weights = Annotated[Array, ArrayOf("C D", role="weights", text=(
    "One prototype per class. Its length does not matter either."))]
SubWeights = Annotated[Array, ArrayOf("C K D", role="weights", text="K prototypes per class, of any length.")]
Prototypes = Annotated[Array, ArrayOf("C D", frozen=True, role="weights", text=(
    "One row per class, of any length. Constants to the gradient."))]
Centers = Annotated[Array, ArrayOf("C D", text="One centre per class. It is differentiated.")]
Logits = Annotated[Array, ArrayOf("B C", text="One row per sample; −∞ excludes a class.")]
Cosines = Annotated[Array, ArrayOf("B C", text="cos θ of every sample with every class.")]
Anchors = Annotated[Array, ArrayOf("B D", text="One row per sample.")]
Positives = Annotated[Array, ArrayOf("B D", text="Of the anchor's class.")]
Bias = Annotated[Array | None, ArrayOf("C", optional=True, text="b. It is differentiated.")]

# Labels and masks.
_LABELS = ("0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label out "
           "of range makes the loss of its sample NaN.")
Labels = Annotated[Array, ArrayOf("B", "integral", role="labels", text=_LABELS)]
LabelsOrProbabilities = Annotated[Array, ArrayOf("B", "integral", role="labels", text=_LABELS + (
    " Of real floating dtype, (B, C): probabilities t of the classes, numbers of at least 0 that need not add up to 1, "
    "for ℓ = −Σ_j t_j log softmax(z)_j. They are differentiated if asked for."),
    other=ArrayOf("B C", low=0.0, role="labels", excludes=(("ignore_index", -100),)))]
BatchClasses = Annotated[Array, ArrayOf("B", "integral", role="labels", text="Any integers: equal ones are one class.")]
ClassWeight = Annotated[Array | None, ArrayOf("C", optional=True, low=0.0, frozen=True, role="class_weight", text=(
    "ω, numbers of at least 0, as PyTorch's `weight`: a sample's loss is multiplied by that of its class, and where "
    "there are smoothed labels or probabilities the term of every class by its own. The mean of labels is divided by "
    "the sum of ω_y, and 0 where that is 0 (PyTorch: NaN); that of probabilities by B. A constant."))]

# Margins: a number, or one per sample.
_EACH = "One for all samples, or one for each; an array is differentiated."
Angle = Annotated[float | Array, _Number("an angle in radians", 0.0, math.pi, shapes=("", "B"), text=_EACH)]
AngleFactor = Annotated[float | Array, _Number("a factor of the angle", 1.0, 10.0, shapes=("", "B"), text=_EACH)]
AnyAngleFactor = Annotated[float | Array, _Number("a factor of the angle", 0.0, 10.0, above=True, shapes=("", "B"),
                                                 text=_EACH)]
CosineMargin = Annotated[float | Array, _Number("a margin on the cosine", -2.0, 2.0, shapes=("", "B"), text=_EACH)]
Curvature = Annotated[float | Array, _Number("a curvature", -math.inf, shapes=("", "B"), text=_EACH)]
BallCurvature = Annotated[float | Array, _Number("a curvature", 1.0, text="An array is differentiated.")]
Height = Annotated[float | Array, _Number("a height", -math.inf, shapes=("", "B"), text=_EACH)]
SquaredDistance = Annotated[float | Array, _Number(
    "a squared distance of unit vectors", 0.0, 4.0, shapes=("", "B"), text=_EACH)]
SphereFace2Margin = Annotated[float | Array | None, _Number("a margin (variant A: an angle in radians)", 0.0, math.pi,
                                                           shapes=("", "B"), optional=True)]
RowTripletMargin = Annotated[float | Array | Literal["soft"], _Number(
    "a margin on the distance", 0.0, shapes=("", "B"), word="soft", text=(
        "m, in units of the distance. An array is differentiated; (B,) is one margin per row. \"soft\" is 0 with "
        "soft=True."))]
GivenPairMargin = Annotated[float | Array, _Number("a margin", 0.0, shapes=("", "B"), text=(
    "m, in units of the distance. An array is differentiated; (B,) is one margin per row."))]

# Numbers shared by the batch.
_LEARNT = "An array is differentiated."
_CONSTANT = "An array is a constant to the gradient."
PerSample = Annotated[float | Array, _Number("a number", -math.inf, shapes=("", "B"), text=_LEARNT)]
Number = Annotated[float | Array, _Number("a number", -math.inf, text=_LEARNT)]
PositiveFactor = Annotated[float | Array, _Number("a number", 0.0, above=True, text=_LEARNT)]
Factor = Annotated[float | Array, _Number("a number", 0.0, text=_LEARNT)]
Part = Annotated[float | Array, _Number("a part", 0.0, 0.99, text=_LEARNT)]
Probability = Annotated[float | Array, _Number("a probability", 0.0, 1.0, text=_LEARNT)]
Scale = Annotated[float | Array, _Number("a scale", 0.0, above=True, text=(
    "s. An array is differentiated: a learnable scale."))]
OptionalScale = Annotated[float | Array | None, _Number("a scale", 0.0, above=True, optional=True, text=(
    "s. An array is differentiated."))]
Annealing = Annotated[float | Array, _Number("a weight", 0.0, text=_LEARNT)]
Temperature = Annotated[float | Array, _Number("a temperature", 0.0, above=True, text=(
    "τ; the logits are cos θ / τ. An array is differentiated: a learnable temperature."))]
ScalarBias = Annotated[float | Array | None, _Number("a bias", -math.inf, optional=True, text="b. " + _LEARNT)]
Balance = Annotated[float | Array, _Number("a probability", 0.0, 1.0, text=_LEARNT, without=(
    "bias", _Number("a probability, where bias is None,", 0.0, 1.0, above=True, below=True)))]
TripletMargin = Annotated[float | Array | Literal["soft"], _Number("a margin on the distance", 0.0, word="soft", text=(
    "m, in units of the distance. An array is differentiated. \"soft\" is 0 with soft=True."))]
PairMargin = Annotated[float | Array, _Number("a margin", 0.0, text=(
    "m, in units of the distance. An array is differentiated."))]
Boundary = Annotated[float | Array, _Number("a number", -math.inf, shapes=("", "C"), text=(
    "β. An array is differentiated; (C,) is one for each class, whose labels are then 0 to C − 1."))]
CircleMargin = Annotated[float | Array, _Number("a margin on the cosine", 0.0, 1.0, text=_LEARNT)]
SharedCosineMargin = Annotated[float | Array, _Number("a margin on the cosine", -2.0, 2.0, text=_LEARNT)]
SharedAngle = Annotated[float | Array, _Number("an angle in radians", 0.0, math.pi, text=_LEARNT)]
AngularAngle = Annotated[float | Array, _Number("an angle in radians", 0.0, 1.15, above=True, text=_LEARNT)]
Slack = Annotated[float | Array | None, _Number("a number", 0.0, optional=True, frozen=True, text=_CONSTANT)]
Sharpness = Annotated[float | Array, _Number("a number", 0.0, frozen=True, text=_CONSTANT)]
Width = Annotated[float | Array, _Number("a number", 0.0, above=True, frozen=True, text=_CONSTANT)]
FixedAngle = Annotated[float | Array, _Number("an angle in radians", 0.0, math.pi, frozen=True, text=_CONSTANT)]
ScaleState = Annotated[float | Array | None, _Number("a scale", 0.0, above=True, optional=True, frozen=True, text=(
    "s, a constant to the gradient."))]
CosineState = Annotated[float | Array, _Number("a cosine", -1.0, 1.0, frozen=True, text="A constant to the gradient.")]
CosineFloor = Annotated[float | Array | None, _Number("a cosine", -1.0, 1.0, optional=True, text=_LEARNT)]
NormState = Annotated[float | Array | None, _Number("a length", 0.0, above=True, optional=True, frozen=True, text=(
    "A constant to the gradient."))]

# Numbers that are never arrays, and words.
Count = Annotated[int, Integer(1, 2**31, text="No array: it decides the shape of arrays.")]
NormRange = Annotated[tuple[float, float], Pair(_Number("a length", 0.0, above=True, shapes=()))]
AngleRange = Annotated[tuple[float, float], Pair(_Number("an angle in radians", 0.0, math.pi, shapes=()))]
_PastPi = Literal["smooth", "linear", "shifted", "reflect", "clamp", "easy"]
PastPi = Annotated[_PastPi, OneOf(text="φ where θ + m > π, as in `arcface`.")]
ArcPastPi = Annotated[_PastPi, OneOf(text=(
    "φ where θ + m > π, as in `arcface`; without a margin on the angle it changes nothing."))]
Gradient = Annotated[Literal["exact", "straight_through"], OneOf(text=(
    "\"straight_through\" replaces φ′ by 1, as insightface has done since 2022-12, and opensphere: that is not the "
    "gradient of the value."))]
Mining = Literal["batch_hard", "batch_all", "semi_hard", "semi_hard_or_easiest"]
DistanceName = Annotated[Literal["squared_euclidean", "euclidean", "cosine", "angle"], OneOf(text=(
    "\"squared_euclidean\" is |x − r|², \"cosine\" 1 − cos θ, \"angle\" θ in radians. Of two equal embeddings all have "
    "gradient 0."))]
NormalizedDistance = Annotated[bool, OneOf(
    idle=(Idle((("distance", ("cosine", "angle")),), (False,)), Idle((("similarity", ("cosine",)),), (False,))),
    text="Whether Euclidean distances are those of unit vectors.")]

# Options that losses have in common.
LabelSmoothing = Annotated[float | Array, _Number("a probability", 0.0, 1.0, text=(
    "Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated."))]
SampleWeight = Annotated[Array | None, ArrayOf("B", optional=True, low=0.0, text=(
    "Factor of every sample's loss; the mean is divided by the sum of the factors."))]
AnchorWeight = Annotated[Array | None, ArrayOf("B", optional=True, low=0.0, text=(
    "Factor of every anchor's terms; the mean is divided by the sum of the factors."))]
IgnoreIndex = Annotated[int, Integer(text=(
    "Samples with this label count for nothing, not in the mean's divisor either."))]
IgnoredGroup = Annotated[int, Integer(text=(
    "Samples with this label, and no other, take no part: not as an anchor, a positive or a negative."))]
KeepBytes = Annotated[int, Integer(0, 2**63, text=(
    "If the B × C logits take no more than this, the gradient reuses them; else it computes them again, in tiles."))]
GradientProducts = Annotated[Literal["full", "bfloat16"], OneOf(text=(
    "\"bfloat16\" rounds the factors of the gradient's matrix products, by up to 2⁻⁸: faster where the processor has "
    "that type. The loss stays as it is."))]
Reduction = Annotated[Literal["mean", "sum", "none"], OneOf(text="A number, or the B losses one by one.")]
AnchorReduction = Annotated[Literal["mean", "sum", "none"], OneOf(text=(
    "The mean of all anchors; their sum; or the sum of each anchor's, (B,)."))]
