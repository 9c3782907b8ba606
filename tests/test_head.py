"""PyTorch's layer: every loss that compares embeddings with something of each class."""

import copy
import doctest
import inspect
import pickle
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import BATCH, CLASSES, DIMENSION, array_options, arrays, gentle, has_several

import anglos
from anglos import Loss

torch: Any = import_module("torch")
Head: Any = import_module("anglos.backends.torch").Head
Tensors: Any = import_module("anglos.backends.torch._tensors").Tensors

STATES: dict[str, dict[str, float]] = {
    "adaface": {"norm_mean": 2.0, "norm_std": 1.0}, "adacos": {"scale": 6.0}, "curricularface": {"t": 0.3},
}


def head_of(loss: Loss[...], num_classes: int = CLASSES, dtype: Any = torch.float64, **options: Any) -> Any:
    several = {"prototypes_per_class": 3} if has_several(loss) else {}
    torch.manual_seed(0)
    return Head(loss, num_classes, DIMENSION, dtype=dtype, **several, **options)


def batch() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    embeddings = torch.tensor(random.normal(size=(BATCH, DIMENSION)), requires_grad=True)
    return embeddings, torch.tensor([0, 3, 0, 1, 4, 3])


def tensor_options(loss: Loss[...], shape: tuple[int, ...] = ()) -> dict[str, Any]:
    """Everything that can be learnt, as parameters, and every state."""
    values = {name: torch.tensor(value[0]) for name, value in array_options(loss).items() if name != "sample_weight"}
    learnt = {name: torch.nn.Parameter(value.double().reshape(value.shape or shape)) for name, value in values.items()}
    return {**learnt, **{name: torch.tensor(value).double() for name, value in STATES.get(loss.name, {}).items()}}


def test_weight_is_drawn_as_the_docstring_says(layer: Loss[...]) -> None:
    """Normal, of standard deviation 1/√D: within five standard errors of it."""
    weight = head_of(layer, 4000).weight
    deviation, numbers = weight.std().item(), weight.numel()
    assert abs(deviation * DIMENSION**0.5 - 1.0) < 5.0 / (2.0 * numbers) ** 0.5
    assert abs(weight.mean().item()) < 5.0 * deviation / numbers**0.5
    assert weight.requires_grad is not layer.kinds[layer.arrays[1]].frozen


def test_forward_is_the_loss_with_learnt_options_and_states(layer: Loss[...]) -> None:
    """Value and gradients; (1,) stands for a number."""
    embeddings, labels = batch()
    for shape in ((), (1,)):
        options = tensor_options(layer, shape)
        head = head_of(layer, **options)
        assert set(head.state_dict()) == {"weight", *(f"tensors.{name}" for name in options)}
        numbers = {name: option.reshape(()) if option.shape == (1,) else option for name, option in options.items()}
        inputs = [embeddings, *(one for one in head.parameters() if one.requires_grad)]
        value, wanted = head(embeddings, labels), layer(embeddings, head.weight, labels, **numbers)
        torch.testing.assert_close(value, wanted, rtol=0, atol=0)
        gradients = torch.autograd.grad(value, inputs, allow_unused=True)  # a bias of None has none
        torch.testing.assert_close(gradients, torch.autograd.grad(wanted, inputs, allow_unused=True), rtol=0, atol=0)
        assert all(gradient is not None for gradient in gradients)


def test_margin_and_scale_change_between_steps(layer: Loss[...]) -> None:
    embeddings, labels = batch()
    head = head_of(layer)
    before = head(embeddings, labels).item()
    for name in {"margin", "scale", "m2"} & set(layer.defaults):
        head.options[name] = 0.9 * array_options(layer)[name][0] if name in array_options(layer) else 1.1
        wanted = layer(embeddings, head.weight, labels, **head.options)
        assert head(embeddings, labels).item() == wanted.item() != before


class Shrunk(torch.nn.Module):  # type: ignore[misc]
    """A parametrization."""

    def forward(self, original: Any) -> Any:
        return 0.9 * original

    def right_inverse(self, value: Any) -> Any:
        return value / 0.9


class Wrapper(torch.nn.Module):  # type: ignore[misc]
    """As tools wrap a module that they do not know."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__()
        self.wrapped = wrapped

    def forward(self, *arguments: Any) -> Any:
        return self.wrapped(*arguments)


def pruned(head: Any, name: str) -> Any:
    import_module("torch.nn.utils.prune").identity(head.tensors, name)
    return head


def shrunk(head: Any, name: str) -> Any:
    torch.nn.utils.parametrize.register_parametrization(head.tensors, name, Shrunk())
    return head


def replica(head: Any, name: str) -> Any:
    """As torch.nn.parallel.replicate makes it: what was a parameter is an attribute."""
    tensors, other = (module._replicate_for_data_parallel() for module in (head.tensors, head))
    for key, parameter in head.tensors.named_parameters():
        setattr(tensors, key, parameter * 1.0)
    other.weight, other.tensors = head.weight * 1.0, tensors
    return other


def wrapped(head: Any, name: str) -> Any:
    head.tensors = Wrapper(head.tensors)
    return head


def computed(head: Any, name: str) -> Any:
    """An attribute in the place of the parameter, which some tools for several devices leave."""
    parameter = head.tensors._parameters.pop(name)
    head.tensors.flat = torch.nn.Parameter(parameter.detach().clone())
    setattr(head.tensors, name, head.tensors.flat.view(parameter.shape))
    return head


@pytest.mark.parametrize("tool", [pruned, shrunk, replica, wrapped, computed], ids=lambda tool: tool.__name__)
def test_an_option_stays_in_use_whatever_a_tool_makes_of_it(layer: Loss[...], tool: Any) -> None:
    """Its value, and its gradient."""
    embeddings, labels = batch()
    for name, option in tensor_options(layer).items():
        if not option.requires_grad:
            continue
        given = option.detach().clone().requires_grad_()
        head = tool(head_of(layer, **{name: option}), name)
        value, wanted = head(embeddings, labels), layer(embeddings, head.weight, labels, **{name: given})
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
        (leaf,) = [leaf for key, leaf in head.named_parameters() if key != "weight"] or [option]
        gradient, wanted = torch.autograd.grad(value, leaf)[0], torch.autograd.grad(wanted, given)[0]
        torch.testing.assert_close(gradient, (0.9 if tool is shrunk else 1.0) * wanted, rtol=1e-9, atol=1e-12)
        assert head.logits(embeddings).shape == (BATCH, CLASSES)


def test_logits_are_of_the_weight_that_a_tool_computes() -> None:
    """Without a call of the head between."""
    head, (embeddings, _) = head_of(anglos.arcface), batch()
    import_module("torch.nn.utils.prune").identity(head, "weight")
    with torch.no_grad():
        head.weight_orig.mul_(-1.0)
    wanted = head.logits(embeddings)
    torch.testing.assert_close(wanted, 64.0 * torch.nn.functional.cosine_similarity(
        embeddings[:, None], head.weight_orig[None], dim=-1))


def test_an_option_is_swapped_by_functional_call(layer: Loss[...]) -> None:
    embeddings, labels = batch()
    for name, option in tensor_options(layer).items():
        head, other = head_of(layer, **{name: option}), 0.9 * option.detach()
        value = torch.func.functional_call(head, {f"tensors.{name}": other}, (embeddings, labels))
        assert value.item() == layer(embeddings, head.weight, labels, **{name: other}).item()


def test_an_option_that_is_gone_is_refused(layer: Loss[...]) -> None:
    """In the place of the loss's default, whatever took it away."""
    embeddings, labels = batch()
    options = {**gentle(layer), **tensor_options(layer)}
    for name in options:
        head = head_of(layer, **options)
        if name not in head.tensors:
            del head.options[name]
        elif name in STATES.get(layer.name, {}):
            delattr(head.tensors, name)
        else:
            setattr(head.tensors, name, None)
        wanted = rf"^Head\({layer.name}\): {name} was given when the head was made, and is now gone; wanted it in head"
        for call, inputs in ((head, (embeddings, labels)), (head.logits, (embeddings,))):
            with pytest.raises(ValueError, match=wanted):
                call(*inputs)
        head.options[name] = options[name]
        head(embeddings, labels)


