"""Losses that are given a guide leave out what `anglos.mining.guided_false_negatives` says, and keep no such mask."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos
from anglos.engines.pairs import keys, packed

B, D, G, M = 9, 5, 4, 7
BLOCKS: Any = ("query_to_key", "key_to_query", "query_to_query", "key_to_key")
RULES = [("absolute", 0.1), ("relative", 0.3), ("factor", 0.3)]

RANDOM = np.random.default_rng(0)
QUERIES, KEYS, NEGATIVES = (RANDOM.normal(size=(rows, D)) for rows in (B, B, M))
GUIDE_QUERIES, NOISE, GUIDE_NEGATIVES = (RANDOM.normal(size=(rows, G)) for rows in (B, B, M))
GUIDE_KEYS = GUIDE_QUERIES + NOISE
HARD, GUIDE_HARD = RANDOM.normal(size=(B, 3, D)), GUIDE_QUERIES[:, None] + 1.5 * RANDOM.normal(size=(B, 3, G))
LABELS = np.arange(B) % 3
GUIDE = RANDOM.normal(size=(B, G)) + LABELS[:, None]
REFERENCES, GUIDE_REFERENCES, OTHER_LABELS = RANDOM.normal(size=(M, D)), RANDOM.normal(size=(M, G)), np.arange(M) % 4


def assert_same(library: Library, loss: Any, arrays: tuple[Any, ...], options: dict[str, Any], wanted: dict[str, Any],
                like: Any = None) -> None:
    """The same value and gradients, with what masks say in the place of a guide."""
    def found(loss: Any, options: dict[str, Any]) -> list[Any]:
        given = {name: library.array(one) if isinstance(one, np.ndarray) else one for name, one in options.items()}
        value, gradients = loss.value_and_grad(*map(library.array, arrays), **given, wrt=loss.arrays[:len(arrays)]
                                               if "labels" not in loss.arrays else ("embeddings",))
        return [library.numpy(one) for one in (value, *gradients)]

    for one, other in zip(found(loss, options), found(like or loss, wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "margin"), RULES)
@pytest.mark.parametrize("most", [0, keys.KEPT])
def test_of_queries_and_keys(library: Library, monkeypatch: pytest.MonkeyPatch, kind: Any, margin: float, most: int
                             ) -> None:
    monkeypatch.setattr(keys, "KEPT", most)
    rule: dict[str, Any] = {"margin": margin, "kind": kind}
    guide = {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "guide_margin": margin, "guide_kind": kind}
    mask = {block: anglos.mining.guided_false_negatives(GUIDE_QUERIES, GUIDE_KEYS, block=block, **rule)
            for block in BLOCKS}
    among = anglos.mining.guided_false_negatives(GUIDE_QUERIES, GUIDE_KEYS, GUIDE_NEGATIVES, **rule)
    assert all(one.any() and not one.all() for one in (*mask.values(), among))
    of_blocks = {"false_negatives" if block == BLOCKS[0] else f"false_negatives_{block}": one
                 for block, one in mask.items()}
    both = {"directions": BLOCKS[:2], "partition": "separate", **dict(list(of_blocks.items())[:2])}

    assert_same(library, anglos.info_nce, (QUERIES, KEYS), guide, {"false_negatives": mask["query_to_key"]})
    more = {**guide, "guide_negatives": GUIDE_NEGATIVES}
    assert_same(library, anglos.info_nce, (QUERIES, KEYS, NEGATIVES), more, {"false_negatives": among})
    if kind == "absolute":
        assert_same(library, anglos.info_nce, (QUERIES, KEYS), {**guide, "directions": BLOCKS},
                    {**of_blocks, "directions": BLOCKS})
        assert_same(library, anglos.info_nce, (QUERIES, KEYS), {**guide, "hardness": 2.0},
                    {"false_negatives": mask["query_to_key"], "hardness": 2.0})
        # Each direction has its own.
        assert_same(library, anglos.clip, (QUERIES, KEYS), {**guide, "scale": 10.0}, both, like=anglos.info_nce)


@pytest.mark.parametrize(("kind", "margin"), RULES)
def test_of_hard_negatives(library: Library, kind: Any, margin: float) -> None:
    rule: dict[str, Any] = {"margin": margin, "kind": kind}
    units = [unit(one) for one in (GUIDE_QUERIES, GUIDE_KEYS, GUIDE_HARD)]
    t = np.sum(units[0] * units[1], axis=1)
    bound = {"absolute": t - margin, "relative": t - np.abs(t) * margin, "factor": t * (1 - margin)}[kind]
    own = np.einsum("ig,ihg->ih", units[0], units[2]) > bound[:, None]
    found = anglos.mining.guided_false_negatives(*map(library.array, (GUIDE_QUERIES, GUIDE_KEYS, GUIDE_HARD)), **rule)
    np.testing.assert_array_equal(library.numpy(found), own)
    every = np.einsum("ig,jhg->ijh", units[0], units[2]) > bound[:, None, None]
    in_batch = anglos.mining.guided_false_negatives(GUIDE_QUERIES, GUIDE_KEYS, **rule)
    present = np.arange(3 * B).reshape(B, 3) % 4 > 0
    assert all(one.any() and not one.all() for one in (own & present, ~own & present, every))

    guide = {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "guide_margin": margin, "guide_kind": kind}
    hard = {"hard_negatives": HARD, "guide_hard_negatives": np.where(present[:, :, None], GUIDE_HARD, np.nan),
            "hard_negatives_mask": present}
    for more in ({}, {"in_batch": True, "directions": BLOCKS[:1]}, {"in_batch": True, "hardness": 2.0,
                 "hardness_on": "given", "directions": BLOCKS[:3:2], "partition": "separate"}):
        masks = {"false_negatives": in_batch} if more else {}
        if "query_to_query" in more.get("directions", ()):
            masks["false_negatives_query_to_query"] = anglos.mining.guided_false_negatives(
                GUIDE_QUERIES, GUIDE_KEYS, block="query_to_query", **rule)
        wanted = {"hard_negatives": HARD, "hard_negatives_mask": present & ~own, **masks, **more}
        assert_same(library, anglos.info_nce, (QUERIES, KEYS), {**guide, **hard, **more}, wanted)
    # Of all: as given negatives, which have a mask of pairs.
    shared = {"negatives_mask": present.reshape(-1), "false_negatives": every.reshape(B, -1)}
    of_all = {**guide, **hard, "hard_negatives_of": "all"}
    value, gradient = value_and_gradient(library, (QUERIES, KEYS), of_all, "hard_negatives")
    wanted_value, wanted_gradient = value_and_gradient(library, (QUERIES, KEYS, HARD.reshape(-1, D)), shared,
                                                       "negatives")
    np.testing.assert_allclose(value, wanted_value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradient.reshape(-1, D), wanted_gradient, rtol=0, atol=1e-12)


def value_and_gradient(library: Library, arrays: Any, options: dict[str, Any], wrt: str) -> tuple[Any, Any]:
    given = {name: library.array(one) if isinstance(one, np.ndarray) else one for name, one in options.items()}
    value, (gradient,) = anglos.info_nce.value_and_grad(*map(library.array, arrays), **given, wrt=(wrt,))
    return library.numpy(value), library.numpy(gradient)


@pytest.mark.parametrize("few", [packed._FEW, 10**9])
def test_few_among_many(library: Library, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10,000 pairs two, which are found one by one, or with all others."""
    monkeypatch.setattr(packed, "_FEW", few)
    queries, others, guide = RANDOM.normal(size=(100, D)), RANDOM.normal(size=(100, D)), np.eye(100)
    guide_keys = guide.copy()
    guide_keys[[97, 8]] = guide[[3, 50]]
    guide_keys[[3, 50], [4, 51]] = 1.0
    mask = anglos.mining.guided_false_negatives(guide, guide_keys)
    assert np.argwhere(mask).tolist() == [[3, 97], [50, 8]]
    assert_same(library, anglos.info_nce, (queries, others), {"guide_queries": guide, "guide_keys": guide_keys},
                {"false_negatives": mask})


