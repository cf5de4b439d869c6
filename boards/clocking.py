"""Dividers of an ECP5 PLL (EHXPLLL, feedback from CLKOP): Lattice FPGA-TN-02200."""
from dataclasses import dataclass
from fractions import Fraction

from model.common.errors import UserError

__all__ = ["PllDividers", "pll_dividers"]

VCO_HZ = (400_000_000, 800_000_000)
LEAST_PHASE_DETECTOR_HZ = 3_125_000
MOST = 128


@dataclass(frozen=True)
class PllDividers:
    reference: int
    feedback: int
    output: int


def pll_dividers(input_hz, output_hz):
    """Dividers that make exactly `output_hz` of `input_hz`, both Fractions, the phase detector as fast as possible.
    UserError where there are none."""
    for reference in range(1, MOST + 1):
        if input_hz / reference < LEAST_PHASE_DETECTOR_HZ:
            break
        feedback = Fraction(output_hz * reference) / input_hz
        if feedback.denominator != 1 or not 1 <= feedback <= MOST:
            continue
        # The middle of the oscillator's range is the safest.
        output = min(range(1, MOST + 1), key=lambda n: abs(2 * output_hz * n - sum(VCO_HZ)))
        if VCO_HZ[0] <= output_hz * output <= VCO_HZ[1]:
            return PllDividers(reference, int(feedback), output)
    made, of, eighth, fifth = (float(hertz / 10**6) for hertz in (
        output_hz, input_hz, Fraction(input_hz) / 8, Fraction(input_hz) / 5))
    raise UserError(f"no PLL setting makes {made:g} MHz of {of:g} MHz: "
                    f"choose a multiple of {eighth:g} MHz or of {fifth:g} MHz")
