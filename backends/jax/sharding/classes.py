"""Losses whose prototypes are sharded on classes: every device sweeps its own."""

import functools
from dataclasses import replace
from typing import Any

from jax.sharding import Mesh

from anglos.call.kinds import describe
from anglos.call.loss import Loss, Options, _Call
from anglos.call.plan import Plan
from anglos.call.static_kinds import number_of_classes
from anglos.engines import rowwise as _rowwise
from anglos.engines.pairs import engine as _pairs
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as _linear
from anglos.training.heads import check_tiles

from .agreement import agreed
from .meshes import Named, check_mesh, devices_along, found, is_inside, named
from .padding import padded
from .shards import shards_of

_ENGINES = (_prototypes, _linear, _pairs, _rowwise)


def class_sharded(loss: Loss[Options], mesh: Mesh, axis: str | tuple[str, ...], *, num_classes: int | None = None,
                  check: bool = True) -> Loss[Options]:
    """The loss for weights that are sharded on classes, over an axis of the mesh or several; to be used under jax.jit.

    It takes what the loss takes, and has the same value and derivatives. No device ever holds all weights, or all
    of their gradient: each computes the logits of its own classes, a tile at a time where `keep_bytes` asks for it,
    and what the devices exchange has the size of the embeddings. It takes whole arrays: inside `jax.shard_map` over
    one of the axes it is refused. On a mesh with explicit axes its `plain` and `value_and_grad` must stand inside
    `jax.sharding.auto_axes`.

    JAX shards an array only into equal parts. Where the C classes are no multiple of the P devices along the axis,
    either the weights have C rows and every device is given all of them, of which it computes with ⌈C / P⌉ at most; or
    they are padded to P · ⌈C / P⌉ rows, sharded, and `num_classes` says which are classes. So are all arrays with a
    number for every class. Rows after the last class do not count, whatever they hold, and their gradient is 0. On
    another number of devices there are more or fewer of them: orbax restores arrays so, by `ArrayRestoreArgs` with
    `global_shape` and `strict=False`.

    A loss so made can be pickled: its mesh as the platform and the numbers of its devices, which must be there where
    it is loaded.

    Parameters
    ----------
    loss : Loss
        A loss with class prototypes, or centres, as `anglos.center`.
    mesh : jax.sharding.Mesh
        The devices.
    axis : str or tuple of str
        The axis of the mesh along which the classes are sharded, or several.
    num_classes : int, optional
        C, where the weights have P · ⌈C / P⌉ rows. By default every row is a class.
    check : bool
        Whether the processes of `jax.distributed`, where the mesh is of all, compare what they are about to do when a
        call is traced: one that refuses or differs is then an error on all of them, and neither a wrong number nor a
        hang. It costs milliseconds, and nothing in a call that is compiled already.

    Raises
    ------
    TypeError, ValueError
        For a loss without class prototypes, or that holds the logits of all (`ham_softmax`); and an axis that the
        mesh does not have; of the loss, for weights with another number of rows, a call inside `jax.shard_map` over
        one of the axes, or with another mesh set.

    Examples
    --------
    >>> import anglos, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("classes",))
    >>> arcface = class_sharded(anglos.arcface, mesh, "classes")
    >>> jax.jit(arcface)(jnp.eye(4), jnp.ones((10, 4)), jnp.asarray([0, 1, 2, 3])).shape
    ()
    """
    fits = isinstance(loss, Loss) and len(loss.arrays) == 3 and loss.engine in _ENGINES
    if not fits or getattr(loss.kinds[loss.arrays[1]], "shape", "") not in ("C D", "C K D"):
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"class_sharded: loss was {what}; wanted a loss with class prototypes, such as anglos.arcface")
    check_tiles("class_sharded", loss)
    axes = check_mesh("class_sharded", mesh, axis)
    number = number_of_classes("class_sharded", num_classes)
    made: Loss[Options] = _class_sharded(loss, mesh, axes, number, bool(check))
    return made


class _ClassSharded(Loss[Options]):
    def __init__(self, loss: Loss[Options], mesh: Mesh, axes: tuple[str, ...], num_classes: int | None, check: bool
                 ) -> None:
        self.__dict__.update(loss.__dict__)
        self.whole, self.mesh, self.axes, self.num_classes, self.check = loss, mesh, axes, num_classes, check

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}, class_sharded over {', '.join(self.axes)}>"

    def __reduce__(self) -> Any:
        return _again, (self.whole, named(self.mesh), self.axes, self.num_classes, self.check)

    def _plan(self, *call: Any) -> Plan:
        plan, classes = super()._plan(*call), self.num_classes
        if classes is None:
            return plan
        shards = devices_along(self.mesh, self.axes)
        rows = -(-classes // shards) * shards
        if plan.classes != rows:
            raise ValueError(f"{self.name}: {self.arrays[1]} held {plan.classes} rows for {classes} classes; wanted "
                             f"{rows}, as many for each of the {shards} devices along {', '.join(self.axes)}")
        return padded(plan, classes)

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> _Call:
        return agreed(self.name, self.mesh, self.check, functools.partial(self._over_devices, arrays, options, wrt))

    def _over_devices(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None) -> _Call:
        if is_inside(self.name, self.mesh, self.axes):
            raise ValueError(f"{self.name}: it was called inside jax.shard_map over {', '.join(map(repr, self.axes))}, "
                             "where arrays are parts; wanted whole arrays, outside of it")
        call = super()._prepare(arrays, options, wrt)
        return call._replace(plan=replace(call.plan, backend=shards_of(self.mesh, self.axes, call.plan.classes)))


@functools.cache
def _class_sharded(loss: Any, mesh: Mesh, axes: tuple[str, ...], num_classes: int | None, check: bool) -> Any:
    """One for all calls: another would be traced anew."""
    return _ClassSharded(loss, mesh, axes, num_classes, check)


def _again(loss: Any, mesh: Named, *others: Any) -> Any:
    """What was pickled."""
    return _class_sharded(loss, found("class_sharded", mesh), *others)
