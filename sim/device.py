"""A board, real or simulated, as one more engine: its client behind the interface of `sim.engine`."""
from dataclasses import dataclass

from .engine import Engine, Result

__all__ = ["DeviceEngine", "DeviceResult"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceResult(Result):
    """label: argmax of the logits, as the device found it. round_trip: seconds from the first byte of the picture sent
    to the answer, waiting behind the picture before included. writes: None, no device tells them."""
    label: int
    round_trip: float


class DeviceEngine(Engine):
    """Runs the net that is loaded into a device.

    client: its `classify(pictures)` yields an answer with `logits`, `label`, `cycles`, `program_cycles` and `seconds`
    for each picture, in order, as `boards.host.Device` does; what it raises goes on to the caller of `run`. Its `batch`
    is how many a program takes.

    `simulated_cycles` are those that the device counts. `seconds`: waited for answers.
    """
    def __init__(self, client):
        super().__init__(client.batch)
        self._client = client

    def _run(self, pictures):
        for k, answer in enumerate(self._client.classify(pictures)):
            number = k % self.batch
            if number == 0:
                self.simulated_cycles += answer.program_cycles
            yield DeviceResult(answer.logits, answer.cycles, answer.program_cycles, number, label=answer.label,
                               round_trip=answer.seconds)
