"""A model whose batches several processes share."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import nn, tape
from minigrad.distributed.buckets import Layout, Reduction, Traffic
from minigrad.distributed.processes import Group, group
from minigrad.modes import grad_enabled
from minigrad.shards import Shard, sharded
from minigrad.tape import Edge, Node, Variable
from minigrad.tensor import Tensor, as_tensor

HEADER = 16  # bytes that tell one graph from another
KEPT = 8  # layouts, or a model whose graphs differ from step to step would fill the memory


class DistributedDataParallel(nn.Module):
    """`module`, of whose batches each process computes a run; outputs and gradients are those of the whole batch.

        model = mg.distributed.DistributedDataParallel(model)
        loss = F.cross_entropy(model(images), labels)      # the same images and labels, and so the same loss, on all

    Every process calls it with the whole batch, computes its own run of it, and gets the outputs of all. So what
    follows, loss and metrics, is the same everywhere; and with the gradients, which are summed over the processes while
    the walk back goes on, every process takes the same step. At the start the weights are those of the first process.
    Alone, a process computes the whole batch.

    Bits: outputs and gradients are those of one process, whatever the number of processes and threads, where each
    parameter meets the batch as it is, once or several times. To rounding they are where a weight is first computed
    from parameters (`w * s`), or where the module itself sums over the batch. Batch norm is that of the whole batch,
    and dropout drops the same values; other random numbers that a module draws are the same for each run.

    Shapes: inputs (N, ...); outputs (N, ...), a tensor or a tuple of tensors.
    Raises: ValueError for inputs of different lengths; TypeError, ValueError for other outputs; RuntimeError where the
    processes computed different graphs, and for second derivatives.
    Source: S. Li and others, "PyTorch Distributed: experiences on accelerating data parallel training", 2020.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._group, self._layouts = group(), dict[bytes, Layout]()
        self.traffic = Traffic()
        if self._group is not None:
            broadcast_state(self._group, module)

    def forward(self, *inputs: Any) -> Any:
        lengths = {len(x) if np.ndim(x) or isinstance(x, Tensor) else None for x in inputs}
        if len(lengths) != 1 or None in lengths:
            raise ValueError(f"DistributedDataParallel: need inputs (N, ...), got lengths {sorted(map(str, lengths))}")
        samples = lengths.pop()
        if self._group is None or not samples:
            return self.module(*inputs)
        shard = self._group.shard(samples)
        leaves = [_leaf(x, shard.held) for x in inputs]
        return self._outputs(shard, leaves, [x for x in inputs if isinstance(x, Tensor) and x.requires_grad])

    def of_run(self, samples: int, *inputs: Any) -> Any:
        """The outputs for a batch of so many samples, of which this process is given its run alone."""
        if self._group is None:
            return self.module(*inputs)
        return self._outputs(self._group.shard(samples), [as_tensor(x) for x in inputs], [])

    def _outputs(self, shard: Shard, leaves: list[Tensor], sources: list[Tensor]) -> Any:
        token = sharded.set(shard)
        try:
            found = self.module(*leaves)
        finally:
            sharded.reset(token)
        runs = found if isinstance(found, tuple | list) else (found,)
        held = shard.held.stop - shard.held.start
        for run in runs:
            if not isinstance(run, Tensor):
                raise TypeError(f"DistributedDataParallel: need tensors as outputs, got {type(run).__name__}")
            if run.shape[:1] != (held,):
                raise ValueError(f"DistributedDataParallel: need outputs of {held} samples, got shape {run.shape}")
        call = None
        if grad_enabled.get() and any(run.requires_grad for run in runs):
            call = _Call(self, shard, runs, [leaf for leaf in leaves if leaf.requires_grad])
        wholes = self._gathered(shard, [run._array for run in runs], b"" if call is None else call.digest)
        if call is None:
            tensors = [Tensor.wrap(whole) for whole in wholes]
        else:
            edges = [Edge(variable) for variable in (*call.parameters, *sources)]
            node = Node(call, edges, [], (runs,), len(runs), ())
            tensors = [
                Tensor.wrap(whole, node, slot) if run.requires_grad else Tensor.wrap(whole)
                for slot, (run, whole) in enumerate(zip(runs, wholes, strict=True))
            ]
        return tensors[0] if runs[0] is found else tuple(tensors)

    def _gathered(self, shard: Shard, runs: Sequence[np.ndarray], digest: bytes) -> list[np.ndarray]:
        """The outputs of all runs, and a look at whether all processes computed alike."""
        assert self._group is not None
        held = shard.held.stop - shard.held.start
        sizes = [run.nbytes // held for run in runs]  # of a sample
        holds = shard.count(shard.rank)
        part = [np.frombuffer(digest.ljust(HEADER, b"\0"), np.uint8)]
        part += [np.ascontiguousarray(run[:holds]).reshape(-1).view(np.uint8) for run in runs]
        counts = [HEADER + shard.count(rank) * sum(sizes) for rank in range(shard.size)]
        found = np.split(self._group.gather_parts(np.concatenate(part), counts), np.cumsum(counts)[:-1])
        if any(not np.array_equal(theirs[:HEADER], part[0]) for theirs in found):
            raise RuntimeError(
                "DistributedDataParallel: the processes computed different graphs: of what a module does, nothing may "
                "depend on the samples"
            )
        wholes, starts = [], [HEADER] * shard.holders
        for run, size in zip(runs, sizes, strict=True):
            whole = np.empty((shard.samples, *run.shape[1:]), run.dtype)
            flat, at = whole.reshape(-1).view(np.uint8), 0
            for rank in range(shard.holders):
                length = size * shard.count(rank)
                flat[at : at + length] = found[rank][starts[rank] : starts[rank] + length]
                starts[rank] += length
                at += length
            wholes.append(whole)
        return wholes

    def _layout(self, digest: bytes, uses: Sequence[Variable]) -> Layout:
        assert self._group is not None
        key = digest + repr([id(leaf) for leaf in uses]).encode()
        if key not in self._layouts:
            while len(self._layouts) >= KEPT:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[key] = Layout(uses, self._group.size)
        return self._layouts[key]


class _Call:
    """A call of the module on this process's run: what the tape of the whole batch asks of an op."""

    name = "distributed"

    def __init__(
        self, parallel: DistributedDataParallel, shard: Shard, runs: Sequence[Tensor], leaves: list[Tensor]
    ) -> None:
        self._parallel, self._shard, self._leaves = parallel, shard, leaves
        inputs = set(map(id, leaves))
        self._uses = [leaf for leaf in tape.leaf_uses(runs) if id(leaf) not in inputs]
        self.parameters = list({id(leaf): leaf for leaf in self._uses}.values())
        numbers = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        graph = [node.op.name for node, _ in tape.history(runs)]
        told = repr((graph, [(numbers[id(leaf)], leaf._array.shape) for leaf in self._uses]))
        self.digest = hashlib.blake2b(told.encode(), digest_size=HEADER).digest()

    def pull(self, node: Node, dys: list[Any], needs: tuple[bool, ...], create_graph: bool, wrap: Any) -> list[Any]:
        """Gradients by the parameters, summed over the processes, and by the inputs, of all runs."""
        if create_graph:
            raise RuntimeError(
                "DistributedDataParallel: has first derivatives only; for second ones use the module itself"
            )
        group, shard = self._parallel._group, self._shard
        assert group is not None
        layout = self._parallel._layout(self.digest, self._uses)
        reduction = Reduction(layout, group, shard, self._parallel.traffic)
        by_input: dict[int, Any] = {}

        def deliver(leaf: Variable, gradient: Any) -> None:
            if id(leaf) in layout.places:
                reduction.add(leaf, gradient)
            else:
                before = by_input.get(id(leaf))
                by_input[id(leaf)] = gradient if before is None else before + gradient

        runs = [run for run, dy in zip(node.saved[0], dys, strict=True) if dy is not None and run.requires_grad]
        gradients = [np.ascontiguousarray(dy[shard.held]) for dy in dys if dy is not None]
        tape.walk(runs, gradients, retain_graph=True, create_graph=False, deliver=deliver)
        totals = reduction.totals()
        found = [
            totals[id(parameter)].reshape(parameter._array.shape) if id(parameter) in totals else None
            for parameter in self.parameters
        ]
        for leaf in self._leaves:
            gradient = by_input.get(id(leaf))
            whole = None if gradient is None else self._parallel._gathered(shard, [gradient], b"")[0]
            found.append(whole)
        return found


def _leaf(x: Any, held: slice) -> Tensor:
    """The run of an input, as the beginning of a graph of its own."""
    tensor = as_tensor(x)
    leaf = tensor.detach()[held]
    return leaf.requires_grad_() if tensor.requires_grad and grad_enabled.get() else leaf


def broadcast_state(group: Group, module: nn.Module) -> None:
    """Give a module on all processes the weights and buffers that it has on the first one.

    Raises: ValueError where they are other ones in number, shape or dtype.
    """
    state = module.state_dict()
    told = [(name, tensor.shape, str(tensor.dtype)) for name, tensor in state.items()]
    if group.any(group.from_first(lambda: told) != told)[0]:
        raise ValueError("distributed: the model is not the same on all processes")
    for tensor in state.values():
        array = np.ascontiguousarray(tensor._array)
        group.broadcast(array, 0)
        tensor.copy_(array)
