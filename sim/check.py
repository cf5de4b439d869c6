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


def classify_checked(workload, image, chosen, *, kind, jobs=1, lanes=1, trace=False, on_first_codes=None, **options):
    """Yields (Record, what differs or None) for the pictures `chosen` (indices into workload.pictures), in that order:
    lists of them, one for the pictures that an engine gives at once.

    jobs, lanes, options: of `sim.parallel.classify`. on_first_codes: called, where the first picture is traced, with
    its codes as the engine wrote them, {layer: uint8 (C, H, W)}.
    """
    check, done = _Check(workload.net, image, keep_first=on_first_codes is not None), 0
    for burst in parallel.classify(kind, image, workload.pictures[chosen], check, jobs=jobs, lanes=lanes, trace=trace,
                                   **options):
        n = len(burst.results)
        if not done and burst.results[0].codes is not None:
            on_first_codes(burst.results[0].codes)
        cycles, rest = divmod(burst.simulated_cycles, n)        # shares, whose sum is the cycles simulated
        yield [(Record(
            index=workload.start + int(k), label=None if workload.labels is None else int(workload.labels[k]),
            prediction=int(np.argmax(result.logits)), logits=result.logits.tolist(), cycles=result.cycles,
            program_cycles=result.program_cycles,
            exact=result.difference is None, seconds=burst.seconds / n,
            simulated_cycles=cycles + (i < rest)), result.difference)
            for i, (k, result) in enumerate(zip(chosen[done:done + n], burst.results, strict=True))]
        done += n


@dataclass(frozen=True, eq=False)
class _Checked:
    """What one picture gave, without its writes: they are megabytes, and stay in the process that compared them. codes:
    those of its layers, where they are kept."""
    logits: np.ndarray
    cycles: int
    program_cycles: int
    difference: str | None
    codes: dict | None


@dataclass(frozen=True, eq=False)
class _Check:
    """Compares the results of an engine with the golden model. keep_first: the codes of the first of them."""
    net: IntegerNet
    image: Image
    keep_first: bool

    def __call__(self, pictures, results):
        expected = golden.forward(self.net, pictures)
        tensors = {} if results[0].writes is None else golden.trace(self.net, pictures)
        return [self._checked(result, expected[i], {name: codes[i] for name, codes in tensors.items()},
                              keep=self.keep_first and i == 0)
                for i, result in enumerate(results)]

    def _checked(self, result, logits, tensors, keep):
        codes = difference = None
        if result.writes is not None:
            try:
                codes = self.image.tensors(*result.writes, picture=result.number)
            except ValueError as error:         # a trace of another shape cannot be decoded at all
                difference = error
            else:
                difference = first_mismatch(tensors, codes)
        return _Checked(result.logits, result.cycles, result.program_cycles,
                        str(difference) if difference else _logit_difference(logits, result.logits),
                        codes if keep else None)


def _logit_difference(expected, got):
    different = np.flatnonzero(expected != got)
    if not len(different):
        return None
    k = different[0]
    return f"logit {k}: expected {expected[k]}, got {got[k]}"