def test_an_option_is_no_attribute(layer: Loss[...]) -> None:
    """It would be read by nobody; an option of `tensors` may come later."""
    head = head_of(layer)
    for name in layer.defaults:
        wanted = rf"^Head\({layer.name}\): {name} was set as an attribute; wanted head\.options\['{name}'\]$"
        for change in (lambda name=name: setattr(head, name, 0.5),
                       lambda name=name: head.register_buffer(name, torch.tensor(0.5)),
                       lambda name=name: head.register_parameter(name, torch.nn.Parameter(torch.tensor(0.5)))):
            with pytest.raises(AttributeError, match=wanted):
                change()
    embeddings, labels = batch()
    for name, option in tensor_options(layer).items():
        setattr(head.tensors, name, option)
        assert head(embeddings, labels).item() == layer(embeddings, head.weight, labels, **dict(head.tensors)).item()


def test_an_option_given_as_a_number_is_no_tensor(layer: Loss[...]) -> None:
    """Which would come second, after the number."""
    (embeddings, labels), values = batch(), tensor_options(layer)
    numbers = {name: option.item() for name, option in values.items() if option.ndim == 0}
    head = head_of(layer, **numbers)
    value, weight = head(embeddings, labels).item(), head.weight
    for name in numbers:
        wanted = rf"^Head\({layer.name}\): {name} was set in head\.tensors, .*; wanted head\.options\['{name}'\], or a"
        learnt = torch.nn.Parameter(0.9 * values[name].detach())
        for change in (lambda name=name, learnt=learnt: setattr(head.tensors, name, learnt),
                       lambda name=name, learnt=learnt: head.tensors.register_parameter(name, learnt),
                       lambda name=name, learnt=learnt: head.tensors.register_buffer(name, learnt.detach()),
                       lambda name=name, learnt=learnt: torch.func.functional_call(
                           head, {"weight": 2.0 * weight.detach(), f"tensors.{name}": learnt}, (embeddings, labels))):
            with pytest.raises(AttributeError, match=wanted):
                change()
    assert head.weight is weight
    assert head(embeddings, labels).item() == value


def test_none_is_an_option_where_the_loss_takes_it(layer: Loss[...]) -> None:
    embeddings, labels = batch()
    for name in layer.defaults:
        if getattr(layer.kinds[name], "optional", False):
            none: dict[str, Any] = {name: None}
            head = head_of(layer, **none)
            assert head(embeddings, labels).item() == layer(embeddings, head.weight, labels, **none).item()
            assert head.logits(embeddings).shape == (BATCH, CLASSES)


def test_replicas_have_options_of_their_own() -> None:
    """Each sets them in its own thread of DataParallel."""
    head = head_of(anglos.cosface, margin=0.2)
    first, second = head._replicate_for_data_parallel(), head._replicate_for_data_parallel()
    first.options["scale"], second.options["margin"] = 5.0, 0.3
    assert (first.options, second.options, head.options) == ({"margin": 0.2, "scale": 5.0}, {"margin": 0.3},
                                                             {"margin": 0.2})


def test_a_list_that_was_given_is_not_kept() -> None:
    given = [10.0, 110.0]
    head = head_of(anglos.magface, norm_range=given)
    given[0] = 50.0
    assert head.options == {"norm_range": (10.0, 110.0)}


def test_what_a_tensor_cannot_be_set_to_is_refused() -> None:
    scale = torch.nn.Parameter(torch.tensor(8.0))
    head = Head(anglos.l2_softmax, 5, 4, scale=scale, bias=torch.zeros(5))
    odd: list[tuple[str, Any, type[Exception], str]] = [
        ("scale", None, TypeError, "None; wanted a number or a tensor of shape ()"),
        ("scale", "a", TypeError, "'a'; wanted a number or a tensor of shape ()"),
        ("scale", torch.tensor([0.1, 0.2]), ValueError, "of shape (2,); wanted a number or a tensor of shape ()"),
        ("scale", np.ones(1), ValueError, "of shape (1,); wanted a number or a tensor of shape ()"),
        ("bias", [1.0, 2.0], ValueError, "of shape (2,); wanted a number or a tensor of shape (5,)"),
    ]
    for name, value, error, message in odd:
        with pytest.raises(error, match=f"^{re.escape(f'Head(l2_softmax): {name} was {message}')}$"):
            head.tensors[name] = value
    with pytest.raises(TypeError, match=r"^Head\(l2_softmax\): scale was to be deleted; wanted a number or a tensor"):
        del head.tensors["scale"]
    assert scale.item() == 8.0
    assert not head.tensors["bias"].any()


