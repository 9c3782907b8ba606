"""What a layer says of itself: its options in force, and with what it was trained, in every framework."""

import copy
import io
import json
import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anglos
from anglos import Loss

FRAMEWORKS = ("torch", "flax", "equinox")


def head_of(framework: str, loss: Loss[...], classes: int = 5, **options: Any) -> Any:
    several = {"prototypes_per_class": 3} if loss.kinds[loss.arrays[1]].shapes == ("C K D",) else {}
    make: Any = import_module(f"anglos.backends.{framework}").Head
    if framework == "flax":
        several["rngs"] = import_module("flax.nnx").Rngs(0)
    if framework == "equinox":
        several["key"] = import_module("jax").random.key(0)
    return make(loss, classes, 4, **several, **options)


def array_of(framework: str, value: Any) -> Any:
    return import_module("torch").tensor(value) if framework == "torch" else import_module("jax").numpy.asarray(value)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_all_options_are_read_with_their_defaults(framework: str, layer: Loss[...]) -> None:
    """What was given, and the default of what was not; a call takes no more than what was given."""
    head = head_of(framework, layer)
    assert head.all_options == layer.defaults
    given: dict[str, Any] = {name: array_of(framework, 9.5) for name in ("scale", "concentration")
                             if name in layer.defaults}
    head = head_of(framework, layer, reduction="sum", **given)
    assert set(head.all_options) == set(layer.defaults)
    assert head.all_options["reduction"] == "sum"
    assert all(float(head.all_options[name]) == 9.5 for name in given)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_repr_is_short_and_has_the_options_in_force(framework: str, layer: Loss[...]) -> None:
    text = " ".join(repr(head_of(framework, layer)).split())
    several = "3, " if layer.kinds[layer.arrays[1]].shapes == ("C K D",) else ""
    assert re.search(rf"Head\( ?{layer.name}, 5, {several}4\b", text)
    for name, default in layer.defaults.items():
        common = name in ("sample_weight", "ignore_index", "keep_bytes", "gradient_products", "label_smoothing",
                          "reduction")
        assert (f" {name}={default!r}" in text) == (default is not None and not common), name
    assert len(text) < 300
    head = head_of(framework, anglos.cosface, margin=0.25, label_smoothing=0.1, scale=array_of(framework, 8.0))
    text = " ".join(repr(head).split())
    scale = "" if framework == "torch" else "scale=array (), "
    assert f"cosface, 5, 4, margin=0.25, {scale}gradient='exact', label_smoothing=0.1" in text
    assert framework != "torch" or "HeadTensors(scale of shape ())" in text


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_settings_go_through_json(framework: str, layer: Loss[...]) -> None:
    settings = json.loads(json.dumps(head_of(framework, layer).settings))
    assert settings["loss"] == f"anglos.{layer.name}"
    assert settings == head_of(framework, layer).settings
    if framework != "torch":
        head_of(framework, layer).check_settings(settings)  # in silence


@pytest.mark.parametrize("framework", ["flax", "equinox"])
def test_other_settings_are_warned_of(framework: str) -> None:
    saved = head_of(framework, anglos.arcface, margin=0.3).settings
    with pytest.warns(UserWarning, match=r"^Head\(arcface\): the weights were trained otherwise: margin was 0\.3, and "
                                         r"is 0\.5 here$"):
        head_of(framework, anglos.arcface).check_settings(saved)
    with pytest.warns(UserWarning, match=r"otherwise: loss was 'anglos\.arcface', and is 'anglos\.cosface' here$"
                      ) as caught:
        head_of(framework, anglos.cosface).check_settings(saved)
    assert {one.filename for one in caught} == {__file__}
    with pytest.raises(TypeError, match=r"^Head\(cosface\): settings were a list; wanted what `settings` of a Head"):
        head_of(framework, anglos.cosface).check_settings([])


torch: Any = import_module("torch")


class Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, head: Any) -> None:
        super().__init__()
        self.backbone, self.head = torch.nn.Linear(8, 4), head

    def forward(self, x: Any, labels: Any) -> Any:
        return self.head(self.backbone(x), labels)


