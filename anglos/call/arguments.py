"""The names by which losses say, in their annotations, what their arguments may be."""

import math
from typing import Annotated, Any, Literal, Protocol

from anglos.call.kinds import ArrayOf, Integer, Number, Pair, Signs


class Array(Protocol):
    """An array of any library, as a type checker sees it: a list and a word are none."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def __neg__(self) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __rpow__(self, other: Any, /) -> Any: ...


Embeddings = Annotated[Array, ArrayOf("B D", role="embeddings")]
Weights = Annotated[Array, ArrayOf("C D", role="weights")]
Prototypes = Annotated[Array, ArrayOf("C D", frozen=True, role="weights")]
Cosines = Annotated[Array, ArrayOf("B C")]
Centers = Annotated[Array, ArrayOf("C D")]
SubWeights = Annotated[Array, ArrayOf("C K D", role="weights")]
Logits = Annotated[Array, ArrayOf("B C")]
Labels = Annotated[Array, ArrayOf("B", "integral", role="labels")]
LabelsOrProbabilities = Annotated[Array, ArrayOf("B", "integral", role="labels",
                                                 other=ArrayOf("B C", low=0.0, role="labels"))]
ClassWeight = Annotated[Array | None, ArrayOf("C", optional=True, low=0.0, frozen=True, role="class_weight")]
BatchClasses = Annotated[Array, ArrayOf("B", "integral", role="labels")]
Groups = Annotated[Array, ArrayOf("B or B L", "integral", role="labels",
                                  other=ArrayOf("B N", frozen=True, role="labels"))]
Queries = Annotated[Array, ArrayOf("B D", role="queries")]
Keys = Annotated[Array, ArrayOf("B D", role="keys")]
Anchors = Annotated[Array, ArrayOf("B D")]
Positives = Annotated[Array, ArrayOf("B D")]
PairTargets = Annotated[Array, Signs("B", "integral", low=-1.0, frozen=True, other=Signs("B", low=-1.0, frozen=True))]
NoiseDraws = Annotated[Array, ArrayOf("M D")]
Negatives = Annotated[Array | None, ArrayOf("M D", optional=True, role="negatives")]
ReferenceEmbeddings = Annotated[Array | None, ArrayOf("N D", optional=True, role="reference_embeddings")]
ReferenceLabels = Annotated[Array | None, ArrayOf("N or N K", "integral", optional=True, role="reference_labels")]
ExcludedPairs = Annotated[Array | None, ArrayOf("B N", "bool", optional=True, role="excluded_pairs")]
FalseNegativePairs = Annotated[Array | None, ArrayOf("B B", "bool", optional=True, role="false_negatives")]
FalseNegatives = Annotated[Array | None, ArrayOf("B M", "bool", optional=True, role="false_negatives")]
RowMask = Annotated[Array | None, ArrayOf("B", "bool", optional=True, role="row_mask")]
KeyLogProb = Annotated[Array | None, ArrayOf("B", optional=True, frozen=True)]
NegativeLogProb = Annotated[Array | None, ArrayOf("M", optional=True, frozen=True)]
Bias = Annotated[Array | None, ArrayOf("C", optional=True)]
SampleWeight = Annotated[Array | None, ArrayOf("B", optional=True, low=0.0)]
Angle = Annotated[float | Array, Number("an angle in radians", 0.0, math.pi, shapes=("", "B"))]
CosineMargin = Annotated[float | Array, Number("a margin on the cosine", -2.0, 2.0, shapes=("", "B"))]
AngleFactor = Annotated[float | Array, Number("a factor of the angle", 1.0, 10.0, shapes=("", "B"))]
AnyAngleFactor = Annotated[float | Array, Number("a factor of the angle", 0.0, 10.0, above=True, shapes=("", "B"))]
Scale = Annotated[float | Array, Number("a scale", 0.0, above=True)]
OptionalScale = Annotated[float | Array | None, Number("a scale", 0.0, above=True, optional=True)]
Annealing = Annotated[float | Array, Number("a weight", 0.0)]
Temperature = Annotated[float | Array, Number("a temperature", 0.0, above=True)]
AnyNumber = Annotated[float | Array, Number("a number", -math.inf)]
TripletMargin = Annotated[float | Array | Literal["soft"], Number("a margin on the distance", 0.0, word="soft")]
RowTripletMargin = Annotated[float | Array | Literal["soft"],
                             Number("a margin on the distance", 0.0, shapes=("", "B"), word="soft")]
PairMargin = Annotated[float | Array, Number("a margin", 0.0)]
GivenPairMargin = Annotated[float | Array, Number("a margin", 0.0, shapes=("", "B"))]
CircleMargin = Annotated[float | Array, Number("a margin on the cosine", 0.0, 1.0)]
SharedCosineMargin = Annotated[float | Array, Number("a margin on the cosine", -2.0, 2.0)]
PositiveFactor = Annotated[float | Array, Number("a number", 0.0, above=True)]
Factor = Annotated[float | Array, Number("a number", 0.0)]
Part = Annotated[float | Array, Number("a part", 0.0, 0.99)]
Slack = Annotated[float | Array | None, Number("a number", 0.0, optional=True, frozen=True)]
Sharpness = Annotated[float | Array, Number("a number", 0.0, frozen=True)]
AngularAngle = Annotated[float | Array, Number("an angle in radians", 0.0, 1.15, above=True)]
Mining = Literal["batch_hard", "batch_all", "semi_hard", "semi_hard_or_easiest"]
DistanceName = Literal["squared_euclidean", "euclidean", "cosine", "angle"]
Probability = Annotated[float | Array, Number("a probability", 0.0, 1.0)]
LabelSmoothing = Probability
Balance = Annotated[float | Array, Number("a probability", 0.0, 1.0, without=(
    "bias", Number("a probability, where bias is None,", 0.0, 1.0, above=True, below=True)))]
ScalarBias = Annotated[float | Array | None, Number("a bias", -math.inf, optional=True)]
SquaredDistance = Annotated[float | Array, Number("a squared distance of unit vectors", 0.0, 4.0, shapes=("", "B"))]
Count = Annotated[int, Integer(1, 2**31)]
ScaleState = Annotated[float | Array | None, Number("a scale", 0.0, above=True, optional=True, frozen=True)]
CosineState = Annotated[float | Array, Number("a cosine", -1.0, 1.0, frozen=True)]
NormState = Annotated[float | Array | None, Number("a length", 0.0, above=True, optional=True, frozen=True)]
SphereFace2Margin = Annotated[float | Array | None, Number("a margin (variant A: an angle in radians)", 0.0, math.pi,
                                                           shapes=("", "B"), optional=True)]
NormRange = Annotated[tuple[float, float], Pair(Number("a length", 0.0, above=True, shapes=()))]
AngleRange = Annotated[tuple[float, float], Pair(Number("an angle in radians", 0.0, math.pi, shapes=()))]
PastPi = Literal["smooth", "linear", "shifted", "reflect", "clamp", "easy"]
Gradient = Literal["exact", "straight_through"]
KeepBytes = Annotated[int, Integer(0, 2**63)]
GradientProducts = Literal["full", "bfloat16"]
Reduction = Literal["none", "sum", "mean"]
