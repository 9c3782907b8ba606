"""The names by which losses over pairs say what is compared with what, and the text that docstrings have for it."""

from functools import partial
from typing import Annotated, Literal

from anglos.call.arguments import Array
from anglos.call.kinds import ArrayOf, Idle, Signs
from anglos.call.kinds import Number as _Number
from anglos.call.static_kinds import OneOf, Words
from anglos.engines.pairs.directions import DIRECTIONS as _DIRECTIONS

# One set, with groups or with targets.
_PairWeights = partial(ArrayOf, frozen=True, role="labels",
                       excludes=(("reference_labels", None), ("ignore_index", -100)))
Groups = Annotated[Array, ArrayOf("B or B L", "integral", role="labels", text=(
    "Any integers: equal ones are one class. Several per sample, padded with `ignore_index`: samples that have one in "
    "common are positives of each other. Or for every anchor and column, N = B without references, the weight of the "
    "pair as a positive, 0 for a negative; a constant to the gradient."),
    other=_PairWeights("B N", without=("reference_embeddings", _PairWeights("B B"))))]
PairTargets = Annotated[Array, Signs("B", "integral", low=-1.0, frozen=True, text=(
    "1 where the two belong together, −1 where they do not; nothing else. A constant. Where values cannot be read for "
    "free (under a trace, on a GPU), another number makes the loss of its pair NaN."),
    other=Signs("B", low=-1.0, frozen=True))]
Scores = Annotated[Array, ArrayOf("B", "integral", frozen=True, other=ArrayOf("B", frozen=True), text=(
    "One number per pair, the higher the more alike; only their order counts. Constants."))]
_targets = partial(ArrayOf, "B or B T", frozen=True, role="targets")
Targets = Annotated[Array, _targets(dtype="integral", other=_targets())]
ReferenceEmbeddings = Annotated[Array | None, ArrayOf("N D", optional=True, role="reference_embeddings",
                                                      together=(("reference_labels", None),), text=(
    "What the batch is compared with in place of itself: a memory of past batches, or the batches of all devices. It "
    "is differentiated if asked for. A sample of the batch that it holds counts as another sample."))]
ReferenceLabels = Annotated[Array | None, ArrayOf("N or N K", "integral", optional=True, role="reference_labels",
                                                  together=(("reference_embeddings", None),), text=(
    "Their labels; None where `labels` are weights."))]
_Pairs = partial(ArrayOf, dtype="bool", optional=True)
ExcludedPairs = Annotated[Array | None, _Pairs("B N", role="excluded_pairs", without=(
    "reference_embeddings", _Pairs("B B", role="excluded_pairs")), text=(
    "True where a pair is left out: neither positive nor negative. N = B without references. Embeddings must be finite "
    "all the same; a sample that may not be is left out by `ignore_index`."))]

# Queries and keys.
Queries = Annotated[Array, ArrayOf("B D", role="queries", text=(
    "One row per pair. Its length does not matter; a zero vector has cosine 0 and gradient 0."))]
Keys = Annotated[Array, ArrayOf("B D", role="keys", text="The positive of each query; to the others it is a negative.")]
Negatives = Annotated[Array | None, ArrayOf("M D", optional=True, role="negatives", text=(
    "Negatives for all queries, in place of the other keys: a queue, or mined ones."))]
NegativesMask = Annotated[Array | None, ArrayOf("M", "bool", optional=True, role="negatives_mask",
                                                together=(("negatives", None),), text=(
    "True where `negatives` has one, and no place of a queue that is empty yet (`memory.labels != -100`) nor padding, "
    "which may hold anything."))]
NoiseDraws = Annotated[Array, ArrayOf("M D", text="Draws from the noise, the same for all queries.")]
KeyLogProb = Annotated[Array | None, ArrayOf("B", optional=True, frozen=True, text=(
    "log p_n of the keys; a constant. None is 0."))]
NegativeLogProb = Annotated[Array | None, ArrayOf("M", optional=True, frozen=True, text=(
    "log p_n of the negatives; a constant. None is 0."))]
DifferenceHistogram = Annotated[Array | None, ArrayOf("R", optional=True, low=0.0, frozen=True, text=(
    "State: what past batches had, (bins + 1,). A constant to the gradient."))]
LeastDifference = Annotated[float | Array, _Number("a difference of distances", -4.0, 0.0, below=True, frozen=True,
                                                   text="A constant to the gradient.")]
Momentum = Annotated[float | Array, _Number("a share", 0.0, 1.0, frozen=True, text="A constant to the gradient.")]
HardNegatives = Annotated[Array | None, ArrayOf("B H D", optional=True, role="hard_negatives", text=(
    "Negatives of each query alone."))]
HardNegativesMask = Annotated[Array | None, ArrayOf("B H", "bool", optional=True, role="hard_negatives_mask",
                                                    together=(("hard_negatives", None),), text=(
    "True where `hard_negatives` has one, and no padding, which may hold anything."))]