def test_a_tensor_with_a_graph_is_refused_and_can_be_an_option(layer: Loss[...]) -> None:
    embeddings, labels = batch()
    for name, option in tensor_options(layer).items():
        leaf = option.detach().log1p().requires_grad_()
        if not option.requires_grad:
            head_of(layer, **{name: leaf.expm1()})  # a state, a constant to the gradient
            with pytest.raises(ValueError, match=rf"^Head\({layer.name}\): {name} was a Parameter, and is a constant"):
                head_of(layer, **{name: torch.nn.Parameter(option)})
            continue
        wanted = rf"^Head\({layer.name}\): {name} was a tensor that requires a gradient, of which only the numbers"
        for given in (leaf, leaf.expm1()):
            with pytest.raises(ValueError, match=wanted):
                head_of(layer, **{name: given})
        head = head_of(layer, **{name: torch.nn.Parameter(option * 0.5)})
        with pytest.raises(ValueError, match=wanted):
            head.tensors[name] = leaf.expm1()
        for _ in range(2):
            head.options[name] = leaf.expm1()
            value = head(embeddings, labels)
            assert value.item() == layer(embeddings, head.weight, labels, **{name: leaf.expm1()}).item()
            value.backward()
            assert leaf.grad is not None
    with pytest.raises(ValueError, match=r"^Head\(normface\): scale was on device meta, where it has no value; wanted"):
        Head(anglos.normface, 5, 4, scale=torch.tensor(20.0, device="meta"))


@pytest.mark.parametrize("tool", [None, shrunk], ids=["parameter", "parametrization"])
def test_reset_parameters_restores_what_was_given(layer: Loss[...], tool: Any) -> None:
    """After deferred initialisation, and after training; by copies too."""
    options = tensor_options(layer)
    given = {name: option.detach().clone() for name, option in options.items()}
    head = head_of(layer, **options)
    for name in options if tool else ():
        tool(head, name)
    keys = set(head.state_dict())
    copies = [copy.deepcopy(head), *([] if tool and options else [pickle.loads(pickle.dumps(head))])]
    for one in (head, *copies):
        for _ in range(2):
            one.to("meta").to_empty(device="cpu")
            with torch.no_grad():
                for tensor in (*one.parameters(), *one.buffers()):
                    tensor.fill_(0.123)
            one.reset_parameters()
            assert one.weight.std() > 0.0
            for name, value in given.items():
                torch.testing.assert_close(one.tensors[name].detach(), value, rtol=1e-12, atol=0)
        assert set(one.state_dict()) == keys
        for name in options:
            one.tensors[name] = given[name] * 0.5
            torch.testing.assert_close(one.tensors[name].detach(), given[name] * 0.5, rtol=1e-12, atol=0)


def test_a_head_made_on_the_device_meta_is_the_one_asked_for() -> None:
    """Its tensors keep their values and their device."""
    with torch.device("meta"):
        scale, t = torch.nn.Parameter(torch.tensor(20.0, device="cpu")), torch.tensor(0.3, device="cpu")
        head = Head(anglos.curricularface, 5, 4, scale=scale, t=t)
        head.tensors["t"] = torch.tensor(0.2, device="cpu")
        head.tensors["t"] = 0.1
    assert head.weight.is_meta
    assert head.tensors["t"].item() == pytest.approx(0.1)
    head.to_empty(device="cpu").reset_parameters()
    assert (head.tensors["scale"].item(), head.tensors["t"].item()) == (20.0, t.item())
    assert 0.0 < head.weight.std() < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("classes", [5, 7])
@pytest.mark.parametrize("part", [[], ["head.weight"], ["head.tensors.scale", "head.tensors.t"],
                                  ["head.weight", "head.tensors.scale", "head.tensors.t"]], ids=lambda part: len(part))
def test_from_pretrained_keeps_what_it_loads(part: list[str], classes: int, tmp_path: Path) -> None:
    """As docs/head.md says; the rest is as asked for, and a weight of another shape is drawn."""
    transformers = pytest.importorskip("transformers")

    class Model(transformers.PreTrainedModel):  # type: ignore[misc, name-defined]
        config_class = transformers.PretrainedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.backbone = torch.nn.Linear(4, 4)
            scale, t = torch.nn.Parameter(torch.tensor(20.0, device="cpu")), torch.tensor(0.3, device="cpu")
            self.head = Head(anglos.curricularface, config.num_labels, 4, scale=scale, t=t)
            self.post_init()

        def _init_weights(self, module: Any) -> None:
            super()._init_weights(module)
            if module in (self.head, self.head.tensors):
                module.reset_parameters()

    model = Model(transformers.PretrainedConfig(num_labels=classes))
    model.head.tensors["scale"], model.head.tensors["t"] = 7.0, -0.2
    saved = {name: value for name, value in model.state_dict().items() if name in part or "backbone" in name}
    model.save_pretrained(tmp_path, state_dict=saved)
    other = Model.from_pretrained(tmp_path, config=transformers.PretrainedConfig(num_labels=5),
                                  ignore_mismatched_sizes=True)
    assert torch.equal(other.backbone.weight, model.backbone.weight)
    assert torch.equal(other.head.weight, model.head.weight) is ("head.weight" in part and classes == 5)
    assert 0.0 < other.head.weight.std() < 1.0
    assert other.head.tensors["t"].item() == pytest.approx(-0.2 if "head.tensors.t" in part else 0.3)
    assert other.head.tensors["scale"].item() == (7.0 if "head.tensors.scale" in part else 20.0)
    before = other.head.weight.detach().clone()
    other.head.reset_parameters()  # by the user, who means it
    assert other.head.tensors["scale"].item() == 20.0
    assert not torch.equal(other.head.weight, before)


def test_what_something_else_computes_cannot_be_set() -> None:
    """It would be lost with the next call."""
    head = pruned(Head(anglos.normface, 5, 4, scale=torch.nn.Parameter(torch.tensor(8.0))), "scale")
    wanted = r"^Head: scale was set, and is a torch\.Tensor that something else computes; wanted a Parameter, a buffer"
    for change in (lambda: head.tensors.__setitem__("scale", 3.0), head.reset_parameters):
        with pytest.raises(TypeError, match=wanted):
            change()


