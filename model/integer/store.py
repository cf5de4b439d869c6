"""03_net.npz: one integer net in one file.

The file is a numpy archive: `header` is JSON (structure, provenance, digest), every other entry one
array, weight codes packed to their bits. Nothing in it is pickled. A file that is not exactly what
`save` wrote is refused: the digest covers every integer of the net, not its record of how it was trained.
"""
import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from model.common.bits import pack_codes, unpack_codes
from model.common.errors import UserError
from model.common.files import refuse_cut_off, replacing

from .net import PICTURE, Convolution, IntegerNet, Layer, MaxPool, Skip

__all__ = ["digest", "load", "save"]

FORMAT = "uniqore integer net 1"


# Structure as JSON, numbers as arrays

def _describe_term(term):
    if isinstance(term, Skip):
        return {"kind": "skip", "source": term.source}
    levels = None if term.levels is None else [int(level) for level in term.levels]
    return {"kind": "convolution", "source": term.source, "shape": list(term.codes.shape), "levels": levels,
            **{key: int(getattr(term, key)) for key in ("w_bits", "alpha", "beta", "stride", "padding", "shift")},
            **({"drop": int(term.drop)} if term.drop else {})}


def _describe(net):
    """(JSON-able structure, arrays by entry name)."""
    layers, arrays = [], {}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            layers.append({"kind": "max_pool", "name": layer.name, "source": layer.source})
            continue
        layers.append({"kind": "layer", "name": layer.name, "a_bits": layer.a_bits,
                       "terms": [_describe_term(term) for term in layer.terms]})
        arrays[f"{layer.name}.bias"] = layer.bias.astype(np.int32)
        if layer.thresholds is not None:
            arrays[f"{layer.name}.thresholds"] = layer.thresholds.astype(np.int32)
        for index, term in enumerate(layer.terms):
            skip = isinstance(term, Skip)
            arrays[f"{layer.name}.{index}"] = (
                term.gain.astype(np.int32) if skip else pack_codes(term.codes, term.w_bits))
    structure = {"format": FORMAT, "name": net.name, "input_shape": list(net.input_shape),
                 "classes": list(net.classes), "layers": layers}
    return structure, arrays


def _digest(structure, arrays):
    state = hashlib.sha256(json.dumps(structure, sort_keys=True).encode())
    for name in sorted(arrays):
        state.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        state.update(np.ascontiguousarray(arrays[name]).tobytes())
    return state.hexdigest()


def digest(net):
    """SHA-256 of everything the net computes with (its free-form header left out), hex."""
    return _digest(*_describe(net))


def save(net, path):
    """Writes the net; path ends up as the old file or the complete new one."""
    structure, arrays = _describe(net)
    header = {**structure, "header": net.header, "digest": _digest(structure, arrays)}
    entry = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with replacing(path) as file:
        np.savez_compressed(file, header=entry, **arrays)


# Reading

class _Malformed(Exception):
    """What is wrong with the file."""


def _require(condition, message):
    if not condition:
        raise _Malformed(message)


def _term(described, array):
    if described["kind"] == "skip":
        return Skip(source=described["source"], gain=array)
    fields = {key: value for key, value in described.items() if key not in ("kind", "shape", "levels")}
    levels = described["levels"]
    return Convolution(codes=unpack_codes(array, described["shape"], described["w_bits"]),
                       levels=None if levels is None else np.array(levels, np.int32), **fields)


def _layer(described, arrays):
    if described["kind"] == "max_pool":
        return MaxPool(name=described["name"], source=described["source"])
    name = described["name"]
    terms = tuple(_term(term, arrays[f"{name}.{index}"]) for index, term in enumerate(described["terms"]))
    return Layer(name=name, terms=terms, bias=arrays[f"{name}.bias"],
                 thresholds=arrays.get(f"{name}.thresholds"), a_bits=described["a_bits"])


def _check(net):
    """Refuses a net whose parts do not fit together, however intact the file."""
    _require(net.layers, "it has no layers")
    channels, bits = {PICTURE: net.input_shape[0]}, {PICTURE: 1}        # none may be left out of a picture
    for index, layer in enumerate(net.layers):
        last = index == len(net.layers) - 1
        sources = [layer.source] if isinstance(layer, MaxPool) else [term.source for term in layer.terms]
        for source in sources:
            _require(source in channels, f"layer {layer.name} reads the unknown tensor {source!r}")
        _require(layer.name not in channels, f"two layers are named {layer.name}")
        if isinstance(layer, MaxPool):
            _require(not last, "the last layer gives no logits")
            channels[layer.name], bits[layer.name] = channels[layer.source], bits[layer.source]
            continue
        count = len(layer.bias)
        _require((layer.thresholds is None) == last, f"layer {layer.name}: only the last gives logits")
        for term in layer.terms:
            shape = term.gain.shape if isinstance(term, Skip) else term.codes.shape[:2]
            expected = (count,) if isinstance(term, Skip) else (count, channels[term.source])
            _require(shape == expected, f"layer {layer.name}: a term of shape {shape}, not {expected}")
            drop = getattr(term, "drop", 0)
            _require(isinstance(drop, int) and 0 <= drop < bits[term.source],
                     f"layer {layer.name}: a term that leaves out {drop} low bits of {term.source}")
        if not last:
            expected = (count, 2 ** layer.a_bits - 1)
            _require(layer.thresholds.shape == expected,
                     f"layer {layer.name}: thresholds of shape {layer.thresholds.shape}, not {expected}")
            _require((np.diff(layer.thresholds.astype(np.int64), axis=1) >= 0).all(),
                     f"layer {layer.name}: thresholds do not ascend")
        channels[layer.name], bits[layer.name] = count, layer.a_bits
    _require(len(net.classes) == count, f"{len(net.classes)} class names for {count} logits")


def _read(path):
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes())
    _require(header.get("format") == FORMAT, f"format {header.get('format')!r}, not {FORMAT!r}")
    provenance, expected = header.pop("header"), header.pop("digest")
    _require(isinstance(provenance, dict), "its header is not one of names and values")
    _require(_digest(header, arrays) == expected, "its digest does not match its contents")
    net = IntegerNet(name=header["name"], layers=tuple(_layer(layer, arrays) for layer in header["layers"]),
                     input_shape=tuple(header["input_shape"]), classes=tuple(header["classes"]), header=provenance)
    _check(net)
    return net


def load(path):
    """The net in file `path`. UserError where it is missing, cut off, damaged, or something else."""
    path = Path(path)
    try:
        refuse_cut_off(path)
        return _read(path)
    except _Malformed as error:
        raise UserError(f"{path}: not a usable integer net: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an integer net ({error.strerror or 'not a net file'})") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError, OverflowError,
            zipfile.BadZipFile, zlib.error, NotImplementedError):
        raise UserError(f"{path}: not an integer net, or a corrupt one") from None
