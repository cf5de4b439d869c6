"""Integer net -> `Image`: program, weights and thresholds for one `AccelConfig`.

Each layer is cut into output tiles of `2 * chains` channels, each tile into passes over terms, kernel taps, input channel
tiles and digits. `terms` brings every term into one form, `allocate` places the tensors, `assemble` packs instructions;
this file orders the passes and proves that every number fits its accumulator.
"""
from dataclasses import replace

import numpy as np

from model import store
from model.errors import UserError
from model.integer import IMAGE, Convolution, MaxPool, Skip

from .allocate import DoesNotFit, Tensor, allocate
from .assemble import Assembler
from .image import Image, LayerInfo
from .isa import *
from .terms import kernel_of, max_pool_kernels

__all__ = ["DoesNotFit", "compile_net"]

PIXEL_MAX = 255
LOGIT_LIMITS = -(1 << 31), (1 << 31) - 1


def compile_net(net, config):
    """The `Image` of `net` for `config`. Raises `DoesNotFit`, a `UserError` that names layer, need and limit."""
    tensors = _place(net, config)
    assembler = Assembler(config)
    layers, unsettled = [], set()                      # unsettled: tensors written since the last barrier
    for layer in net.layers:
        assembler.layer = layer.name
        start = len(assembler.program)
        barrier = not unsettled.isdisjoint(_sources(layer))
        writes = _LayerCompiler(layer, tensors, assembler, config).run(barrier)
        unsettled = (set() if barrier else unsettled) | {layer.name}
        out = tensors[layer.name]
        layers.append(LayerInfo(
            name=layer.name, kind=_kind(layer), shape=out.shape, base=out.base, pitch=out.pitch, writes=writes,
            macs=_macs(layer, out), start=start, stop=len(assembler.program)))
        assembler.check_depths()
    assembler.finish()
    picture = tensors[IMAGE]
    _, height, width = picture.shape
    settings = Settings.const({"width": width, "height": height, "pitch": picture.pitch, "plane": picture.plane()})
    return Image(
        config=config, net_name=net.name, net_digest=store.digest(net), n_logits=len(net.layers[-1].bias),
        image_shape=(height, width), settings=settings.as_bits(), program=np.array(assembler.program, dtype=np.uint64),
        weights=assembler.packed_weights(), thresholds=np.array(assembler.thresholds, dtype=np.int64), layers=tuple(layers))


