"""Settings of an ECP5 PLL (EHXPLLL), by Lattice FPGA-TN-02200 and the data sheet's ranges, FPGA-DS-02012.

    phase detector = input / reference = feedback clock / feedback
    oscillator     = feedback clock * divider of the output that feeds back
    output         = oscillator / divider,   later by phase / 360 of its period, in eighths of the oscillator's

The oscillator is a whole multiple of the phase detector's clock. Any of the wanted outputs may feed back; where none of
their dividers divides that multiple, one more output does.
"""
from dataclasses import dataclass
from fractions import Fraction

from model.common.errors import UserError

__all__ = ["PllClock", "PllPlan", "pll_plan"]

PHASE_DETECTOR_HZ = (10_000_000, 400_000_000)       # the input's are 8 to 400 MHz
OSCILLATOR_HZ = (400_000_000, 800_000_000)
OUTPUT_HZ = (3_125_000, 400_000_000)
MOST = 128                              # of every divider
OUTPUTS = ("CLKOP", "CLKOS", "CLKOS2", "CLKOS3")
EIGHTHS = 8


@dataclass(frozen=True)
class PllClock:
    """A clock that is wanted. hertz: Fraction. phase: degrees, a Fraction, by which it is later than the others."""
    hertz: Fraction
    phase: Fraction = Fraction(0)


@dataclass(frozen=True, kw_only=True)
class PllOutput:
    """One output. hertz: Fraction. eighths: of the oscillator's period, by which it is late, less than its own
    period."""
    divider: int
    hertz: Fraction
    eighths: int = 0

    @property
    def phase(self):
        """Degrees, Fraction: the nearest to what was wanted that the PLL has."""
        return Fraction(360 * self.eighths, EIGHTHS * self.divider)


