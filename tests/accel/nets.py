"""Integer nets for tests: random ones that fit an accelerator, and one of the shape of MLPerf Tiny's ResNet-8.

Thresholds are put where the accumulators of a random picture are, so that codes vary in every layer.
"""
import numpy as np

from model.integer import IMAGE, Convolution, IntegerNet, Layer, MaxPool, Skip

from .reference import accumulate, max_pool, to_codes

INT32 = np.iinfo(np.int32)


def random_picture(rng, net):
    return rng.integers(0, 256, net.input_shape, dtype=np.uint8)


def corner_pictures(net):
    """All 0 and all 255."""
    return [np.full(net.input_shape, value, dtype=np.uint8) for value in (0, 255)]


class NetBuilder:
    """Appends layers and evaluates them on one random picture as it goes."""

    def __init__(self, rng, input_shape, name="random"):
        self.rng, self.name, self.input_shape = rng, name, input_shape
        self.layers = []
        self.tensors = {IMAGE: rng.integers(0, 256, input_shape, dtype=np.uint8)}

    @property
    def last(self):
        return list(self.tensors)[-1]

    def shape(self, name):
        return self.tensors[name].shape

    def conv(self, source, out_channels, *, kernel=3, stride=1, w_bits=4, shift=0, style="index"):
        """A random convolution term. style: index (the centred index grid), affine, or table (signed levels)."""
        shape = (out_channels, self.shape(source)[0], kernel, kernel)
        grid = {"index": dict(alpha=2, beta=1 - (1 << w_bits)), "affine": dict(alpha=1, beta=-int(self.rng.integers(1 << w_bits))),
                "table": dict(levels=self.rng.integers(-32, 32, 1 << w_bits).astype(np.int32))}[style]
        return Convolution(source=source, codes=self.rng.integers(0, 1 << w_bits, shape, dtype=np.uint8), w_bits=w_bits,
                           stride=stride, padding=kernel // 2, shift=shift, **grid)

    def skip(self, source, *, signed=True, scale=1, largest=24):
        low = -largest if signed else 0
        gain = self.rng.integers(low, largest + 1, self.shape(source)[0]) * scale
        return Skip(source=source, gain=gain.astype(np.int32))

    def layer(self, *terms, a_bits=4, corners=False):
        """A thresholded layer. corners: some thresholds equal their neighbour, never fire, or always fire."""
        channels = (terms[0].codes if isinstance(terms[0], Convolution) else terms[0].gain).shape[0]
        bias = self.rng.integers(-200, 201, channels).astype(np.int32)
        layer = Layer(name=f"layer{len(self.layers)}", terms=terms, bias=bias)
        acc = accumulate(layer, self.tensors)
        count = (1 << a_bits) - 1
        slices = np.quantile(acc.reshape(channels, -1), np.arange(1, count + 1) / (count + 1), axis=1).T
        thresholds = np.sort(np.rint(slices).astype(np.int32) + self.rng.integers(-2, 3, slices.shape), axis=1)
        if corners:
            equal = self.rng.random(thresholds.shape) < 0.2
            equal[:, 0] = False
            thresholds = np.where(equal, np.roll(thresholds, 1, axis=1), thresholds)
            thresholds = np.where(self.rng.random(thresholds.shape) < 0.05, self.rng.choice([INT32.min, INT32.max]), thresholds)
            thresholds.sort(axis=1)
        layer = Layer(name=layer.name, terms=terms, bias=bias, thresholds=thresholds.astype(np.int32), a_bits=a_bits)
        return self._append(layer, to_codes(acc, layer.thresholds))

    def max_pool(self, source):
        return self._append(MaxPool(name=f"layer{len(self.layers)}", source=source), max_pool(self.tensors[source]))

    def logits(self, source, classes, *, w_bits=8, style="affine"):
        term = self.conv(source, classes, kernel=1, w_bits=w_bits, style=style)
        bias = self.rng.integers(-100_000, 100_001, classes).astype(np.int32)
        return self._append(Layer(name="logits", terms=(term,), bias=bias), None)

    def net(self):
        classes = tuple(f"class {i}" for i in range(len(self.layers[-1].bias)))
        return IntegerNet(name=self.name, layers=tuple(self.layers), input_shape=self.input_shape, classes=classes,
                          header={"dataset": "random"})

    def _append(self, layer, codes):
        self.layers.append(layer)
        self.tensors[layer.name] = codes
        return layer.name


def random_net(seed, config):
    """A random net that fits `config` in the depths its named instances have."""
    rng = np.random.default_rng(seed)
    height, width = (int(rng.integers(max(4, side // 2), side + 1)) for side in (config.image_height, config.image_width))
    if max(height, width) > 16:                                # as good a test as a large picture, and much faster
        height, width = (int(rng.integers(5, 17)) for _ in range(2))
    build = NetBuilder(rng, (3, height, width), name=f"random{seed}")
    tiles = config.threshold_depth // config.load_beats - 1    # output tiles that the threshold memory has room for
    bits = dict(a_bits=int(rng.integers(2, config.a_bits + 1)), corners=bool(rng.random() < 0.5))
    name = IMAGE
    for index in range(int(rng.integers(2, 6))):
        channels = int(rng.integers(1, 2 * config.rows + 1)) if rng.random() < 0.7 else config.rows
        step = "conv" if index == 0 else str(rng.choice(["conv", "conv", "skip", "projection", "max-pool"]))
        _, height, width = build.shape(name)
        stride = int(rng.choice([1, 1, 2])) if min(height, width) >= 4 else 1
        kernel = 3 if index == 0 else int(rng.choice([1, 3, 3]))
        tiles -= 2 * -(-channels // config.rows) * config.parts
        if tiles < 0:
            break
        conv = dict(w_bits=int(rng.integers(2, 5)), style=str(rng.choice(["index", "affine", "table"])))
        if step == "max-pool" and min(height, width) >= 2:
            name = build.max_pool(name)
        elif step == "skip":
            same = build.shape(name)[0]
            body = build.layer(build.conv(name, same, kernel=kernel, **conv), **bits)
            skip = build.skip(name, signed=bool(rng.random() < 0.6), scale=int(rng.choice([1, 2, 8])))
            name = build.layer(build.conv(body, same, **conv), skip, **bits)
        elif step == "projection":
            body = build.layer(build.conv(name, channels, kernel=kernel, stride=stride, **conv), **bits)
            name = build.layer(build.conv(body, channels, **conv),
                               build.conv(name, channels, kernel=1, stride=stride, shift=int(rng.integers(0, 4))), **bits)
        else:
            name = build.layer(build.conv(name, channels, kernel=kernel, stride=stride, **conv), **bits)
    build.logits(name, int(rng.integers(2, 2 * config.channels + 3)), w_bits=int(rng.choice([2, 4, 8])))
    return build.net()


def resnet8_like(seed=0):
    """Random weights in the shape of MLPerf Tiny's ResNet-8: 4-bit weights and activations, 8-bit logits, 10 classes."""
    build = NetBuilder(np.random.default_rng(seed), (3, 32, 32), name="resnet8-like")
    name = build.layer(build.conv(IMAGE, 16))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        body = build.layer(build.conv(name, channels, stride=stride))
        residual = build.skip(name) if stride == 1 else build.conv(name, channels, kernel=1, stride=stride)
        name = build.layer(build.conv(body, channels), residual)
    build.logits(name, 10)
    return build.net()
