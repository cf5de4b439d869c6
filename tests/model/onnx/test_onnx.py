"""ONNX out and in: what onnxruntime, qonnx and the golden model compute is the same in every bit."""
import sys
from dataclasses import replace

import numpy as np
import pytest

from model import __main__ as command
from model import zoo
from model.commands import export
from model.common.errors import UserError
from model.integer import golden, store
from model.integer.net import PICTURE, Layer, Skip
from tests.model.test_main import failure
from tests.nets import NetBuilder, every_term_net

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("qonnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from qonnx.core.modelwrapper import ModelWrapper  # noqa: E402
from qonnx.core.onnx_exec import execute_onnx  # noqa: E402
from qonnx.transformation.change_batchsize import ChangeBatchSize  # noqa: E402
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean  # noqa: E402
from qonnx.transformation.infer_shapes import InferShapes  # noqa: E402
from qonnx.util.cleanup import cleanup_model  # noqa: E402

from model.onnx import exporter, importer  # noqa: E402

# In the default tier the small ones: a graph of ResNet-18 takes seconds to write, read and run.
LARGE = ("resnet18", "resnet20", "vgg")
NETS = [*(pytest.param(name, marks=pytest.mark.slow) if name.startswith(LARGE) else name for name in zoo.names()),
        *range(6)]
QONNX = exporter.QONNX


def net_of(name):
    return every_term_net(name) if isinstance(name, int) else zoo.load(name)


def pictures(net, count, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *net.input_shape), dtype=np.uint8)
    images[0], images[-1] = 0, 255
    return images


def assert_same_net(net, expected, images):
    """Same logits, and same codes in every layer, whatever its name."""
    np.testing.assert_array_equal(golden.forward(net, images), golden.forward(expected, images))
    codes = golden.trace(net, images).values()
    for tensor, (name, expected_codes) in zip(codes, golden.trace(expected, images).items(), strict=True):
        np.testing.assert_array_equal(tensor, expected_codes, err_msg=name)


def run_qonnx(model, images, tensors=()):
    """The graph's output, then these tensors, by qonnx's executor."""
    wrapper = ModelWrapper(model).transform(ChangeBatchSize(len(images))).transform(InferShapes())
    given, result = wrapper.graph.input[0].name, wrapper.graph.output[0].name
    context = execute_onnx(wrapper, {given: images.astype(np.float32)}, True)
    return [context[name] for name in (result, *tensors)]


# Export

@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("optimized", [False, True])
def test_onnxruntime_runs_the_standard_graph(name, optimized):
    net = net_of(name)
    model = exporter.model_of(net, standard=True)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    images = pictures(net, 7)
    codes = golden.trace(net, images)
    for tensor in codes:
        model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    logits, *tensors = session.run(None, {"image": images})
    assert logits.dtype == np.int32
    np.testing.assert_array_equal(logits, golden.forward(net, images))
    for tensor, (layer_name, expected) in zip(tensors, codes.items(), strict=True):
        np.testing.assert_array_equal(tensor, expected, err_msg=layer_name)
    np.testing.assert_array_equal(session.run(["logits"], {"image": images[3:4]})[0], logits[3:4])


@pytest.mark.parametrize("name", NETS)
def test_qonnx_runs_the_qonnx_graph(name):
    """Its executor warns, and so fails here, where a tensor does not hold what its annotation says."""
    net = net_of(name)
    model = exporter.model_of(net)
    onnx.checker.check_model(model, full_check=True)
    images = pictures(net, 2, seed=1)
    expected = golden.trace(net, images)
    logits, *codes = run_qonnx(model, images, expected)
    np.testing.assert_array_equal(logits, golden.forward(net, images))
    for tensor, layer_name in zip(codes, expected, strict=True):
        np.testing.assert_array_equal(tensor, expected[layer_name], err_msg=layer_name)


@pytest.mark.parametrize("standard", [False, True])
def test_attributes_that_others_rely_on_are_written(standard):
    """FINN, hls4ml and qonnx' passes have no defaults for them."""
    found = {"Conv": set(), "MaxPool": set()}
    for node in exporter.model_of(every_term_net(), standard=standard).graph.node:
        if node.op_type in found:
            found[node.op_type].add(frozenset(attribute.name for attribute in node.attribute))
    window = {"kernel_shape", "strides", "pads", "dilations"}
    assert found == {"Conv": {frozenset(window | {"group"})}, "MaxPool": {frozenset(window | {"ceil_mode"})}}