@dataclass(frozen=True, kw_only=True)
class PllPlan:
    """What a PLL is set to. outputs: `PllOutput`s, the wanted clocks in their order, then one for the feedback if none
    of those serves. feedback_output: index of the one that feeds back."""
    reference: int
    feedback: int
    feedback_output: int
    phase_detector_hz: Fraction
    oscillator_hz: Fraction
    outputs: tuple

    @property
    def ports(self):
        """Ports of EHXPLLL that `outputs` are, a list of names. CLKOP always feeds back, as `ecppll` has it: so it is
        in nearly all designs that are on boards."""
        others = iter(OUTPUTS[1:])
        return [OUTPUTS[0] if k == self.feedback_output else next(others) for k in range(len(self.outputs))]

    def parameters(self):
        """Parameters of EHXPLLL, by name: a dict of ints and strings.

        All outputs count from the same start. It is half a period of the output that feeds back, as `ecppll` has it,
        unless a late output would then count beyond what its register holds.
        """
        latest = max(output.eighths // EIGHTHS for output in self.outputs)
        start = min(self.outputs[self.feedback_output].divider // 2, MOST - 1 - latest)
        found = {"CLKI_DIV": self.reference, "CLKFB_DIV": self.feedback, "FEEDBK_PATH": OUTPUTS[0]}
        for name, output in zip(self.ports, self.outputs, strict=True):
            letter = "ABCD"[OUTPUTS.index(name)]
            found |= {f"{name}_ENABLE": "ENABLED", f"{name}_DIV": output.divider,
                      f"OUTDIVIDER_MUX{letter}": f"DIV{letter}",
                      f"{name}_CPHASE": start + output.eighths // EIGHTHS, f"{name}_FPHASE": output.eighths % EIGHTHS}
        return found


def pll_plan(input_hz, *clocks, tolerance=Fraction(0)):
    """The `PllPlan` that makes `clocks`, one to four `PllClock`s, of `input_hz`, a Fraction.

    tolerance: by which share of itself a clock may be off, a Fraction; the least deviation is taken. Phases are
    rounded to what the PLL has. UserError where there is no such plan: it names the nearest clocks below and above.
    """
    if not 1 <= len(clocks) <= len(OUTPUTS):
        raise ValueError(f"a PLL makes 1 to {len(OUTPUTS)} clocks, not {len(clocks)}")
    plans = [(cost, plan) for reference, multiple in _oscillators(input_hz)
             for cost, plan in [_plan(input_hz, reference, multiple, clocks, tolerance)] if plan]
    if not plans:
        raise UserError(_refusal(input_hz, clocks))
    return min(plans, key=lambda found: found[0])[1]


def _oscillators(input_hz):
    """(reference, multiple): input / reference is in the phase detector's range, and times `multiple` in the
    oscillator's."""
    if not _within(input_hz, PHASE_DETECTOR_HZ):
        return
    for reference in range(1, MOST + 1):
        detector = Fraction(input_hz) / reference
        if _within(detector, PHASE_DETECTOR_HZ):
            for multiple in range(-(-OSCILLATOR_HZ[0] // detector), OSCILLATOR_HZ[1] // detector + 1):
                yield reference, multiple


def _within(hertz, limits):
    return limits[0] <= hertz <= limits[1]


def _plan(input_hz, reference, multiple, clocks, tolerance):
    """(cost, plan) of that oscillator; (None, None) where it does not make the clocks."""
    detector = Fraction(input_hz) / reference
    oscillator = detector * multiple
    outputs = []
    for clock in clocks:
        divider = min(_dividers(oscillator, clock.hertz), key=lambda n: abs(oscillator / n - clock.hertz))
        eighths = round(clock.phase * EIGHTHS * divider / 360) % (EIGHTHS * divider)
        outputs.append(PllOutput(divider=divider, hertz=oscillator / divider, eighths=eighths))
    deviation = max(abs(output.hertz - clock.hertz) / clock.hertz
                    for output, clock in zip(outputs, clocks, strict=True))
    if deviation > tolerance or not all(_within(output.hertz, OUTPUT_HZ) for output in outputs):
        return None, None
    serves = [k for k, output in enumerate(outputs) if multiple % output.divider == 0]
    if not serves:
        if len(outputs) == len(OUTPUTS):
            return None, None
        outputs.append(PllOutput(divider=multiple, hertz=detector))
    at = serves[0] if serves else len(outputs) - 1
    # The least deviation first; then no output for the feedback alone, a fast phase detector, the middle of the range.
    cost = (deviation, not serves, reference, abs(2 * oscillator - sum(OSCILLATOR_HZ)))
    return cost, PllPlan(reference=reference, feedback=multiple // outputs[at].divider, feedback_output=at,
                         phase_detector_hz=detector, oscillator_hz=oscillator, outputs=tuple(outputs))


def _dividers(oscillator, hertz):
    """Those that come nearest to `hertz` from above and from below; only one at the ends of 1 to 128."""
    least = oscillator // hertz
    return {min(max(1, divider), MOST) for divider in (least, least + 1)}


def _refusal(input_hz, clocks):
    if not _within(input_hz, PHASE_DETECTOR_HZ):
        return f"no PLL setting takes {_mhz(input_hz)} MHz: its phase detector needs 10 to 400 MHz"
    oscillators = [Fraction(input_hz) / reference * multiple for reference, multiple in _oscillators(input_hz)]
    for clock in clocks:
        near = {oscillator / divider for oscillator in oscillators for divider in _dividers(oscillator, clock.hertz)}
        near = {hertz for hertz in near if _within(hertz, OUTPUT_HZ)}
        if clock.hertz not in near:
            below = max((hertz for hertz in near if hertz < clock.hertz), default=None)
            above = min((hertz for hertz in near if hertz > clock.hertz), default=None)
            nearest = [f"{_mhz(hertz)} MHz" for hertz in (below, above) if hertz]
            return (f"no PLL setting makes {_mhz(clock.hertz)} MHz of {_mhz(input_hz)} MHz: "
                    f"the nearest {'are' if len(nearest) > 1 else 'is'} {' and '.join(nearest)}")
    return (f"no PLL setting makes {' and '.join(_mhz(clock.hertz) for clock in clocks)} MHz of {_mhz(input_hz)} MHz "
            "at once: each alone it does")


def _mhz(hertz):
    return f"{float(Fraction(hertz) / 10**6):.9g}"