@pytest.mark.parametrize(("kind", "margin"), RULES)
def test_of_one_set(library: Library, kind: str, margin: float) -> None:
    """What is more similar than every positive is left out; of a row without a positive nothing is."""
    rule = {"guide_margin": margin, "guide_kind": kind}
    for others, labels, more in ((GUIDE, LABELS, {}), (GUIDE_REFERENCES, OTHER_LABELS, {
            "reference_embeddings": REFERENCES, "reference_labels": OTHER_LABELS})):
        cos = unit(GUIDE) @ unit(others).T
        alike = LABELS[:, None] == labels
        positive = alike if more else alike & ~np.eye(B, dtype=bool)
        most = np.max(np.where(positive, cos, -2.0), axis=1)
        bound = {"absolute": most - margin, "relative": most - np.abs(most) * margin, "factor": most * (1 - margin)}
        excluded = (cos > bound[kind][:, None]) & ~alike
        assert excluded.any()
        given = {"guide_embeddings": GUIDE, **rule, **more, **({"guide_references": others} if more else {})}
        for loss in (anglos.nt_xent, anglos.supcon, anglos.triplet):
            assert_same(library, loss, (QUERIES, LABELS), given, {"excluded_pairs": excluded, **more})
    alone = {"guide_embeddings": GUIDE, "guide_margin": 2.0}
    assert_same(library, anglos.supcon, (QUERIES, np.arange(B)), alone, {})


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("of", ["own", "all"])
@pytest.mark.parametrize("padded", [False, True])
def test_masked_rows_are_as_if_they_were_not_there(library: Library, of: Any, padded: bool) -> None:
    """Nor are their hard negatives, whatever they hold; the guide's neither."""
    counted = np.arange(B) % 3 > 0
    hard = np.random.default_rng(1).normal(size=(B, B, D))  # H = B: no axis is told from another by its size
    given = {"hard_negatives": hard, "guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS,
             "guide_hard_negatives": np.random.default_rng(3).normal(size=(B, B, G)), **(
        {"hard_negatives_mask": np.random.default_rng(2).random((B, B)) > 0.3} if padded else {})}
    options = {"in_batch": True, "hard_negatives_of": of}
    some = {name: library.array(one[counted]) for name, one in given.items()}
    wrt = ("queries", "keys", "hard_negatives")
    wanted = anglos.info_nce.value_and_grad(
        *(library.array(one[counted]) for one in (QUERIES, KEYS)), **some, **options, wrt=wrt)
    if padded:
        for one in (hard, given["guide_hard_negatives"]):
            one[given["hard_negatives_mask"] == 0] = np.nan
    spoilt = {name: library.array(np.where(counted[:, None, None] if one.ndim == 3 else counted[:, None], one, np.nan)
                                  if one.dtype != bool else one)
              for name, one in {"queries": QUERIES, "keys": KEYS, **given}.items()}
    found = anglos.info_nce.value_and_grad(spoilt.pop("queries"), spoilt.pop("keys"), **spoilt, **options, wrt=wrt,
                                           row_mask=library.array(counted))
    np.testing.assert_allclose(library.numpy(found[0]), library.numpy(wanted[0]), rtol=0, atol=1e-12)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(library.numpy(one)[counted], library.numpy(other), rtol=0, atol=1e-12)
        assert not library.numpy(one)[~counted].any()