@pytest.mark.filterwarnings("ignore")                   # qonnx' own
def test_qonnx_makes_it_channels_last():
    """Its pass wants every attribute of a pool; what it makes of the graph gives the same logits."""
    net = every_term_net(3)
    wrapper = ModelWrapper(exporter.model_of(net)).transform(ConvertToChannelsLastAndClean())
    images = pictures(net, 2)
    for image, logits in zip(images, golden.forward(net, images), strict=True):
        result = execute_onnx(wrapper, {wrapper.graph.input[0].name: image[None].astype(np.float32)})
        np.testing.assert_array_equal(result["logits"], logits[None])


def test_annotations_and_metadata():
    net = zoo.load(zoo.DEFAULT)
    model = exporter.model_of(net)
    wrapper = ModelWrapper(model)
    kinds = {"image": "UINT8", "stem.term0.weight": "INT5", "stem": "UINT4", "head.term0.weight": "INT8",
             "logits": "INT32"}
    assert {name: wrapper.get_tensor_datatype(name).name for name in kinds} == kinds
    (first, *_) = wrapper.get_nodes_by_op_type("MultiThreshold")
    assert first.domain == QONNX and first.name == "stem"
    assert wrapper.get_initializer(first.input[1]).shape == (16, 15)
    session = onnxruntime.InferenceSession(exporter.model_of(net, standard=True).SerializeToString())
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["uniqore.digest"] == store.digest(net) and properties["uniqore.name"] == net.name


@pytest.mark.parametrize("low, high, expected", [
    (0, 0, "UINT2"), (0, 15, "UINT4"), (0, 16, "UINT5"), (-15, 15, "INT5"), (-16, 3, "INT5"), (-17, 3, "INT6"),
    (-1, 127, "INT8"), (-1, 128, "INT9"), (-(1 << 31), (1 << 31) - 1, "INT32")])
def test_datatype(low, high, expected):
    assert exporter.datatype(low, high) == expected


@pytest.mark.parametrize("standard", [False, True])
def test_what_float32_cannot_hold_is_not_written(standard, tmp_path):
    net = every_term_net()
    wide = replace(net.layers[1], terms=(replace(net.layers[1].terms[0], shift=12), net.layers[1].terms[1]))
    with pytest.raises(UserError, match="layer b: sums of up to .* not exact"):
        exporter.save(replace(net, layers=(net.layers[0], wide, *net.layers[2:])), tmp_path / "net.onnx",
                      standard=standard)
    head = replace(net.layers[-1], bias=net.layers[-1].bias + (1 << 24))
    with pytest.raises(UserError, match="layer e: sums of up to .* not exact"):
        exporter.save(replace(net, layers=(*net.layers[:-1], head)), tmp_path / "net.onnx", standard=standard)
    assert not list(tmp_path.iterdir())


# Round trips

@pytest.mark.parametrize("name", NETS)
def test_round_trip(name, tmp_path):
    net = net_of(name)
    exporter.save(net, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    back, factor = importer.load(tmp_path / "net.onnx")
    assert factor == 1 and [layer.name for layer in back.layers] == [layer.name for layer in net.layers]
    assert (back.name, back.classes, back.input_shape, back.header) == (
        net.name, net.classes, net.input_shape, net.header)
    if isinstance(name, str):
        assert store.digest(back) == store.digest(net)
    store.save(back, tmp_path / "net.npz")
    assert_same_net(zoo.load(tmp_path / "net.npz"), net, pictures(net, 3, seed=2))


def odd_net():
    """What `every_term_net` has not: no padding, odd sizes, several terms in the last layer, names like the graph's
    own."""
    build = NetBuilder(np.random.default_rng(3), (2, 15, 11), "odd")
    build.layer(replace(build.conv(PICTURE, 5, stride=2), padding=0), a_bits=2, name="logits")
    build.max_pool("logits", name="a.term0")
    build.layer(build.conv("a.term0", 4, kernel=1), build.conv("a.term0", 4), name="a")
    build.layer(Skip(source="a", gain=np.array([3, -1, 0, 8], np.int32)), name="b")
    return build.net(Layer(name="c", bias=build.rng.integers(-99, 99, 4).astype(np.int32), terms=(
        build.conv("b", 4, shift=1), build.skip("b", largest=9), build.conv("a", 4, kernel=1, shift=3))))


def test_odd_net(tmp_path):
    net = odd_net()
    images = pictures(net, 4)
    logits = golden.forward(net, images)
    session = onnxruntime.InferenceSession(exporter.model_of(net, standard=True).SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"image": images})[0], logits)
    np.testing.assert_array_equal(run_qonnx(exporter.model_of(net), images)[0], logits)
    exporter.save(net, tmp_path / "net.onnx")
    assert_same_net(importer.load(tmp_path / "net.onnx")[0], net, images)