def saved_and_loaded(state: Any) -> Any:
    """By torch.save, and as safely as torch.load does it by itself."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_state_dict_says_what_it_was_trained_with() -> None:
    """And a head with another loss, or other options, says so; with the same, nothing; keys are those of before."""
    state = saved_and_loaded(Model(head_of("torch", anglos.arcface, margin=0.3)).state_dict())
    assert set(state) == {"backbone.weight", "backbone.bias", "head.weight"}
    assert state._metadata["head"]["anglos"]["loss"] == "anglos.arcface"
    Model(head_of("torch", anglos.arcface, margin=0.3, keep_bytes=0, reduction="sum")).load_state_dict(state)
    with pytest.warns(UserWarning, match=r"^Head\(arcface\): the weights were trained otherwise: margin was 0\.3, and "
                                         r"is 0\.5 here; scale was 64\.0, and is 30\.0 here$"):
        Model(head_of("torch", anglos.arcface, scale=30.0)).load_state_dict(state)
    with pytest.warns(UserWarning, match="loss was 'anglos.arcface', and is 'anglos.cosface' here$") as caught:
        Model(head_of("torch", anglos.cosface, margin=0.3)).load_state_dict(copy.deepcopy(state))
    assert {one.filename for one in caught} == {__file__}  # who loaded it, not the library


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_more_than_embeddings_and_labels_are_refused(framework: str) -> None:
    with pytest.raises(TypeError, match=r"^Head\(arcface\): the arrays were 3; wanted 2: embeddings, labels \(options: "
                                        r"head\.options; chosen triplets or pairs: anglos\.triplet_margin, "):
        head_of(framework, anglos.arcface)(None, None, None)


def test_options_that_change_are_saved_as_they_are() -> None:
    head = head_of("torch", anglos.arcface, margin=0.1)
    head.options["margin"] = 0.4
    head_of("torch", anglos.arcface, margin=0.4).load_state_dict(saved_and_loaded(head.state_dict()))
    head.options["scale"] = torch.tensor(2.0, requires_grad=True).exp()  # of a graph, which belongs to one step
    assert "scale" not in head.state_dict()._metadata[""]["anglos"]


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25)])
def test_numbers_of_numpy_are_saved_as_numbers(number: Any) -> None:
    """Which `torch.load` takes: of NumPy's it says that they are not to be trusted."""
    head = head_of("torch", anglos.arcface, margin=number)
    head.options["scale"] = number
    saved = saved_and_loaded(head.state_dict())._metadata[""]["anglos"]
    assert [(type(saved[name]), saved[name]) for name in ("margin", "scale")] == [(float, 0.25)] * 2


def test_a_head_of_which_nothing_is_loaded_is_not_spoken_of() -> None:
    state = Model(head_of("torch", anglos.arcface)).state_dict()
    del state["head.weight"]
    Model(head_of("torch", anglos.cosface)).load_state_dict(state, strict=False)  # in silence


def test_an_older_file_and_one_of_another_library_load_in_silence(tmp_path: Path) -> None:
    """Strictly, without a word of what they were trained with."""
    head = head_of("torch", anglos.arcface)
    state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    for one in (state, {"W": torch.randn(4, 5)}, {"kernel": torch.randn(4, 5)}):
        assert str(head.load_state_dict(one, strict=True)) == "<All keys matched successfully>"
    safetensors: Any = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    safetensors.save_file(Model(head).state_dict(), tmp_path / "model.safetensors")
    Model(head_of("torch", anglos.arcface)).load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"))


@pytest.mark.filterwarnings("ignore")
def test_a_distributed_checkpoint_has_the_tensors(tmp_path: Path) -> None:
    checkpoint: Any = import_module("torch.distributed.checkpoint")
    model, other = Model(head_of("torch", anglos.arcface)), Model(head_of("torch", anglos.arcface))
    with torch.no_grad():
        model.head.weight.add_(1.0)
    checkpoint.save(model.state_dict(), checkpoint_id=tmp_path, no_dist=True)
    state = other.state_dict()
    checkpoint.load(state, checkpoint_id=tmp_path, no_dist=True)
    other.load_state_dict(state)
    assert torch.equal(other.head.weight, model.head.weight)
    assert state._metadata["head"]["anglos"] == model.head.settings


@pytest.mark.slow
def test_wrapped_models_say_it_too(tmp_path: Path) -> None:
    """Under DistributedDataParallel, and as transformers saves and loads it."""
    distributed: Any = import_module("torch.distributed")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(Model(head_of("torch", anglos.arcface)))
        state = wrapped.state_dict()
        assert state._metadata["module.head"]["anglos"]["loss"] == "anglos.arcface"
        wrapped.load_state_dict(state)
    finally:
        distributed.destroy_process_group()
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")

    class Pretrained(transformers.PreTrainedModel):  # type: ignore[misc]
        config_class = transformers.PretrainedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.head = head_of("torch", anglos.arcface)
            self.post_init()

        def _init_weights(self, module: Any) -> None:
            if module in (self.head, self.head.tensors):
                module.reset_parameters()

    model = Pretrained(transformers.PretrainedConfig())
    model.save_pretrained(tmp_path)
    assert torch.equal(Pretrained.from_pretrained(tmp_path).head.weight, model.head.weight)


jax: Any = import_module("jax")
ARRAYS = {"bias": 5, "class_margin": 5, "class_weight": 5}


