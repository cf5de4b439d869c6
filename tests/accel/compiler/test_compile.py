"""What the compiler emits, where it puts tensors, and what it refuses."""
import pickle
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from accel.compiler.compile import DoesNotFit, compile_net
from accel.compiler.placement import Tensor, bands, place, sources
from accel.compiler.terms import kernel_of
from accel.config import CONFIGS, R8C8P2, R8C8P2_ONCHIP, R16C16P1, R16C16P2, TINY
from accel.interp import Interpreter
from accel.isa import ROW_BITS, Emit, End, Levels, Pass, Settings, Source, Tile, heap_order, unpacked
from model import zoo
from model.common.errors import UserError
from model.integer.net import PICTURE, Layer, MaxPool, Skip
from tests.accel.variants import VARIANTS
from tests.nets import NetBuilder, random_net, resnet8_like, sized_net


def instructions(image):
    """[(layout, fields)]."""
    return [(layout, SimpleNamespace(**fields)) for layout, fields, _ in Interpreter(image).program]


def of_layer(image, layer):
    """Its `LayerInfo`, its `RunInfo` and instructions, by its name."""
    info = next(info for info in image.layers if info.name == layer)
    [run] = [run for run in image.runs if run.layer == layer]
    return info, run, instructions(image)[run.start:run.stop]


def passes(image, layer):
    """The passes of a layer, by its name, one by one: those of one instruction differ in their base alone."""
    chosen, plane = [], 0
    for layout, fields in of_layer(image, layer)[2]:
        if layout is Source:
            plane = fields.plane
        elif layout is Pass:
            chosen += [SimpleNamespace(**vars(fields) | {"base": (fields.base + k * plane) % (1 << ROW_BITS)})
                       for k in range(fields.more + 1)]
    return chosen


def tiles(image, layer):
    return [fields for layout, fields in of_layer(image, layer)[2] if layout is Tile]


def small_net(**changes):
    """One 3x3 layer of 4 channels on the picture and 3 logits; `changes` of the first term."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    term = build.conv(PICTURE, 4)
    build.logits(build.layer(term), 3, w_bits=4)
    net = build.net()
    return replace(net, layers=(replace(net.layers[0], terms=(replace(term, **changes),)), net.layers[1]))


# What the array multiplies.

@pytest.mark.parametrize("style", ["index", "affine", "table"])
@pytest.mark.parametrize("w_bits", range(1, 9))
@pytest.mark.parametrize("name", ["tiny", "2-bit", "3-bit"])
def test_kernels_are_their_weights(name, w_bits, style):
    config = VARIANTS[name]
    build = NetBuilder(np.random.default_rng(w_bits), (3, 4, 4))
    term = build.conv(PICTURE, 5, w_bits=w_bits, style=style, shift=2)
    kernel = kernel_of(term, config)
    weights = kernel.weights(1).reshape(3, 3, 5, 3).transpose(2, 3, 0, 1)
    np.testing.assert_array_equal(weights, term.weights())
    digits = sum(_digit(kernel, j, config.w_bits) << config.w_bits * j
                 for j in range(kernel.digits))
    np.testing.assert_array_equal(
        (digits << kernel.shift) + (kernel.beta << kernel.beta_shift), kernel.weights(1))
    assert digits.min() >= 0


def _digit(kernel, j, w_bits):
    """Digit j of every weight, as stored and looked up."""
    stored = kernel.stored(kernel.codes, j, w_bits)
    if kernel.tables is None:
        return stored
    assert (stored is None) == (j > 0)
    return np.array(kernel.tables[j])[kernel.codes]


def test_random_residuals_are_diagonals():
    rng = np.random.default_rng(0)
    for _ in range(300):
        limit = 1 << int(rng.integers(0, 15))
        low = int(rng.choice([-limit, 0]))
        gain = rng.integers(low, limit, int(rng.integers(1, 9))) << int(rng.integers(0, 4))
        for config in (TINY, VARIANTS["2-bit"]):
            kernel = kernel_of(Skip(source="x", gain=gain.astype(np.int32)), config)
            np.testing.assert_array_equal(kernel.weights(1)[0], np.diag(gain))
            assert kernel.weights(8).shape == (1, -(-len(gain) // 8) * 8, len(gain))
            np.testing.assert_array_equal(kernel.weights(8)[0, len(gain):], 0)


def test_residual_digits():
    """4-bit digits: none wasted on a common factor or on a sign that is not there."""
    def digits(*gain):
        return kernel_of(Skip(source="x", gain=np.array(gain, np.int32)), TINY).digits
    assert digits(0, 15) == digits(-15, 0) == digits(-1, 14) == digits(-32, 16) == digits(48, 240) == 1
    assert digits(16, 1) == digits(-16, -1) == digits(-1, 15) == digits(-8, 9) == 2


# The program.

@pytest.mark.parametrize("name", VARIANTS)
def test_state_changes_only_where_needed(name):
    """No Source or Levels repeats what is in force."""
    image = compile_net(random_net(5, VARIANTS[name]), VARIANTS[name])
    force = {}
    for layout, instruction in instructions(image):
        if layout in (Source, Levels):
            key = (layout, instruction.half if layout is Levels else 0)
            assert force.get(key) != instruction
            force[key] = instruction
    *before, (layout, last) = instructions(image)
    assert layout is Emit and last.last and last.end
    assert not any(layout is End or layout is Emit and (fields.last or fields.end) for layout, fields in before)


def test_barriers_only_before_unwritten_tensors():
    """A branch that reads older tensors need not wait for its neighbour."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    a = build.layer(build.conv(PICTURE, 8))
    b = build.layer(build.conv(a, 8))
    c = build.layer(build.conv(a, 8))
    d = build.layer(build.conv(b, 4), build.conv(c, 4))
    build.logits(d, 3)
    image = compile_net(build.net(), TINY)
    assert {info.name: [tile.barrier for tile in tiles(image, info.name)] for info in image.layers} == {
        a: [0, 0], b: [1, 0], c: [0, 0], d: [1], "logits": [1]}


