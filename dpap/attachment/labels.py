"""Labels: which unit every element of every tensor of a forward pass belongs to.

A label is a number per element. The outputs of a layer get one label per channel or neuron, and so
do the positions of its weight along both axes. While a pass runs, each operation hands labels on:
a reshape moves them, an addition ties the labels of its two terms, a linear layer ties the labels
of its input with the columns of its weight. Tied labels are one unit. Views need no rule, because
labels are kept per storage.

An operation that computes over several units at once (a softmax, a mean over channels) is an
obstacle: its result would change if a silent unit were removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

#: Operations that only move elements; they are run on the labels.
_MOVES = {
    *("cat", "stack", "constant_pad_nd", "repeat", "roll", "flip", "index_select", "index"),
    *("gather", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"),
    *("repeat_interleave", "im2col", "tril", "triu", "reflection_pad1d", "reflection_pad2d"),
    *("replication_pad1d", "replication_pad2d", "index_put", "index_put_", "slice_scatter"),
    *("select_scatter", "unfold", "diagonal_copy", "rot90"),
}
#: Operations within the last dimensions of feature maps: name -> number of these dimensions.
_LOCAL = {
    "max_pool2d_with_indices": 2,
    "max_pool3d_with_indices": 3,
    "avg_pool2d": 2,
    "avg_pool3d": 3,
    "_adaptive_avg_pool2d": 2,
    "_adaptive_avg_pool3d": 3,
    "adaptive_max_pool2d": 2,
    "adaptive_max_pool3d": 3,
    "fractional_max_pool2d": 2,
    "upsample_nearest1d": 1,
    "upsample_linear1d": 1,
    "upsample_nearest2d": 2,
    "_upsample_nearest_exact2d": 2,
    "upsample_bilinear2d": 2,
    "_upsample_bilinear2d_aa": 2,
    "upsample_bicubic2d": 2,
    "upsample_nearest3d": 3,
    "upsample_trilinear3d": 3,
    "grid_sampler_2d": 2,
}
#: Reductions that stay the same when zeros are removed.
_SUMS = {"sum", "amax", "max", "any", "count_nonzero", "linalg_vector_norm", "norm", "argmax"}
#: Reductions that depend on the number of elements.
_MEANS = {"mean", "var", "std", "var_mean", "amin", "min", "prod", "all", "median", "argmin"}
_SOFTMAX = {"_softmax", "_log_softmax", "softmax", "log_softmax", "cumsum", "_safe_softmax"}
#: Operations whose result has no values of their arguments.
_FRESH = {
    *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros"),
    *("new_ones", "new_full", "new_empty", "new_empty_strided", "bernoulli", "_local_scalar_dense"),
    *("empty_strided", "sym_size", "is_same_size", "equal", "new_tensor", "bernoulli_"),
}
#: Operations that change the shape of their argument in place; its storage has the labels.
_RESHAPES = {"as_strided_", "squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "detach_"}
_FILLS = {"zero_", "fill_", "uniform_", "normal_", "random_", "bernoulli_"}
_COPIES = {
    "_prelu_kernel",
    "clone",
    "_to_copy",
    "contiguous",
    "copy",
    "native_dropout",
    "lift_fresh_copy",
    "copy_",
}
_BATCH_NORMS = {
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("cudnn_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update", "batch_norm"),
}


class Ties:
    """Union-find over labels; a smaller label represents those that are tied to it.

    Parameters
    ----------
    known
        Parents that labels have from the start, by label: ties of an earlier trace.
    """

    def __init__(self, known: Sequence[int] = ()) -> None:
        self.parents = [0]
        self.known = known
        #: Number of ties made; labels that were read before may be out of date.
        self.version = 0
        self._table = torch.zeros(0, dtype=torch.long)
        self._state = (-1, 0)

    def new(self, number: int) -> Tensor:
        """Return new labels, [number]; those that are tied already have one label."""
        first = len(self.parents)
        labels = range(first, first + number)
        self.parents.extend(self.known[x] if x < len(self.known) else x for x in labels)
        if not self.known:
            return torch.arange(first, first + number)
        return torch.tensor([self.root(x) for x in labels], dtype=torch.long)

    def root(self, label: int) -> int:
        """Return the label that represents this one."""
        while self.parents[label] != label:
            self.parents[label] = self.parents[self.parents[label]]
            label = self.parents[label]
        return label

    def roots(self, labels: Tensor) -> Tensor:
        """Return the representing label of each label; 0 stays 0."""
        state = (self.version, len(self.parents))
        if state != self._state:
            table = torch.tensor(self.parents)
            while not torch.equal(table[table], table):
                table = table[table]
            self._table, self._state = table, state
        return self._table[labels]

    def tie(self, one: Tensor, two: Tensor) -> None:
        """Tie two tensors of labels of one shape, element by element; 0 is tied to nothing."""
        both = (one != 0) & (two != 0) & (one != two)
        if not bool(both.any()):
            return
        for pair in torch.stack([one[both], two[both]], 1).unique(dim=0).tolist():
            a, b = self.root(pair[0]), self.root(pair[1])
            if a != b:
                self.parents[max(a, b)] = min(a, b)
                self.version += 1

    def restore(self, parents: Sequence[int]) -> None:
        """Return to earlier parents, of the same labels."""
        self.parents[:] = parents
        self.version += 1


@dataclass(frozen=True)
class Obstacle:
    """An operation that forbids the removal of single units.

    Parameters
    ----------
    labels
        The units that it computes over.
    reason
        What it does, as in "its units pass through ...".
    """

    labels: Tensor
    reason: str


@dataclass
class Trace:
    """What one traced pass says about a network.

    Parameters
    ----------
    ties
        Which labels are one unit.
    axes
        (Parameter name, dimension) -> labels of the positions, [size], of weights.
    elements
        Parameter or buffer name -> labels of its elements, of its shape, of all others.
    unmaskable
        Names in `elements` that are used otherwise than as a factor or a term.
    obstacles
        Operations over several units.
    doubts
        The same, of operations that matter only if the outputs depend on their results.
    splits
        Axes of units that the network divides into parts: labels [parts, part].
    counted
        Path of each normalisation module that computes over units.
    outputs
        Layer -> labels of the output of each of its calls.
    inputs
        Layer -> labels of the input of each of its calls.
    training
        Whether some layers run in training mode only.
    """

    ties: Ties = field(default_factory=Ties)
    axes: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    elements: dict[str, Tensor] = field(default_factory=dict)
    unmaskable: set[str] = field(default_factory=set)
    obstacles: list[Obstacle] = field(default_factory=list)
    doubts: list[Obstacle] = field(default_factory=list)
    splits: list[Tensor] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    training: bool = False


@dataclass
class _Labelled:
    """A tensor, kept so that its storage is not used again, and the labels of its storage."""

    tensor: Tensor
    flat: Tensor
    version: int


class LabelMode(TorchDispatchMode):
    """Follows labels through all operations while it is active.

    Parameters
    ----------
    network
        The network; its weights and buffers are recognised by their storage.
    known
        Ties of an earlier trace of this network, see `Ties`.
    """

    def __init__(self, network: nn.Module, known: Sequence[int] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace(Ties(known))
        #: The modules that are being called, innermost last.
        self.calling: list[tuple[str, nn.Module]] = []
        self._sources: dict[int, tuple[str, Tensor]] = {}
        tensors = [*network.named_buffers(), *network.named_parameters()]
        self._sources = {_storage(x): (name, x) for name, x in tensors if x.numel() > 1}
        self._labels: dict[int, _Labelled] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        try:
            self._follow(func, args, kwargs or {}, out)
        except (RuntimeError, IndexError, TypeError, NotImplementedError) as error:
            self._obstruct(args, f"'{func}', which is not understood ({error})")
        return out

    def labels(self, x: Tensor) -> Tensor | None:
        """Labels of a tensor's elements, of its shape, or None if it has none."""
        key = _storage(x)
        if key not in self._labels and key in self._sources:
            name, source = self._sources[key]
            if name not in self.trace.elements:
                ids = self.trace.ties.new(source.numel()).view(source.shape)
                self.trace.elements[name] = ids
            self._set(source, self.trace.elements[name])
        found = self._labels.get(key)
        if found is None:
            return None
        if found.version != self.trace.ties.version:
            found.flat = self.trace.ties.roots(found.flat)
            found.version = self.trace.ties.version
        return found.flat.as_strided(x.size(), x.stride(), x.storage_offset())

    def _set(self, x: Tensor, labels: Tensor) -> None:
        """Give the elements of a tensor labels."""
        key = _storage(x)
        if key not in self._labels:
            size = max(1, x.untyped_storage().nbytes() // max(1, x.element_size()))
            flat = torch.zeros(size, dtype=torch.long)
            self._labels[key] = _Labelled(x, flat, self.trace.ties.version)
        found = self._labels[key]
        found.flat.as_strided(x.size(), x.stride(), x.storage_offset()).copy_(labels)
        found.version = -1

    def _value(self, x: object) -> Tensor | None:
        return self.labels(x) if isinstance(x, Tensor) else None

    def _follow(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        name = func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not tensors or name in _RESHAPES or (name in _FRESH and name not in _FILLS):
            return
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if name in _FILLS:
            if self._value(args[0]) is not None:
                self._set(args[0], torch.zeros(args[0].shape, dtype=torch.long))
            return
        rule = self._rule(name)
        if rule is not None:
            rule(args, kwargs, results)
        elif _is_view(name, tensors, results):
            self._hint_view(name, args, results)
        elif results and any(self._known(x) is not None for x in tensors):
            self._hand_on(func, args, kwargs, tensors, results)

    def _hand_on(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], results: list[Tensor]
    ) -> None:
        """Hand labels on through an operation that has no rule of its own."""
        name = func.overloadpacket.__name__
        if name in _MOVES:
            self._move(func, name, args, kwargs, results)
        elif name in _LOCAL:
            self._local(args[0], results[0], _LOCAL[name], name)
        elif name in _SUMS | _MEANS and self._is_reduction(args, results):
            self._reduce(name, args, kwargs, results)
        elif name in _SOFTMAX:
            self._softmax(name, args, results[0])
        elif torch.Tag.pointwise in func.tags or name in _COPIES:
            self._elementwise(name.rstrip("_"), tensors, results[0])
        else:
            self._obstruct(args, f"'{name}', which computes over several of them")

    def _known(self, x: Tensor) -> Tensor | None:
        return self.labels(x) if _storage(x) in self._labels or self._is_source(x) else None

    def _is_source(self, x: Tensor) -> bool:
        return _storage(x) in self._sources

    def _rule(self, name: str) -> Callable[[Any, Any, list[Tensor]], None] | None:
        if name in _BATCH_NORMS:
            return self._batch_norm
        return {
            "convolution": self._convolution,
            "_convolution": self._convolution,
            "mkldnn_convolution": self._convolution,
            "mm": self._mm,
            "addmm": self._addmm,
            "bmm": self._bmm,
            "baddbmm": self._baddbmm,
            "embedding": self._embedding,
            "_embedding_bag": self._embedding,
            "_embedding_bag_forward_only": self._embedding,
            "glu": self._glu,
            "native_layer_norm": self._layer_norm,
            "native_group_norm": self._group_norm,
        }.get(name)

    def _obstruct(self, args: Any, reason: str) -> None:
        for x in tree_leaves(args):
            labels = self._known(x) if isinstance(x, Tensor) else None
            if labels is not None and bool(labels.any()):
                self.trace.obstacles.append(Obstacle(labels.unique(), reason))

    def _hint_view(self, name: str, args: Any, results: list[Tensor]) -> None:
        """Note which axis of units a view divides, and into how many parts."""
        x = args[0]
        if name in ("split", "split_with_sizes", "chunk", "unsafe_split"):
            parts = [self._value(r) for r in results]
            if len(parts) > 1 and all(p is not None and p.shape == parts[0].shape for p in parts):  # type: ignore[union-attr]
                dim = args[2] if len(args) > 2 else 0
                lines = [_vector(p, dim) for p in parts if p is not None and p.dim() > dim]
                known = [line for line in lines if line is not None]
                if len(known) == len(parts):
                    self._hint(torch.stack(known))
        elif name in ("view", "_unsafe_view", "_reshape_alias", "unfold"):
            self._hint_reshape(x, results[0])

    def _hint_reshape(self, before: Tensor, after: Tensor) -> None:
        labels = self._known(after)
        if labels is None or after.dim() <= before.dim():
            return
        for dim in range(after.dim() - 1):
            pair = _plane(labels, dim)
            if pair is not None and after.shape[dim] > 1 and after.shape[dim + 1] > 1:
                self._hint(pair)

    def _hint(self, parts: Tensor) -> None:
        if parts.dim() == 2 and len(parts) > 1 and len(parts.unique()) == parts.numel():
            self.trace.splits.append(parts)

    def _move(self, func: Any, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        """Run an operation that only moves elements on the labels."""

        def labels_of(x: object) -> object:
            if not isinstance(x, Tensor):
                return x
            known = self._known(x)
            if known is None and not x.is_floating_point() and name not in ("cat", "stack"):
                return x  # an index
            return torch.zeros(x.shape).double() if known is None else known.double()

        if name.endswith("_"):
            args = (args[0], *args[1:])
        moved = func(*tree_map(labels_of, args), **tree_map(labels_of, kwargs))
        new = [x for x in tree_leaves(moved) if isinstance(x, Tensor)]
        for result, labels in zip(results, new, strict=True):
            self._set(result, labels.round().long())
        x = args[0]
        if name in ("pixel_shuffle", "channel_shuffle", "native_channel_shuffle"):
            known = self._known(x)
            vector = (
                _vector(known, x.dim() - 3 if name == "pixel_shuffle" else 1)
                if known is not None
                else None
            )
            if vector is not None:
                parts = args[1] ** 2 if name == "pixel_shuffle" else args[1]
                folded = (
                    vector.view(-1, parts).T if name == "pixel_shuffle" else vector.view(parts, -1)
                )
                self._hint(folded)

    def _elementwise(self, name: str, tensors: Sequence[Tensor], out: Tensor) -> None:
        """Tie the labels of all arguments, broadcast to the shape of the result."""
        terms = []
        for x in tensors:
            labels = self._known(x)
            if labels is None or x.numel() == 1:
                continue
            if self._is_source(x) and name not in ("add", "mul"):
                self.trace.unmaskable.add(self._sources[_storage(x)][0])
            terms.append((x, labels.expand(out.shape)))
        total = torch.zeros(out.shape, dtype=torch.long)
        for x, labels in terms:
            others = [other for y, other in terms if y is not x]
            if _spread(x, out, others):  # one value for several units of others
                if not self._is_source(x):
                    self._obstruct((x,), f"'{name}' with several units of another layer each")
                continue
            self.trace.ties.tie(total, labels)
            total = torch.where(total == 0, labels, total)
        self._set(out, total)

    def _local(self, x: Tensor, out: Tensor, dims: int, name: str) -> None:
        """Hand labels on through pooling or interpolation of feature maps."""
        labels = self._known(x)
        if labels is None:
            return
        flat = labels.flatten(labels.dim() - dims)
        same, top = _same(flat, -1)
        if not same:
            self._obstruct((x,), f"'{name}' along the units")
            return
        self._set(out, top.view(*top.shape[:-1], *[1] * dims).expand(out.shape))

    def _is_reduction(self, args: Any, results: list[Tensor]) -> bool:
        two = len(args) > 1 and isinstance(args[1], Tensor)
        return not two

    def _reduce(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, out = args[0], results[0]
        place = 2 if "norm" in name else 1
        dims = args[place] if len(args) > place else kwargs.get("dim")
        if not isinstance(dims, (list, tuple)):
            dims = list(range(x.dim())) if dims is None or isinstance(dims, bool) else [dims]
        dims = sorted({d % max(1, x.dim()) for d in dims}) or list(range(x.dim()))
        labels = self._known(x)
        assert labels is not None
        same, top = True, labels
        for d in dims:
            alike, top = _same(top, d)
            same = same and alike
        if not same:
            if name in _MEANS:  # harmless if the outputs do not depend on it, as a logged rate
                reason = f"'{name}', which computes over several of them"
                self.trace.doubts.append(Obstacle(labels.unique(), reason))
            return
        if out.dim() < x.dim():
            top = top.reshape([n for d, n in enumerate(top.shape) if d not in dims])
        for result in results:
            if result.shape == top.shape:
                self._set(result, top)

    def _softmax(self, name: str, args: Any, out: Tensor) -> None:
        labels = self._known(args[0])
        assert labels is not None
        same, _ = _same(labels, args[1])
        if same:
            self._set(out, labels)
        else:
            self._obstruct((args[0],), f"'{name.strip('_')}' over the units")

    # Weights

    def _axis(self, weight: Tensor) -> list[tuple[str, int, Tensor]] | None:
        """Return (parameter, dimension, labels) for each dimension of a weight or a part of it."""
        source = self._sources.get(_storage(weight))
        if source is None or not isinstance(source[1], nn.Parameter):
            return None
        name, whole = source
        found: list[tuple[str, int, Tensor]] = []
        offset = weight.storage_offset() - whole.storage_offset()
        for size, stride in zip(weight.shape, weight.stride(), strict=True):
            dims = [d for d in range(whole.dim()) if whole.stride(d) == stride]
            fitting = [d for d in dims if whole.shape[d] >= size]
            if not fitting:
                return None
            d = next((d for d in fitting if whole.shape[d] == size), fitting[0])
            if any(d == other for _, other, _ in found):  # dimensions of size 1
                d = next((e for e in fitting if all(e != o for _, o, _ in found)), d)
            if (name, d) not in self.trace.axes:
                self.trace.axes[name, d] = self.trace.ties.new(whole.shape[d])
            start = offset // stride % whole.shape[d] if stride else 0
            found.append((name, d, self.trace.axes[name, d][start : start + size]))
        return found

    def _reads(self, labels: Tensor | None, dim: int, columns: Tensor) -> None:
        """Tie the units that a weight reads with its columns."""
        if labels is not None and bool(labels.any()):
            self.trace.ties.tie(self._joined(labels, dim), columns)

    def _joined(self, labels: Tensor, dim: int) -> Tensor:
        """Labels along a dimension, [size]; what lies at one position is tied."""
        lines = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
        top = lines.amax(1, keepdim=True)
        self.trace.ties.tie(lines, top.expand_as(lines))
        return top.flatten()

    def _convolution(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, weight, bias = args[:3]
        transposed, groups = bool(args[6]), int(args[8])
        labels, out = self._known(x), results[0]
        axes = self._axis(weight)
        if axes is None:
            self._filter(x, weight, out, int(args[8]))
            return
        rows, columns = (axes[1][2], axes[0][2]) if transposed else (axes[0][2], axes[1][2])
        given = torch.zeros(x.shape[1]).long() if labels is None else self._joined(labels, 1)
        ties, inner = self.trace.ties, x.shape[1] // groups
        outer = out.shape[1] // groups
        if inner == 1 and groups > 1:  # depthwise
            if transposed:
                ties.tie(given, columns)
                rows = columns.repeat_interleave(outer)
            else:
                ties.tie(given.repeat_interleave(outer), rows)
        elif transposed and groups > 1:
            ties.tie(given, columns)
            folded = columns.view(groups, inner)
            ties.tie(folded[:1].expand_as(folded), folded)
            rows = rows.repeat(groups)
        else:
            ties.tie(given, columns.repeat(groups))
            folded = rows.view(groups, outer) if not transposed else rows.unsqueeze(0)
            ties.tie(folded[:1].expand_as(folded), folded)
        if isinstance(bias, Tensor):
            self._tie_source(bias, rows)
        self._set(out, rows.view(1, -1, *[1] * (out.dim() - 2)).expand(out.shape))

    def _filter(self, x: Tensor, weight: Tensor, out: Tensor, groups: int) -> None:
        """Follow a convolution whose weight is no parameter, such as a blur of each channel."""
        labels, filters = self._known(x), self._value(weight)
        if (
            groups == 1
            or weight.shape[1] > 1
            or (filters is not None and not self._is_source(weight))
        ):
            self._obstruct((x, weight), "a convolution whose weight is computed")
        elif labels is not None:
            rows = self._joined(labels, 1).repeat_interleave(out.shape[1] // groups)
            if filters is not None:
                lines = rows.view(-1, *[1] * (weight.dim() - 1)).expand(weight.shape)
                self.trace.ties.tie(filters, lines)
            self._set(out, rows.view(1, -1, *[1] * (out.dim() - 2)).expand(out.shape))

    def _tie_source(self, source: Tensor | None, vector: Tensor) -> None:
        labels = self._value(source)
        if labels is not None and labels.numel() == vector.numel():
            self.trace.ties.tie(labels.flatten(), vector)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> bool:
        """Follow x [N, inputs] times a weight [inputs, outputs]; False if this is no weight."""
        axes = self._axis(weight)
        if axes is None or len(axes) != 2:
            return False
        labels, rows = self._known(x), axes[1][2]
        if labels is not None and bool(labels.any()) and _vector(labels, 1) is None:
            same, top = _same(labels, 1)
            if same and len(top.unique()) > 1:  # units along the rows: each is mapped for itself
                self.trace.obstacles.append(Obstacle(rows, "rows that are units of other layers"))
                self._set(out, top.expand(out.shape))
                return True
        self._reads(labels, 1, axes[0][2])
        if bias is not None:
            self._tie_source(bias, rows)
        self._set(out, rows.expand(out.shape))
        return True

    def _mm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        if not self._linear(args[0], args[1], None, results[0]):
            self._product(args[0].unsqueeze(0), args[1].unsqueeze(0), results[0], True)

    def _addmm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        bias, x, weight = args
        if not self._linear(x, weight, bias, results[0]):
            self._product(x.unsqueeze(0), weight.unsqueeze(0), results[0], True)

    def _embedding(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        axes = self._axis(args[0])
        if axes is None:
            self._obstruct(args, "an embedding whose weight is computed")
        else:
            self._set(results[0], axes[1][2].expand(results[0].shape))

    def _glu(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, dim = args[0], args[1] if len(args) > 1 else -1
        labels = self._known(x)
        if labels is not None:
            one, two = labels.chunk(2, dim)
            self.trace.ties.tie(one, two)
            self._set(results[0], torch.maximum(one, two))

    def _bmm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        self._product(args[0], args[1], results[0])

    def _baddbmm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        self._product(args[1], args[2], results[0])

    def _product(self, one: Tensor, two: Tensor, out: Tensor, flat: bool = False) -> None:
        """Follow the product of two activities, [B, n, k] times [B, k, m]."""
        axes = self._axis(two) if two.dim() == 3 and two.stride(0) == 0 else None
        if axes is not None:
            return
        zero = torch.zeros((), dtype=torch.long)
        a, b = self._known(one), self._known(two)
        a = zero.expand(one.shape) if a is None else a
        b = zero.expand(two.shape) if b is None else b
        if not (bool(a.any()) or bool(b.any())):
            return
        along_k, inner_a = _same(a, 1)  # [B, 1, k]: units on the axis that is summed
        along_m, inner_b = _same(b, 2)  # [B, k, 1]
        rows_same, rows = _same(a, 2)  # [B, n, 1]: units on an axis that stays
        columns_same, columns = _same(b, 1)
        total = torch.zeros(one.shape[0], one.shape[1], two.shape[2], dtype=torch.long)
        # Constant along both axes: the whole matrix is one unit, so the result is too.
        summed_a = bool(a.any()) and along_k and not rows_same
        summed_b = bool(b.any()) and along_m and not columns_same
        if summed_a and summed_b:
            self.trace.ties.tie(inner_a.transpose(1, 2), inner_b)
        elif summed_a or summed_b:
            self._obstruct((one if summed_a else two,), "a product with what is no layer's weight")
        handed = []
        for labels, same, lines, other, summed in (
            (a, rows_same, rows, one, summed_a),
            (b, columns_same, columns, two, summed_b),
        ):
            if not bool(labels.any()) or summed:
                continue
            if same:
                handed.append((other, lines))
            else:
                self._obstruct((other,), "a product of two activities")
        for other, lines in handed:
            others = [x.expand_as(total) for y, x in handed if y is not other]
            if _spread(lines, total, others):
                self._obstruct((other,), "a product with several units of another layer each")
                continue
            self.trace.ties.tie(total, lines.expand_as(total))
            total = torch.where(total == 0, lines.expand_as(total), total)
        self._set(out, total[0] if flat else total)

    # Normalisation

    def _batch_norm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, out = args[0], results[0]
        sources = [v for v in args[1:5] if isinstance(v, Tensor)]
        labels = self._known(x)
        vector = torch.zeros(x.shape[1]).long() if labels is None else self._joined(labels, 1)
        for source in sources:
            known = self._value(source)
            if known is not None:
                self.trace.ties.tie(known, vector)
                vector = torch.where(vector == 0, known, vector)
        self._set(out, vector.view(1, -1, *[1] * (x.dim() - 2)).expand(out.shape))

    def _normalised(self, labels: Tensor, name: str, x: Tensor) -> None:
        """Note that a normalisation module computes over units, so that it counts removed ones."""
        path, module = self.calling[-1] if self.calling else ("", nn.Identity())
        if type(module) in (nn.LayerNorm, nn.GroupNorm):
            self.trace.counted.add(path)
        else:
            self._obstruct((x,), f"'{name}' outside of a normalisation module")

    def _layer_norm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, shape, weight, bias = args[:4]
        labels, out = self._known(x), results[0]
        total = torch.zeros(x.shape, dtype=torch.long) if labels is None else labels
        flat = total.flatten(total.dim() - len(shape))
        if not _same(flat, -1)[0]:
            self._normalised(total, "layer_norm", x)
        for source in (weight, bias):
            known = self._value(source)
            if known is not None:
                known = known.expand(x.shape)
                self.trace.ties.tie(total, known)
                total = torch.where(total == 0, known, total)
        self._set(out, total)

    def _group_norm(self, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        x, weight, bias, _, channels, _, groups, _ = args
        labels, out = self._known(x), results[0]
        vector = _vector(labels, 1) if labels is not None else torch.zeros(channels).long()
        if vector is None:
            self._obstruct((x,), "a group norm along another axis")
            return
        for source in (weight, bias):
            known = self._value(source)
            if known is not None:
                self.trace.ties.tie(known, vector)
                vector = torch.where(vector == 0, known, vector)
        if bool(vector.any()):
            self._normalised(vector, "group_norm", x)
        if groups < channels:
            folded = vector.view(groups, -1)
            self.trace.ties.tie(folded[:1].expand_as(folded), folded)
        self._set(out, vector.view(1, -1, *[1] * (out.dim() - 2)).expand(out.shape))


def _is_view(name: str, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> bool:
    """Whether the result of an operation is a view of one of its arguments."""
    writes = name.endswith("_") and not name.startswith("__")
    held = {_storage(x) for x in tensors}
    return bool(results) and _storage(results[0]) in held and not writes


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def _same(labels: Tensor, dim: int) -> tuple[bool, Tensor]:
    """Whether labels are equal along a dimension, except for zeros; and the labels without it."""
    top = labels.amax(dim, keepdim=True)
    return bool(((labels == top) | (labels == 0)).all()), top


def _spread(x: Tensor, out: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether x is broadcast along a dimension where the labels of others differ."""
    missing = out.dim() - x.dim()
    shape = [1] * missing + list(x.shape)
    dims = [d for d in range(out.dim()) if shape[d] == 1 < out.shape[d]]
    return any(not _same(other, d)[0] for other in others for d in dims)


def _vector(labels: Tensor | None, dim: int) -> Tensor | None:
    """Labels along one dimension, [size], if they do not depend on the others."""
    if labels is None:
        return None
    lines = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
    same, top = _same(lines, 1)
    return top.flatten() if same else None


def _plane(labels: Tensor, dim: int) -> Tensor | None:
    """Labels along two neighbouring dimensions, if they do not depend on the others."""
    lines = labels.movedim((dim, dim + 1), (0, 1)).flatten(2)
    same, top = _same(lines, 2)
    return top.squeeze(2) if same else None


def labelled(value: object) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from labelled(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from labelled(item)
