"""Pictures through an engine, every logit (traced: and every code of every layer) checked against the integer model."""
from dataclasses import dataclass

import numpy as np

from accel.image import Image
from model.integer import golden
from model.integer.net import IntegerNet

from . import parallel
from .compare import first_mismatch
from .results import Record

__all__ = ["classify_checked"]


def classify_checked(workload, image, chosen, *, kind, jobs=1, lanes=1, trace=False, **options):
    """Yields (Record, what differs or None) for the pictures `chosen` (indices into workload.pictures), in that order:
    lists of them, one for the pictures that an engine gives at once.

    jobs, lanes, options: of `sim.parallel.classify`.
    """
    check, done = _Check(workload.net, image), 0
    for batch in parallel.classify(kind, image, workload.pictures[chosen], check, jobs=jobs, lanes=lanes, trace=trace,
                                   **options):
        n = len(batch.results)
        cycles, rest = divmod(batch.simulated_cycles, n)        # shares, whose sum is the cycles simulated
        yield [(Record(
            index=workload.start + int(k), label=None if workload.labels is None else int(workload.labels[k]),
            prediction=int(np.argmax(result.logits)), logits=result.logits.tolist(), cycles=result.cycles,
            exact=result.difference is None, seconds=batch.seconds / n,
            simulated_cycles=cycles + (i < rest)), result.difference)
            for i, (k, result) in enumerate(zip(chosen[done:done + n], batch.results, strict=True))]
        done += n


@dataclass(frozen=True, eq=False)
class _Checked:
    """What one picture gave, without its writes: they are megabytes, and stay in the process that compared them."""
    logits: np.ndarray
    cycles: int
    difference: str | None


@dataclass(frozen=True, eq=False)
class _Check:
    """Compares the results of an engine with the golden model."""
    net: IntegerNet
    image: Image

    def __call__(self, pictures, results):
        expected = golden.forward(self.net, pictures)
        tensors = {} if results[0].writes is None else golden.trace(self.net, pictures)
        return [_Checked(result.logits, result.cycles, _layer_difference(
                    self.image, {name: codes[i] for name, codes in tensors.items()}, result)
                    or _logit_difference(expected[i], result.logits))
                for i, result in enumerate(results)]


def _layer_difference(image, expected, result):
    if result.writes is None:
        return None
    try:
        got = image.tensors(*result.writes)
    except ValueError as error:         # a trace of another shape cannot be decoded at all
        return str(error)
    mismatch = first_mismatch(expected, got)
    return mismatch and str(mismatch)


def _logit_difference(expected, got):
    different = np.flatnonzero(expected != got)
    if not len(different):
        return None
    k = different[0]
    return f"logit {k}: expected {expected[k]}, got {got[k]}"