def _place(net, config):
    """Shape, range and bank rows of every tensor: {name: `Tensor`}. The logits take no room."""
    channels, height, width = net.input_shape
    limit = (3, config.image_height, config.image_width)
    if channels != 3 or height > config.image_height or width > config.image_width:
        raise DoesNotFit(IMAGE, "picture (C, H, W)", tuple(net.input_shape), limit)
    tensors = {IMAGE: _tensor(IMAGE, tuple(net.input_shape), PIXEL_MAX, config)}
    sizes, readers = {}, {}
    for index, layer in enumerate(net.layers):
        shape, largest = _output(layer, tensors, config, last=layer is net.layers[-1])
        tensor = tensors[layer.name] = _tensor(layer.name, shape, largest, config)
        readers |= dict.fromkeys(_sources(layer), index)
        if not _is_logits(layer):
            sizes[layer.name] = -(-shape[0] // config.rows) * tensor.plane()
            readers[layer.name] = index
    bases = allocate(sizes, readers, 2 * config.image_rows, config.activation_depth)
    return {name: replace(tensor, base=bases.get(name, 0)) for name, tensor in tensors.items()}


def _output(layer, tensors, config, *, last):
    """Shape (C, H, W) and largest code of a layer's output, after every check that needs only shapes."""
    missing = [source for source in _sources(layer) if source not in tensors]
    if missing or layer.name in tensors or _is_logits(layer) != last:
        raise UserError(f"layer {layer.name}: not a net in execution order with logits from its last layer")
    if isinstance(layer, MaxPool):
        source = tensors[layer.source]
        channels, height, width = source.shape
        shapes, largest = {(channels, height // 2, width // 2)}, source.largest
        if layer.source == IMAGE:
            raise DoesNotFit(layer.name, "max-pool", "the picture", "codes")
    else:
        shapes, largest = {_term_shape(layer, term, tensors, config) for term in layer.terms}, (1 << layer.a_bits) - 1
        if layer.a_bits > config.a_bits:
            raise DoesNotFit(layer.name, "a_bits", layer.a_bits, config.a_bits)
    if len(shapes) != 1 or not all(min(shape) > 0 for shape in shapes):
        raise UserError(f"layer {layer.name}: its terms give outputs of the shapes {sorted(shapes)}")
    shape, = shapes
    groups = shape[1] * -(-shape[2] // config.pixels_per_cycle)
    if groups > config.accumulator_depth:
        raise DoesNotFit(layer.name, "pixel groups of the feature map", groups, config.accumulator_depth)
    return shape, largest


def _term_shape(layer, term, tensors, config):
    """Output shape of one term. Refuses what the address generator cannot do."""
    source = tensors[term.source]
    channels, height, width = source.shape
    if isinstance(term, Skip):
        if source.name == IMAGE:
            raise DoesNotFit(layer.name, "residual", "the picture", "codes")
        if len(term.gain) != channels:
            raise UserError(f"layer {layer.name}: {len(term.gain)} gains for the {channels} channels of {source.name}")
        return source.shape
    out_channels, in_channels, kernel, kernel_width = term.codes.shape
    if in_channels != channels:
        raise UserError(f"layer {layer.name}: weights for {in_channels} channels read {channels} of {source.name}")
    if kernel != kernel_width or kernel not in (1, 3):
        raise DoesNotFit(layer.name, "kernel", f"{kernel}x{kernel_width}", "1x1 or 3x3")
    if term.padding != kernel // 2:
        raise DoesNotFit(layer.name, f"padding of a {kernel}x{kernel} kernel", term.padding, kernel // 2)
    if term.stride not in (1, 2):
        raise DoesNotFit(layer.name, "stride", term.stride, 2)
    if term.alpha not in (1, 2):
        raise DoesNotFit(layer.name, "alpha", term.alpha, "1 or 2")
    if source.name == IMAGE and config.image_taps == 3 and kernel != 3:
        raise DoesNotFit(layer.name, "kernel over the picture", f"{kernel}x{kernel}", "3x3")
    return out_channels, -(-height // term.stride), -(-width // term.stride)


class _LayerCompiler:
    """Appends one layer's tiles, passes, weights and thresholds to the program."""

    def __init__(self, layer, tensors, assembler, config):
        self.layer, self.tensors, self.assembler, self.config = layer, tensors, assembler, config
        self.out = tensors[layer.name]
        self.never = (1 << config.acc_bits - 1) - 1            # a threshold that no accumulator reaches
        if isinstance(layer, MaxPool):
            self.kernels = max_pool_kernels(layer, self.out.shape[0])
        else:
            self.kernels = [kernel_of(term, config) for term in layer.terms]

    def run(self, barrier):
        """Returns the number of activation writes. barrier: this layer reads what may not be written yet."""
        if _is_logits(self.layer):
            self._logits()
            return 0
        config, channels = self.config, self.out.shape[0]
        thresholds = self._thresholds()
        tiles = -(-channels // config.channels)
        words = -(-channels // config.rows)
        for index in range(words * config.parts):
            self._tile(index, load=1, barrier=barrier and index == 0)
            self.assembler.thresholds += thresholds[index * config.channels:][:config.channels].ravel().tolist()
            if index < tiles:
                self._passes(index, logits=0)
            else:
                self._zeros()
        return words * config.parts * self.out.shape[1] * self._groups()

    def _logits(self):
        config, bias = self.config, self.layer.bias.astype(np.int64)
        low, high = self._accumulator_range()
        pixels = self.out.shape[1] * self.out.shape[2]
        self._check_range("logits", low.min() * pixels + bias.min(), high.max() * pixels + bias.max(), *LOGIT_LIMITS)
        for index, begin in enumerate(range(0, len(bias), config.channels)):
            chosen = bias[begin:begin + config.channels]
            self._tile(index, load=0, barrier=1)
            self._passes(index, logits=1)
            self.assembler.thresholds += np.stack([chosen & 0xFFFF, chosen >> 16 & 0xFFFF], axis=1).ravel().tolist()
            self.assembler.emit(Emit, count=len(chosen), last=begin + config.channels >= len(bias))

    def _tile(self, index, *, load, barrier):
        config, out = self.config, self.out
        word, part = divmod(index, config.parts)
        _, height, width = out.shape
        base = 0 if _is_logits(self.layer) else out.base + word * out.plane()
        self.assembler.emit(Tile, base=base, part=part, pitch=out.pitch, width=width, height=height, groups=self._groups(),
                            load=load, barrier=barrier)

    def _passes(self, index, *, logits):
        """All passes of output tile `index`."""
        sweeps = [sweep for kernel in self.kernels for sweep in self._sweeps(kernel, index)]
        for position, (kernel, table, fields) in enumerate(sweeps):
            last = position == len(sweeps) - 1
            self.assembler.source(self.tensors[kernel.source], kernel.stride, image=kernel.source == IMAGE)
            self.assembler.levels(table)
            self.assembler.sweep(**fields, first=position == 0, last=last, logits=logits and last, maximum=kernel.maximum)

    def _sweeps(self, kernel, index):
        """(kernel, level table, fields of `Assembler.sweep`) of one term's passes in output tile `index`."""
        config, source = self.config, self.tensors[kernel.source]
        image = kernel.source == IMAGE
        words = [index // config.parts] if kernel.diagonal else range(-(-kernel.codes.shape[2] // config.rows))
        for (dy, dx), codes in zip(kernel.taps, kernel.codes, strict=True):
            for word in words:
                stored = self._weight_tile(kernel, codes, index, word)
                for j in range(kernel.digits):
                    table = kernel.tables and kernel.tables[j]
                    weights = kernel.digit(stored, j, config.w_bits)
                    beta = kernel.beta if j == 0 else 0
                    for d in range(config.a_digits if image else 1):     # only a picture has codes of several digits
                        yield kernel, table, {
                            "weights": weights if d == 0 else None, "dy": dy, "dx": dx,
                            "base": source.base + (d if image else word) * source.plane() + dy * source.pitch,
                            "shift": kernel.shift + config.w_bits * j + config.a_bits * d,
                            "beta": beta, "beta_shift": kernel.beta_shift + config.a_bits * d if beta else 0}

    def _weight_tile(self, kernel, codes, index, word):
        """Codes (rows, channels) out of (OC, lanes): output tile `index`, input word `word`."""
        rows, channels = self.config.rows, self.config.channels
        tile = codes[index * channels:(index + 1) * channels, word * rows:(word + 1) * rows].T
        return np.pad(tile, ((0, rows - tile.shape[0]), (0, channels - tile.shape[1])), constant_values=kernel.unused)

    def _zeros(self):
        """The one pass of a tile without channels: its thresholds never fire, so it writes zeros."""
        self.assembler.sweep(None, 0, dy=0, dx=0, shift=0, beta_shift=0, beta=0, first=1, last=1, maximum=0, logits=0)

    def _thresholds(self):
        """Threshold words int64 (channels of all tiles, 2**a_bits - 1) in heap order, the bias folded in.

        One below the accumulator's range always fires and one above never does, so clipping keeps every code.
        """
        config, channels = self.config, self.out.shape[0]
        if isinstance(self.layer, MaxPool):
            steps = np.tile(np.arange(1, self.out.largest + 1), (channels, 1))
        else:
            self._accumulator_range()
            steps = self.layer.thresholds.astype(np.int64) - self.layer.bias.astype(np.int64)[:, None]
            steps = steps.clip(-(1 << config.acc_bits - 1), self.never)
        padding = ((0, -channels % config.rows), (0, config.thresholds - steps.shape[1]))
        return heap_order(np.pad(steps, padding, constant_values=self.never))

    def _accumulator_range(self):
        """Smallest and largest accumulator (without bias) of every channel of every tile with any input codes."""
        low = high = 0
        for kernel in self.kernels:
            weights = kernel.weights(self.config.channels) * self.tensors[kernel.source].largest
            low = low + weights.clip(max=0).sum(axis=(0, 2))
            high = high + weights.clip(min=0).sum(axis=(0, 2))
        self._check_range("accumulator", low.min(), high.max(), -(1 << self.config.acc_bits - 1), self.never - 1)
        return low, high

    def _check_range(self, what, low, high, lowest, highest):
        if low < lowest or high > highest:
            raise DoesNotFit(self.layer.name, f"{what} range", f"{low} .. {high}", f"{lowest} .. {highest}")

    def _groups(self):
        return -(-self.out.shape[2] // self.config.pixels_per_cycle)


def _tensor(name, shape, largest, config):
    return Tensor(name=name, shape=shape, pitch=-(-shape[2] // config.banks), largest=largest)


def _is_logits(layer):
    return not isinstance(layer, MaxPool) and layer.thresholds is None


def _sources(layer):
    return {layer.source} if isinstance(layer, MaxPool) else {term.source for term in layer.terms}


def _kind(layer):
    """What a layer does, for tables: conv3x3, conv3x3+skip, conv3x3+conv1x1/2, max-pool, logits."""
    if isinstance(layer, MaxPool):
        return "max-pool"
    if layer.thresholds is None:
        return "logits"
    return "+".join("skip" if isinstance(term, Skip) else "conv{0}x{0}".format(term.codes.shape[2]) + "/2" * (term.stride == 2)
                    for term in layer.terms)


def _macs(layer, out):
    """Multiply-accumulates of the convolutions (the logits layer's are those of one sum over all pixels)."""
    terms = () if isinstance(layer, MaxPool) else layer.terms
    return sum(term.codes.size for term in terms if isinstance(term, Convolution)) * out.shape[1] * out.shape[2]
