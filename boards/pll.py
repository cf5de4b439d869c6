"""Dividers of an ECP5 PLL (EHXPLLL, feedback from CLKOP): Lattice FPGA-TN-02200."""
from dataclasses import dataclass

from model.common.errors import UserError

__all__ = ["PllDividers", "pll_dividers"]

VCO_HZ = (400e6, 800e6)
PHASE_DETECTOR_HZ = (3.125e6, 400e6)
MOST = 128
ROUNDING = 1e-9         # no float is 325e6 / 3 Hz: a ratio so near to a whole number is one


@dataclass(frozen=True)
class PllDividers:
    reference: int
    feedback: int
    output: int


def pll_dividers(input_hz, output_hz):
    """Dividers that make exactly `output_hz`, the phase detector as fast as possible. UserError where there are
    none."""
    for reference in range(1, MOST + 1):
        if input_hz / reference < PHASE_DETECTOR_HZ[0]:
            break
        ratio = output_hz * reference / input_hz
        feedback = round(ratio)
        if abs(ratio - feedback) > ROUNDING or not 1 <= feedback <= MOST:
            continue
        # The middle of the oscillator's range is the safest.
        output = min(range(1, MOST + 1), key=lambda n: abs(output_hz * n - sum(VCO_HZ) / 2))
        if VCO_HZ[0] <= output_hz * output <= VCO_HZ[1]:
            return PllDividers(reference, feedback, output)
    raise UserError(f"no PLL setting makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz: "
                    f"choose a multiple of {input_hz / 8e6:g} MHz or of {input_hz / 5e6:g} MHz")
