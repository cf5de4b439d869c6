"""What is loaded into the memories to run one net, and how to read a trace of it.

The file is an .npz: the arrays program, weights and thresholds, the tape that they make, and a JSON header with all the
rest and a digest of everything.
"""
import binascii
import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np

from model.common.bits import unpack_fields
from model.common.errors import UserError
from model.common.files import refuse_cut_off, replacing
from model.common.nearest import similar_file

from . import tape
from .config import AccelConfig
from .isa import LoadKind, Play

__all__ = ["Image", "LayerInfo", "RunInfo", "load", "pixels", "save"]

FORMAT = "uniqore-image-3"
ARRAYS = {"program": np.uint64, "weights": np.uint64, "thresholds": np.int64}


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One layer, as compiled.

    shape: (C, H, W) of its output. pitch: bank rows per picture row. writes: activation writes in the trace, of a
    picture. macs: multiply-accumulates of its convolutions, for a picture.
    """
    name: str
    kind: str
    shape: tuple
    pitch: int
    writes: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A layer over `pictures` pictures of the batch at once, from number `first` on.

    layer: its name. base, apart: first bank row of the first picture's output, bank rows from there to the next one's.
    skip_passes: passes that add an identity residual. start, stop: its instructions.
    """
    layer: str
    first: int
    pictures: int
    base: int
    apart: int
    skip_passes: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A compiled net.

    program: uint64 instructions, without the `Settings`. weights: uint64 words, the code of output channel c in field
    c. thresholds: int64 words. settings: a `Settings` as a number. picture_shape: (H, W).
    batch: pictures that a program takes. layers: a `LayerInfo` each, in order. runs: a `RunInfo` each, in order.
    """
    config: AccelConfig
    net_name: str
    net_digest: str
    n_logits: int
    picture_shape: tuple
    settings: int
    batch: int
    program: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    thresholds: np.ndarray = field(repr=False)
    layers: tuple = field(repr=False)
    runs: tuple = field(repr=False)

    @property
    def resident(self):
        """Whether the configuration's memories hold all of it, so that it is loaded once."""
        config = self.config
        return (len(self.program) <= config.program_depth and len(self.weights) <= config.weight_depth
                and len(self.thresholds) <= config.threshold_depth)

    @functools.cached_property
    def tape(self):
        """The tape: uint16 (chunks, 512), see `accel.tape`."""
        return tape.chunks(self.config, self.settings, self.program, self.weights, self.thresholds)

    def load_words(self):
        """The load stream: kind uint8 (N,), data uint16 (N,)."""
        words = self.tape.reshape(-1)
        check = binascii.crc32(words.astype("<u2").tobytes())
        play = Play.const({"last": len(self.tape) - 1, "resident": self.resident}).as_bits()
        kinds = [LoadKind.BEGIN, *[LoadKind.WORD] * len(words), LoadKind.CHECK, LoadKind.CHECK, LoadKind.PLAY]
        return (np.array([kind.value for kind in kinds], np.uint8),
                np.concatenate([[0], words, [check & 0xFFFF, check >> 16, play]]).astype(np.uint16))

    def tensors(self, groups, data, picture=0):
        """Decode the trace of one program, for one picture of its batch: {layer name: codes uint8 (C, H, W)}.

        The trace has one entry per activation write, in order: groups (N,), data uint64 (N, words).
        A write fills `channels` lanes of m neighbouring words, the first of them at word index
        bank_row * banks + bank:
            group = word_index // m * parts + part
            data  = the code of channel c of pixel j in field j * channels + c
        """
        layers = {layer.name: layer for layer in self.layers}
        expected = sum(layer.writes for layer in self.layers) * self.batch
        if len(groups) != expected:
            raise ValueError(f"a trace of this image has {expected} writes, not {len(groups)}")
        groups = np.asarray(groups, dtype=np.int64)
        decoded, start = {}, 0
        for run in self.runs:
            layer = layers[run.layer]
            stop = start + layer.writes * run.pictures
            if layer.writes and run.first <= picture < run.first + run.pictures:
                number = picture - run.first
                tiles = -(-layer.shape[0] // self.config.rows) * self.config.parts
                mine = start + np.arange(stop - start).reshape(tiles, run.pictures, -1)[:, number].ravel()
                decoded[layer.name] = self._tensor(layer, run.base + number * run.apart, groups[mine], data[mine])
            start = stop
        return decoded

    def _tensor(self, layer, base, groups, data):
        """The tensor that writes groups (N,), data (N, words), leave behind from bank row `base` on."""
        config = self.config
        codes = unpack_fields(data, config.a_bits, config.pixels_per_cycle * config.channels).reshape(
            -1, config.pixels_per_cycle, config.channels)
        channels, height, width = layer.shape
        m, columns = config.pixels_per_cycle, layer.pitch * config.banks
        tiles = -(-channels // config.rows)
        word = groups // config.parts * m - base * config.banks
        tile, y, x = word // (height * columns), word // columns % height, word % columns
        if word.min() < 0 or tile.max() >= tiles:
            raise ValueError(f"layer {layer.name}: a write outside its tensor")
        shape = (tiles, config.parts, config.channels, height, columns // m, m)
        tensor = np.zeros(shape, dtype=np.uint8)
        tensor[tile, groups % config.parts, :, y, x // m] = codes.transpose(0, 2, 1)
        return tensor.reshape(tiles * config.rows, height, columns)[:channels, :, :width]


def pixels(pictures):
    """What the pixel stream, and the UART, carries of pictures uint8 (N, C, H, W): uint8 (N, H, W, 3). Of pictures of
    one channel it is (grey, 0, 0), and the net has weights for the first alone."""
    return np.pad(pictures.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, 0), (0, 3 - pictures.shape[1])))


def save(image, path):
    """Write `image` to file `path`, all or nothing."""
    header = _header(image)
    header["digest"] = _digest(header, image)
    arrays = {name: getattr(image, name) for name in ARRAYS}
    with replacing(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), tape=image.tape, **arrays)


def load(path):
    """The `Image` in file `path`; `UserError` if it is missing, cut off, damaged, or something else."""
    try:
        refuse_cut_off(path)
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            header = json.loads(str(file["header"][()]))
            arrays = {name: file[name] for name in ARRAYS}
            tape = file["tape"] if "tape" in file.files else None       # older versions have none
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}{similar_file(path)}") from error
    except Exception as error:          # numpy, zipfile and zlib raise many kinds on foreign bytes
        raise UserError(f"{path} is damaged, or not an accelerator image") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path} is not an accelerator image of this version ({FORMAT})")
    try:
        stored = header.pop("digest")
        image = _from_header(header, arrays)
        intact = stored == _digest(header, image) and all(
            array.dtype == ARRAYS[name] and array.ndim == 1 for name, array in arrays.items()) and (
            tape.dtype == image.tape.dtype and np.array_equal(tape, image.tape))
    except (AttributeError, KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise UserError(f"{path} is damaged: its digest is not that of its contents")
    return image


def _header(image):
    header = {name: value for name, value in asdict(image).items() if name not in ARRAYS}
    header["image_shape"] = header.pop("picture_shape")
    return {"format": FORMAT, "config_digest": image.config.digest(), "resident": image.resident, **header,
            "config": image.config.header()}


def _from_header(header, arrays):
    fields = {name: value for name, value in header.items()
              if name not in ("format", "config_digest", "resident", "image_shape")}
    layers = [LayerInfo(**layer | {"shape": tuple(layer["shape"])}) for layer in header["layers"]]
    runs = [RunInfo(**run) for run in header["runs"]]
    return Image(**fields | arrays | {
        "config": AccelConfig.of_header(header["config"]), "layers": tuple(layers), "runs": tuple(runs),
        "picture_shape": tuple(header["image_shape"])})


def _digest(header, image):
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in ARRAYS:
        digest.update(getattr(image, name).tobytes())
    return digest.hexdigest()