def test_nan_in_a_query_is_seen_beside_hard_negatives(library: Library) -> None:
    queries = QUERIES.copy()
    queries[2] = np.nan
    loss = anglos.info_nce(*map(library.array, (queries, KEYS)), hard_negatives=library.array(np.ones((B, 2, D))),
                           hard_negatives_of="all", hard_negatives_mask=library.array(np.ones((B, 2), dtype=bool)),
                           reduction="none")
    assert np.isnan(library.numpy(loss)[2])
    with pytest.raises(ValueError, match=r"hard_negatives was of shape \(9, 0, 5\); wanted H to be at least 1 in"):
        anglos.info_nce(*map(library.array, (queries, KEYS)), hard_negatives=library.array(np.ones((B, 0, D))))


def test_what_a_guide_says_of_nan_is_nothing(library: Library) -> None:
    """Its pairs count, as those that it finds less similar."""
    spoilt = GUIDE_KEYS.copy()
    spoilt[3] = np.nan
    false = library.numpy(anglos.mining.guided_false_negatives(library.array(GUIDE_QUERIES), library.array(spoilt)))
    assert not false[3].any()
    assert not false[:, 3].any()
    assert false.any()
    assert_same(library, anglos.info_nce, (QUERIES, KEYS), {"guide_queries": GUIDE_QUERIES, "guide_keys": spoilt},
                {"false_negatives": false})


