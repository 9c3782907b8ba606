"""Arguments go by their kinds: a loss is the same whatever it calls them."""

import inspect
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import LABELS, arrays, float_arrays, references

import anglos
from anglos import Loss, define
from anglos.call.definition import definition_of
from anglos.call.kinds import by_role

RENAMED = [name for name, loss in anglos.LOSSES.items() if loss.engine.ROLES]
NUMPY = LIBRARIES["numpy"]()


def twin(loss: Loss[...], words: dict[str, str]) -> Loss[...]:
    """The same loss, with other words for its arguments."""
    def function(*given: Any, **options: Any) -> Any:
        back = {word: name for name, word in words.items()}
        return loss.function(*given, **{back.get(word, word): option for word, option in options.items()})

    signature: Any = inspect.signature(loss.function)
    parameters = [p.replace(name=words.get(p.name, p.name)) for p in signature.parameters.values()]
    function.__name__, function.__module__ = "twin", loss.function.__module__
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return Loss(definition_of(function, loss.engine), loss.engine)


def words_of(loss: Loss[...]) -> dict[str, str]:
    """Another word for every argument that has a role, except the options that come by themselves."""
    parameters = inspect.signature(loss.function).parameters
    return {name: f"my_{place}" for place, name in enumerate(by_role(loss.kinds).values()) if name in parameters}


@pytest.mark.parametrize("name", RENAMED)
def test_words_change_nothing(name: str) -> None:
    """Nor do they with samples that are ignored, and with a second batch."""
    loss = anglos.LOSSES[name]
    words = words_of(loss)
    other, inputs = twin(loss, words), arrays(loss, NUMPY)
    ignored = [np.where(np.arange(len(LABELS)) == 1, -100, array) if array.dtype.kind == "i" else array
               for array in inputs]
    wrt = float_arrays(loss)
    for given, options in ((inputs, {}), (ignored, {}), (ignored, references(loss, NUMPY))):
        expected = loss.value_and_grad(*given, wrt=tuple(wrt), **options)
        found = other.value_and_grad(*given, wrt=tuple(words.get(one, one) for one in wrt), **options)
        np.testing.assert_equal(found, expected)


@define.pairs()
def memory(x: define.Embeddings, y: define.Groups, /, *, temperature: define.Temperature = 0.5,
           bank: define.ReferenceEmbeddings = None, of_bank: define.ReferenceLabels = None,
           skip: define.ExcludedPairs = None) -> define.PairRow:
    """nt_xent, in its user's words."""
    row: define.PairRow = anglos.nt_xent.function(x, y, temperature=temperature)
    return row


def test_options_have_roles_too(library: Library) -> None:
    """And words of the user's stand in for options that come by themselves."""
    x, y = arrays(anglos.nt_xent, library)
    theirs = references(anglos.nt_xent, library)
    ours = {"bank": theirs["reference_embeddings"], "of_bank": theirs["reference_labels"]}
    skipped = library.array(np.arange(6 * 9).reshape(6, 9) % 4 == 0)
    assert "reference_embeddings" not in memory.defaults
    expected = anglos.nt_xent.value_and_grad(
        x, y, **theirs, excluded_pairs=skipped, wrt=("embeddings", "reference_embeddings"))
    found = memory.value_and_grad(x, y, **ours, skip=skipped, wrt=("x", "bank"))
    np.testing.assert_equal(library.numpy(found[0]), library.numpy(expected[0]))
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_equal(library.numpy(one), library.numpy(other))