def test_what_qonnx_cleaned_is_still_understood(tmp_path):
    net = every_term_net(7)
    cleaned = cleanup_model(ModelWrapper(exporter.model_of(net)))
    cleaned.save(tmp_path / "net.onnx")
    back, _ = importer.load(tmp_path / "net.onnx", "cleaned")
    images = pictures(net, 3)
    np.testing.assert_array_equal(golden.forward(back, images), golden.forward(net, images))
    assert back.name == "cleaned" and back.classes == net.classes
    assert back.header == {}                    # what it said was about the graph before


# Graphs that were not written here

class Builder:
    """A QONNX graph, node by node; every tensor gets the type float32."""

    def __init__(self, shape=(2, 8, 8)):
        self.shape, self.nodes, self.arrays = shape, [], {}

    def array(self, name, array, dtype=np.float32):
        self.arrays[name] = np.asarray(array, dtype)
        return name

    def node(self, operator, *inputs, **attributes):
        output = f"t{len(self.nodes)}"
        if operator in ("MultiThreshold", "Quant"):
            attributes["domain"] = QONNX
        self.nodes.append(helper.make_node(operator, inputs, [output], f"node{len(self.nodes)}", **attributes))
        return output

    def thresholds(self, tensor, array, **attributes):
        steps = self.array(f"steps{len(self.nodes)}", array)
        return self.node("MultiThreshold", tensor, steps, **{"out_dtype": "UINT4", **attributes})

    def model(self, output, outputs, annotation="UINT8"):
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(self.nodes, "built", [value("x", (1, *self.shape))], [value(output, (1, outputs))],
                                  [numpy_helper.from_array(array, name) for name, array in self.arrays.items()])
        if annotation:
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=annotation)
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name="x", quant_parameter_tensor_names=[entry]))
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def imported(model, path):
    path.write_bytes(model.SerializeToString())
    net, factor = importer.load(path)
    store.save(net, f"{path}.npz")
    return zoo.load(f"{path}.npz"), factor


