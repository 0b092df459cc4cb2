"""A training step on several processes: rank 0 prints what it took, as JSON.

Used by `distributed.py`: `mpiexec -n R python -m tests.benchmarks.ranks LIBRARY MODEL --batch N --steps S`.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from .models import MODELS, batch, weights
from .peers import limit_threads

WARM_UP = 10
SMALL, LARGE = 8, 1 << 22  # bytes
REPEATS = 50


def timed(step: Callable[[], None], steps: int) -> float:
    """The median seconds of a step."""
    for _ in range(WARM_UP):
        step()
    durations = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def ours(model: str, samples: int, steps: int) -> dict[str, Any]:
    """minigrad: a step, what it sends, how long it waits for that, and how long that takes by itself."""
    import minigrad as mg
    from minigrad import functional as F
    from minigrad.distributed.buckets import Layout, Reduction, Traffic
    from minigrad.distributed.processes import group

    network = MODELS[model](mg.nn)
    for parameter, values in zip(network.parameters(), weights(model), strict=True):
        parameter.detach().copy_(values)
    shared = mg.distributed.DistributedDataParallel(network)
    optimizer = mg.optim.Adam(network.parameters(), 1e-3)
    images, labels = batch(samples)
    backward, exposed = [], []

    def step() -> None:
        shared.traffic = Traffic()
        optimizer.zero_grad()
        loss = F.cross_entropy(shared(images), labels)
        start = time.perf_counter()
        loss.backward()
        backward.append(time.perf_counter() - start)
        exposed.append(shared.traffic.exposed)
        optimizer.step()

    found: dict[str, Any] = {"step": timed(step, steps), "backward": statistics.median(backward[WARM_UP:])}
    found |= {"sent": shared.traffic.sent, "exposed": statistics.median(exposed[WARM_UP:])}
    scores = mg.tensor(shared(images).detach().numpy(), requires_grad=True)
    found["loss"] = timed(lambda: F.cross_entropy(scores, labels).backward(), steps)
    processes = group()
    if processes is None:
        return found
    uses = list(network.parameters())[::-1]
    layout, shard = Layout(uses, processes.size), processes.shard(samples)
    gradients = [parameter.numpy() for parameter in (p.detach() for p in uses)]

    def reduce() -> None:
        reduction = Reduction(layout, processes, shard, Traffic())
        for parameter, gradient in zip(uses, gradients, strict=True):
            reduction.add(parameter, gradient)
        reduction.totals()

    found |= {"alone": timed(reduce, steps), "buckets": len(layout.buckets)}
    small, large = (transfer(processes, size, steps) for size in (SMALL, LARGE))
    return found | {"latency": small, "bandwidth": LARGE / 2 / (large - small)}


def transfer(processes: Any, size: int, steps: int) -> float:
    """Seconds of an all-to-all of so many bytes per process."""
    import numpy as np

    mine, theirs = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    return timed(lambda: processes.wait(processes.scatters.Ialltoall(mine, theirs)), steps)


def torch(model: str, samples: int, steps: int) -> dict[str, Any]:
    """PyTorch: DistributedDataParallel on gloo, each process with its part of the batch, gradients averaged."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    size, rank = int(os.environ["PMI_SIZE"]), int(os.environ["PMI_RANK"])
    torch.set_num_threads(1)
    network: Any = MODELS[model](torch.nn)
    images, labels = (torch.from_numpy(array)[rank::size] for array in batch(samples))
    if size > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29571"}
        torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
        network = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return {"step": timed(step, steps)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["ours", "torch"])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    limit_threads(options.threads)
    found = {"ours": ours, "torch": torch}[options.library](options.model, options.batch, options.steps)
    if os.environ.get("PMI_RANK", "0") == "0":
        print(json.dumps(found), flush=True)
    if options.library == "torch":
        os._exit(0)  # gloo's threads now and then abort a process that ends in the usual way


if __name__ == "__main__":
    main()
