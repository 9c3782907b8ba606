"""Options that losses have in common: they come by themselves, where a function does not name them.

A function that takes them as `**common: Unpack[...]` tells type checkers and readers which they are.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypedDict, get_type_hints

from anglos.call.arguments import (
    AnchorReduction,
    AnchorWeight,
    ClassWeight,
    GradientProducts,
    IgnoredGroup,
    IgnoreIndex,
    KeepBytes,
    LabelSmoothing,
    Reduction,
    SampleWeight,
)
from anglos.call.class_margins import ClassMargin
from anglos.call.pair_arguments import (
    ExcludedPairs,
    GuideEmbeddings,
    GuideKeys,
    GuideKind,
    GuideMargin,
    GuideQueries,
    GuideReferences,
    ReferenceEmbeddings,
    ReferenceLabels,
)


class Common(TypedDict, total=False):
    """Of every loss whose samples have losses of their own."""

    sample_weight: SampleWeight
    reduction: Reduction


class LabelCommon(Common, total=False):
    """Of losses with labels."""

    ignore_index: IgnoreIndex


class Nothing(TypedDict, total=False):
    """Of losses of a batch as a whole: no sample has a loss of its own, to be weighed or returned."""


class BatchCommon(Nothing, total=False):
    """Of those with labels."""

    ignore_index: IgnoredGroup


class TiledCommon(LabelCommon, total=False):
    """Of losses against one prototype per class, which come in tiles."""

    keep_bytes: KeepBytes
    gradient_products: GradientProducts


class PrototypeCommon(TiledCommon, total=False):
    """Of those that are given the prototypes, and with them the number of classes."""

    class_weight: ClassWeight


class MarginCommon(PrototypeCommon, total=False):
    """Of losses made by `define.margin`, beside the scale, and of all whose reduction is the cross entropy."""

    label_smoothing: LabelSmoothing


class ClassMarginCommon(MarginCommon, total=False):
    """Of those with a margin for the label, called margin or m2."""

    class_margin: ClassMargin


class PairCommon(TypedDict, total=False):
    """Of losses over the pairs of a batch, told apart by labels: every sample is an anchor."""

    reference_embeddings: ReferenceEmbeddings
    reference_labels: ReferenceLabels
    excluded_pairs: ExcludedPairs
    sample_weight: AnchorWeight
    ignore_index: IgnoredGroup
    reduction: AnchorReduction


class GuidedPairs(PairCommon, total=False):
    """Of those whose negatives a guide may take for positives."""

    guide_embeddings: GuideEmbeddings
    guide_references: GuideReferences
    guide_margin: GuideMargin
    guide_kind: GuideKind


class GuidedQueries(Common, total=False):
    """The same of queries and keys."""

    guide_queries: GuideQueries
    guide_keys: GuideKeys
    guide_margin: GuideMargin
    guide_kind: GuideKind


class ProxyCommon(TypedDict, total=False):
    """Of losses over pairs of prototypes and embeddings, whose sum is over the prototypes."""

    ignore_index: IgnoreIndex
    reduction: Reduction


DEFAULTS: Mapping[str, Any] = {
    "class_margin": None, "label_smoothing": 0.0, "class_weight": None,
    "reference_embeddings": None, "reference_labels": None, "excluded_pairs": None,
    "guide_embeddings": None, "guide_references": None, "guide_queries": None, "guide_keys": None, "guide_margin": 0.0,
    "guide_kind": "absolute", "sample_weight": None, "ignore_index": -100, "keep_bytes": 2**28,
    "gradient_products": "full", "reduction": "mean",
}
"""In the order of signatures."""


@cache
def annotations_of(common: Any) -> Mapping[str, Any]:
    """The annotation of every option of one of these classes, or of `Unpack` of it, in the order of signatures."""
    hints = get_type_hints(getattr(common, "__args__", (common,))[0], include_extras=True)
    return {name: hints[name] for name in DEFAULTS if name in hints}
