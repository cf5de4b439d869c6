"""Model cards: what a net is, what it reaches and how it came about, read from the net itself."""
import json

from model.common.errors import UserError
from model.integer.net import Convolution, MaxPool, macs

__all__ = ["card", "table", "dump", "log_table"]

COLUMNS = ("name", "dataset", "quantizer", "w_bits", "a_bits", "residual_bits", "params", "macs", "bytes",
           "float_accuracy", "accuracy")


def convolutions(net):
    return [term for layer in net.layers if not isinstance(layer, MaxPool)
            for term in layer.terms if isinstance(term, Convolution)]


def card(net):
    """The card as a dict. params: weights and head biases; bytes: the weights packed to their bits; macs: per picture;
    residual_bits: of residuals that have their own, else 0. seed, device, seconds: of the quantized
    stage; all nets of an architecture and data set share one float parent.
    note: what keeps the command from giving the very same net, where something does."""
    try:
        return card_of(net, net.header)
    except KeyError:
        raise UserError(f"{net.name}: no record of its training in it, so no card") from None


def card_of(net, header):
    terms = convolutions(net)
    first, last = terms[0], terms[-1]
    return {
        "name": net.name, "dataset": header["dataset"], "arch": header["arch"],
        "quantizer": header["quant"]["quantizer"],
        "w_bits": header["quant"]["w_bits"], "a_bits": header["quant"]["a_bits"],
        "residual_bits": header["quant"].get("residual_bits", 0),
        "first_last": f"first: {first.w_bits}-bit weights, 8-bit pixels; last: {last.w_bits}-bit weights",
        "params": sum(term.codes.size for term in terms) + len(net.layers[-1].bias),
        "macs": sum(macs(net).values()),
        "bytes": sum(-(-term.codes.size * term.w_bits // 8) for term in terms),
        "accuracy": header.get("accuracy"), "images": header.get("images"),
        "float_accuracy": header.get("float_accuracy"),
        "epochs": {"float": header["float_schedule"]["epochs"], "quantized": header["schedule"]["epochs"]},
        "seed": header["schedule"]["seed"], "commit": header["commit"], "torch": header["torch"],
        "command": header["command"], **{key: header[key] for key in ("device", "seconds", "note") if key in header},
    }


def dump(value):
    return json.dumps(value, indent=1) + "\n"


def log_table(log):
    """A training log, one dict per epoch, as CSV."""
    rows = [log[0].keys(), *(epoch.values() for epoch in log)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def table(cards):
    """Several cards side by side, as text."""
    rows = [COLUMNS, *([str(card[column]) for column in COLUMNS] for card in cards)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)