@pytest.mark.parametrize("framework", ["torch", "flax", "equinox"])
def test_arrays_that_do_not_fit_are_refused_at_once(framework: str) -> None:
    """By type and shape; a constant is nothing to be learnt."""
    array: Any = torch.ones if framework == "torch" else jax.numpy.ones
    for name, size, message in (
            ("bias", 4, r"bias was of shape \(4,\); wanted \(C,\), with C = 5 in num_classes"),
            ("scale", 5, r"scale was of shape \(5,\); wanted \(\)"),
            ("margin", (5, 2), r"margin was of shape \(5, 2\); wanted \(\) or \(B,\)")):
        with pytest.raises(ValueError, match=rf"^Head\(arcface\): {message}"):
            head_of(framework, anglos.arcface, **{name: array(size)})
    if framework == "flax":
        with pytest.raises(ValueError, match=r"^Head\(arcface\): class_weight was an nnx.Param, and is a constant"):
            head_of("flax", anglos.arcface, class_weight=import_module("flax.nnx").Param(array(5)))
        with pytest.raises(ValueError, match=r"^Head\(arcface\): past_pi was an nnx.Param, and is a constant"):
            head_of("flax", anglos.arcface, past_pi=import_module("flax.nnx").Param("easy"))
    if framework == "torch":
        with pytest.raises(TypeError, match=r"^Head\(arcface\): bias was a numpy.ndarray; wanted a tensor"):
            head_of("torch", anglos.arcface, bias=np.ones(5, dtype=np.float32))


@pytest.mark.parametrize(("name", "optimizer", "classes"), [
    ("l2_softmax", "adam", 8), ("linear_cross_entropy", "adagrad", 8), ("subcenter_arcface", "sgd", 3)])
def test_a_flax_head_has_another_number_of_classes(name: str, optimizer: str, classes: int) -> None:
    """The first keep their prototypes and what the optimizer has of them; new ones start as at the start."""
    nnx, optax = import_module("flax.nnx"), import_module("optax")
    loss: Any = anglos.LOSSES[name]
    names = {one: (nnx.Variable if loss.kinds[one].frozen else nnx.Param)(jax.numpy.ones(size))
             for one, size in ARRAYS.items() if one in loss.defaults}
    head = head_of("flax", loss, **names)
    made = {"sgd": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(0.1), "adagrad": optax.adagrad(0.1)}[optimizer]
    trained = nnx.Optimizer(head, made, wrt=nnx.Param)
    x, y = jax.random.normal(jax.random.key(0), (6, 4)), jax.numpy.asarray([0, 1, 2, 2, 1, 0])

    def step() -> float:
        value, gradients = nnx.value_and_grad(lambda head: head(x, y))(head)
        trained.update(head, gradients)
        return float(value)

    step()
    kept = min(classes, 5)
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(trained.opt_state))]
    weight, param = np.asarray(head.weight[...]), head.weight
    head.resize_classes(classes, rngs=nnx.Rngs(1), optimizer=trained)
    assert head.weight is param
    assert head.weight.shape == (classes, *weight.shape[1:])
    np.testing.assert_array_equal(head.weight[...][:kept], weight[:kept])
    for one in names:
        start = 1.0 if one == "class_weight" else 0.0
        np.testing.assert_array_equal(head.options[one][...][5:], start)
    begun = nnx.Optimizer(head, made, wrt=nnx.Param)
    fresh = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(begun.opt_state))]
    after = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(trained.opt_state))]
    for was, now, begun_with in zip(before, after, fresh, strict=True):
        assert now.shape == begun_with.shape
        if was.shape == now.shape:
            np.testing.assert_array_equal(now, was)
        else:
            np.testing.assert_array_equal(now[:kept], was[:kept])
            np.testing.assert_array_equal(now[kept:], begun_with[kept:])
    assert np.isfinite(step())


def test_what_a_flax_head_cannot_resize_is_refused() -> None:
    nnx, optax = import_module("flax.nnx"), import_module("optax")
    head = head_of("flax", anglos.arcface)
    with pytest.raises(ValueError, match=r"^Head: num_classes was 0; wanted an integer of at least 1$"):
        head.resize_classes(0, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"^Head: optimizer was .*; wanted a flax\.nnx\.Optimizer$"):
        head.resize_classes(9, rngs=nnx.Rngs(0), optimizer=optax.adam(0.1))
    model = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)), head)
    with pytest.raises(ValueError, match=r"^Head: the optimizer's state was .* of another structure than it starts"):
        head.resize_classes(9, rngs=nnx.Rngs(0), optimizer=nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param))
    with pytest.raises(ValueError, match=r"^Head: model was a flax\..*Linear without this head; wanted the one that"):
        head.resize_classes(9, rngs=nnx.Rngs(0), model=model.layers[0])
    with pytest.raises(TypeError, match=r"^Head: weight was traced; wanted resize_classes outside of nnx\.jit and all"):
        nnx.jit(lambda head: head.resize_classes(9, rngs=nnx.Rngs(0)))(head)
    for wrong in (jax.random.key(0), 0):
        with pytest.raises(TypeError, match=r"^Head: rngs was .*; wanted flax\.nnx\.Rngs, as nnx\.Rngs\(0\)"):
            head.resize_classes(9, rngs=wrong)
        with pytest.raises(TypeError, match=r"^Head: rngs was .*; wanted flax\.nnx\.Rngs, as nnx\.Rngs\(0\)"):
            type(head)(anglos.arcface, 5, 4, rngs=wrong)
    assert head.weight.shape == (5, 4)