def body(built, rng):
    """Two convolutions, the second one from a Quant node and with a residual; the name of its codes (5, 4, 4)."""
    weights = built.array("w0", rng.integers(-7, 8, (3, 3, 5, 2)))               # (K, K, OC, IC)
    weights = built.node("Identity", built.node("Transpose", weights, perm=[2, 3, 0, 1]))
    acc = built.node("Conv", "x", weights, built.array("b0", rng.integers(-99, 99, 5)),
                     kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    # one row for all channels, neither whole nor sorted, and not of a power of two less one
    codes = built.thresholds(acc, [[900.5, -30.25, 400, 2000, 1e9]], data_layout="NCHW", out_dtype="UINT3")
    pooled = built.node("MaxPool", codes, kernel_shape=[2, 2], strides=[2, 2])
    quantized = built.node("Quant", built.array("w1", rng.normal(size=(5, 5, 1, 1)) * 40), built.array("s", 2.0),
                           built.array("z", 0.0), built.array("n", 5.0), signed=1, narrow=1, rounding_mode="ROUND")
    upper = built.node("Cast", built.thresholds(pooled, [[2, 4, 6]] * 5, out_scale=2.0), to=TensorProto.UINT8)
    upper = built.node("Cast", built.node("Identity", upper), to=TensorProto.FLOAT)
    acc = built.node("Conv", upper, built.node("Cast", quantized, to=TensorProto.FLOAT))
    skip = built.node("Mul", built.array("gain", rng.integers(-9, 9, (5, 1, 1))), pooled)
    total = built.node("Add", built.node("Add", skip, acc), pooled)
    total = built.node("Add", total, built.array("offset", [[[[3]]]]))
    return built.thresholds(total, np.sort(rng.integers(-90, 90, (5, 15)), axis=1))


def heads():
    """name: (function that adds the head to a `Builder`, how many times the graph's logits the net's are)."""
    def weights(built, *shape):
        return built.array("w2", np.random.default_rng(9).integers(-128, 128, shape))

    def bias(built):
        return built.array("b2", [[5, -3, 0]])

    def average(built, codes):
        flat = built.node("Flatten", built.node("GlobalAveragePool", codes))
        return built.node("Gemm", flat, weights(built, 3, 5), built.array("b2", [0.25, -3, 0.0625]), transB=1)

    def upper(built, codes):
        codes = built.thresholds(codes, [[4, 8, 12]], out_scale=4.0)
        return summed(built, codes)

    def summed(built, codes):
        pool = built.node("ReduceSum", codes, built.array("axes", [2, 3], np.int64), keepdims=0)
        return built.node("Add", bias(built), built.node("MatMul", pool, weights(built, 5, 3)))

    def scaled(built, codes):
        pool = built.node("ReduceMean", codes, axes=[-1, -2])
        flat = built.node("Reshape", built.node("Mul", pool, built.array("pixels", 16)),
                          built.array("shape", [0, -1], np.int64))
        return built.node("Add", built.node("MatMul", flat, weights(built, 5, 3)), bias(built))

    def convolved(built, codes):
        acc = built.node("Conv", codes, weights(built, 3, 5, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
        pool = built.node("AveragePool", acc, kernel_shape=[2, 2])
        return built.node("Mul", built.node("Flatten", pool), built.array("double", [8.0]))

    return {"average": (average, 16), "sum": (summed, 1), "upper bits": (upper, 1), "scaled": (scaled, 1),
            "convolved": (convolved, 1)}


@pytest.mark.parametrize("name", heads())
def test_a_graph_built_by_hand(name, tmp_path):
    for seed in range(3):
        head, expected_factor = heads()[name]
        built = Builder()
        model = built.model(head(built, body(built, np.random.default_rng(seed))), 3)
        net, factor = imported(model, tmp_path / "net.onnx")
        assert factor == expected_factor and net.classes == ("0", "1", "2") and net.name == "net"
        images = pictures(net, 5)
        np.testing.assert_array_equal(golden.forward(net, images), run_qonnx(model, images)[0] * factor)


def test_dense_layers_after_one_pixel_is_left(tmp_path):
    rng = np.random.default_rng(4)
    built = Builder((3, 3, 3))
    acc = built.node("Conv", "x", built.array("w0", rng.integers(-1, 2, (6, 3, 3, 3))))
    flat = built.node("Flatten", built.thresholds(acc, rng.integers(-900, 900, (6, 3))))
    acc = built.node("Gemm", flat, built.array("w1", rng.integers(-7, 8, (6, 4))), built.array("b1", [1, 2, 3, 4]))
    codes = built.thresholds(acc, rng.integers(-30, 30, (4, 7)))
    model = built.model(built.node("MatMul", codes, built.array("w2", rng.integers(-9, 9, (4, 3)))), 3)
    net, factor = imported(model, tmp_path / "net.onnx")
    images = pictures(net, 9)
    assert factor == 1
    np.testing.assert_array_equal(golden.forward(net, images), run_qonnx(model, images)[0])


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("kernel, stride, attributes", [
    (3, 1, dict(auto_pad="VALID")), (3, 2, dict(auto_pad="VALID")), (3, 1, dict(auto_pad="SAME_UPPER")),
    (3, 1, dict(auto_pad="SAME_LOWER")), (1, 2, dict(auto_pad="SAME_UPPER")), (1, 1, dict(auto_pad="SAME_LOWER")),
    (3, 1, dict(auto_pad="NOTSET", pads=[1, 1, 1, 1])), (3, 1, dict(auto_pad="NOTSET"))])
def test_auto_pad_of_convolutions(tmp_path, kernel, stride, attributes, side):
    """As onnxruntime has it, in qonnx' executor."""
    rng, built = np.random.default_rng(side), Builder((2, side, side))
    acc = built.node("Conv", "x", built.array("w0", rng.integers(-7, 8, (4, 2, kernel, kernel))),
                     strides=[stride] * 2, **attributes)
    codes = built.thresholds(acc, rng.integers(-900, 900, (4, 7)))
    model = built.model(head(built, codes, rng), 3)
    net, factor = imported(model, tmp_path / "net.onnx")
    images = pictures(net, 5)
    np.testing.assert_array_equal(golden.forward(net, images), run_qonnx(model, images)[0] * factor)


def test_auto_pad_of_a_stride_that_meets_the_edges(tmp_path):
    """3x3 at stride 2 over 7 pixels has a zero on either side: the one uneven stride that is square."""
    rng, built = np.random.default_rng(3), Builder((2, 7, 7))
    acc = built.node("Conv", "x", built.array("w0", rng.integers(-7, 8, (4, 2, 3, 3))), strides=[2, 2],
                     auto_pad="SAME_LOWER")
    model = built.model(head(built, built.thresholds(acc, rng.integers(-900, 900, (4, 7))), rng), 3)
    net, factor = imported(model, tmp_path / "net.onnx")
    assert net.layers[0].terms[0].padding == 1
    images = pictures(net, 5)
    np.testing.assert_array_equal(golden.forward(net, images), run_qonnx(model, images)[0] * factor)


@pytest.mark.parametrize("auto_pad", ["VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_auto_pad_of_pools(tmp_path, auto_pad):
    """Windows that fill the map have no padding in any mode."""
    rng, built = np.random.default_rng(5), Builder((2, 8, 8))
    codes = built.thresholds(built.node("Conv", "x", built.array("w0", rng.integers(-7, 8, (4, 2, 1, 1)))),
                             rng.integers(-900, 900, (4, 7)))
    pooled = built.node("MaxPool", codes, kernel_shape=[2, 2], strides=[2, 2], auto_pad=auto_pad)
    average = built.node("AveragePool", pooled, kernel_shape=[4, 4], strides=[4, 4], auto_pad=auto_pad)
    dense = built.node("MatMul", built.node("Flatten", average), built.array("w2", rng.integers(-9, 9, (4, 3))))
    model = built.model(dense, 3)
    net, factor = imported(model, tmp_path / "net.onnx")
    images = pictures(net, 5)
    assert factor == 16
    np.testing.assert_array_equal(golden.forward(net, images), run_qonnx(model, images)[0] * factor)


def head(built, codes, rng):
    pool = built.node("ReduceSum", codes, built.array("axes", [2, 3], np.int64), keepdims=0)
    return built.node("MatMul", pool, built.array("w2", rng.integers(-9, 9, (4, 3))))


# Refusals

def conv(built, source="x", shape=(4, 2, 3, 3), value=1.0, **attributes):
    return built.node("Conv", source, built.array(f"w{len(built.nodes)}", np.full(shape, value)), **attributes)


def coded(built, pads=(1, 1, 1, 1), strides=(1, 1), **attributes):
    return built.thresholds(conv(built, pads=pads, strides=strides), [[1, 2, 3]], **attributes)


def almost(shape, at):
    """Threes, and one that is the next larger float32."""
    array = np.full(shape, 3, np.float32)
    array[at] = np.nextafter(np.float32(3), np.float32(4))
    return array


REFUSALS = {
    "kernel": (lambda b: conv(b, shape=(4, 2, 5, 5)), "node 'node0' (Conv): a kernel of 5x5, not 1x1 or 3x3"),
    "group": (lambda b: conv(b, shape=(2, 1, 3, 3), group=2), "node 'node0' (Conv): groups"),
    "stride": (lambda b: conv(b, strides=[3, 3]), "node 'node0' (Conv): stride 3"),
    "uneven": (lambda b: conv(b, strides=[1, 2]), "node 'node0' (Conv): strides [1, 2]"),
    "padding": (lambda b: conv(b, pads=[0, 0, 1, 1]), "node 'node0' (Conv): pads [0, 0, 1, 1]"),
    "auto_pad": (lambda b: conv(b, auto_pad="SAME"), "node 'node0' (Conv): auto_pad SAME is not supported"),
    "auto_pad and pads": (lambda b: conv(b, auto_pad="VALID", pads=[1, 1, 1, 1]), "node 'node0' (Conv): auto_pad VALID "
                          "beside pads [1, 1, 1, 1]: ONNX has one or the other\n"),
    "auto_pad, uneven": (lambda b: conv(b, auto_pad="SAME_UPPER", strides=[2, 2]),
                         "node 'node0' (Conv): pads [0, 0, 1, 1], from auto_pad SAME_UPPER, are not the same on all"),
    "auto_pad of max-pool": (lambda b: b.node("MaxPool", coded(b, pads=[0] * 4, strides=[2, 2]),
                                              kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
                             "node 'node2' (MaxPool): pads [1, 1, 0, 0], from auto_pad SAME_LOWER, are not the same"),
    "auto_pad of average pool": (lambda b: b.node("AveragePool", conv(b), kernel_shape=[6, 6], auto_pad="SAME_UPPER"),
                                 "node 'node1' (AveragePool): only a window over the whole map of (6, 6)"),
    "other kernel": (lambda b: conv(b, kernel_shape=[1, 1]), "node 'node0' (Conv): kernel_shape [1, 1] and weights of "
                                                             "3x3"),
    "dilation": (lambda b: conv(b, dilations=[2, 2]), "node 'node0' (Conv): dilations"),
    "fraction": (lambda b: conv(b, value=0.5), "node 'node0' (Conv): its weights 'w0' are not integers: 0.5 at "
                                              "[0, 0, 0, 0], and 71 more\n"),
    "next to an integer": (lambda b: b.node("Conv", "x", b.array("w", almost((4, 2, 1, 1), (3, 1, 0, 0)))),
                           "node 'node0' (Conv): its weights 'w' are not integers: 3.0000002 at [3, 1, 0, 0]\n"),
    "next to an integer, dense": (
        lambda b: b.node("MatMul", b.node("Flatten", b.node("GlobalAveragePool", conv(b))),
                         b.array("w", almost((4, 3), (1, 2)))),
        "node 'node3' (MatMul): its weights 'w' are not integers: 3.0000002 at [1, 2]\n"),
    "next to an integer, factor": (
        lambda b: b.node("Mul", b.array("m", almost((4, 1, 1), (2, 0, 0))), conv(b)),
        "node 'node1' (Mul): its factors 'm' are not integers: 3.0000002 at [2]\n"),
    "next to an integer, bias": (
        lambda b: b.node("Conv", "x", b.array("w", np.ones((4, 2, 1, 1))), b.array("b", almost((4,), (0,)))),
        "node 'node0' (Conv): its bias 'b' has 3.0000002, which is not an integer\n"),
    "huge": (lambda b: conv(b, value=1e12), "node 'node0' (Conv): its weights 'w0' exceed 32 bits"),
    "not finite": (lambda b: conv(b, value=np.nan), "node 'node0' (Conv): its weights 'w0' are not integers: nan"),
    "channels": (lambda b: conv(b, shape=(4, 3, 3, 3)), "node 'node0' (Conv): weights for 3 channels, not 2"),
    "two convolutions": (lambda b: conv(b, conv(b), (4, 4, 3, 3)), "node 'node1' (Conv): it reads a sum"),
    "weights": (lambda b: b.thresholds(b.node("Conv", "x", b.array("w", np.arange(2 * 4 * 9 * 9).reshape(36, 2, 3, 3))),
                                       [[1]]), "node 'node1' (MultiThreshold): 648 different weights"),
    "activation": (lambda b: b.node("Relu", conv(b)), "node 'node1' (Relu): this operator is not supported"),
    "domain": (lambda b: b.node("Conv", "x", domain="com.example"), "operators of domain 'com.example'"),
    "scale": (lambda b: coded(b, out_scale=0.5), "node 'node1' (MultiThreshold): out_scale 0.5 and out_bias 0"),
    "bias": (lambda b: coded(b, out_bias=-8.0), "node 'node1' (MultiThreshold): out_scale 1 and out_bias -8"),
    "layout": (lambda b: coded(b, data_layout="NHWC"), "node 'node1' (MultiThreshold): data_layout NHWC"),
    "upper bits": (lambda b: b.thresholds(coded(b), [[1]], out_scale=2.0),
                   "node 'node2' (MultiThreshold): its thresholds are not the multiples of 2 up to 3"),
    "rows of upper bits": (lambda b: b.thresholds(coded(b), np.full((3, 1), 2), out_scale=2.0),
                           "node 'node2' (MultiThreshold): thresholds of shape (3, 1), not (4, 1 .. 255)"),
    "bias of upper bits": (lambda b: b.thresholds(coded(b), [[2]], out_scale=2.0, out_bias=1.0),
                           "node 'node2' (MultiThreshold): out_scale 2 and out_bias 1 are not supported on node1"),
    "upper bits of upper bits": (lambda b: b.thresholds(b.thresholds(coded(b), [[2]], out_scale=2.0), [[2]],
                                                        out_scale=2.0),
                                 "node 'node3' (MultiThreshold): out_scale 2 and out_bias 0 are not supported"),
    "upper bits added": (lambda b: b.thresholds(b.node("Add", b.thresholds(coded(b), [[2]], out_scale=2.0),
                                                       conv(b, pads=[1, 1, 1, 1])), [[1]]),
                         "node 'node5' (MultiThreshold): codes without their low bits are for convolutions"),
    "upper bits of the picture": (lambda b: b.thresholds("x", [np.arange(16, 256, 16)], out_scale=16.0),
                                  "node 'node0' (MultiThreshold): out_scale 16 and out_bias 0 are not supported on i"),
    "odd scale": (lambda b: b.thresholds(coded(b), [[3]], out_scale=3.0),
                  "node 'node2' (MultiThreshold): out_scale 3 and out_bias 0 are not supported on node1"),
    "residual of upper bits": (lambda b: b.thresholds(b.thresholds(coded(b), [[2]], out_scale=2.0), [[1]]),
                               "node 'node3' (MultiThreshold): codes without their low bits are for convolutions"),
    "max-pool of upper bits": (lambda b: b.node("MaxPool", b.thresholds(coded(b), [[2]], out_scale=2.0),
                                                kernel_shape=[2, 2], strides=[2, 2]),
                               "node 'node3' (MaxPool): it does not read a map of codes"),
    "rows": (lambda b: b.thresholds(conv(b), np.zeros((3, 3))), "node 'node1' (MultiThreshold): thresholds of shape"),
    "max-pool": (lambda b: b.node("MaxPool", coded(b), kernel_shape=[3, 3], strides=[2, 2]),
                 "node 'node2' (MaxPool): only windows of 2x2"),
    "max-pool of sums": (lambda b: b.node("MaxPool", conv(b), kernel_shape=[2, 2], strides=[2, 2]),
                         "node 'node1' (MaxPool): it does not read a map of codes"),
    "sizes": (lambda b: b.node("Add", conv(b), conv(b, pads=[1, 1, 1, 1])), "node 'node2' (Add): its inputs have"),
    "gain": (lambda b: b.node("Mul", coded(b), b.array("g", np.ones((4, 6, 6)))), "node 'node2' (Mul): a constant of"),
    "product": (lambda b: b.node("Mul", coded(b), coded(b)), "node 'node4' (Mul): neither of its inputs is a constant"),
    "quantizer": (lambda b: b.node("Quant", conv(b), b.array("s", 1), b.array("z", 0), b.array("n", 4)),
                  "node 'node1' (Quant): quantizers of sums"),
    "narrow cast": (lambda b: b.node("Cast", conv(b), to=TensorProto.INT8), "node 'node1' (Cast): its type does not"),
    "map": (conv, "node 'node0' (Conv): the graph ends in a map of (6, 6)"),
    "codes": (coded, "node 'node1' (MultiThreshold): the graph ends in codes"),
    "bias unit": (lambda b: b.node("Add", b.node("GlobalAveragePool", conv(b)), b.array("c", 0.3)),
                  "node 'node2' (Add): its constant 'c' has 0.3, which is not a multiple of 1/36"),
    "flatten": (lambda b: b.node("Flatten", coded(b)), "node 'node2' (Flatten): flattening (4, 8, 8)"),
    "late thresholds": (lambda b: b.thresholds(b.node("GlobalAveragePool", coded(b)), [[1]]),
                        "node 'node3' (MultiThreshold): thresholds after the global pool"),
    "order": (lambda b: b.node("Add", "x", "later"), "node 'node0' (Add): nothing before it gives its input 'later'"),
    "inputs": (lambda b: b.node("Conv", "x"), "node 'node0' (Conv): it is malformed"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_the_first_misfit_is_named(name, tmp_path, capsys):
    build, message = REFUSALS[name]
    built, path = Builder(), tmp_path / "net.onnx"
    path.write_bytes(built.model(build(built), 4).SerializeToString())
    error = failure(capsys, "import", path, "-o", tmp_path / "net.npz")
    assert str(path) in error and message in error
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_the_input_must_be_pixels(tmp_path):
    built = Builder()
    output = coded(built)
    for annotation in (None, "INT8"):
        with pytest.raises(UserError, match="input 'x' is neither uint8 nor annotated UINT8"):
            imported(built.model(output, 4, annotation), tmp_path / "net.onnx")


def test_the_standard_form_is_refused_at_its_thresholds(tmp_path):
    exporter.save(every_term_net(), tmp_path / "net.onnx", standard=True)
    with pytest.raises(UserError, match=r"node 'a.acc' \(Unsqueeze\): this operator is not supported"):
        importer.load(tmp_path / "net.onnx")


def test_damaged_files_are_refused_or_read(tmp_path):
    path = tmp_path / "net.onnx"
    exporter.save(every_term_net(), path)
    content, rng, refused = path.read_bytes(), np.random.default_rng(5), 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[:rng.integers(len(content)) if rng.random() < 0.3 else None])
        try:
            importer.load(path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert refused > 100


def test_unreadable_metadata_do_not_count(tmp_path):
    exporter.save(every_term_net(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    next(entry for entry in model.metadata_props if entry.key == "uniqore.classes").value = "[cat"
    onnx.save(model, tmp_path / "net.onnx")
    net, _ = importer.load(tmp_path / "net.onnx")
    assert net.classes == tuple(map(str, range(len(every_term_net().classes))))


# Commands

def test_commands(capsys, tmp_path):
    graph, net = tmp_path / "net.onnx", tmp_path / "net.npz"
    assert command.main(["export", zoo.SYNTHETIC, "--onnx", str(graph)]) == 0
    assert command.main(["import", str(graph), "-o", str(net), "--name", "again"]) == 0
    assert "again, 8 layers, 10 classes\n" in capsys.readouterr().out
    assert zoo.load(net).name == "again"
    assert command.main(["export", str(net), "--onnx", str(graph), "--standard"]) == 0
    assert onnx.load(graph).graph.name == "again"
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "net.npz"}


def test_a_checkpoint_is_made_an_integer_net_first(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "integer_net", lambda checkpoint, data_dir: (every_term_net(), []))
    assert command.main(["export", str(tmp_path / "02_qat.pt"), "--onnx", str(tmp_path / "net.onnx")]) == 0
    assert onnx.load(tmp_path / "net.onnx").graph.name == "random"


def test_an_import_that_cannot_be_written_is_refused_before_the_graph_is_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "load", pytest.fail)
    path = tmp_path / "nowhere" / "net.npz"
    assert failure(capsys, "import", "net.onnx", "-o", path) == f"error: {path}: not a file in an existing folder\n"
    assert not list(tmp_path.iterdir())


def test_bad_input(capsys, tmp_path):
    assert "neither a file nor a net of the zoo" in failure(capsys, "export", "nope", "--onnx", tmp_path / "a")
    assert "--standard is a form of --onnx" in failure(capsys, "export", "nope", "--standard")
    assert "leave out -o" in failure(capsys, "export", "--onnx", tmp_path / "a", "-o", tmp_path / "b")
    assert "nowhere" in failure(capsys, "export", "--onnx", tmp_path / "nowhere" / "a")
    assert str(tmp_path) in failure(capsys, "export", "--onnx", tmp_path)
    assert "No such file" in failure(capsys, "import", tmp_path / "none.onnx", "-o", tmp_path / "a")
    (tmp_path / "text.onnx").write_text("this is no graph")
    absent = tmp_path / "test.onnx"
    assert failure(capsys, "import", absent, "-o", tmp_path / "a") == (
        f"error: {absent}: No such file or directory; did you mean {tmp_path / 'text.onnx'}?\n")
    assert "not an ONNX file" in failure(capsys, "import", tmp_path / "text.onnx", "-o", tmp_path / "a")
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "0 inputs" in failure(capsys, "import", tmp_path / "empty.onnx", "-o", tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {"text.onnx", "empty.onnx"}
    assert not list(tmp_path.parent.glob(".*.part"))


def test_without_the_package(capsys, tmp_path, monkeypatch):
    for name in ("exporter", "importer", "values"):
        monkeypatch.delitem(sys.modules, f"model.onnx.{name}")
    monkeypatch.setitem(sys.modules, "onnx", None)
    for arguments in (["export", "--onnx", tmp_path / "a"], ["import", tmp_path / "a", "-o", tmp_path / "b"]):
        assert "pip install -e '.[onnx]'" in failure(capsys, *arguments)