Symmetric = Annotated[bool, OneOf((False,), because=" with negatives, which have no queries", without=(
    "negatives", OneOf((True, False))))]
_Given = (("negatives", (None,)), ("hard_negatives", (None,)))
InBatch = Annotated[bool | None, OneOf((None, True, False), idle=(Idle(_Given, (False,)),), text=(
    "Whether other keys are negatives. None: where no `negatives` or `hard_negatives` are given."))]
HardNegativesOf = Annotated[Literal["own", "all"], OneOf(idle=(Idle((("hard_negatives", (None,)),)),))]
HardnessOn = Annotated[Literal["all", "in_batch", "given"], OneOf(idle=(Idle(_Given, ("given",)),))]
Directions = Annotated[tuple[str, ...], Words(_DIRECTIONS)]
_Across = (("query_to_key",), ("key_to_query",))
Partition = Annotated[Literal["joint", "separate"], OneOf(
    idle=(Idle((("directions", tuple((one,) for one in _DIRECTIONS)),)),))]
Copies = Annotated[Literal["each", "once"], OneOf(idle=(Idle((("directions", _Across),)),))]
RowMask = Annotated[Array | None, ArrayOf("B", "bool", optional=True, role="row_mask", text=(
    "True where a row counts. The others, such as padding, may hold anything, NaN too: their queries and keys are "
    "compared with nothing, and they leave the mean's divisor."))]

# What is no negative.
_FalseNegatives = partial(_Pairs, role="false_negatives", text=(
    "True where a key is no negative of the query after all, and is left out."))
FalseNegativePairs = Annotated[Array | None, _FalseNegatives("B B")]
FalseNegatives = Annotated[Array | None, _FalseNegatives("B B", without=(
    "in_batch", _FalseNegatives("B M", without=("negatives", _FalseNegatives("B B")))))]
_MorePairs = partial(_Pairs, "B B")
FalseQueries = Annotated[Array | None, _MorePairs(role="false_negatives_key_to_query", text=(
    "As `false_negatives`, of key i and query j."))]
FalseQueryPairs = Annotated[Array | None, _MorePairs(role="false_negatives_query_to_query", text=(
    "As `false_negatives`, of queries i and j."))]
FalseKeyPairs = Annotated[Array | None, _MorePairs(role="false_negatives_key_to_key", text=(
    "As `false_negatives`, of keys i and j."))]

# By a guide.
_Guide = partial(ArrayOf, optional=True, frozen=True)
GuideEmbeddings = Annotated[Array | None, _Guide(
    "B G", role="guide_embeddings", together=(("guide_references", "reference_embeddings"),), text=(
        "The samples by a guide, such as another model: a negative that it finds more similar to the anchor than every "
        "positive is left out. Any G; constants, as all of a guide."))]
GuideReferences = Annotated[Array | None, _Guide(
    "N G", role="guide_references", together=(("guide_embeddings", None), ("reference_embeddings", None)),
    text="The references by the guide.")]
_OF_OWN = (("hard_negatives", (...,)), ("directions", (("query_to_key",),)), ("negatives", (None,)),
           ("in_batch", (None, False)), ("guide_hard_negatives", (None,)))
GuideQueries = Annotated[Array | None, _Guide(
    "B G", role="guide_queries", idle=(Idle(_OF_OWN),),
    together=(("guide_keys", None), ("guide_negatives", "negatives")), text=(
        "The queries by a guide, such as another model: a negative that it finds more similar to the query than its "
        "own key is left out, as by `anglos.mining.guided_false_negatives` in each direction by itself, but B × B "
        "numbers are not kept. Any G; constants, as all of a guide."))]
GuideKeys = Annotated[Array | None, _Guide(
    "B G", role="guide_keys", together=(("guide_queries", None),), text="The keys by the guide.")]
GuideNegatives = Annotated[Array | None, _Guide(
    "M G", role="guide_negatives", together=(("guide_queries", None), ("negatives", None)),
    text="The negatives by the guide.")]
GuideHardNegatives = Annotated[Array | None, _Guide(
    "B H G", role="guide_hard_negatives", together=(("guide_queries", None), ("hard_negatives", None)), text=(
        "The hard negatives by the guide, which is asked of them as of other keys; without it each counts. Where "
        "`hard_negatives_mask` is False it may hold anything."))]
_Unguided = (Idle((("guide_queries", (None,)), ("guide_embeddings", (None,)))),)
GuideMargin = Annotated[float, _Number("a margin on the cosine", -2.0, 2.0, shapes=(), idle=_Unguided, text=(
    "m. With t as the guide's cosine with the positive, negatives above the bound of `guide_kind` are left out."))]
GuideKind = Annotated[Literal["absolute", "relative", "factor"], OneOf(idle=_Unguided, text=(
    "The bound: t − m (absolute), t − |t| m (relative) or t (1 − m) (factor)."))]
