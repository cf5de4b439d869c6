"""The SDRAM chip: what is written is read again, and whoever breaks a rule of its data sheet is stopped.

Cycles are those of its pins, one behind those of the core's port: `SdramChip.process` has the registers of the pads.
"""
from collections import deque

import numpy as np

from accel.sdram import BANKS, CAS, COLUMNS, MAX_POSTPONED

__all__ = ["COMMANDS", "SdramChip", "SdramViolation"]

INITIAL_REFRESHES = 8                       # the most that one of the parts wants
PRECHARGE_BIT = 1 << 10                     # of the address: all banks; with READ and WRITE: precharge on its own
COMMANDS = {(1, 1, 1): "NOP", (0, 1, 1): "ACTIVATE", (1, 0, 1): "READ", (1, 0, 0): "WRITE", (0, 1, 0): "PRECHARGE",
            (0, 0, 1): "REFRESH", (0, 0, 0): "MODE", (1, 1, 0): "BURST STOP"}
PINS = ("ras_n", "cas_n", "we_n", "bank", "address", "dq_o", "dq_oe")
LONG_AGO = -10**9


class SdramViolation(Exception):
    """cycle: of the chip, from 0. rule: name of what was broken, as `tRCD`."""
    def __init__(self, cycle, rule, what):
        super().__init__(f"SDRAM, cycle {cycle}: {rule}: {what}")
        self.cycle, self.rule = cycle, rule


class Bank:
    """row: the open one, or None. idle: cycle from which it is precharged. The others: cycles of the last commands."""
    def __init__(self):
        self.row, self.idle, self.activated, self.written = None, LONG_AGO, LONG_AGO, LONG_AGO