@pytest.mark.parametrize(("name", "classes"), [("linear_cross_entropy", 8), ("subcenter_arcface", 3)])
def test_an_equinox_head_has_another_number_of_classes(name: str, classes: int) -> None:
    equinox, optax = import_module("equinox"), import_module("optax")
    carry_state = import_module("anglos.backends.equinox").carry_state
    loss: Any = anglos.LOSSES[name]
    options = {one: jax.numpy.ones(size) for one, size in ARRAYS.items() if one in loss.defaults}
    head = head_of("equinox", loss, **options)
    optimizer = optax.adam(0.1)
    state = optimizer.init(equinox.filter(head, equinox.is_inexact_array))
    x, y = jax.random.normal(jax.random.key(0), (6, 4)), jax.numpy.asarray([0, 1, 2, 2, 1, 0])

    def step(head: Any, state: Any) -> Any:
        gradients = equinox.filter_grad(lambda head: head(x, y))(head)
        updates, state = optimizer.update(gradients, state)
        return equinox.apply_updates(head, updates), state

    head, state = step(head, state)
    other = head.resize_classes(classes, key=jax.random.key(1))
    carried = carry_state(state, optimizer.init(equinox.filter(other, equinox.is_inexact_array)))
    kept = min(classes, 5)
    assert head.weight.shape[0] == 5
    np.testing.assert_array_equal(other.weight[:kept], head.weight[:kept])
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(carried), strict=True):
        assert np.shape(new) == (np.shape(old) if not np.ndim(old) else (classes, *np.shape(old)[1:]))
        np.testing.assert_array_equal(new if not np.ndim(old) else new[:kept], old if not np.ndim(old) else old[:kept])
    trained, _ = step(other, carried)
    assert np.isfinite(trained.weight).all()
    with pytest.raises(ValueError, match=r"of another structure than it starts with"):
        carry_state(state, optax.sgd(0.1).init(equinox.filter(other, equinox.is_inexact_array)))


@pytest.mark.parametrize(("where", "made_with"), [
    ("inside", "number"), ("inside", "array"), ("in the loss", "number"), ("between", "number"), ("between", "array")])
def test_a_margin_grows_in_a_compiled_step(where: str, made_with: str) -> None:
    """The values are those of calls with each margin."""
    nnx, optax = import_module("flax.nnx"), import_module("optax")
    head = head_of("flax", anglos.arcface, margin=0.1 if made_with == "number" else jax.numpy.asarray(0.1))
    optimizer = nnx.Optimizer(head, optax.sgd(0.0), wrt=nnx.Param)
    x, y = jax.random.normal(jax.random.key(0), (6, 4)), jax.numpy.arange(6) % 5
    compiled = []

    @nnx.jit  # type: ignore[untyped-decorator]
    def step(head: Any, optimizer: Any, number: Any) -> Any:
        compiled.append(1)

        def value(head: Any) -> Any:
            if where == "in the loss":
                head.options["margin"] = 0.1 * number
            return head(x, y)

        if where == "inside":
            head.options["margin"] = 0.1 * number
        loss, gradients = nnx.value_and_grad(value)(head)
        optimizer.update(head, gradients)
        return loss

    for number in range(4):
        if where == "between":
            head.options["margin"] = 0.1 * number if made_with == "number" else jax.numpy.asarray(0.1 * number)
        got = step(head, optimizer, jax.numpy.asarray(float(number)))
        want = anglos.arcface(x, head.weight[...], y, margin=0.1 * number)
        np.testing.assert_allclose(got, want, rtol=1e-5)
        assert float(head.all_options["margin"]) == pytest.approx(0.1 * number, abs=1e-7)
    assert len(compiled) <= (4 if (where, made_with) == ("between", "number") else 2)


def test_warnings_of_settings_are_warnings_of_the_user() -> None:
    """Once, and no error of its own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        head_of("torch", anglos.cosface).load_state_dict(head_of("torch", anglos.arcface).state_dict())
    assert [one.category for one in caught] == [UserWarning]