def test_first_and_last_frame_every_tile():
    image = compile_net(random_net(3, TINY), TINY)
    flags, count = [], 0
    for layout, instruction in instructions(image):
        if layout is Tile:
            count += 1
        elif layout is Pass:
            flags.append((instruction.clear, instruction.final))
    firsts = [index for index, (first, _) in enumerate(flags) if first]
    lasts = [index for index, (_, last) in enumerate(flags) if last]
    assert len(firsts) == len(lasts) == count
    assert firsts == [0] + [index + 1 for index in lasts[:-1]]


def test_weights_are_stored_once():
    """The picture's digit planes and the digits of a level table share the stored words."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    layer = build.layer(build.conv(PICTURE, 4, style="table"))
    build.logits(layer, 3, w_bits=8)
    image = compile_net(build.net(), TINY)
    first, last = passes(image, layer), passes(image, "logits")
    assert [p.repeat for p in first] == [0, 1, 1, 1] * 9    # 2 digits of 6-bit levels, 2 of pixels
    assert [p.repeat for p in last] == [0, 0]               # 8-bit codes are two codes
    assert len(image.weights) == (9 + 2) * TINY.rows
    assert [p.shift for p in first[:4]] == [0, 4, 4, 8]
    assert [bool(p.beta) for p in first[:4]] == [True, True, False, False]
    assert [p.beta_shift for p in first[:4]] == [0, 4, 0, 0]


def test_image_taps_share_a_word():
    """The large array takes three horizontal taps of the picture at once."""
    image = compile_net(resnet8_like(), R16C16P2)
    first = passes(image, "layer0")
    assert [(p.dy, p.dx) for p in first] == [(-1, 0), (-1, 0), (0, 0), (0, 0), (1, 0), (1, 0)]


@pytest.mark.parametrize("config", [R16C16P2, R16C16P1], ids=lambda config: config.name)
def test_resnet8_size(config):
    image = compile_net(resnet8_like(), config)
    counts = [len(passes(image, info.name)) for info in image.layers]
    # conv: 9 taps x input tiles x output tiles; +2 digits of the residual's gains, + projections
    assert counts == [6, 9, 11, 18, 38, 72, 152, 8]
    assert len(image.weights) == (sum(counts) - 3) * config.rows
    assert len(image.thresholds) == 15 * config.threshold_words + 20
    assert sum(info.macs for info in image.layers) == 12_501_632


def test_activation_words_are_written_whole():
    """Where 4 output tiles share a word, the lanes beyond the channels are written too, as zeros:
    `beta` times the sum of a word needs them."""
    config = VARIANTS["4-parts"]
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    layer = build.layer(build.conv(PICTURE, 18))
    build.logits(layer, 2)
    image = compile_net(build.net(), config)
    info, run, _ = of_layer(image, layer)
    assert [tile.part for tile in tiles(image, layer)] == [0, 1, 2, 3] * 2
    assert info.writes == 8 * 8 * 4
    interpreter = Interpreter(image)
    interpreter.activations[:] = 15
    interpreter.run(np.full((1, 3, 8, 8), 255, np.uint8))
    second_word = interpreter.activations[run.base + 8 * info.pitch:][:8 * info.pitch]
    assert not second_word[..., 2:].any()


def test_thresholds_fold_the_bias():
    net = small_net()
    image = compile_net(net, TINY)
    words = image.thresholds[:TINY.threshold_words].reshape(4, 15)
    layer = net.layers[0]
    np.testing.assert_array_equal(
        words, heap_order(layer.thresholds.astype(np.int64) - layer.bias[:, None]))


# Places.

def size(tensor, config):
    """Bank rows."""
    return -(-tensor.shape[0] // config.rows) * tensor.plane


def rows_of(tensor, config):
    return range(tensor.base, tensor.base + size(tensor, config))


def taken_by_pictures(tensors, config):
    """Bank rows of all picture buffers."""
    picture = tensors[PICTURE]
    return range((2 if picture.second else 1) * config.a_digits * picture.plane)


def overlap(a, b):
    return a.start < b.stop and b.start < a.stop


def check_places(net, config):
    """No tensor lies where a live one does, but in place. Returns how many replace another one."""
    tensors, replaced = place(net, config), 0
    picture = taken_by_pictures(tensors, config)
    picture_read = [index for index, layer in enumerate(net.layers) if PICTURE in sources(layer)]
    assert tensors[PICTURE].second in (0, len(picture) // 2)
    for index, layer in enumerate(net.layers[:-1]):
        rows = rows_of(tensors[layer.name], config)
        assert 0 <= rows.start <= rows.stop <= config.activation_depth
        if tensors[PICTURE].second or index <= max(picture_read):
            assert not overlap(rows, picture)
        later = {name for other in net.layers[index + 1:] for name in sources(other)} - {PICTURE}
        written = {other.name for other in net.layers[:index]}
        for name in written & later:                                        # needed after this layer
            assert not overlap(rows, rows_of(tensors[name], config))
        for name in written & sources(layer) - later:                       # its last reader is this layer
            if overlap(rows, rows_of(tensors[name], config)):
                assert rows == rows_of(tensors[name], config) and tensors[name].shape == tensors[layer.name].shape
                assert all(isinstance(term, Skip) for term in layer.terms if term.source == name)
                replaced += 1
    return replaced


@pytest.mark.parametrize("name", VARIANTS)
def test_live_tensors_do_not_overlap(name):
    replaced = sum(check_places(random_net(seed, VARIANTS[name]), VARIANTS[name]) for seed in range(12))
    assert replaced > 0


def residual_net(*, last_reader=True, beside=False):
    """Layer "sum" adds "first" to what "body" makes of it; a layer may read "first" after it, or a convolution in it.
    """
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    build.layer(build.conv(PICTURE, 8), name="first")
    build.layer(build.conv("first", 8), name="body")
    terms = [build.conv("body", 8), build.skip("first")]
    if beside:
        terms.append(build.conv("first", 8, kernel=1))
    name = build.layer(*terms, name="sum")
    if not last_reader:
        name = build.layer(build.conv("sum", 4), build.conv("first", 4), name="after")
    build.logits(name, 3)
    return build.net()


def test_a_residual_writes_over_what_only_it_still_reads():
    for changes, replaced in (({}, 1), ({"last_reader": False}, 0), ({"beside": True}, 0)):
        net = residual_net(**changes)
        assert check_places(net, TINY) == replaced
        tensors = place(net, TINY)
        assert (tensors["sum"].base == tensors["first"].base) == bool(replaced)


@pytest.mark.parametrize("name, config, need", [
    ("resnet8-w4a4-cifar10", R16C16P2, (768, 1536)), ("resnet20-w4a4-cifar10", R16C16P2, (768, 1536)),
    ("resnet8-w4a4-cifar10", R8C8P2, (1024, 2048)), ("resnet20-w4a4-cifar10", R8C8P2, (1024, 2048)),
    ("resnet18-w4a4-cifar10", R16C16P2, (2048, 3072)), ("vgg-w4a4-cifar10", R16C16P2, (1536, 2560))])
def test_bank_rows_of_shipped_nets(name, config, need):
    """The least with one picture buffer, and with two."""
    net = zoo.load(name)
    for depth, buffers in zip(need, (1, 2), strict=True):
        tensors = place(net, replace(config, activation_depth=depth))
        assert 1 + bool(tensors[PICTURE].second) == buffers
    fewer = place(net, replace(config, activation_depth=need[1] - 1))
    assert fewer[PICTURE].second == 0
    with pytest.raises(DoesNotFit) as caught:
        place(net, replace(config, activation_depth=need[0] - 1))
    assert (caught.value.what, caught.value.need) == ("bank rows of activation memory", need[0])


@pytest.mark.parametrize("name", ["2-parts", "4-parts", "tiny"])
def test_tiles_of_a_word_wait_for_each_other_in_place(name):
    """Where a residual reads lanes that the tile before is about to write: not behind passes enough, and not where
    nothing is replaced."""
    config = VARIANTS[name]
    for kernel, last_reader, waits in ((1, True, True), (3, True, False), (1, False, False)):
        build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
        build.layer(build.conv(PICTURE, 24), name="first")
        build.layer(build.conv("first", 24 if kernel == 3 else 1), name="body")
        build.layer(build.conv("body", 24, kernel=kernel), build.skip("first"), name="sum")
        after = ["sum"] if last_reader else ["sum", "first"]
        build.logits(build.layer(*(build.conv(source, 4) for source in after)), 3)
        image = compile_net(build.net(), replace(config, activation_depth=1024, weight_depth=16384, program_depth=8192,
                                                 threshold_depth=4096))
        barriers = [tile.barrier for tile in tiles(image, "sum")]
        assert barriers == [int(index == 0 or waits and index % config.parts > 0 and index * config.channels < 24)
                            for index in range(len(barriers))]


def test_memory_is_used_again():
    """Six large layers in a row need the room of two."""
    build = NetBuilder(np.random.default_rng(0), (3, 32, 32))
    layer = PICTURE
    for _ in range(6):
        layer = build.layer(build.conv(layer, 16))
    build.logits(layer, 10)
    image = compile_net(build.net(), R16C16P2)
    assert [run.base for run in image.runs[:-1]] == [1024, 1280] * 3
    assert unpacked(Settings, image.settings).second == 512


def test_a_picture_takes_the_room_of_its_own_size():
    build = NetBuilder(np.random.default_rng(0), (3, 5, 7))
    build.logits(build.layer(build.conv(PICTURE, 4)), 3)
    settings = unpacked(Settings, compile_net(build.net(), TINY).settings)
    assert (settings.pitch, settings.plane, settings.second) == (2, 10, 20)


def test_a_single_picture_buffer_is_free_after_its_last_reader():
    """Picture 32 rows, three layers of 16: 48 rows hold the picture with its reader's output, and two layers."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    name = PICTURE
    for _ in range(3):
        name = build.layer(build.conv(name, 4))
    build.logits(name, 3)
    image = compile_net(build.net(), replace(TINY, activation_depth=48))
    assert unpacked(Settings, image.settings).second == 0
    assert [run.base for run in image.runs[:-1]] == [32, 0, 16]


