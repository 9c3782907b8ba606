"""Which losses are trained, and between which settings of each the validation chooses: four for every loss."""

from collections.abc import Iterable
from itertools import product
from typing import Any

Options = dict[str, Any]
RATE = 4e-2
"""Of Adam, where a setting has none of its own."""
SETTINGS = 4


def _grid(**values: Iterable[Any]) -> list[Options]:
    return [dict(zip(values, setting, strict=True)) for setting in product(*values.values())]


_SCALES = (4.0, 8.0, 12.0, 16.0)
_TWO_SCALES = (8.0, 12.0)
_RATES = (1e-2, 2e-2, 4e-2, 8e-2)
_TEMPERATURES = (0.05, 0.1, 0.2, 0.4)
_ANGLES, _COSINES, _FACTORS = (0.15, 0.3), (0.1, 0.25), (1.2, 1.5)

MAIN: dict[str, list[Options]] = {
    "linear_cross_entropy": _grid(rate=_RATES),
    "normface": _grid(scale=_SCALES),
    "cosface": _grid(scale=_TWO_SCALES, margin=_COSINES),
    "arcface": _grid(scale=_TWO_SCALES, margin=_ANGLES),
}
"""What the question is about: a softmax, that of cosines, and two margins."""

PROTOTYPES: dict[str, list[Options]] = MAIN | {
    "l2_softmax": _grid(scale=_SCALES),
    "sphereface": _grid(annealing=(0.0, 1.0), margin=_FACTORS),
    "large_margin_softmax": _grid(annealing=(0.0, 5.0), margin=(1.5, 2.0)),
    "sphereface_r": _grid(scale=_TWO_SCALES, margin=_FACTORS),
    "combined_margin": _grid(scale=_TWO_SCALES, m2=(0.1, 0.2), m3=(0.1,)),
    "airface": _grid(scale=_TWO_SCALES, margin=_ANGLES),
    "adaface": _grid(scale=_TWO_SCALES, margin=_COSINES),
    "magface": _grid(scale=_TWO_SCALES, margin_range=((0.05, 0.25), (0.15, 0.45)), norm_range=((4.0, 12.0),),
                     regularizer=(10.0,)),
    "curricularface": _grid(scale=_TWO_SCALES, margin=_ANGLES),
    "subcenter_arcface": _grid(scale=_TWO_SCALES, margin=_ANGLES),
    "mv_softmax": _grid(scale=_TWO_SCALES, margin=_COSINES),
    "inter_topk": _grid(scale=_TWO_SCALES, margin=_ANGLES),
    "circle_softmax": _grid(scale=(32.0, 64.0), margin=(0.25, 0.4)),
    "sphereface2": _grid(scale=(20.0, 40.0), margin=(0.2, 0.4)),
    "uniface": _grid(scale=_TWO_SCALES, margin=_COSINES),
    "p2sgrad": _grid(rate=_RATES),
    "c_contrastive": _grid(margin=(0.6, 0.8, 1.0, 1.2)),
    "c_triplet": _grid(margin=(0.2, 0.4, 0.6, 0.8)),
    "proxy_nca": _grid(scale=_SCALES, exclude_positive=(True,)),  # with it among them it is NormFace
    "proxy_anchor": _grid(scale=(16.0, 32.0), margin=(0.1, 0.2)),
    "soft_triple": _grid(scale=_TWO_SCALES, margin=(0.01, 0.1)),
}
"""Against class prototypes.

Not here: `vmf`, `coco` and `adacos` without its state are NormFace with a scale of another name or from a rule;
`am_softmax` is CosFace with another scale; `margin_cross_entropy` is the combined margin of cosines that are given;
`center` is added to another loss; the prototypes of `angular_triplet` are not learnt but remembered.
"""

PAIRS: dict[str, list[Options]] = {
    "supcon": _grid(temperature=_TEMPERATURES),
    "triplet": [{"mining": mining, "margin": margin} for mining in ("batch_hard", "semi_hard")
                for margin in (0.2, 0.5)],
    "contrastive": _grid(margin=(0.6, 0.8, 1.0, 1.2)),
    "nt_xent": _grid(temperature=_TEMPERATURES),
    "dcl": _grid(temperature=_TEMPERATURES),
    "hcl": _grid(temperature=(0.1, 0.2), beta=(0.5, 1.0)),
    "multi_similarity": _grid(beta=(20.0, 50.0), base=(0.3, 0.5)),
    "circle": _grid(scale=(32.0, 64.0), margin=(0.25, 0.4)),
    "batch_coco": _grid(scale=_SCALES),
    "angular": _grid(alpha=(0.5, 0.6, 0.7, 0.8)),
    "ranked_list": _grid(alpha=(1.0, 1.2), margin=(0.2, 0.4)),
}
"""Between the images of a batch, which has four of a character."""

RECIPES = PROTOTYPES | PAIRS

PER_CLASS = {"subcenter_arcface": 2, "soft_triple": 2}
"""Prototypes per class, where there are several."""
