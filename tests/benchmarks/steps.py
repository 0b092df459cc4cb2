"""Whole training steps, and what a second thread brings."""

from collections.abc import Iterator

from .bench import Bench, Row, compared, judged, section
from .models import batch

TARGETS = {
    "lenet5": {"times torch": 4.0, "times best torch": 2.7},
    "cnn": {"times torch": 2.5, "times best torch": 1.8},
}
SCALING = {"lenet5": 1.5, "cnn": 1.8}


@section("Training steps")
def steps(bench: Bench) -> Iterator[Row]:
    """Batch of 64 images, Adam: forward, backward and the optimiser's step, through `nn` and the tape."""
    for model, at_least in TARGETS.items():
        times = bench.contest("step", model, *batch(), among=lambda peer: peer.name != "torch fused")
        yield judged({"model": model} | compared(times, "ms"), at_least)


@section("One thread against all", quick=False)
def threads(bench: Bench) -> Iterator[Row]:
    """Training steps, batch 64. JAX is left out: it cannot change its number of threads."""
    if bench.threads == 1:
        bench.notes.append("threads: nothing to compare at one thread")
        return
    for model, at_least in SCALING.items():
        times = {}
        for peer in bench.peers:
            if peer.name in ("minigrad", "torch"):
                tasks = {str(count): peer.prepare("step", model, *batch()) for count in (1, bench.threads)}
                times[peer.name] = bench.medians(tasks, prepare=lambda n, peer=peer: peer.set_num_threads(int(n)))
        for name, found in times.items():
            one, more = found["1"], found[str(bench.threads)]
            row = {"model": model, "library": name, "1 thread ms": one * 1e3, f"{bench.threads} threads ms": more * 1e3}
            row["gain"] = one / more
            yield judged(row, {"gain": at_least} if (name, bench.threads) == ("minigrad", 2) else None)
