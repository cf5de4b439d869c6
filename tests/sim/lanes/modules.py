"""Flat modules as yosys' `write_json` documents them, written by hand, and what its cells compute."""

__all__ = ["FlatModule", "cell_result"]

X = "x"         # an undefined bit


class FlatModule:
    """`json` grows with every call. Values are lists of bits, lowest first: numbers of nets, or "0", "1", "x".

        module = FlatModule()
        a = module.input("a", 4)
        module.output("y", module.cell("$not", 4, A=a))
    """
    def __init__(self, clocks=("clk",)):
        self.json = {"ports": {}, "cells": {}, "netnames": {}}
        self._next = 2                          # yosys begins there too
        self._clocks = {name: self.input(name, 1) for name in clocks}

    def net(self, width, name=None, init=0):
        """Bits that nothing drives yet. name: of the wire; init: its value at configuration."""
        bits = list(range(self._next, self._next + width))
        self._next += width
        if name is not None:
            self.name(name, bits, init)
        return bits

    def name(self, name, bits, init=0):
        """One more name of `bits`."""
        self.json["netnames"][name] = {
            "bits": bits, "hide_name": int(name.startswith("$")),
            "attributes": {"init": f"{init:0{len(bits)}b}"} if init else {}}

    def input(self, name, width):
        bits = self.net(width, name)
        self.json["ports"][name] = {"direction": "input", "bits": bits}
        return bits

    def output(self, name, bits):
        self.json["ports"][name] = {"direction": "output", "bits": bits}

    def cell(self, kind, width, *, signed="", out=None, name=None, **operands):
        """Output Y of `width` bits of a new cell. signed: ports whose operand is signed, "AB". out: bits that it
        drives, where there are some already."""
        out = self.net(width) if out is None else out
        parameters = {"WIDTH": f"{width:b}"} if kind == "$mux" else {
            key: f"{value:b}" for port in "AB" if port in operands
            for key, value in ((f"{port}_WIDTH", len(operands[port])), (f"{port}_SIGNED", int(port in signed)))
        } | {"Y_WIDTH": f"{width:b}"}
        self._add(name, kind, parameters, inputs=operands, outputs={"Y": out})
        return out

    def register(self, data, *, clock="clk", kind="$dff", out=None, name=None, init=0, rising=True, **more):
        """Output Q of a register. more: other ports, and parameters as numbers ("EN_POLARITY")."""
        out = self.net(len(data)) if out is None else out
        if name is not None:
            self.name(name, out, init)
        parameters = {key: f"{value:032b}" for key, value in more.items() if isinstance(value, int)}
        self._add(None, kind, {"CLK_POLARITY": f"{int(rising):b}", **parameters},
                  inputs={"D": data, "CLK": self._clocks.get(clock, clock),
                          **{key: value for key, value in more.items() if isinstance(value, list)}},
                  outputs={"Q": out})
        return out

    def memory(self, name, width, size, *, reads=(), writes=(), init=(), clock="clk", out=None, **parameters):
        """Data of each read port of a memory.

        reads: (address, enable); an enable of None makes the port a combinational one. writes: (address, data, enable),
        an enable of one bit or one for each bit of the data. out: bits that each port drives, where there are some
        already. parameters: of the cell, instead of the usual ones.
        """
        address_bits = max(len(address) for address, *_ in [*reads, *writes])
        out = [self.net(width) for _ in reads] if out is None else out

        def extended(bits):
            return bits + ["0"] * (address_bits - len(bits))

        clocked = [enable is not None for _, enable in reads]
        init = "".join(f"{word:0{width}b}" for word in reversed(init)).rjust(width * size, X)
        self._add(name, "$mem_v2", {
            "WIDTH": f"{width:b}", "SIZE": f"{size:b}", "OFFSET": "0", "ABITS": f"{address_bits:b}", "INIT": init,
            "RD_PORTS": f"{len(reads):b}", "WR_PORTS": f"{len(writes):b}",
            "RD_CLK_ENABLE": _mask(clocked), "RD_CLK_POLARITY": _mask(clocked),
            "WR_CLK_ENABLE": _mask([True] * len(writes)), "WR_CLK_POLARITY": _mask([True] * len(writes)),
            "RD_INIT_VALUE": X * width * len(reads), "RD_TRANSPARENCY_MASK": "0", "RD_WIDE_CONTINUATION": "0",
            "WR_WIDE_CONTINUATION": "0", "WR_PRIORITY_MASK": "0", **parameters},
            inputs={
                "RD_ADDR": sum((extended(address) for address, _ in reads), []),
                "RD_EN": sum((enable or ["1"] for _, enable in reads), []),
                "RD_CLK": sum((self._clocks[clock] if one else [X] for one in clocked), []),
                "RD_ARST": ["0"] * len(reads), "RD_SRST": ["0"] * len(reads),
                "WR_ADDR": sum((extended(address) for address, _, _ in writes), []),
                "WR_DATA": sum((data for _, data, _ in writes), []),
                "WR_EN": sum((enable * (width if len(enable) == 1 else 1) for _, _, enable in writes), []),
                "WR_CLK": self._clocks[clock] * len(writes)},
            outputs={"RD_DATA": sum(out, [])})
        return out

    def _add(self, name, kind, parameters, inputs, outputs):
        name = name or f"{kind}{len(self.json['cells'])}"
        self.json["cells"][name] = {
            "type": kind, "parameters": parameters,
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
            "connections": inputs | outputs}


