"""Ranks of which one errs: an error with a name on all of them, within a second."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import pytest
from ranks import NCCL, SOON, TWO_DEVICES, Collective, Failure, on_ranks, recorded, tried, tried_on_ranks

import anglos

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")

pytestmark = pytest.mark.slow

RANKS, ODD, ROWS, CLASSES, DIMENSION = 3, 1, 4, 9, 5

NO_ANSWER = "arcface: not all ranks answered; wanted the same call on each, within the timeout of their process group"


class Call(NamedTuple):
    """What a rank calls."""

    loss: Any
    arrays: list[Any]
    options: dict[str, Any]

    def __call__(self) -> Any:
        return self.loss(*self.arrays, **self.options)

    def with_options(self, **options: Any) -> "Call":
        return self._replace(options=options)

    def with_array(self, place: int, change: Callable[[Any], Any]) -> "Call":
        return self._replace(arrays=[change(one) if number == place else one for number, one in enumerate(self.arrays)])

    def by_loss(self, loss: Any, group: Any = None, classes: int = CLASSES, check: bool = True) -> "Call":
        sharded = import_module("anglos.backends.torch.sharding").class_sharded
        return self._replace(loss=sharded(loss, group, num_classes=classes, check=check))


def call_of(rank: int, **how: Any) -> Call:
    """The call of a rank where none errs."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(CLASSES, DIMENSION, generator=generator).chunk(dist.get_world_size())[rank].clone()
    x = torch.randn(ROWS, DIMENSION, generator=generator.manual_seed(1 + rank))
    y = torch.randint(0, CLASSES - 1, (ROWS,), generator=generator)
    device = "cuda" if "nccl" in dist.get_backend_config() else "cpu"
    call = Call(None, [x.to(device).requires_grad_(), w.to(device).requires_grad_(), y.to(device)], {})
    return call.by_loss(anglos.arcface, **how)


def pairs_of(rank: int, **how: Any) -> Call:
    """The same of a loss over pairs."""
    call = call_of(rank)
    x = call.arrays[0].detach()
    loss = import_module("anglos.backends.torch.sharding").batch_sharded(anglos.info_nce, **how)
    return Call(loss, [x.requires_grad_(), x.flip(0).detach().requires_grad_()], {})


def update_of(rank: int) -> Call:
    """The update of a state."""
    x, w, y = call_of(rank).arrays
    mesh = import_module("torch.distributed.device_mesh").init_device_mesh(x.device.type, (dist.get_world_size(),))
    tensor = import_module("torch.distributed.tensor")
    weights = tensor.DTensor.from_local(w.detach(), mesh, [tensor.Shard(0)], shape=(CLASSES, DIMENSION), stride=(5, 1))
    update = import_module("anglos.backends.torch").class_sharded(anglos.curricularface_update, mesh)
    return Call(update, [0.0, x.detach(), weights, y], {})


def without_gradient(call: Call) -> Any:
    with torch.no_grad():
        return call()


def fewer(rows: Any) -> Any:
    return rows[:-1]


