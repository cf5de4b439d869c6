"""What is loaded into the memories to run one net, and how to read a trace of it.

The file is an .npz of three arrays (program, weights, thresholds) and a JSON header with everything else and a digest.
"""
import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from model.errors import UserError

from .config import AccelConfig
from .isa import Target

__all__ = ["Image", "LayerInfo", "load", "pack_fields", "replacing", "save", "unpack_fields"]

FORMAT = "uniqore-image-1"
ARRAYS = {"program": np.uint64, "weights": np.uint64, "thresholds": np.int64}
WORD_BITS = 64


def pack_fields(values, bits):
    """Unsigned values (N, fields) of `bits` each, field i at bits i * bits, as uint64 (N, words), low word first."""
    spread = np.asarray(values)[..., None] >> np.arange(bits) & 1
    packed = np.packbits(spread.astype(np.uint8).reshape(len(values), -1), axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view("<u8").astype(np.uint64)


def unpack_fields(words, bits, fields):
    """Inverse of `pack_fields`: uint8 (N, fields)."""
    spread = np.unpackbits(np.ascontiguousarray(words, dtype="<u8").view(np.uint8), axis=1, bitorder="little")
    return np.packbits(spread[:, :fields * bits].reshape(len(words), fields, bits), axis=2, bitorder="little")[..., 0]


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One layer, as compiled.

    shape: (C, H, W) of its output. base, pitch: first bank row, bank rows per picture row. writes: activation writes that
    the trace shows. macs: multiply-accumulates of its convolutions. start, stop: its instructions.
    """
    name: str
    kind: str
    shape: tuple
    base: int
    pitch: int
    writes: int
    macs: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A compiled net.

    program: uint64 instructions. weights: uint64 words, the code of output channel c at bits c * w_bits.
    thresholds: int64 words. settings: a `Settings` as a number. image_shape: (H, W). layers: of `LayerInfo`, in order.
    """
    config: AccelConfig
    net_name: str
    net_digest: str
    n_logits: int
    image_shape: tuple
    settings: int
    program: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    thresholds: np.ndarray = field(repr=False)
    layers: tuple = field(repr=False)

    def load_words(self):
        """The load stream: target uint8 (N,), address uint32 (N,), data uint64 (N,)."""
        memories = [(Target.SETTINGS, np.array([self.settings])), (Target.WEIGHTS, self.weights),
                    (Target.THRESHOLDS, self.thresholds), (Target.PROGRAM, self.program)]
        return (np.concatenate([np.full(len(words), target.value, np.uint8) for target, words in memories]),
                np.concatenate([np.arange(len(words), dtype=np.uint32) for _, words in memories]),
                np.concatenate([words.astype(np.uint64) for _, words in memories]))

    def tensors(self, groups, data):
        """Decode the trace of one image: {layer name: codes uint8 (C, H, W)}.

        The trace is one entry per activation write, in order: group (N,) and data uint64 (N, words). A write goes to m
        neighbouring words, the first at word index bank_row * banks + x:
            group = word_index // m * parts + part
            data  = code of channel c of pixel j in field j * channels + c
        """
        config, decoded, begin = self.config, {}, 0
        expected = sum(layer.writes for layer in self.layers)
        if len(groups) != expected:
            raise ValueError(f"a trace of this image has {expected} writes, not {len(groups)}")
        m = config.pixels_per_cycle
        codes = unpack_fields(data, config.a_bits, m * config.channels).reshape(-1, m, config.channels)
        for layer in self.layers:
            if layer.writes:
                chosen = slice(begin, begin + layer.writes)
                decoded[layer.name] = self._tensor(layer, np.asarray(groups[chosen], dtype=np.int64), codes[chosen])
            begin += layer.writes
        return decoded

    def _tensor(self, layer, groups, codes):
        config = self.config
        channels, height, width = layer.shape
        m, columns = config.pixels_per_cycle, layer.pitch * config.banks
        tiles = -(-channels // config.rows)
        word = groups // config.parts * m - layer.base * config.banks
        tile, y, x = word // (height * columns), word // columns % height, word % columns
        if word.min() < 0 or tile.max() >= tiles:
            raise ValueError(f"layer {layer.name}: a write outside its tensor")
        tensor = np.zeros((tiles, config.parts, config.channels, height, columns // m, m), dtype=np.uint8)
        tensor[tile, groups % config.parts, :, y, x // m] = codes.transpose(0, 2, 1)
        return tensor.reshape(tiles * config.rows, height, columns)[:channels, :, :width]


@contextmanager
def replacing(path):
    """A binary file that becomes `path` when everything is written, and leaves nothing behind otherwise."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def save(image, path):
    """Write `image` to `path`, all or nothing."""
    header = _header(image)
    header["digest"] = _digest(header, image)
    arrays = {name: getattr(image, name) for name in ARRAYS}
    with replacing(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def load(path):
    """The `Image` in file `path`; `UserError` if it is missing, damaged, or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"][()]))
            arrays = {name: file[name] for name in ARRAYS}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:                 # numpy, zipfile and zlib raise many kinds on foreign bytes
        raise UserError(f"{path} is not an accelerator image, or it is damaged") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path} is not an accelerator image of this version ({FORMAT})")
    try:
        stored = header.pop("digest")
        if any(arrays[name].dtype != dtype or arrays[name].ndim != 1 for name, dtype in ARRAYS.items()):
            raise ValueError("arrays of the wrong type")
        image = Image(config=AccelConfig(**header["config"]), net_name=header["net_name"], net_digest=header["net_digest"],
                      n_logits=header["n_logits"], image_shape=tuple(header["image_shape"]), settings=header["settings"],
                      layers=tuple(LayerInfo(**{**layer, "shape": tuple(layer["shape"])}) for layer in header["layers"]), **arrays)
        if stored != _digest(header, image):
            raise ValueError("digest")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: its header and contents do not agree") from error
    return image


def _header(image):
    return {"format": FORMAT, "config": asdict(image.config), "config_digest": image.config.digest(),
            "net_name": image.net_name, "net_digest": image.net_digest, "n_logits": image.n_logits,
            "image_shape": list(image.image_shape), "settings": image.settings,
            "layers": [{**asdict(layer), "shape": list(layer.shape)} for layer in image.layers]}


def _digest(header, image):
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in ARRAYS:
        digest.update(getattr(image, name).tobytes())
    return digest.hexdigest()