# Bands.

def test_a_large_map_is_computed_in_bands():
    """A row of 10 pixels is 5 groups: 32 accumulators hold six rows, so 20 rows are four bands of five. A band has the
    passes and the weights of all others, thresholds are read once."""
    build = NetBuilder(np.random.default_rng(0), (3, 20, 10))
    build.layer(build.conv(PICTURE, 6), name="first")
    build.layer(build.conv("first", 6, stride=2), name="second")
    build.logits("second", 3)
    config = replace(TINY, accumulator_depth=32)
    image = compile_net(build.net(), config)
    plane = 20 * 3
    info, run, _ = of_layer(image, "first")
    first = tiles(image, "first")
    assert [(tile.top, tile.height) for tile in first] == [(0, 5), (5, 5), (10, 5), (15, 5)] * 2
    assert [tile.base for tile in first] == [run.base + word * plane + top * 3 for word in (0, 1)
                                             for top in (0, 5, 10, 15)]
    assert [tile.thresholds for tile in first] == [1, 0, 0, 0] * 2
    assert [tile.barrier for tile in tiles(image, "second")] == [1, 0, 0, 0][:len(tiles(image, "second"))]
    assert info.writes == 2 * 20 * 5
    middle = [one.base for one in passes(image, "first") if (one.dy, one.dx) == (0, 0)]
    assert middle[:8:2] == [0, 5 * 3, 10 * 3, 15 * 3] and middle[1] == plane        # a digit plane each