# What the odd rank does, and what all then hear.
DIFFERENCES: dict[str, tuple[Callable[[Call], Any], str]] = {
    "margin": (lambda call: call.with_options(margin=0.3)(), "margin was 0.5 on rank 0 and 0.3 on rank 1"),
    "past pi": (lambda call: call.with_options(past_pi="easy")(),
                "past_pi was 'smooth' on rank 0 and 'easy' on rank 1"),
    "learnt scale": (lambda call: call.with_options(scale=torch.tensor(64.0))(),
                     "scale was 64.0 on rank 0 and float32 of shape () on cpu on rank 1"),
    "reduction": (lambda call: call.with_options(reduction="sum")(),
                  "reduction was 'mean' on rank 0 and 'sum' on rank 1"),
    "loss": (lambda call: call.by_loss(anglos.inter_topk)(),
             "the loss was anglos.arcface on rank 0 and anglos.inter_topk on rank 1"),
    "embeddings' type": (lambda call: call.with_array(0, torch.Tensor.bfloat16)(),
                         "embeddings was float32 of shape (…, 5) on cpu on rank 0 and bfloat16 of shape (…, 5) on cpu "
                         "on rank 1"),
    "weights' type": (lambda call: call.with_array(1, torch.Tensor.double)(),
                      "weights was float32 of shape (…, 5) on cpu on rank 0 and float64 of shape (…, 5) on cpu "
                      "on rank 1"),
    "classes": (lambda call: call.by_loss(anglos.arcface, classes=CLASSES - 1)(),
                "the number of classes was 9 on rank 0 and 8 on rank 1"),
    "no_grad": (without_gradient, "what requires a gradient was embeddings and weights on rank 0 and nothing on "
                                  "rank 1"),
    "detached embeddings": (lambda call: call.with_array(0, torch.Tensor.detach)(),
                            "what requires a gradient was embeddings and weights on rank 0 and weights on rank 1"),
    "value_and_grad": (lambda call: call.loss.value_and_grad(*call.arrays),
                       "wrt was () on rank 0 and ('embeddings', 'weights') on rank 1"),
}
# The same of a loss over pairs, of which each rank may give any number, and of the update of a state.
OTHERS: dict[str, tuple[Callable[[Call], Any], str]] = {
    "pairs: temperature": (lambda call: call.with_options(temperature=0.2)(),
                           "temperature was 0.1 on rank 0 and 0.2 on rank 1"),
    "pairs: symmetric": (lambda call: call.with_options(symmetric=True)(),
                         "symmetric was False on rank 0 and True on rank 1"),
    "pairs: ring": (lambda call: pairs_of(ODD, ring=True)(), "ring was False on rank 0 and True on rank 1"),
    "pairs: no_grad": (without_gradient,
                       "what requires a gradient was queries and keys on rank 0 and nothing on rank 1"),
    "pairs: dimension": (lambda call: call._replace(arrays=[one[:, 1:] for one in call.arrays])(),
                         "queries was float32 of shape (…, 5) on cpu on rank 0 and float32 of shape (…, 4) on cpu on "
                         "rank 1"),
    "pairs: a third array": (lambda call: call._replace(arrays=[*call.arrays, call.arrays[1]])(),
                             "negatives was not given on rank 0 and float32 of shape (…, 5) on cpu on rank 1"),
    "update: t": (lambda call: call.with_array(0, lambda _: 0.5)(), "t was 0.0 on rank 0 and 0.5 on rank 1"),
    "pairs: a loss of classes": (lambda call: call_of(ODD)(),
                                 "the loss was anglos.info_nce on rank 0 and anglos.arcface on rank 1"),
}
# What it does, and what it alone hears.
REFUSALS: dict[str, tuple[Callable[[Call], Any], str]] = {
    "label of no class": (lambda call: call.with_array(2, lambda labels: labels + CLASSES)(),
                          "ValueError: arcface: labels held "),
    "float labels": (lambda call: call.with_array(2, torch.Tensor.float)(),
                     "TypeError: arcface: labels was of dtype torch.float32; wanted an array of integral dtype and "),
    "unknown option": (lambda call: call.with_options(margn=0.3)(),
                       "TypeError: arcface: margn was given, which is none of its options; wanted margin, "),
    "refused option": (lambda call: call.with_options(margin=7.0)(),
                       "ValueError: arcface: margin was 7; wanted an angle in radians from 0 to 3.14159: "),
    "a class too few": (lambda call: call.with_array(1, fewer)(), "ValueError: arcface: weights was of shape "),
    "no weights": (lambda call: call.with_array(1, lambda weights: None)(), "TypeError: arcface: weights was no "),
    "another dimension": (lambda call: call.with_array(0, lambda x: x[:, 1:])(),
                          "ValueError: arcface: weights was of shape (9, 5); wanted (C, D), with D = 4 in embeddings"),
    "fewer labels": (lambda call: call.with_array(2, fewer)(),
                     "ValueError: arcface: labels was of shape (3,); wanted (B,), with B = 4 in embeddings"),
}
OTHERS_REFUSED: dict[str, tuple[Callable[[Call], Any], str]] = {
    "pairs: fewer keys": (lambda call: call.with_array(1, fewer)(), "ValueError: info_nce: keys was of shape (3, 5); "),
    "update: labels as floats": (lambda call: call.with_array(3, torch.Tensor.float)(),
                                 "TypeError: curricularface_update: labels was of dtype torch.float32; wanted "),
    "pairs: wrong temperature": (lambda call: call.with_options(temperature=0.0)(),
                                 "ValueError: info_nce: temperature was 0; wanted "),
}
FAULTS = {**DIFFERENCES, **OTHERS, **REFUSALS, **OTHERS_REFUSED,
          "rows": (lambda call: call.with_array(0, fewer).with_array(2, fewer)(), "")}
KINDS = {"pairs": pairs_of, "update": update_of}
NAMES = {"pairs": "info_nce", "update": "curricularface_update"}
BACKENDS = ["gloo", *[pytest.param(backend, marks=TWO_DEVICES) for backend in (NCCL, "nccl")]]


def heard(rank: int) -> dict[str, Any]:
    """What a rank hears of every fault, and then what it gets where there is none."""
    found = {}
    call_of(rank)()  # the first imports things
    for name, (act, _) in FAULTS.items():
        call = KINDS.get(name.partition(":")[0], call_of)(rank)
        dist.barrier()
        found[name] = tried(partial(act if rank == ODD else Call.__call__, call))
    call = call_of(rank)
    with torch.device("meta"):  # as the default: what ranks tell each other is on the processor all the same
        checked = call().item()
    return {**found, "checked": checked, "not checked": call_of(rank, check=False)().item()}


