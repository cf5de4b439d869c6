"""Integer nets for tests, and pictures for them: random nets that fit an accelerator, one that has every kind of term,
one shaped as ResNet-8.

Thresholds are put where the accumulators of a random picture are, so that codes vary everywhere.
"""
from dataclasses import replace

import numpy as np

from accel.compiler.compile import DoesNotFit, compile_net
from model.integer import golden
from model.integer.net import PICTURE, Convolution, IntegerNet, Layer, MaxPool, Skip, tensor_shapes

__all__ = ["SIZES", "NetBuilder", "corner_pictures", "every_term_net", "extreme_net", "random_net", "random_pictures",
           "resnet8_like", "residual_net", "sized_net"]

# Nets at the edges of what fits: (channels, height, width) of the picture, classes, channels of the first layer.
SIZES = {"64x64": ((3, 64, 64), 10, 4), "96x96": ((3, 96, 96), 10, 8), "grey": ((1, 28, 28), 10, 4),
         "100 classes": ((3, 32, 32), 100, 4), "1000 classes": ((3, 32, 32), 1000, 4),
         "127 wide": ((1, 5, 127), 3, 4), "127 high": ((3, 127, 3), 2, 4)}

INT32 = np.iinfo(np.int32)


def random_pictures(net, count=1, seed=0):
    """Pictures uint8 (count, C, H, W)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *net.input_shape), dtype=np.uint8)


def corner_pictures(net):
    """All 0 and all 255, uint8 (2, C, H, W)."""
    return np.stack([np.full(net.input_shape, value, dtype=np.uint8) for value in (0, 255)])


class NetBuilder:
    """Appends layers, which are called as they say or layer0, layer1, ... The methods that append a layer return its
    name, by which the next ones read it."""

    def __init__(self, rng, input_shape, name="random"):
        self.rng, self.name, self.input_shape = rng, name, input_shape
        self.layers = []
        self.picture = rng.integers(0, 256, (1, *input_shape), dtype=np.uint8)

    def shape(self, name):
        """(C, H, W) of the tensor of that name."""
        return tensor_shapes(self.net())[name]

    def conv(self, source, out_channels, *, kernel=3, stride=1, w_bits=4, shift=0, style="index", drop=0):
        """A convolution term. style: "index" (the centred index grid), "affine" (alpha 1), or
        "table" (signed 6-bit levels)."""
        codes = self.rng.integers(
            0, 1 << w_bits, (out_channels, self.shape(source)[0], kernel, kernel), dtype=np.uint8)
        if style == "table":
            grid = {"levels": self.rng.integers(-32, 32, 1 << w_bits).astype(np.int32)}
        elif style == "affine":
            grid = {"alpha": 1, "beta": -int(self.rng.integers(1 << w_bits))}
        else:
            grid = {"alpha": 2, "beta": 1 - (1 << w_bits)}
        return Convolution(source=source, codes=codes, w_bits=w_bits, stride=stride,
                           padding=kernel // 2, shift=shift, drop=drop, **grid)

    def skip(self, source, *, signed=True, scale=1, largest=24):
        low = -largest if signed else 0
        gain = self.rng.integers(low, largest + 1, self.shape(source)[0]) * scale
        return Skip(source=source, gain=gain.astype(np.int32))

    def layer(self, *terms, a_bits=4, corners=False, name=None):
        """A layer with thresholds. corners: some equal their neighbours, always or never fire."""
        channels, count = self._channels(terms), (1 << a_bits) - 1
        layer = Layer(name=name or f"layer{len(self.layers)}", terms=terms, bias=np.zeros(channels, np.int32))
        acc = golden.accumulators(self.net(layer), self.picture, layer.name)[0]
        bias = self.rng.integers(-200, 201, channels)
        parts = np.arange(1, count + 1) / (count + 1)
        thresholds = np.quantile(acc.reshape(channels, -1), parts, axis=1).T + bias[:, None]
        thresholds = np.rint(thresholds).astype(np.int64)
        thresholds += self.rng.integers(-2, 3, thresholds.shape)
        if corners:
            chance = self.rng.random(thresholds.shape)
            thresholds = np.where(chance < 0.2, np.roll(thresholds, 1, axis=1), thresholds)
            thresholds[chance > 0.95] = INT32.min
            thresholds[chance > 0.975] = INT32.max
        return self._append(replace(layer, bias=bias.astype(np.int32), a_bits=a_bits,
                                    thresholds=np.sort(thresholds, axis=1).astype(np.int32)))

    def max_pool(self, source, *, name=None):
        return self._append(MaxPool(name=name or f"layer{len(self.layers)}", source=source))

    def logits(self, source, classes, *, w_bits=8, style="affine", drop=0, name="logits"):
        term = self.conv(source, classes, kernel=1, w_bits=w_bits, style=style, drop=drop)
        bias = self.rng.integers(-100_000, 100_001, classes).astype(np.int32)
        return self._append(Layer(name=name, terms=(term,), bias=bias))

    def net(self, *more):
        """The layers so far, and `more`."""
        layers = (*self.layers, *more)
        count = len(layers[-1].bias) if layers and hasattr(layers[-1], "bias") else 0
        return IntegerNet(name=self.name, layers=layers, input_shape=self.input_shape,
                          classes=tuple(f"class {i}" for i in range(count)), header={"dataset": "random"})

    @staticmethod
    def _channels(terms):
        return len(terms[0].gain if isinstance(terms[0], Skip) else terms[0].codes)

    def _append(self, layer):
        self.layers.append(layer)
        return layer.name


def random_net(seed, config):
    """A random net that fits `config`; pictures of every fifth one have one channel."""
    channels = 1 if seed % 5 == 4 else 3
    rng = np.random.default_rng(seed)
    while True:
        net = _random_net(rng, config, channels, f"random{seed}")
        try:
            compile_net(net, config)
        except DoesNotFit:
            continue
        return net


def _random_net(rng, config, channels, name):
    large = config.activation_depth > 512
    height, width = (int(rng.integers(max(4, side // 2), side + 1))
                     for side in (12 if large else 8, 14 if large or config.pixels_per_cycle > 2 else 8))
    build = NetBuilder(rng, (channels, height, width), name)
    bits = {"a_bits": int(rng.integers(2, config.a_bits + 1)), "corners": bool(rng.random() < 0.5)}
    name, kernel, block = PICTURE, 3, "conv"
    for _ in range(int(rng.integers(2, 6))):
        channels, height, width = build.shape(name)
        out_channels = int(rng.integers(1, 2 * config.rows + 1))
        stride = int(rng.choice([1, 1, 2]))
        grid = {"w_bits": int(rng.integers(2, 5)),
                "style": str(rng.choice(["index", "affine", "table"]))}
        drop = 0 if name == PICTURE else int(rng.choice([0, bits["a_bits"] // 2, bits["a_bits"] - 1]))
        if block == "max-pool" and min(height, width) >= 2:
            name = build.max_pool(name)
        elif block == "skip":
            body = build.layer(build.conv(name, channels, kernel=kernel, drop=drop, **grid), **bits)
            skip = build.skip(name, signed=bool(rng.random() < 0.6), scale=int(rng.choice([1, 6])))
            beside = [build.conv(name, channels, kernel=1, drop=drop, **grid)] if drop else []
            name = build.layer(build.conv(body, channels, **grid), skip, *beside, **bits)
        elif block == "projection":
            body = build.conv(name, out_channels, kernel=kernel, stride=stride, drop=drop, **grid)
            body = build.layer(body, **bits)
            projection = build.conv(name, out_channels, kernel=1, stride=stride, drop=drop,
                                    shift=int(rng.integers(0, 4)))
            name = build.layer(build.conv(body, out_channels, **grid), projection, **bits)
        else:
            conv = build.conv(name, out_channels, kernel=kernel, stride=stride, drop=drop, **grid)
            name = build.layer(conv, **bits)
        kernel = int(rng.choice([1, 3, 3]))
        block = rng.choice(["conv", "conv", "skip", "projection", "max-pool"])
    build.logits(name, int(rng.integers(2, 2 * config.channels + 3)), w_bits=int(rng.choice([2, 4, 8])),
                 drop=int(rng.integers(bits["a_bits"])))
    return build.net()


def residual_net(seed, config):
    """A random net of residuals that write over what they add, and fits `config`: first or last in their layers, with
    gains of one digit and more, behind passes too few to cover a drain, and alone."""
    rng = np.random.default_rng(seed)
    while True:
        build = NetBuilder(rng, (3, *(int(side) for side in rng.integers(3, 9, 2))), f"residual{seed}")
        name = build.layer(build.conv(PICTURE, int(rng.integers(1, 3 * config.rows)), w_bits=config.w_bits),
                           a_bits=config.a_bits)
        for _ in range(int(rng.integers(1, 4))):
            channels = build.shape(name)[0]
            body = build.layer(build.conv(name, int(rng.choice([1, channels])), kernel=int(rng.choice([1, 3]))),
                               a_bits=config.a_bits)
            skip = build.skip(name, signed=bool(rng.random() < 0.8), largest=int(rng.choice([3, 24, 200])))
            terms = [build.conv(body, channels, kernel=int(rng.choice([1, 3]))), skip]
            terms = [terms, terms[::-1], [skip]][int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
            name = build.layer(*terms, a_bits=config.a_bits, corners=bool(rng.random() < 0.5))
        build.logits(name, 3, w_bits=4)
        net = build.net()
        try:
            compile_net(net, config)
        except DoesNotFit:
            continue
        return net


def sized_net(name, seed=0):
    """A small net with a residual for pictures and classes of `SIZES`."""
    shape, classes, channels = SIZES[name]
    build = NetBuilder(np.random.default_rng(seed), shape, name.replace(" ", "-"))
    first = build.layer(build.conv(PICTURE, channels), name="first")
    body = build.layer(build.conv(first, channels), name="body")
    add = build.layer(build.conv(body, channels), build.skip(first), name="sum")
    last = build.layer(build.conv(add, 8, stride=2), build.conv(add, 8, kernel=1, stride=2), name="last")
    while np.prod(build.shape(last)[1:]) > 256:
        last = build.max_pool(last)
    build.logits(last, classes)
    return build.net()


def every_term_net(seed=0):
    """A small net that has every kind of term: layers a, b, d of them, the max-pool c and the logits e."""
    build = NetBuilder(np.random.default_rng(seed), (3, 12, 12))
    build.layer(build.conv(PICTURE, 6), name="a")
    build.layer(build.conv("a", 6, style="table", drop=2), build.skip("a"), a_bits=3, name="b")
    build.max_pool("b", name="c")
    build.layer(build.conv("c", 8, w_bits=2, stride=2, drop=1), build.conv("c", 8, kernel=1, stride=2, drop=2),
                build.conv("c", 8, kernel=1, w_bits=3, style="affine", stride=2, shift=2, drop=1), name="d")
    build.logits("d", 5, drop=2, name="e")
    return build.net()


def resnet8_like(seed=0):
    """Random weights in the shape of MLPerf Tiny's ResNet-8: 4-bit weights and activations, 8-bit
    weights in the last layer, 10 classes."""
    build = NetBuilder(np.random.default_rng(seed), (3, 32, 32), name="resnet8-like")
    name = build.layer(build.conv(PICTURE, 16))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        body = build.layer(build.conv(name, channels, stride=stride))
        if stride == 1:
            residual = build.skip(name)
        else:
            residual = build.conv(name, channels, kernel=1, stride=stride)
        name = build.layer(build.conv(body, channels), residual)
    build.logits(name, 10)
    return build.net()


def extreme_net(weight, gain):
    """In the white 3x3 picture, the middle pixel of layer "extreme" sums up 36 codes 3 times
    `weight` and one times `gain`: 3 * (36 * weight + gain), its second threshold."""
    ones = Convolution(source=PICTURE, codes=np.ones((4, 3, 3, 3), np.uint8), w_bits=2, padding=1)
    full = Layer(name="full", terms=(ones,), bias=np.zeros(4, np.int32), a_bits=2,
                 thresholds=np.ones((4, 3), np.int32))
    wide = Convolution(source="full", codes=np.ones((4, 4, 3, 3), np.uint8), w_bits=2, padding=1,
                       levels=np.full(4, weight, np.int32))
    skip = Skip(source="full", gain=np.full(4, gain, np.int32))
    total = 3 * (36 * weight + gain)
    extreme = Layer(name="extreme", terms=(wide, skip), bias=np.zeros(4, np.int32), a_bits=2,
                    thresholds=np.tile(np.array([total - 1, total, total + 1], np.int32), (4, 1)))
    copy = Convolution(source="extreme", codes=np.ones((2, 4, 1, 1), np.uint8), w_bits=2)
    logits = Layer(name="logits", terms=(copy,), bias=np.zeros(2, np.int32))
    return IntegerNet(name="extreme", layers=(full, extreme, logits), input_shape=(3, 3, 3))