def test_a_bounded_logarithm_trains_and_is_saved() -> None:
    """The parametrization of docs/head.md."""
    names: dict[str, Any] = {}
    page = (Path(__file__).parents[1] / "docs" / "head.md").read_text()
    exec(page.split("class BoundedExp")[0].split("```python")[-1] + "class BoundedExp"
         + page.split("class BoundedExp")[1].split("```")[0], names)
    embeddings, labels = torch.eye(4), torch.arange(4)

    def made(scale: float) -> Any:
        head = Head(anglos.normface, 5, 4, scale=torch.nn.Parameter(torch.tensor(scale)))
        torch.nn.utils.parametrize.register_parametrization(head.tensors, "scale", names["BoundedExp"]())
        return head

    head = made(80.0)
    assert head.tensors["scale"].item() == pytest.approx(80.0)
    optimizer = torch.optim.SGD(head.tensors.parameters(), lr=100.0)
    with torch.no_grad():
        head.weight[:4] = torch.eye(4)  # the larger the scale, the less the loss
        head.weight[4] = 0.0
    head.tensors["scale"] = 5.0
    for _ in range(20):
        optimizer.zero_grad()
        head(embeddings, labels).backward()
        optimizer.step()
    assert 10.0 < head.tensors["scale"].item() < 100.0
    other = made(20.0)
    other.load_state_dict(head.state_dict())
    assert other(embeddings, labels).item() == head(embeddings, labels).item()
    assert other.tensors["scale"].item() == head.tensors["scale"].item()


def test_logits_predict_the_class_of_least_loss(layer: Loss[...]) -> None:
    embeddings, _ = batch()
    # Where prototypes keep their lengths and there is a margin, short ones would be nearer to their losses.
    free = WITHOUT_MARGIN["large_margin_softmax"] if layer.name == "large_margin_softmax" else {}
    head = head_of(layer, **{**gentle(layer), **STATES.get(layer.name, {}), **free})
    for one in embeddings.split(1):
        losses = torch.stack([head(one, torch.tensor([label])) for label in range(CLASSES)])
        scores = head.logits(one)
        assert scores.argmax().item() == losses.argmin().item()
        with torch.inference_mode():
            torch.testing.assert_close(head.logits(one), scores, rtol=1e-12, atol=1e-12)


WITHOUT_MARGIN: dict[str, dict[str, Any]] = {
    "linear_cross_entropy": {}, "normface": {}, "l2_softmax": {}, "vmf": {}, "coco": {}, "adacos": {}, "proxy_nca": {},
    "sphereface": {"margin": 1.0}, "large_margin_softmax": {"margin": 1.0}, "sphereface_r": {"margin": 1.0},
    "cosface": {"margin": 0.0}, "am_softmax": {"margin": 0.0}, "arcface": {"margin": 0.0},
    "combined_margin": {"m2": 0.0, "m3": 0.0}, "subcenter_arcface": {"margin": 0.0}, "soft_triple": {"margin": 0.0},
    "inter_topk": {"margin": 0.0, "penalty": 0.0}, "magface": {"margin_range": (0.0, 1e-300), "regularizer": 0.0},
}


@pytest.mark.parametrize("name", WITHOUT_MARGIN)
def test_logits_are_those_of_the_loss_without_margin(name: str) -> None:
    """Their cross entropy is the loss, to the gradient."""
    loss, (embeddings, labels) = anglos.LOSSES[name], batch()
    learnt = {name: option for name, option in tensor_options(loss).items() if name in ("scale", "bias")}
    head = head_of(loss, **WITHOUT_MARGIN[name], **learnt)
    inputs = [embeddings, *(one for one in head.parameters() if one.requires_grad)]
    value, wanted = torch.nn.functional.cross_entropy(head.logits(embeddings), labels), head(embeddings, labels)
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(value, inputs), torch.autograd.grad(wanted, inputs),
                               rtol=1e-9, atol=1e-10)


def test_logits_of_the_others() -> None:
    """Squared distances but for a number per row; margins of single rows are no part of them."""
    embeddings, labels = batch()
    head = head_of(anglos.center)
    distances = torch.stack([anglos.center(embeddings, head.weight, torch.full_like(labels, label), reduction="none")
                             for label in range(CLASSES)], dim=1)
    torch.testing.assert_close(head.logits(embeddings).log_softmax(1), (-distances).log_softmax(1))
    head = head_of(anglos.arcface)
    before = head.logits(embeddings[:2])
    head.options["margin"] = torch.full((BATCH,), 0.4)
    torch.testing.assert_close(head.logits(embeddings[:2]), before, rtol=0, atol=0)


