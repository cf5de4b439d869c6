"""Pictures through an engine, every logit (traced: and every code of every layer) checked against the integer model."""
import numpy as np

from model.integer import golden

from . import parallel
from .compare import first_mismatch
from .results import Record

__all__ = ["classify_checked"]


def classify_checked(workload, image, chosen, *, kind, jobs=1, trace=False, **options):
    """Yields (Record, what differs or None) for the pictures `chosen` (indices into workload.pictures), in that order.

    options: of `sim.engine.open_engine`.
    """
    pictures = workload.pictures[chosen]
    for batch in parallel.classify(kind, image, pictures, jobs=jobs, trace=trace, **options):
        n = len(batch.results)
        part = slice(batch.first, batch.first + n)
        expected = golden.forward(workload.net, pictures[part])
        tensors = golden.trace(workload.net, pictures[part]) if trace else {}
        for i, (k, result) in enumerate(zip(chosen[part], batch.results, strict=True)):
            difference = _layer_difference(image, {name: codes[i] for name, codes in tensors.items()}, result)
            difference = difference or _logit_difference(expected[i], result.logits)
            yield Record(
                index=workload.start + int(k), label=None if workload.labels is None else int(workload.labels[k]),
                prediction=int(np.argmax(result.logits)), logits=result.logits.tolist(), cycles=result.cycles,
                exact=difference is None, seconds=batch.seconds / n,
                simulated_cycles=batch.simulated_cycles // n), difference


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