@pytest.fixture(scope="module", params=BACKENDS)
def ranks(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return on_ranks(heard, RANKS if request.param == "gloo" else 2, backend=request.param)


@pytest.mark.parametrize("fault", FAULTS)
def test_all_hear_of_a_fault_soon(fault: str, ranks: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(ranks):
        name = NAMES.get(fault.partition(":")[0], "arcface")
        assert isinstance(found[fault], Failure)
        said = f"{found[fault].kind}: {found[fault].message}"
        words = FAULTS[fault][1].replace("cpu", "cuda" if len(ranks) < RANKS else "cpu")
        if fault == "rows":
            counts = [ROWS, ROWS - 1, ROWS][:len(ranks)]
            assert said == (f"ValueError: arcface: rows of the ranks were {counts}; wanted as many on each: "
                            "fill up with rows whose label is ignore_index")
        elif fault in {**DIFFERENCES, **OTHERS}:
            if rank == ODD:
                name = {"loss": "inter_topk", "pairs: a loss of classes": "arcface"}.get(fault, name)
            assert said == f"ValueError: {name}: {words}; wanted the same on all ranks"
        elif rank == ODD:
            assert said.startswith(words)
        else:
            assert said == f"RuntimeError: {name}: rank {ODD} refused its arguments (its own error says why)"
        assert found[fault].seconds < SOON


def test_ranks_go_on_after_a_fault(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found["checked"] == found["not checked"]


def asked(rank: int, check: bool) -> list[Collective]:
    with recorded() as collectives:
        call_of(rank, check=check)().backward()
    return collectives


def test_what_is_asked() -> None:
    """Four integers in every call; nothing where the check is off."""
    for checked, unchecked in zip(on_ranks(asked, 2, True), on_ranks(asked, 2, False), strict=True):
        assert checked == [Collective("allgather_", (4,), "int64", 32), *unchecked]


def beside(rank: int) -> Any:
    """What the ranks of a group of accelerators ask each other."""
    sharding = "anglos.backends.torch.sharding"
    group = import_module(f"{sharding}.group").group_of("", None)
    with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
        group.numbers([rank])
    agree = import_module(f"{sharding}.agreement").agree
    return agree("arcface", group, None, {}, rank), tried(lambda: agree("arcface", group, None, {"rank": str(rank)}))


def test_a_group_of_accelerators_has_one_of_processors_beside_it() -> None:
    """As init_process_group("nccl") makes it; this one has no backend for processors either."""
    for counts, fault in on_ranks(beside, 2, backend="cuda:gloo"):
        assert counts == [[0], [1]]
        assert fault.message == "arcface: rank was 0 on rank 0 and 1 on rank 1; wanted the same on all ranks"


def lost(rank: int, when: str) -> Any:
    """The odd rank is killed."""
    call = call_of(rank)
    dist.barrier()
    kill = partial(os.kill, os.getpid(), signal.SIGKILL)
    if rank == ODD and when == "before the call":
        kill()
    if rank == ODD and when == "in the middle of a collective":
        import_module("anglos.backends.torch.sharding.group").Group.exchange = lambda *_: kill()
    value = call()
    if rank == ODD:
        kill()
    return value.backward()


@pytest.mark.parametrize("when", ["before the call", "in the middle of a collective", "before the backward pass"])
def test_a_rank_is_killed(when: str) -> None:
    """The others end with an error, and do not wait for the timeout."""
    found = tried_on_ranks(lost, RANKS, when, timeout=60.0, fresh=True)
    assert found.pop(ODD)[:2] == ("Died", "exit code -9")
    for one in found:
        assert one.kind == "RuntimeError"
        assert one.seconds < 30.0  # of which most go into imports
        assert (one.message == NO_ANSWER) == (when == "before the call")


def absent(rank: int) -> Any:
    """The odd rank does not come to the first call, which others leave after a second."""
    call = call_of(rank).by_loss(anglos.arcface, dist.new_group(timeout=timedelta(seconds=1)))
    dist.barrier()
    found = None if rank == ODD else tried(call.__call__)
    dist.barrier()
    return found


def test_a_rank_does_not_come() -> None:
    """Which nobody can tell from one that is slow: the timeout of the process group bounds it."""
    for rank, one in enumerate(on_ranks(absent, RANKS)):
        assert rank == ODD or one[:2] == ("RuntimeError", NO_ANSWER)
        assert rank == ODD or 0.9 < one.seconds < 1.0 + SOON