@pytest.mark.parametrize(("call", "message"), [
    (lambda x, y: memory(x, y, bank=x), "memory: of_bank was None; wanted it together with bank"),
    (lambda x, y: memory(x, y, of_bank=y), "memory: bank was None; wanted it together with of_bank"),
    (lambda x, y: memory(x, y, skip=np.zeros((6, 5), dtype=bool)),
     "memory: skip was of shape (6, 5); wanted (B, B), with B = 6 in x"),
    (lambda x, y: memory(x, -np.ones((6, 6))), "memory: y held -1; wanted weights of positives from 0, and finite"),
    (lambda x, y: memory(x, np.eye(6, dtype=int)),
     "memory: y held 6 labels per sample, all from 0 to 1; wanted labels of a sample that differ, padded with "
     "ignore_index; or weights of positives, of real floating dtype and shape (B, N) (one-hot: "
     "y.argmax(-1))"),
    (lambda x, y: twin(anglos.cosface, {"labels": "y"})(x, x, y + 9),
     "twin: y held 9 at position 0; wanted 0 to 5, or ignore_index = -100"),
], ids=["labels", "embeddings", "shape", "weights", "rows of zeros and ones", "no class"])
def test_refusals_use_the_words(call: Any, message: str) -> None:
    x, y = arrays(anglos.nt_xent, NUMPY)
    with pytest.raises((TypeError, ValueError)) as caught:
        call(x, y)
    assert str(caught.value) == message


def test_every_role_is_one_arguments() -> None:
    def twice(x: define.Queries, y: define.Queries, z: define.Keys, /) -> Any: ...
    def alone(x: define.Queries, /, *, keys: define.Factor = 1.0) -> Any: ...
    def hidden(x: define.Queries, y: define.Keys, /, *, queries: define.Factor = 1.0) -> Any: ...

    for function, message in (
            (twice, "twice: x stood for queries, as y does; wanted one argument that does"),
            (alone, "alone: its arguments stood for queries; wanted queries and keys, or embeddings and labels, "
                    "or embeddings and targets, by their annotations"),
            (hidden, "hidden: queries stood for queries, as x does; wanted one argument that does")):
        with pytest.raises(TypeError) as caught:
            define.pairs()(function)
        assert str(caught.value) == message


def own_terms(bias: Any, **fields: Any) -> Loss[...]:
    @define.pairs()
    def loss(anchors: define.Queries, others: define.Keys, rest: define.Negatives = None, /, *,
             shift: define.Number = 0.25) -> define.PairRow:
        if not bias:
            return define.PairRow(define.each_by_itself, 1.5, **fields)
        return define.PairRow(define.one_of_many, 1.5, shift, names={"shift": (("bias", 1.0),)}, **fields)

    return loss


@pytest.mark.parametrize(("bias", "fields", "many"), [
    (False, {"distance": "euclidean", "normalize": False}, 3), (False, {"distance": "squared_euclidean"}, 3),
    (False, {"distance": "angle"}, 3), (True, {"symmetric": True, "normalize": False}, 2),
    (True, {"length_penalty": 0.1, "normalize": False}, 3)], ids=str)
def test_what_no_loss_of_ours_combines(bias: bool, fields: dict[str, Any], many: int) -> None:
    """Against differences."""
    random = np.random.default_rng(0)
    given, loss = [random.normal(size=(rows, 4)) for rows in (6, 6, 5)[:many]], own_terms(bias, **fields)
    names = ("anchors", "others", "rest")[:many]
    _, gradients = loss.value_and_grad(*given, wrt=names)
    for place, gradient in enumerate(gradients):
        slope = random.normal(size=given[place].shape)
        ahead, back = ([*given[:place], given[place] + step * slope, *given[place + 1:]] for step in (1e-6, -1e-6))
        np.testing.assert_allclose(np.sum(gradient * slope), (loss(*ahead) - loss(*back)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize(("fields", "given"), [
    ({"symmetric": True, "distance": "cosine"}, 2), ({"symmetric": True}, 3)], ids=["distances", "negatives"])
def test_symmetric_needs_logits_of_two_sets(fields: dict[str, Any], given: int) -> None:
    message = "PairRow: symmetric was True; wanted logits, not distances, of queries and keys alone"
    with pytest.raises(ValueError, match=message):
        own_terms(False, **fields)(*[np.eye(4)] * given)