def _mask(flags):
    return "".join(str(int(flag)) for flag in reversed(flags)) or "0"


def cell_result(kind, operands, signed, width):
    """What yosys' cell computes, as its documentation says; 0 for bits that are undefined there.

    operands: port -> (value, bits), values not negative. signed: ports whose operand is signed. width: bits of Y.
    """
    mask, (value_a, bits_a) = (1 << width) - 1, operands["A"]
    value_b, bits_b = operands.get("B", (0, 1))
    both = {"A", "B"} <= set(signed)

    def number(value, bits, as_signed):
        return value - (1 << bits) if as_signed and value >> bits - 1 else value

    def filled(to):                                 # A extended to at least `to` bits
        return number(value_a, bits_a, "A" in signed) & (1 << max(to, bits_a)) - 1

    a, b = number(value_a, bits_a, both), number(value_b, bits_b, both)
    alone = number(value_a, bits_a, "A" in signed)
    match kind:
        case "$mux":
            return value_b if operands["S"][0] else value_a
        case "$not":
            return ~alone & mask
        case "$neg":
            return -alone & mask
        case "$pos":
            return alone & mask
        case "$and":
            return a & b & mask
        case "$or":
            return (a | b) & mask
        case "$xor":
            return (a ^ b) & mask
        case "$xnor":
            return ~(a ^ b) & mask
        case "$add":
            return a + b & mask
        case "$sub":
            return a - b & mask
        case "$mul":
            return a * b & mask
        case "$lt":
            return int(a < b)
        case "$le":
            return int(a <= b)
        case "$gt":
            return int(a > b)
        case "$ge":
            return int(a >= b)
        case "$eq" | "$eqx":
            return int(a == b)
        case "$ne" | "$nex":
            return int(a != b)
        case "$shl" | "$sshl":
            return alone << min(value_b, width) & mask
        case "$sshr" if "A" in signed:
            return alone >> min(value_b, bits_a) & mask
        case "$shr" | "$sshr":
            return filled(width) >> min(value_b, max(width, bits_a)) & mask
        case "$shift" | "$shiftx":
            by = number(value_b, bits_b, "B" in signed)
            kept = value_a if kind == "$shiftx" else filled(width)
            return (kept >> min(by, max(width, bits_a)) if by >= 0 else kept << min(-by, width)) & mask
        case "$logic_not":
            return int(not value_a)
        case "$logic_and":
            return int(bool(value_a and value_b))
        case "$logic_or":
            return int(bool(value_a or value_b))
        case "$reduce_or" | "$reduce_bool":
            return int(bool(value_a))
        case "$reduce_and":
            return int(value_a == (1 << bits_a) - 1)
        case "$reduce_xor":
            return value_a.bit_count() & 1
        case "$reduce_xnor":
            return ~value_a.bit_count() & 1