def test_bands_cover_a_tensor():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 128, 2))
        tensor = Tensor(name="t", shape=(1, height, width), pitch=1, largest=1)
        groups = -(-width // TINY.pixels_per_cycle)
        config = replace(TINY, accumulator_depth=int(rng.integers(groups, 4 * groups + 1)))
        cut = bands(tensor, config)
        assert [row for top, rows in cut for row in range(top, top + rows)] == list(range(height))
        most = config.accumulator_depth // groups
        assert all(1 <= rows <= most for _, rows in cut) and len(cut) == -(-height // most)


# What does not fit.

def refusal(net, config=TINY):
    """The message, from the layer's name to the limit: one line that names net, configuration, layer, need and limit,
    and what the net fits."""
    with pytest.raises(DoesNotFit) as caught:
        compile_net(net, config)
    error = caught.value
    assert isinstance(error, UserError)
    assert str(error) == (f"{net.name} does not fit {config.name}: layer {error.layer}: {error.what}: "
                          f"needs {error.need}, the limit is {error.limit}; it fits "
                          + (error.room() or "no shipped configuration"))
    return str(error).partition(": layer ")[2].partition("; it fits")[0]


@pytest.mark.parametrize("name, config, fitting", [
    ("resnet8half-w4a4-cifar10", TINY, "configuration 8x8x2"),
    ("resnet8-w4a4-cifar10", R8C8P2_ONCHIP, "configuration 8x8x2"),
    ("vgg-w4a4-cifar10", R8C8P2, "configuration 16x8x2")])
def test_a_configuration_with_room_is_named(name, config, fitting):
    net = zoo.load(name)
    with pytest.raises(DoesNotFit) as caught:
        compile_net(net, config)
    assert re.fullmatch(f"{name} does not fit {config.name}: layer [^;]*, the limit is [^;]*; it fits {fitting}",
                        str(caught.value))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)       # processes hand it on
    if fitting.startswith("configuration "):
        compile_net(net, CONFIGS[fitting.removeprefix("configuration ")])


def test_no_configuration_with_room():
    with pytest.raises(DoesNotFit, match="layer image: bank rows of activation memory: needs 9216, the limit is 512; "
                                         "it fits no shipped configuration"):
        compile_net(sized_net("96x96"), TINY)


def test_a_net_that_is_wrong_behind_what_does_not_fit():
    """Its other fault, which every other configuration meets, does not replace the message."""
    build = NetBuilder(np.random.default_rng(0), (3, 32, 32))
    build.logits(build.layer(build.conv(PICTURE, 4)), 2)
    net = build.net()
    broken = replace(net, layers=(*net.layers[:1], replace(net.layers[0], name="image"), *net.layers[1:]))
    assert refusal(broken, replace(TINY, accumulator_depth=15)) == (
        "layer0: pixel groups of a row of its feature map: needs 16, the limit is 15")


@pytest.mark.parametrize("changes, message", [
    (dict(codes=np.zeros((4, 3, 5, 5), np.uint8), padding=2),
     "layer0: kernel: needs 5x5, the limit is 1x1 or 3x3"),
    (dict(codes=np.zeros((4, 3, 1, 3), np.uint8)),
     "layer0: kernel: needs 1x3, the limit is 1x1 or 3x3"),
    (dict(padding=0), "layer0: padding: needs 0, the limit is 1"),
    (dict(stride=3), "layer0: stride: needs 3, the limit is 2"),
    (dict(alpha=3), "layer0: alpha: needs 3, the limit is 1 or 2"),
    (dict(drop=1), "layer0: low bits dropped of the picture: needs 1, the limit is 0"),
    (dict(shift=12, codes=np.zeros((4, 3, 3, 3), np.uint8), alpha=1, beta=0),
     "layer0: shift of the PASS instruction: needs 16, the limit is 15"),
    (dict(shift=11, codes=np.full((4, 3, 3, 3), 15, np.uint8), alpha=1, beta=0),
     "layer0: range of the accumulator: needs 0 .. 211507200, the limit is -2097152 .. 2097150"),
])
def test_refused_terms(changes, message):
    assert refusal(small_net(**changes)) == message


def test_refused_drop():
    """A convolution that sees no bit of its codes."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    name = build.layer(build.conv(PICTURE, 4))
    build.logits(build.layer(build.conv(name, 4, drop=4)), 3)
    assert refusal(build.net()) == "layer1: low bits dropped: needs 4, the limit is 3"


def test_dropped_bits_are_not_in_the_range_of_the_sums():
    """Sums that only bits which are not seen could take out of range are no reason to refuse a net."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    name = build.layer(build.conv(PICTURE, 4))
    term = replace(build.conv(name, 4, style="affine"), codes=np.full((4, 4, 3, 3), 9, np.uint8), beta=0, shift=9)
    build.logits(build.layer(replace(term, drop=3)), 3, w_bits=4)
    net = build.net()
    assert (36 * 8 * 9 << 9) < 1 << TINY.acc_bits - 1 < (36 * 15 * 9 << 9)
    compile_net(net, TINY)
    first, layer, logits = net.layers
    whole = replace(net, layers=(first, replace(layer, terms=(term,)), logits))
    assert refusal(whole).startswith(f"layer1: range of the accumulator: needs 0 .. {36 * 15 * 9 << 9}")


def test_refused_offset():
    """An offset too long for its field, and not even."""
    build = NetBuilder(np.random.default_rng(0), (3, 4, 4))
    layer = build.layer(build.conv(PICTURE, 1), a_bits=2)
    term = replace(build.conv(layer, 1, kernel=1), alpha=1, beta=-4097)
    build.logits(build.layer(term), 3)
    assert refusal(build.net()) == (
        "layer1: beta of the PASS instruction: needs -4097, the limit is -2048")


@pytest.mark.parametrize("limits, message", [
    (dict(program_depth=19), "layer0: instructions: needs 25, the limit is 19"),
    (dict(program_depth=24), "logits: instructions: needs 25, the limit is 24"),
    (dict(weight_depth=32), "layer0: weight words: needs 40, the limit is 32"),
    (dict(threshold_depth=60), "logits: threshold words: needs 66, the limit is 60"),
    (dict(accumulator_depth=3), "layer0: pixel groups of a row of its feature map: needs 4, the limit is 3"),
    (dict(accumulator_depth=31), "logits: pixel groups of its feature map: needs 32, the limit is 31"),
    (dict(activation_depth=47), "layer0: bank rows of activation memory: needs 48, the limit is 47"),
    (dict(activation_depth=31), "image: bank rows of activation memory: needs 48, the limit is 31"),
    (dict(a_bits=3, w_bits=3), "layer0: a_bits: needs 4, the limit is 3"),
])
def test_refused_sizes(limits, message):
    assert refusal(small_net(), replace(TINY, **limits)) == message


def test_a_net_fits_memories_of_its_size():
    config = replace(TINY, program_depth=25, weight_depth=40, threshold_depth=66,
                     accumulator_depth=32, activation_depth=80)
    image = compile_net(small_net(), config)
    assert (len(image.program), len(image.weights), len(image.thresholds)) == (25, 40, 66)


def test_refused_sources():
    """The picture has digits, and on a large array three taps in a word."""
    net = small_net()
    skip = Skip(source=PICTURE, gain=np.ones(3, np.int32))
    layer = Layer(name="sum", terms=(skip,), bias=np.zeros(3, np.int32), a_bits=2,
                  thresholds=np.zeros((3, 3), np.int32))
    assert refusal(replace(net, layers=(layer, *net.layers))).startswith("sum: residual: ")
    pool = MaxPool(name="pool", source=PICTURE)
    assert refusal(replace(net, layers=(pool, *net.layers))).startswith("pool: max-pool: ")
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    build.logits(build.layer(build.conv(PICTURE, 4, kernel=1)), 2)
    compile_net(build.net(), TINY)
    assert refusal(build.net(), R16C16P2).startswith("layer0: kernel over the picture: needs 1x1")


def test_refused_logits():
    """Each accumulator fits, their sum over the picture does not."""
    config = replace(TINY, accumulator_depth=1024, acc_bits=32, activation_depth=2048)
    build = NetBuilder(np.random.default_rng(0), (3, 32, 32))
    layer = build.layer(build.conv(PICTURE, 4))
    build.layers.append(Layer(name="logits", bias=np.zeros(2, np.int32), terms=(
        replace(build.conv(layer, 2, kernel=1), shift=14),)))
    assert refusal(build.net(), config).startswith("logits: range of the logits: needs -")


def test_refused_structures():
    net = small_net()
    layer, logits = net.layers
    for layers in ((layer,), (logits, layer), (layer, layer, logits), (layer, logits, logits)):
        with pytest.raises(UserError, match="layer .*: not in execution order"):
            compile_net(replace(net, layers=layers), TINY)
    wide = replace(layer, terms=(replace(layer.terms[0], codes=np.zeros((4, 5, 3, 3), np.uint8)),))
    with pytest.raises(UserError, match="layer0: weights for 5 channels cannot read image of 3"):
        compile_net(replace(net, layers=(wide, logits)), TINY)
    uneven = replace(layer, terms=(layer.terms[0], replace(layer.terms[0], stride=2)))
    with pytest.raises(UserError, match="layer0: its terms give outputs of shapes"):
        compile_net(replace(net, layers=(uneven, logits)), TINY)


def test_a_tape_longer_than_the_sdram(monkeypatch):
    """With an SDRAM the memories on the chip are rings, and the tape's chunks count; this net has three."""
    config = replace(TINY, weight_depth=8, threshold_depth=64, program_depth=1, sdram_hz=100_000_000)
    image = compile_net(small_net(), config)
    assert not image.resident
    need = len(image.tape)
    monkeypatch.setattr("accel.compiler.assemble.CHUNK_LIMIT", need)
    compile_net(small_net(), config)
    monkeypatch.setattr("accel.compiler.assemble.CHUNK_LIMIT", need - 1)
    assert refusal(small_net(), config).endswith(f": chunks of the tape: needs {need}, the limit is {need - 1}")
