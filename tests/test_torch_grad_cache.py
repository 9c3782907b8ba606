"""grad_cache: the gradient of a batch, by chunks of it."""

from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import pytest
from ranks import on_ranks

import anglos

torch: Any = import_module("torch")
nn: Any = torch.nn
backend: Any = import_module("anglos.backends.torch")

LABELS = torch.arange(10) % 4


def network_of(dtype: Any = torch.float64, kind: str = "dropout") -> Any:
    torch.manual_seed(3)
    more = {"dropout": nn.Dropout(0.5), "batch norm": nn.BatchNorm1d(16), "neither": nn.Identity()}[kind]
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 16)) if kind == "dropout" else nn.Linear(8, 16)
    return nn.Sequential(first, more, nn.ReLU(), nn.Linear(16, 4)).to(dtype)


def inputs_of(dtype: Any = torch.float64, rows: int = 10, seed: int = 5) -> Any:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradients(*modules: Any) -> list[Any]:
    found = [parameter.grad.clone() for module in modules for parameter in module.parameters()]
    for module in modules:
        module.zero_grad()
    return found


def assert_equal(found: Any, wanted: Any, error: float = 1e-13) -> None:
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=error, atol=error)


@pytest.mark.parametrize("kind", ["dropout", "batch norm"])
@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_gradient_is_that_of_the_same_chunks_in_one_graph(kind: str, size: int) -> None:
    """With what is random, what the network keeps, and what is random afterwards."""
    if kind == "batch norm" and size < 10:
        size = 5  # which does not leave one sample alone
    network, inputs = network_of(kind=kind), inputs_of()
    before = {name: one.clone() for name, one in network.state_dict().items()}

    def loss(x: Any) -> Any:
        return anglos.supcon(x, LABELS) + 0.0 * torch.rand(())  # random numbers between the two times

    torch.manual_seed(7)
    value = loss(torch.cat([network(part) for part in inputs.split(size)]))
    value.backward()
    wanted, state, drawn = gradients(network), dict(network.state_dict()), torch.rand(3)
    state = {name: one.clone() for name, one in state.items()}
    network.load_state_dict(before)
    torch.manual_seed(7)
    found = backend.grad_cache(loss, (network, inputs), chunk_size=size)
    assert not found.requires_grad
    torch.testing.assert_close(found, value.detach(), rtol=1e-14, atol=0.0)
    assert_equal(gradients(network), wanted)
    assert_equal(network.state_dict().values(), state.values(), 0.0)
    assert torch.equal(torch.rand(3), drawn)


@pytest.mark.parametrize("shared", [False, True])
def test_two_towers_and_a_layer_with_weights(shared: bool) -> None:
    first = network_of(kind="neither")
    second = first if shared else network_of(kind="neither")
    queries, keys, head = inputs_of(), inputs_of(seed=6), backend.Head(anglos.arcface, 4, 4).to(torch.float64)

    def loss(x: Any, y: Any) -> Any:
        return anglos.clip(x, y, scale=scale) + head(x, LABELS)

    scale = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
    modules = {first, second, head}
    loss(first(queries), second(keys)).backward()
    wanted, slope = gradients(*modules), scale.grad.clone()
    scale.grad = None
    backend.grad_cache(loss, (first, (queries,)), (second, {"input": keys}), chunk_size=4)
    assert_equal(gradients(*modules), wanted)
    assert_equal([scale.grad], [slope])


def test_what_learns_nothing_costs_nothing() -> None:
    """A frozen network, and one that the loss has no gradient for."""
    frozen, network = network_of(kind="neither").requires_grad_(False), network_of(kind="neither")
    backend.grad_cache(anglos.info_nce, (network, inputs_of()), (frozen, inputs_of()), chunk_size=4)
    assert all(parameter.grad is None for parameter in frozen.parameters())
    network.zero_grad()
    backend.grad_cache(lambda x, y: anglos.supcon(x, LABELS), (network, inputs_of()), (network, inputs_of()),
                       chunk_size=4)
    wanted = gradients(network)
    anglos.supcon(network(inputs_of()), LABELS).backward()
    assert_equal(gradients(network), wanted)