def test_nearest_is_of_the_largest_logits(layer: Loss[...], monkeypatch: pytest.MonkeyPatch) -> None:
    """In falling order, whatever the tiles."""
    embeddings, _ = batch()
    head = head_of(layer, 7)
    scores, order = head.logits(embeddings).detach().sort(dim=1, descending=True, stable=True)
    for width in (None, 1, 3):
        if width is not None:
            monkeypatch.setattr(Tensors, "class_tile_width", lambda *_, width=width: width)
        for k in (1, 2, 7):
            values, classes = head.nearest(embeddings, k)
            torch.testing.assert_close(values, scores[:, :k], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(classes, order[:, :k])
            assert not values.requires_grad
    wrong: list[Any] = [0, 8, True, 1.5]
    for k in wrong:
        wanted = rf"^Head: k was {k}; wanted an integer from 1 to 7, which is all classes$"
        with pytest.raises(ValueError, match=wanted):
            head.nearest(embeddings, k)
    torch.testing.assert_close(head.gather(), head.weight.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_nearest_of_equals_is_the_first(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers are equal in every tile."""
    monkeypatch.setattr(Tensors, "class_tile_width", lambda *_: width)
    head = Head(anglos.linear_cross_entropy, 8, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [2], [1], [2], [3], [1], [2], [1]]))
    for k in range(1, 9):
        values, classes = head.nearest(torch.tensor([[1.0], [-1.0]]), k)
        assert values.tolist() == [[3, 2, 2, 2, 1, 1, 1, 1][:k], [-1, -1, -1, -1, -2, -2, -2, -3][:k]]
        assert classes.tolist() == [[4, 1, 3, 6, 0, 2, 5, 7][:k], [0, 2, 5, 7, 1, 3, 6, 4][:k]]


def test_resize_classes_keeps_rows(layer: Loss[...]) -> None:
    """An optimizer goes on with what took the old parameter's place; new rows are drawn alike."""
    embeddings, labels = batch()
    head = head_of(layer, **tensor_options(layer))
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01, fused=True)  # which would write beyond an old state
    value = head(embeddings, labels)
    value.backward()
    optimizer.step()
    old = head.weight.detach().clone()
    moments = [state["exp_avg"] for state in optimizer.state.values()]
    value = head(embeddings, labels)
    head.resize_classes(1000, optimizer)
    value.backward()  # a graph that was alive goes on with the old weight
    assert head.weight.grad is None
    assert head.weight.shape == (1000, *old.shape[1:])
    for state, before in zip([optimizer.state[one] for one in head.parameters() if one in optimizer.state], moments,
                             strict=True):
        torch.testing.assert_close(state["exp_avg"][:len(before)] if before.ndim else state["exp_avg"], before)
    torch.testing.assert_close(head.weight[:CLASSES], old, rtol=0, atol=0)
    drawn = head.weight[CLASSES:]
    assert abs(drawn.std().item() * DIMENSION**0.5 - 1.0) < 5.0 / (2.0 * drawn.numel())**0.5
    optimizer.zero_grad()
    head(embeddings, labels + 900).backward()
    optimizer.step()
    assert head.logits(embeddings).shape == (BATCH, 1000)
    assert layer.kinds[layer.arrays[1]].frozen or not torch.equal(head.weight[:CLASSES], old)
    kept = head.weight.detach()[:3].clone()
    head.resize_classes(3)
    torch.testing.assert_close(head.weight.detach(), kept, rtol=0, atol=0)
    assert head.logits(embeddings).shape == (BATCH, 3)


def test_resize_classes_resizes_what_there_is_of_each_class(layer: Loss[...]) -> None:
    """As a new class would have it, and so that reset_parameters restores it."""
    embeddings, labels = batch()
    starts = {"bias": 0.0, "class_margin": 0.0, "class_weight": 1.0}
    names = [name for name in layer.defaults if getattr(layer.kinds[name], "shapes", ()) == ("C",)]
    head = head_of(layer, **{name: torch.linspace(0.5, 1.5, CLASSES, dtype=torch.float64) for name in names})
    head.resize_classes(7)
    for _ in range(2):
        head(embeddings, labels + 2)
        for name in names:
            wanted = torch.tensor([0.5, 0.75, 1.0, 1.25, 1.5, starts[name], starts[name]], dtype=torch.float64)
            torch.testing.assert_close(head.tensors[name], wanted)
            head.tensors[name] = 3.0
        head.reset_parameters()


def optimizers() -> list[Any]:
    """Every one of torch.optim, with every choice that adds to its state or has another implementation."""
    choices: list[dict[str, Any]] = [
        {}, {"momentum": 0.9}, {"amsgrad": True}, {"centered": True}, {"initial_accumulator_value": 0.1},
        {"foreach": True}, {"fused": True}, {"capturable": True}]
    found = []
    for kind in vars(torch.optim).values():
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer:
            known = inspect.signature(kind).parameters
            found += [pytest.param(kind, choice, id="-".join([kind.__name__, *choice])) for choice in choices
                      if set(choice) <= set(known) and ("capturable" not in choice or torch.cuda.is_available())]
    return found


# Whose step of a class depends on no other class; and, of these, not on the steps before but by sums that start at 0.
WITHOUT_CLOCK = {"Adadelta", "Adagrad", "RMSprop", "Rprop", "SGD"}
APART = {*WITHOUT_CLOCK, "ASGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam"}


@pytest.mark.parametrize("of", [anglos.arcface, anglos.subcenter_arcface], ids=lambda of: of.name)
@pytest.mark.parametrize(("kind", "options"), optimizers())
def test_every_optimizer_goes_on_with_other_classes(of: Loss[...], kind: Any, options: dict[str, Any]) -> None:
    """Old classes as if nothing had happened, new ones as at the start; of a state what the new weight would have."""
    random = torch.Generator().manual_seed(1)

    def made(weight: Any) -> Any:
        head = head_of(of, len(weight), dtype=torch.float32)
        with torch.no_grad():
            head.weight.copy_(weight)
        return head, kind(head.parameters(), lr=0.01, **options)

    def step(head: Any, optimizer: Any, gradient: Any) -> Any:
        def closure() -> Any:
            head.weight.grad = gradient.to_sparse(1) if kind is torch.optim.SparseAdam else gradient.clone()
            return (head.weight * gradient).sum().detach()

        optimizer.step(closure)

    if kind.__name__ == "Muon" and of is anglos.subcenter_arcface:
        pytest.skip("Muon is for matrices")
    start = head_of(of, dtype=torch.float32).weight.detach()
    (head, optimizer), (twin, twin_optimizer) = made(start), made(start)
    for _ in range(3):
        gradient = torch.randn(start.shape, generator=random)
        step(head, optimizer, gradient)
        step(twin, twin_optimizer, gradient)
    for count in (CLASSES + 2, 3):
        head.resize_classes(count, optimizer)
        gradient = torch.randn(head.weight.shape, generator=random)
        fresh, fresh_optimizer = made(head.weight)
        before = head.weight.detach().clone()
        step(head, optimizer, gradient)
        step(fresh, fresh_optimizer, gradient)
        twin_gradient = torch.zeros_like(start)
        twin_gradient[:3] = gradient[:3]
        step(twin, twin_optimizer, twin_gradient)
        assert (head.weight != before).any(dim=-1).all()
        assert optimizer.param_groups[0]["params"][0] is head.weight
        state, fresh_state = optimizer.state[head.weight], fresh_optimizer.state[fresh.weight]
        assert {key: getattr(value, "shape", ()) for key, value in state.items()} == {
            key: getattr(value, "shape", ()) for key, value in fresh_state.items()}
        if kind.__name__ in APART:
            torch.testing.assert_close(head.weight[:3], twin.weight[:3], rtol=0, atol=0)
        if kind.__name__ in WITHOUT_CLOCK:
            torch.testing.assert_close(head.weight[CLASSES:], fresh.weight[CLASSES:], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # in LBFGS of PyTorch 2.8
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_trains_the_new_weight(search: str | None) -> None:
    embeddings, labels = batch()
    head = head_of(anglos.normface, scale=torch.nn.Parameter(torch.tensor(4.0).double()))
    network = torch.nn.Linear(DIMENSION, DIMENSION).double()
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.LBFGS(parameters, lr=0.1, max_iter=4, line_search_fn=search)

    def closure() -> Any:
        optimizer.zero_grad()
        value = head(network(embeddings), labels)
        value.backward()
        return value

    optimizer.step(closure)
    head.resize_classes(CLASSES + 2, optimizer)
    before, weight = closure().item(), head.weight.detach().clone()
    for _ in range(3):
        optimizer.step(closure)
    assert closure().item() < 0.8 * before
    assert (head.weight != weight).any(dim=-1).all()


class Odd(torch.optim.SGD):  # type: ignore[misc]
    """An optimizer that keeps of its parameters something of its own."""

    def __init__(self, parameters: Any, attribute: Any = None, state: Any = None) -> None:
        super().__init__(parameters, lr=0.1)
        if attribute is not None:
            self.attribute = attribute(self.param_groups[0]["params"])
        for one in self.param_groups[0]["params"] if state else ():
            self.state[one]["odd"] = state(one)


def test_a_state_without_some_of_the_axes_goes_on() -> None:
    """As other libraries keep it; of the class, if that can be told by its shape."""
    head = Head(anglos.subcenter_arcface, 5, 4, prototypes_per_class=3)
    for axes in ((), (0,), (1,), (0, 2), (1, 2), (0, 1, 2)):
        optimizer = Odd(head.parameters(), state=lambda one, axes=axes: torch.ones([one.shape[axis] for axis in axes]))
        head.resize_classes(7, optimizer)
        state = optimizer.state[head.weight]["odd"]
        assert state.shape == tuple((7, 3, 4)[axis] for axis in axes)
        assert state.sum() == torch.ones([(5, 3, 4)[axis] for axis in axes]).sum()
        head.resize_classes(5)


KEPT_TWICE = "Odd, which has weight in its attribute too; wanted one that has it in param_groups alone"
ODD: dict[str, tuple[Any, str]] = {
    "a list": (lambda head: Odd(head.parameters(), lambda all: [list(all)]), KEPT_TWICE),
    "a dict": (lambda head: Odd(head.parameters(), lambda all: dict.fromkeys(all, 1)), KEPT_TWICE),
    "an optimizer": (lambda head: Odd(head.parameters(), torch.optim.Adam), KEPT_TWICE),
    "products of classes": (lambda head: Odd(head.parameters(), state=lambda one: one.new_zeros(5, 5)),
                            r"Odd, whose odd of weight is a torch\.Tensor of shape \(5, 5\); wanted numbers, and ten"),
    "blocks": (lambda head: Odd(head.parameters(), state=lambda one: one.new_zeros(2)),
               r"Odd, whose odd of weight is a torch\.Tensor of shape \(2,\); wanted numbers, and tensors with a row"),
    "tensors": (lambda head: Odd(head.parameters(), state=lambda one: [one]),
                "Odd, whose odd of weight is a list; wanted numbers, and tensors with a row for every class or for"),
    "others": (lambda head: Odd([torch.nn.Parameter(torch.zeros(5, 4))]), "Odd without weight; wanted the one that t"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_optimizer_that_cannot_go_on_is_refused(name: str) -> None:
    """Before anything is changed."""
    make, wanted = ODD[name]
    head = Head(anglos.linear_cross_entropy, 5, 4, bias=torch.nn.Parameter(torch.zeros(5)))
    optimizer = make(head)
    before = head.weight, head.tensors["bias"], head.num_classes, dict(optimizer.state), [
        list(group["params"]) for group in optimizer.param_groups]
    with pytest.raises((TypeError, ValueError), match=rf"^Head: optimizer was a test_head\.{wanted}"):
        head.resize_classes(7, optimizer)
    assert head.weight is before[0]
    assert head.tensors["bias"] is before[1]
    assert head.num_classes == before[2]
    assert optimizer.state.keys() == before[3].keys()
    assert all(one is other for group, others in zip(optimizer.param_groups, before[4], strict=True)
               for one, other in zip(group["params"], others, strict=True))


def test_state_dict_round_trip_is_exact(layer: Loss[...]) -> None:
    """Inside a model too."""
    (embeddings, labels), options = batch(), tensor_options(layer)
    first = torch.nn.Sequential(head_of(layer, **options))
    second = torch.nn.Sequential(head_of(layer, **{
        name: torch.nn.Parameter(option * 0.9) if option.requires_grad else option * 0.9
        for name, option in options.items()}))
    second[0].reset_parameters()
    saved = first.state_dict()
    kept = dict(saved)
    second.load_state_dict(saved)
    assert saved == kept
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, saved[name], rtol=0, atol=0)
    assert second[0](embeddings, labels).item() == first[0](embeddings, labels).item()


def test_states_are_saved_and_can_be_moved() -> None:
    """The state that anglos.NAME_update gives goes into a buffer, even between a forward and its backward pass."""
    embeddings, labels = batch()
    head = head_of(anglos.curricularface, t=torch.tensor(0.0, dtype=torch.float64))
    value = head(embeddings, labels)
    head.tensors["t"] = anglos.curricularface_update(head.tensors["t"], embeddings, head.weight, labels, momentum=0.5)
    value.backward()
    assert not head.tensors["t"].requires_grad
    assert head.state_dict()["tensors.t"].item() == head.tensors["t"].item() != 0.0
    assert head(embeddings, labels).item() == anglos.curricularface(
        embeddings, head.weight, labels, t=head.tensors["t"]).item() != value.item()

    given = torch.tensor(20.0), torch.tensor(100.0)
    head = head_of(anglos.adaface, norm_mean=given[0], norm_std=given[1])
    head.tensors["norm_mean"], head.tensors["norm_std"] = anglos.adaface_update(*given, embeddings.detach())
    assert head.state_dict()["tensors.norm_mean"].item() == head.tensors["norm_mean"].item() < 20.0
    assert given[0].item() == 20.0
    with pytest.raises(KeyError, match="tensors has no margin; wanted one of norm_mean, norm_std"):
        head.tensors["margin"] = 0.3

    head = head_of(anglos.center)
    moved = anglos.center_update(head.weight, embeddings, labels).detach()
    with torch.no_grad():
        head.weight.copy_(moved)
    torch.testing.assert_close(head.state_dict()["weight"], moved, rtol=0, atol=0)


def test_copies_and_pickles(layer: Loss[...]) -> None:
    embeddings, labels = batch()
    head = head_of(layer, **tensor_options(layer))
    value = head(embeddings, labels).item()
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert other.loss is layer
        assert other(embeddings, labels).item() == value
        with torch.no_grad():
            other.weight.zero_()
    assert copy.copy(head).weight is head.weight
    assert head(embeddings, labels).item() == value


def test_a_small_call_does_not_pin_the_weight(layer: Loss[...]) -> None:
    """NumPy computes it, of a copy: fully_shard frees the storage between forward and backward."""
    head = head_of(layer)
    head(*batch()).backward()
    assert head.weight.untyped_storage().resizable()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(layer: Loss[...], dtype: str, torch_library: Library) -> None:
    """The loss in float32, gradients in the parameters' type, within its rounding."""
    low = getattr(torch, dtype)
    head = head_of(layer, dtype=torch.float32, **gentle(layer))
    head.to(low)
    embeddings, _, labels = arrays(anglos.arcface, torch_library, dtype="float32")
    value = head(embeddings.to(low), labels)
    assert value.dtype == torch.float32
    wanted = layer(embeddings.to(low).float(), head.weight.detach().float(), labels, **gentle(layer))
    torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    scores = head.logits(embeddings.to(low))
    torch.testing.assert_close(scores, head.float().logits(embeddings.to(low).float()), rtol=1e-5, atol=1e-6)
    head.to(low)
    if head.weight.requires_grad:
        value.backward()
        assert head.weight.grad.dtype == low
        assert torch.isfinite(head.weight.grad).all()


def test_repr_names_all_there_is() -> None:
    head = Head(anglos.subcenter_arcface, 5, 4, prototypes_per_class=3, margin=0.3, scale=torch.tensor(8.0))
    tensors = "(tensors): HeadTensors(scale of shape ())"
    options = "margin=0.3, past_pi='smooth', gradient='exact'"
    assert repr(head) == f"Head(\n  subcenter_arcface, 5, 3, 4, {options}\n  {tensors}\n)"


def test_several_prototypes_per_class_are_asked_for_where_there_are_several() -> None:
    with pytest.raises(ValueError, match=r"^Head: prototypes_per_class was None; wanted an integer of at least 1$"):
        Head(anglos.soft_triple, 5, 4)
    with pytest.raises(ValueError, match=r"^Head\(arcface\): prototypes_per_class was 3; wanted None: this loss has"):
        Head(anglos.arcface, 5, 4, prototypes_per_class=3)
    with pytest.raises(ValueError, match=r"^Head: num_classes was 0; wanted an integer of at least 1$"):
        Head(anglos.arcface, 5, 4).resize_classes(0)


# Theirs, ours, and the options under which their get_logits are our logits.
METRIC_LEARNING: dict[str, tuple[str, dict[str, Any]]] = {
    "ArcFaceLoss": ("arcface", {}), "CosFaceLoss": ("cosface", {}), "SphereFaceLoss": ("sphereface", {}),
    "LargeMarginSoftmaxLoss": ("large_margin_softmax", {}), "NormalizedSoftmaxLoss": ("normface", {"scale": 20.0}),
    "SubCenterArcFaceLoss": ("subcenter_arcface", {"prototypes_per_class": 3}),
    "SoftTripleLoss": ("soft_triple", {"prototypes_per_class": 10, "scale": 1.0}),
    "ProxyAnchorLoss": ("proxy_anchor", {}),
}


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # theirs
@pytest.mark.parametrize("name", METRIC_LEARNING)
def test_state_dict_of_pytorch_metric_learning(name: str) -> None:
    theirs = getattr(import_module("pytorch_metric_learning.losses"), name)(
        num_classes=CLASSES, embedding_size=DIMENSION)
    ours, options = METRIC_LEARNING[name]
    head = Head(anglos.LOSSES[ours], CLASSES, DIMENSION, **options)
    head.load_state_dict(theirs.state_dict())
    embeddings = torch.randn(BATCH, DIMENSION)
    torch.testing.assert_close(head.logits(embeddings), theirs.get_logits(embeddings))


def saved_by(owner: str) -> tuple[Any, dict[str, Any], Any]:
    """A layer of ours, what others save as their sources have it, and their rows of every class, (C, K, D)."""
    rows = torch.randn(CLASSES, 3, DIMENSION)
    one, several = rows[:, 0], rows.reshape(-1, DIMENSION)
    mean, std, t = torch.tensor([21.0]), torch.tensor([90.0]), torch.tensor([0.2])
    number = {name: torch.tensor(1.0) for name in ("norm_mean", "norm_std", "t")}
    adaface = {"norm_mean": number["norm_mean"], "norm_std": number["norm_std"]}
    three = {"prototypes_per_class": 3}
    bias = torch.nn.Parameter(torch.tensor(0.0))
    return {
        "insightface": (Head(anglos.arcface, CLASSES, DIMENSION), {"weight": one}, one),
        "wespeaker": (Head(anglos.arcface, CLASSES, DIMENSION), {"weight": one}, one),
        "wespeaker, sub-centers": (Head(anglos.subcenter_arcface, CLASSES, DIMENSION, **three), {"weight": several},
                                   rows),
        "wespeaker, SphereFace2": (Head(anglos.sphereface2, CLASSES, DIMENSION, bias=bias),
                                   {"weight": one, "bias": torch.tensor([[0.7]])}, one),
        "opensphere, SphereFace2": (Head(anglos.sphereface2, CLASSES, DIMENSION, bias=bias),
                                    {"w": one.T, "b": torch.tensor([0.7])}, one),
        "AdaFace": (Head(anglos.adaface, CLASSES, DIMENSION, **adaface),
                    {"kernel": one.T, "t": 0 * t, "batch_mean": mean, "batch_std": std}, one),
        "CurricularFace": (Head(anglos.curricularface, CLASSES, DIMENSION, t=number["t"]), {"kernel": one.T, "t": t},
                           one),
        "torch.nn.Linear": (Head(anglos.linear_cross_entropy, CLASSES, DIMENSION, bias=torch.zeros(CLASSES)),
                            {"weight": one, "bias": torch.arange(5.0)}, one),
    }[owner]


OWNERS = ["insightface", "wespeaker", "wespeaker, sub-centers", "wespeaker, SphereFace2", "opensphere, SphereFace2",
          "AdaFace", "CurricularFace", "torch.nn.Linear"]


@pytest.mark.parametrize("prefix", ["", "0."])
@pytest.mark.parametrize("owner", OWNERS)
def test_state_dict_of_others(owner: str, prefix: str) -> None:
    head, saved, rows = saved_by(owner)
    saved = {prefix + name: value for name, value in saved.items()}
    names = set(saved)
    (torch.nn.Sequential(head) if prefix else head).load_state_dict(saved)
    assert set(saved) == names
    torch.testing.assert_close(head.weight.detach(), rows, rtol=0, atol=0)
    assert head.weight.is_contiguous()
    for name, theirs in [("norm_mean", "batch_mean"), ("norm_std", "batch_std"), ("t", "t"), ("bias", "bias"),
                         ("bias", "b")]:
        if name in head.tensors and prefix + theirs in saved:
            torch.testing.assert_close(head.tensors[name].detach().flatten(), saved[prefix + theirs].flatten())


def test_state_dict_that_does_not_fit_is_refused() -> None:
    head = Head(anglos.arcface, 5, 4)
    with pytest.raises(RuntimeError, match=r":\n\tHead: 0\.W was of shape \(5, 4\); wanted \(4, 5\)\.?$"):
        torch.nn.Sequential(head).load_state_dict({"0.W": torch.zeros(5, 4)})
    with pytest.raises(RuntimeError, match=r":\n\tHead: weight was of shape \(6, 4\); wanted \(5, 4\) \(of other "
                                           r"classes: make the head with 6, load, then resize_classes\(5\)\)\.?$"):
        head.load_state_dict({"weight": torch.zeros(6, 4)})
    with pytest.raises(RuntimeError, match=r":\n\tHead: weight was of shape \(5, 4\); wanted \(15, 4\)\.?$"):
        Head(anglos.subcenter_arcface, 5, 4, prototypes_per_class=3).load_state_dict({"weight": torch.zeros(5, 4)})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*: "batch_mean", "batch_std"'):
        Head(anglos.adaface, 5, 4).load_state_dict(saved_by("AdaFace")[1])
    with pytest.raises(RuntimeError, match=r'Missing key.*: "weight"'):
        head.load_state_dict({})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
def test_compiled_in_one_graph_with_its_network() -> None:
    """A margin that changes and a state that moves do not break it."""
    head = head_of(anglos.curricularface, t=torch.tensor(0.1).double(), scale=torch.nn.Parameter(torch.tensor(8.0)))
    network = torch.nn.ModuleList([torch.nn.Linear(DIMENSION, DIMENSION).double(), head])
    embeddings, labels = batch()

    def step(x: Any) -> Any:
        return head(network[0](x), labels)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    scores = torch.compile(lambda x: head.logits(network[0](x)), fullgraph=True, backend="aot_eager")
    for margin in (0.3, 0.4):
        head.options["margin"], head.tensors["t"] = margin, margin / 2
        parameters = list(network.parameters())
        torch.testing.assert_close(torch.autograd.grad(compiled(embeddings), parameters),
                                   torch.autograd.grad(step(embeddings), parameters))
        torch.testing.assert_close(scores(embeddings), head.logits(network[0](embeddings)))


def test_head_learns_and_is_saved(torch_library: Library) -> None:
    """Trains its weights, keeps them through a state_dict, and learns a parameter that is given as an option."""
    torch.manual_seed(0)
    scale = torch.nn.Parameter(torch.tensor(5.0))
    head = Head(anglos.normface, 5, 4, scale=scale, label_smoothing=0.1)
    assert sorted(name for name, _ in head.named_parameters()) == ["tensors.scale", "weight"]
    assert repr(head).startswith("Head(\n  normface, 5, 4, label_smoothing=0.1")
    embeddings, _, labels = arrays(anglos.normface, torch_library, dtype="float32")
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = head(embeddings, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert scale.item() != 5.0
    other = Head(anglos.normface, 5, 4, scale=torch.nn.Parameter(torch.tensor(1.0)), label_smoothing=0.1)
    other.load_state_dict(head.state_dict())
    assert other(embeddings, labels).item() == head(embeddings, labels).item()
    head.options["label_smoothing"] = 0.0
    assert other(embeddings, labels).item() != head(embeddings, labels).item()


def test_refuses_what_its_loss_would() -> None:
    with pytest.raises(TypeError, match=r"^Head\(arcface\): margn was given, .* \(did you mean margin\?\)$"):
        Head(anglos.arcface, 5, 4, margn=0.5)
    with pytest.raises(TypeError, match=r"^Head: loss was entropy, of logits; wanted a loss of embeddings, weights, "):
        Head(anglos.entropy, 5, 4)
    with pytest.raises(TypeError, match=r"^Head: loss was 'arcface'; wanted a loss of embeddings, weights, labels"):
        Head("arcface", 5, 4)
    with pytest.raises(ValueError, match=r"^Head\(arcface\): margin was 28.6; wanted an angle in radians"):
        Head(anglos.arcface, 5, 4, margin=28.6)
    with pytest.raises(ValueError, match=r"^Head: num_classes was 0; wanted an integer of at least 1$"):
        Head(anglos.arcface, 0, 4)


def test_tensors_move_and_can_be_replaced() -> None:
    head = Head(anglos.cosface, 5, 4, margin=torch.tensor(0.2), scale=torch.nn.Parameter(torch.tensor(8.0)))
    assert head.to("meta").tensors["margin"].device.type == "meta"
    assert [name for name, tensor in head.named_parameters() if tensor.requires_grad] == ["weight", "tensors.scale"]
    head = Head(anglos.cosface, 5, 4, scale=torch.nn.Parameter(torch.tensor(8.0)))
    embeddings, labels = torch.eye(4), torch.arange(4)
    head.options["scale"] = 3.0
    assert head(embeddings, labels).item() == anglos.cosface(embeddings, head.weight, labels, scale=3.0).item()


@pytest.mark.parametrize("name", ["_head", "_sampled_rows", "sharding.classes", "sharding.batches"])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(f"anglos.backends.torch.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