class SdramChip:
    """A chip with the shape and at least the waits of `timing`, an `accel.sdram.SdramTiming`.

    Words that nobody has written are noise. `commands` counts the commands by name.
    """
    def __init__(self, timing):
        self.timing, self.cycle = timing, -1
        self.commands = dict.fromkeys(COMMANDS.values(), 0)
        self._rows, self._banks = {}, [Bank() for _ in range(BANKS)]
        self._refreshed, self._mode_set, self._activated = LONG_AGO, LONG_AGO, LONG_AGO
        self._precharged_all, self._refreshes, self.initialized = False, 0, False
        self._owed = 0                                      # in cycles; a refresh takes an interval off
        self._output = deque([None] * CAS)                  # what is driven in this cycle and the next ones
        self._reads = deque(maxlen=CAS + 1)                 # the last cycles of READs

    def row(self, chunk):
        """The words of a chunk, a uint16 array that may be written."""
        if chunk not in self._rows:
            self._rows[chunk] = np.random.default_rng(chunk).integers(0, 1 << 16, COLUMNS, dtype=np.uint16)
        return self._rows[chunk]

    def clock(self, ras_n, cas_n, we_n, bank, address, dq, dq_oe):
        """A cycle, with the levels at its pins. Returns the word that the chip drives in it, or None. SdramViolation
        where a rule is broken."""
        self.cycle += 1
        command = COMMANDS[ras_n, cas_n, we_n]
        self.commands[command] += 1
        self._output.append(None)
        if command != "NOP":
            self._wait("power-up", 0, self.timing.power_up, command)
            self._wait("tRFC", self._refreshed, self.timing.rfc, f"{command} after REFRESH")
            self._wait("tMRD", self._mode_set, self.timing.mrd, f"{command} after MODE")
            if command in ("ACTIVATE", "READ", "WRITE") and not self.initialized:
                self._stop("initialization", f"{command} before the mode is set")
            getattr(self, f"_{command.lower().replace(' ', '_')}")(bank, address, dq, dq_oe)
        if dq_oe and any(self.cycle - read in (CAS - 1, CAS, CAS + 1) for read in self._reads):
            self._stop("bus contention", "dq is driven while the chip drives it, or is about to")
        if self.initialized:
            self._owed += 1
            if self._owed > (MAX_POSTPONED + 1) * self.timing.refresh_interval:
                self._stop("refresh", f"more than {MAX_POSTPONED} refreshes are owed")
        return self._output.popleft()

    def process(self, port, *, domain="sync"):
        """For `Simulator.add_process`: the chip at the `SdramPort` of a component, with the registers of the pads."""
        async def chip(ctx):
            pads = (1, 1, 1, 0, 0, 0, 0)
            async for _, _, *levels in ctx.tick(domain).sample(*(getattr(port, pin) for pin in PINS)):
                word = self.clock(*pads)
                ctx.set(port.dq_i, self.cycle * 0x9E37 % 0x10000 if word is None else word)     # noise where none is
                pads = levels
        return chip

    def _stop(self, rule, what):
        raise SdramViolation(self.cycle, rule, what)

    def _wait(self, rule, since, cycles, what):
        if self.cycle < since + cycles:
            self._stop(rule, f"{what} after {self.cycle - since} cycles, not {cycles}")

    def _all_idle(self, command):
        for n, bank in enumerate(self._banks):
            if bank.row is not None:
                self._stop("bank state", f"{command} while row {bank.row} of bank {n} is open")
            self._wait("tRP", bank.idle - self.timing.rp, self.timing.rp, f"{command} after precharge of bank {n}")

    def _activate(self, n, row, dq, dq_oe):
        bank = self._banks[n]
        if bank.row is not None:
            self._stop("bank state", f"ACTIVATE of bank {n}, whose row {bank.row} is open")
        self._wait("tRP", bank.idle - self.timing.rp, self.timing.rp, f"ACTIVATE after precharge of bank {n}")
        self._wait("tRC", bank.activated, self.timing.rc, f"ACTIVATE after ACTIVATE of bank {n}")
        self._wait("tRRD", self._activated, self.timing.rrd, f"ACTIVATE of bank {n} after that of another")
        bank.row, bank.activated, self._activated = row, self.cycle, self.cycle

    def _column(self, command, n, address):
        """Of an access to an open row: the word's chunk and column."""
        bank, column = self._banks[n], address & ~PRECHARGE_BIT
        if bank.row is None:
            self._stop("bank state", f"{command} in bank {n}, none of whose rows is open")
        self._wait("tRCD", bank.activated, self.timing.rcd, f"{command} after ACTIVATE of bank {n}")
        if column >= COLUMNS:
            self._stop("address", f"{command} of column {column}, of {COLUMNS}")
        return bank.row * BANKS + n, column

    def _read(self, n, address, dq, dq_oe):
        chunk, column = self._column("READ", n, address)
        self._output[CAS] = int(self.row(chunk)[column])
        self._reads.append(self.cycle)
        if address & PRECHARGE_BIT:
            self._close(self._banks[n], n, self.cycle + 1)

    def _write(self, n, address, dq, dq_oe):
        chunk, column = self._column("WRITE", n, address)
        if not dq_oe:
            self._stop("data", "WRITE without a word")
        self.row(chunk)[column] = dq
        self._banks[n].written = self.cycle
        if address & PRECHARGE_BIT:
            self._close(self._banks[n], n, self.cycle + self.timing.wr)

    def _close(self, bank, n, cycle):
        """Precharge of an open row that begins in `cycle`."""
        if cycle < bank.activated + self.timing.ras:
            self._stop("tRAS", f"precharge of bank {n} {cycle - bank.activated} cycles after its ACTIVATE, "
                               f"not {self.timing.ras}")
        bank.row, bank.idle = None, cycle + self.timing.rp

    def _precharge(self, n, address, dq, dq_oe):
        everything = bool(address & PRECHARGE_BIT)
        for k, bank in enumerate(self._banks):
            if everything or k == n:
                if bank.row is not None:
                    self._wait("tWR", bank.written, self.timing.wr, f"precharge of bank {k} after WRITE")
                    self._close(bank, k, self.cycle)
                elif not self.initialized:
                    bank.idle = self.cycle + self.timing.rp         # in whatever state it was
                elif self.cycle < bank.idle:
                    self._stop("bank state", f"PRECHARGE of bank {k}, which is being precharged")
        self._precharged_all |= everything

    def _refresh(self, n, address, dq, dq_oe):
        if not self._precharged_all:
            self._stop("initialization", "REFRESH before PRECHARGE of all banks")
        self._all_idle("REFRESH")
        self._refreshed, self._refreshes = self.cycle, self._refreshes + 1
        self._owed = max(0, self._owed - self.timing.refresh_interval)

    def _mode(self, n, address, dq, dq_oe):
        if self._refreshes < INITIAL_REFRESHES:
            self._stop("initialization", f"MODE after {self._refreshes} refreshes, not {INITIAL_REFRESHES}")
        self._all_idle("MODE")
        if (n, address) != (0, CAS << 4):
            self._stop("mode", f"bank {n}, address {address:#06x}: not a burst length of 1, sequential, CAS {CAS}")
        self._mode_set, self.initialized = self.cycle, True

    def _burst_stop(self, n, address, dq, dq_oe):
        self._stop("command", "BURST STOP, of bursts of length 1")
