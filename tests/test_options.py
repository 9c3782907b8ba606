"""What a user gave is what is used, or it is refused: no option is taken that means nothing beside the others."""

import itertools
from typing import Any

import numpy as np
import pytest

import anglos
from anglos import Loss
from anglos.call.kinds import by_role
from anglos.checks.samples import COMMON, arrays_of, changes, hard_arrays

ALL = list(anglos.LOSSES.values())

IDLE = [(loss, name, idle) for loss in ALL for name, kind in loss.kinds.items() for idle in kind.idle
        if idle.values != (loss.defaults[name],)
        and all(by_role(loss.kinds).get(role, role) in loss.kinds or None in some for role, some in idle.beside)
        and not any(... in some for _, some in idle.beside)]

THE_SAME: dict[str, set[str]] = {
    "cosface": {"gradient"}, "am_softmax": {"gradient"},  # φ′ is 1
    "sphereface2": {"gradient"},  # of its variant C
    "mv_softmax": {"past_pi"},  # of its kind "am"
    "rank_n_contrast": {"label_distance"},  # of one target
    "soft_supcon": {"normalize_targets"},  # of labels
    "info_nce": {"in_batch", "hardness_on"},  # what None stands for; without hardness, which may grow from 0
    "subcenter_arcface": {"past_pi"}, "triplet": {"mean_over"},  # of no sample below
}
"""Words of one meaning, where a docstring says so."""


def words(loss: Loss[...]) -> list[tuple[str, Any]]:
    """Options that are words or truths, with each of their other values."""
    return [(name, value) for name, kind in loss.kinds.items() if name not in COMMON and hasattr(kind, "choices")
            for value in changes(loss, name) if value is not None]


@pytest.mark.parametrize(("one", "name", "idle"), IDLE, ids=[f"{loss.name}-{name}" for loss, name, _ in IDLE])
def test_what_means_nothing_is_refused(one: Loss[...], name: str, idle: Any) -> None:
    """Whatever the order; with the default it is as if it were not given."""
    roles = by_role(one.kinds)
    beside = {roles.get(role, role): some[0] for role, some in idle.beside if roles.get(role, role) in one.kinds}
    given = {other: value for other, value in beside.items() if value is not None and other in one.defaults}
    arrays = [array for key, array in zip(one.arrays, arrays_of(one), strict=True) if key not in beside]
    for value in changes(one, name) if idle.values is None else idle.values:
        for options in ({**given, name: value}, {name: value, **given}):
            with pytest.raises(ValueError, match=f"^{one.name}: {name} was .*; wanted {one.defaults[name]!r} with"):
                one(*arrays, **options)
    assert one(*arrays, **given, **{name: one.defaults[name]}) == one(*arrays, **given)


@pytest.mark.parametrize("one", [loss for loss in ALL if len(words(loss)) > 1], ids=lambda loss: loss.name)
def test_every_word_changes_something(one: Loss[...]) -> None:
    """Beside every other word too, or it is refused there."""
    samples = [arrays_of(one), arrays_of(one, 1), hard_arrays(one)]
    for beside, (name, value) in itertools.product([{}, *({key: one} for key, one in words(one))], words(one)):
        # Cosines and angles always are of unit vectors, and a user may say so.
        cosines = {"cosine", "angle"} & {*beside.values()} and name == "normalize"
        if name in beside or cosines or name in THE_SAME.get(one.name, ()):
            continue
        found = []
        for arrays in samples:
            try:
                before, after = (one.value_and_grad(*arrays, **{**beside, **more}) for more in ({}, {name: value}))
            except ValueError:
                continue
            found.append(any(not np.array_equal(a, b) for a, b in zip(
                (before[0], *before[1]), (after[0], *after[1]), strict=True)))
        assert any(found) or not found, (beside, name, value)