def test_a_guide_is_a_constant_under_transforms() -> None:
    torch, jax = import_module("torch"), import_module("jax")
    given = (QUERIES, KEYS, GUIDE_QUERIES, GUIDE_KEYS)
    mask = anglos.mining.guided_false_negatives(GUIDE_QUERIES, GUIDE_KEYS)
    wanted = anglos.info_nce.value_and_grad(QUERIES, KEYS, false_negatives=mask)

    def loss(queries: Any, keys: Any, guide_queries: Any, guide_keys: Any) -> Any:
        return anglos.info_nce(queries, keys, guide_queries=guide_queries, guide_keys=guide_keys)

    by_jax, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*given)
    for one, other in zip((by_jax, *gradients), (wanted[0], *wanted[1], np.zeros_like(GUIDE_QUERIES)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    tensors = [torch.tensor(one, requires_grad=place < 3) for place, one in enumerate(given)]
    value = loss(*tensors)
    first = torch.autograd.grad(value, tensors[:2], create_graph=True)
    for one, other in zip((value, *first), (wanted[0], *wanted[1]), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, atol=1e-12)
    second = torch.autograd.grad(sum((one * one).sum() for one in first), tensors[0])[0]
    plain = anglos.info_nce.plain(*tensors[:2], guide_queries=tensors[2].detach(), guide_keys=tensors[3])
    by_plain = torch.autograd.grad(plain, tensors[:2], create_graph=True)
    again = torch.autograd.grad(sum((one * one).sum() for one in by_plain), tensors[0])[0]
    torch.testing.assert_close(second, again, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "arrays", "options", "message"), [
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES}, "guide_keys was None; wanted it together with guide_queries"),
    ("clip", 2, {"guide_keys": GUIDE_KEYS}, "guide_queries was None; wanted it together with guide_keys"),
    ("info_nce", 3, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS},
     "guide_negatives was None; wanted it together with guide_queries and negatives"),
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "guide_negatives": GUIDE_NEGATIVES},
     "negatives was None, or without rows; wanted it together with guide_negatives"),
    ("info_nce", 2, {"guide_hard_negatives": GUIDE_HARD, "hard_negatives": HARD},
     "guide_queries was None; wanted it together with guide_hard_negatives"),
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "guide_hard_negatives": GUIDE_HARD},
     "hard_negatives was None; wanted it together with guide_hard_negatives"),
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "hard_negatives": HARD,
                     "guide_hard_negatives": GUIDE_HARD[:, :2]},
     r"guide_hard_negatives was of shape \(9, 2, 4\); wanted \(B, H, G\), with B = 9 in queries, "),
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS[:3]},
     r"guide_keys was of shape \(3, 4\); wanted \(B, G\), with B = 9 in queries, G = 4 in guide_queries"),
    ("info_nce", 2, {"guide_queries": GUIDE_QUERIES, "guide_keys": GUIDE_KEYS, "guide_margin": 3.0},
     "guide_margin was 3; wanted a margin on the cosine from -2 to 2: a number"),
    ("supcon", 0, {"guide_embeddings": GUIDE, "reference_embeddings": REFERENCES, "reference_labels": OTHER_LABELS},
     "guide_references was None; wanted it together with guide_embeddings and reference_embeddings"),
    ("triplet", 0, {"guide_embeddings": GUIDE, "guide_references": GUIDE_REFERENCES},
     "reference_embeddings was None; wanted it together with guide_references"),
])
def test_refusals(name: str, arrays: int, options: dict[str, Any], message: str) -> None:
    given = (QUERIES, KEYS, NEGATIVES)[:arrays] or (QUERIES, LABELS)
    with pytest.raises((TypeError, ValueError), match=f"^{name}: {message}"):
        anglos.LOSSES[name](*given, **options)
