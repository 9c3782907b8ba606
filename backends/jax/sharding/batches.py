"""Losses over pairs whose batch is spread over devices: every device compares its own rows with all columns."""

import functools
from dataclasses import replace
from typing import Any

import jax
from jax.sharding import Mesh

from anglos.call.kinds import is_of_classes
from anglos.call.loss import Loss, Options, _Call
from anglos.call.pairs_of_all import against_all_columns, check_columns, check_shares_batch, rows_and_columns
from anglos.engines.pairs import ring as _ring

from .agreement import agreed
from .meshes import Named, check_mesh, devices_along, found, is_inside, named
from .ring import over_ring
from .rows import own_rows, whole_rows


def batch_sharded(loss: Loss[Options], mesh: Mesh, axis: str | tuple[str, ...], *, check: bool = True,
                  ring: bool = False) -> Loss[Options]:
    """The loss over pairs of a batch that is spread over the devices along an axis of the mesh, or several.

    Of whole arrays, under jax.jit, it has the same value and derivatives as the loss. Every device compares its own
    rows with all columns, a tile at a time: it holds the columns, and tiles of rows × columns of its own. The loss
    itself gives the same numbers for arrays that are sharded so, but there all devices work on one tile after the
    other, with collectives for each. On a mesh with explicit axes `plain` and `value_and_grad` must stand inside
    `jax.sharding.auto_axes`.

    Inside `jax.shard_map` over the axis it takes the rows of this device, as many as every other's, and gives the loss
    of these against the columns of all, in the order of the devices; `reduction`, `sample_weight` and the mean's
    divisor are of its own rows. Derivatives are those of the sum of all devices' losses: with `jax.lax.pmean` around
    it, of the mean, which is the loss of the whole batch where every device has as many of what the loss is a mean of:
    rows, in `clip`, `info_nce`, `siglip` and `multi_similarity`; anchors with a positive, in `supcon` and `circle`;
    pairs, in `nt_xent` and `dcl`; active triplets. Else the exact mean is reduction="sum", `jax.lax.psum` of it, over
    the number of these on all devices. Columns are those of all devices in whatever form they come: as the rows
    themselves, `keys`, `negatives`, or `reference_embeddings` with their labels. What says something of pairs
    (`excluded_pairs`, `false_negatives`, `labels` that are weights) has the shape (own rows, all columns). The weights
    of `proxy_anchor` are whole on every device, and its loss, of all samples, is the same on all.

    A loss so made can be pickled: its mesh as the platform and the numbers of its devices, which must be there where
    it is loaded.

    Parameters
    ----------
    loss : Loss
        A loss that compares samples with each other.
    mesh : jax.sharding.Mesh
        The devices.
    axis : str or tuple of str
        The axis of the mesh along which the batch is spread, or several.
    check : bool
        Whether the processes of `jax.distributed`, where the mesh is of all, compare what they are about to do when a
        call is traced: one that refuses or differs is then an error on all of them, and neither a wrong number nor a
        hang. It costs milliseconds, and nothing in a call that is compiled already.
    ring : bool
        Of queries and keys, as for `anglos.clip` and `anglos.siglip`: the keys go from device to device, so that none
        has the columns of all, but those of two. It sends as much, in P parts, one after the other; a second derivative
        keeps all of them.

    Raises
    ------
    TypeError, ValueError
        For a loss whose samples are independent, a ring of others than queries and keys, and an axis that the mesh does
        not have; of the loss, for a call inside `jax.shard_map` over some of several axes, or with another mesh set.

    Examples
    --------
    >>> import anglos, jax, jax.numpy as jnp
    >>> from jax.sharding import NamedSharding, PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("batch",))
    >>> supcon = batch_sharded(anglos.supcon, mesh, "batch")
    >>> batch = jnp.eye(4), jnp.asarray([0, 0, 1, 1])
    >>> embeddings, labels = jax.device_put(batch, NamedSharding(mesh, P("batch")))
    >>> whole = jax.jit(supcon)(embeddings, labels)
    >>> mean = jax.shard_map(lambda *own: jax.lax.pmean(supcon(*own), "batch"), mesh=mesh,
    ...                      in_specs=P("batch"), out_specs=P())
    >>> bool(whole == jax.jit(mean)(embeddings, labels))
    True
    """
    check_shares_batch(loss, ring)
    made: Loss[Options] = _batch_sharded(loss, mesh, check_mesh("batch_sharded", mesh, axis), bool(check),
                                         bool(ring))
    return made


class _BatchSharded(Loss[Options]):
    def __init__(self, loss: Loss[Options], mesh: Mesh, axes: tuple[str, ...], check: bool, ring: bool) -> None:
        self.__dict__.update(loss.__dict__)
        self.whole, self.mesh, self.axes, self.check, self.ring = loss, mesh, axes, check, ring
        if ring:
            self.engine = _ring
        self.kinds = {name: against_all_columns(kind) for name, kind in loss.kinds.items()}

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}, batch_sharded over {', '.join(self.axes)}>"

    def __reduce__(self) -> Any:
        return _again, (self.whole, named(self.mesh), self.axes, self.check, self.ring)

    def _returned(self, name: str, gradient: jax.Array) -> jax.Array:
        """Summed over the devices, if it is of what is the same on all: options, and the weights of proxies."""
        of_own_rows = gradient.ndim and not is_of_classes(self.kinds[name])
        if of_own_rows or not is_inside(self.name, self.mesh, self.axes):
            return gradient
        total: jax.Array = jax.lax.psum(gradient, self.axes)  # type: ignore[no-untyped-call]
        return total

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> _Call:
        return agreed(self.name, self.mesh, self.check, functools.partial(self._over_devices, arrays, options, wrt))

    def _over_devices(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None) -> _Call:
        inside = is_inside(self.name, self.mesh, self.axes)
        call = super()._prepare(arrays, options, wrt)
        devices = devices_along(self.mesh, self.axes)
        check_columns(call, *[number * (devices if inside else 1) for number in rows_and_columns(call)])
        if self.ring and not inside:
            return call._replace(plan=over_ring(call.plan, self.mesh, self.axes))
        backend = own_rows(self.axes, devices) if inside else whole_rows(self.mesh, self.axes)
        return call._replace(plan=replace(call.plan, backend=backend))


@functools.cache
def _batch_sharded(loss: Any, mesh: Mesh, axes: tuple[str, ...], check: bool, ring: bool) -> Any:
    """One for all calls: another would be traced anew."""
    return _BatchSharded(loss, mesh, axes, check, ring)


def _again(loss: Any, mesh: Named, *others: Any) -> Any:
    """What was pickled."""
    return _batch_sharded(loss, found("batch_sharded", mesh), *others)
