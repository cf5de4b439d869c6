"""What the data sheets say of commands, as rules on pairs of them: a second opinion, apart from the model of the chip.

Times are in ns, as in the sheets, of commands in cycles of a clock. The figures are the slowest of all parts.
"""
from collections import namedtuple
from fractions import Fraction

__all__ = ["Command", "broken"]

Command = namedtuple("Command", "cycle name bank address drives")       # drives: the controller drives the data

# (a command, a later one, of the same bank / another one / any, ns between them at least, the sheet's name)
APART = [
    ("ACTIVATE", "READ", "same", 21, "tRCD"), ("ACTIVATE", "WRITE", "same", 21, "tRCD"),
    ("ACTIVATE", "precharge", "same", 49, "tRAS"),
    ("ACTIVATE", "ACTIVATE", "same", 70, "tRC"), ("ACTIVATE", "ACTIVATE", "other", 14, "tRRD"),
    ("precharge", "ACTIVATE", "same", 21, "tRP"), ("precharge", "REFRESH", "any", 21, "tRP"),
    ("precharge", "MODE", "any", 21, "tRP"),
    ("WRITE", "precharge", "same", 20, "tWR"),
    *(("REFRESH", name, "any", 70, "tRFC") for name in ("ACTIVATE", "REFRESH", "MODE", "precharge"))]
MODE_CLOCKS = 2                             # MODE to any other
READ_TO_WRITE_CLOCKS = 5                    # CAS 3: the word, and a cycle in which nobody drives
POWER_UP_US = 200
REFRESH_NS = Fraction(64_000_000, 8192)
POSTPONED = 8
WINDOW = 64                                 # cycles in which one command can matter for another


def events(commands):
    """(cycle, name, bank) of each command, with a precharge for each bank that one begins in, in the order of time."""
    found = []
    for order, (cycle, name, bank, address, _) in enumerate(commands):
        if name == "PRECHARGE":
            found += [(cycle, order, "precharge", n) for n in (range(4) if address >> 10 & 1 else [bank])]
        else:
            found.append((cycle, order, name, bank))
        if name == "READ" and address >> 10 & 1:
            found.append((cycle + 1, order, "precharge", bank))         # as early as after the burst
        assert not (name == "WRITE" and address >> 10 & 1), "writes that precharge are not in these rules"
    return [(cycle, name, bank) for cycle, _, name, bank in sorted(found)]


def broken(commands, *, clock_hz, power_up_us=POWER_UP_US, end):
    """The rules that `commands` break, as sentences. end: the cycle after the last one that was seen."""
    period = Fraction(10**9) / clock_hz
    found, seen = [], events(commands)

    def ns(a, b):
        return (b - a) * period

    # Pairs
    recent = []
    for cycle, name, bank in seen:
        recent = [event for event in recent if cycle - event[0] <= WINDOW]
        for before, first, other in recent:
            for a, b, banks, least, rule in APART:
                related = banks == "any" or (bank == other) == (banks == "same")
                if (first, name) == (a, b) and related and ns(before, cycle) < least:
                    found.append(f"{rule}: {first} in cycle {before}, {name} in cycle {cycle}")
            if first == "MODE" and cycle - before < MODE_CLOCKS:
                found.append(f"tMRD: MODE in cycle {before}, {name} in cycle {cycle}")
            if (first, name) == ("READ", "WRITE") and cycle - before < READ_TO_WRITE_CLOCKS:
                found.append(f"bus: READ in cycle {before}, WRITE in cycle {cycle}")
        recent.append((cycle, name, bank))

    # What a bank saw last
    state = [None] * 4
    for cycle, name, bank in seen:
        if name in ("READ", "WRITE") and state[bank] != "ACTIVATE":
            found.append(f"{name} in cycle {cycle} in a closed bank")
        if name == "ACTIVATE" and state[bank] != "precharge":
            found.append(f"ACTIVATE in cycle {cycle} in an open bank")
        if name in ("REFRESH", "MODE") and state != ["precharge"] * 4:
            found.append(f"{name} in cycle {cycle} with an open bank")
        if name in ("ACTIVATE", "precharge"):
            state[bank] = name

    # Data
    found += [f"{c.name} in cycle {c.cycle} {'without' if c.name == 'WRITE' else 'with'} data" for c in commands
              if c.drives != (c.name == "WRITE")]
    found += [f"{c.name} in cycle {c.cycle} of column {c.address}" for c in commands
              if c.name in ("READ", "WRITE") and c.address & ~(1 << 10) > 511]

    # Initialization
    names = [c.name for c in commands]
    modes = [c for c in commands if c.name == "MODE"]
    if commands and ns(0, commands[0].cycle) < 1000 * power_up_us:
        found.append(f"power-up: {names[0]} in cycle {commands[0].cycle}")
    if len(modes) != 1:
        return [*found, f"{len(modes)} MODE"]
    before = names[:names.index("MODE")]
    if before[:1] != ["PRECHARGE"] or not commands[0].address >> 10 & 1 or before[1:] != ["REFRESH"] * len(before[1:]):
        found.append("initialization: not PRECHARGE of all banks, then REFRESH alone, then MODE")
    if len(before) < 1 + 8:
        found.append(f"initialization: {len(before) - 1} REFRESH")
    if (modes[0].bank, modes[0].address) != (0, 0b0_00_011_0_000):
        found.append(f"mode: {modes[0].address:013b}")

    # Refreshes: of n intervals, at most POSTPONED may be without one
    times = [modes[0].cycle, *(c.cycle for c in commands if c.name == "REFRESH" and c.cycle > modes[0].cycle), end]
    for n, earlier in enumerate(times):
        for k, later in enumerate(times[n + 1:]):
            if ns(earlier, later) > (k + 1 + POSTPONED) * REFRESH_NS:
                found.append(f"refresh: {k} between the cycles {earlier} and {later}")
    return found