class Unchanged(torch.autograd.Function):  # type: ignore[misc]
    """And in its backward pass there is no autocast."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        assert not torch.is_autocast_enabled("cpu")
        return g


def test_nothing_is_cast_on_the_way_back() -> None:
    network = network_of(torch.float32, "neither").append(nn.Identity())
    network[-1].forward = Unchanged.apply
    with torch.autocast("cpu", torch.bfloat16):
        backend.grad_cache(lambda x: anglos.supcon(Unchanged.apply(x), LABELS), (network, inputs_of(torch.float32)),
                           chunk_size=4)
    assert all(one.abs().max() > 0.0 for one in gradients(network))


@pytest.mark.parametrize("scaled", [False, True])
def test_autocast(scaled: bool) -> None:
    """Casts that were made without a graph are not taken for those with one; gradients are scaled once."""
    network, inputs = network_of(torch.float32), inputs_of(torch.float32)
    scaler: Any = torch.amp.GradScaler("cpu", init_scale=256.0) if scaled else None

    def loss(x: Any) -> Any:
        assert x.dtype == torch.bfloat16
        return anglos.supcon(x, LABELS)

    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(7)
        value = loss(torch.cat([network(part) for part in inputs.split(4)]))
    (scaler.scale(value) if scaled else value).backward()
    wanted = gradients(network)
    for context in (nullcontext, lambda: torch.autocast("cpu", torch.bfloat16)):
        with torch.autocast("cpu", torch.bfloat16), context():
            torch.manual_seed(7)
            found = backend.grad_cache(loss, (network, inputs), chunk_size=4, scaler=scaler)
        assert torch.equal(found, value.detach())
        for got, want in zip(gradients(network), wanted, strict=True):
            assert (got - want).abs().max() <= 1e-2 * want.abs().max()


def of_rank(rank: int) -> Any:
    model = nn.parallel.DistributedDataParallel(network_of(kind="neither"))
    exchanges: list[Any] = []
    hooks = import_module("torch.distributed.algorithms.ddp_comm_hooks.default_hooks")
    model.register_comm_hook(exchanges, lambda seen, bucket: (
        seen.extend([bucket]) or hooks.allreduce_hook(None, bucket)))
    own = slice(5 * rank, 5 * rank + 5)
    loss = backend.batch_sharded(anglos.info_nce)
    for _ in range(2):
        model.zero_grad()
        value = backend.grad_cache(loss, (model, inputs_of()[own]), (model, inputs_of(seed=6)[own]), chunk_size=2)
    return value, gradients(model), len(exchanges)


def test_gradients_are_exchanged_once_and_are_those_of_one_process() -> None:
    network = network_of(kind="neither")
    wanted = anglos.info_nce(network(inputs_of()), network(inputs_of(seed=6)))
    wanted.backward()
    ranks = on_ranks(of_rank, 2)
    torch.testing.assert_close(sum(value for value, *_ in ranks) / 2, wanted.detach())
    for _, found, exchanges in ranks:
        assert_equal(found, [parameter.grad for parameter in network.parameters()])
        assert exchanges == 2


def of_scale(rank: int) -> str:
    """A scale that a network has and the loss multiplies by, as in CLIP; the other has one of the same name."""
    networks = [network_of(kind="neither") for _ in range(2)]
    for network in networks:
        network.register_parameter("scale", nn.Parameter(torch.tensor(3.0, dtype=torch.float64)))
    first, second = map(nn.parallel.DistributedDataParallel, networks)
    with pytest.raises(RuntimeError) as refusal:
        backend.grad_cache(lambda x, y: anglos.clip(x, y, scale=networks[0].scale), (first, inputs_of()),
                           (second, inputs_of(seed=6)), chunk_size=4)
    return str(refusal.value)


def test_a_parameter_of_the_loss_in_a_network_that_exchanges_is_refused() -> None:
    for message in on_ranks(of_scale, 2):
        assert message.startswith("grad_cache: loss has a gradient in module.scale, a parameter of a network that ")


X = inputs_of()


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: backend.grad_cache(anglos.clip, chunk_size=2), TypeError, "no towers were given; wanted pairs"),
    (lambda: backend.grad_cache(anglos.clip, network_of(), chunk_size=2), TypeError,
     "a tower was a torch.nn.modules.container.Sequential; wanted a pair of a network and its inputs"),
    (lambda: backend.grad_cache(anglos.clip, (network_of(), X), chunk_size=0), ValueError,
     "chunk_size was 0; wanted an integer of at least 1"),
    (lambda: backend.grad_cache(anglos.clip, (network_of(), (X, X[:3])), chunk_size=2), ValueError,
     r"the inputs of tower 0 had tensors of \(10, 8\) and \(3, 8\); wanted as many rows in each, .*, goes to the loss"),
    (lambda: backend.grad_cache(anglos.clip, (network_of(), X[:0]), chunk_size=2), ValueError,
     r"the inputs of tower 0 had tensors of \(0, 8\); wanted"),
    (lambda: backend.grad_cache(lambda x: x, (network_of(), X), chunk_size=2), ValueError,
     "loss returned a torch.Tensor; wanted a scalar"),
    (lambda: backend.grad_cache(lambda x: x.sum(), (lambda x: (x, x), X), chunk_size=2), TypeError,
     "a network returned a tuple; wanted an array with an embedding of each of its 2 samples"),
    (torch.no_grad()(lambda: backend.grad_cache(lambda x: x.sum(), (network_of(), X), chunk_size=2)), RuntimeError,
     "gradients are off"),
])
def test_refusals(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^grad_cache: {message}"):
        call()
