"""ONNX files: an integer net as a graph that other programs run to the same logits, bit for bit.

One graph in two forms. QONNX: float32 containers annotated with integer types, thresholds as the operator
`MultiThreshold` of `qonnx.custom_op.general`. Standard: operators of ONNX alone, uint8 pixels in, int32 logits out.
Sums are float32 in both and exact, because nothing is written whose sums could leave the integers float32 holds.
docs/onnx.md is the contract.
"""
import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.common.errors import UserError
from model.common.files import replacing
from model.integer.golden import EXACT_FLOAT32
from model.integer.net import PICTURE, PIXEL_MAX, MaxPool, Skip, accumulator_range, channel_ranges, tensor_bounds
from model.integer.store import digest

__all__ = ["model_of", "save", "graph_digest", "datatype", "QONNX", "METADATA"]

QONNX = "qonnx.custom_op.general"
LOGITS = "logits"
METADATA = "uniqore."            # prefix of the keys in the file's metadata
OPSET = 13
IR_VERSION = 8                   # what onnxruntime 1.10 and all later ones read


def datatype(low, high):
    """Name of the smallest QONNX integer type, of 2 bits or more, that holds low .. high."""
    if low >= 0:
        return f"UINT{max(2, int(high).bit_length())}"
    return f"INT{max(2, int(high).bit_length() + 1, int(-low - 1).bit_length() + 1)}"


class _Graph:
    """Nodes in execution order, with the shape and integer range of every tensor."""

    def __init__(self, batch):
        self.batch = batch
        self.nodes, self.initializers, self.values, self.annotations = [], [], [], []
        self.taken, self.axes_names = {PICTURE, LOGITS}, {}

    def _fresh(self, name):
        """The name, or one like it that no tensor has."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def value(self, name, shape, low, high, container=TensorProto.FLOAT):
        """Describes tensor `name` of shape (batch, *shape), integers low .. high."""
        self._annotate(name, low, high)
        return helper.make_tensor_value_info(name, container, [self.batch, *shape])

    def constant(self, name, array):
        """An integer array as a float32 initializer; its name."""
        name = self._fresh(name)
        self._annotate(name, array.min(), array.max())
        self.initializers.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def axes(self, *axes):
        """The initializer of these axes; its name."""
        if axes not in self.axes_names:
            self.axes_names[axes] = self._fresh("axes" + "".join(f"_{axis}" for axis in axes))
            self.initializers.append(numpy_helper.from_array(np.array(axes, np.int64), self.axes_names[axes]))
        return self.axes_names[axes]

    def node(self, operator, inputs, output, shape=None, limits=None, **attributes):
        """Adds a node named after its one output; that name."""
        output = self._fresh(output)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        if shape is not None:
            self.values.append(self.value(output, shape, *limits))
        return output

    def _annotate(self, name, low, high):
        entry = onnx.StringStringEntryProto(key="finn_datatype", value=datatype(low, high))
        self.annotations.append(onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry]))


class _Exporter:
    """Writes the layers of one net into a `_Graph`."""

    def __init__(self, net, standard):
        self.net, self.standard = net, standard
        self.graph = _Graph("N" if standard else 1)
        self.bounds = tensor_bounds(net)
        self.shapes = {PICTURE: tuple(net.input_shape)}       # (C, H, W) of every tensor
        self.names = {PICTURE: PICTURE}                         # of every tensor, in the graph
        self.upper = {}                                     # of tensors without their low bits, by tensor and bits

    def graph_proto(self):
        container = TensorProto.UINT8 if self.standard else TensorProto.FLOAT
        inputs = [self.graph.value(PICTURE, self.shapes[PICTURE], 0, PIXEL_MAX, container)]
        if self.standard:
            self.names[PICTURE] = self.graph.node("Cast", [PICTURE], f"{PICTURE}.float", self.shapes[PICTURE],
                                                  (0, PIXEL_MAX), to=TensorProto.FLOAT)
        for layer in self.net.layers[:-1]:
            if isinstance(layer, MaxPool):
                self._max_pool(layer)
            else:
                self._layer(layer)
        outputs = [self._logits(self.net.layers[-1])]
        return helper.make_graph(self.graph.nodes, self.net.name, inputs, outputs, self.graph.initializers,
                                 value_info=self.graph.values)

    # Terms

    def _limits(self, layer, count=None, pixels=1):
        """Range of the sum of the first `count` terms, over `pixels` pixels, without bias."""
        low, high = accumulator_range(replace(layer, terms=layer.terms[:count], bias=0 * layer.bias), self.bounds)
        return low * pixels, high * pixels

    def _scaled(self, layer, term, tensor, shape, pixels=1):
        """The tensor times 2**shift of its term."""
        if not getattr(term, "shift", 0):
            return tensor
        factor = self.graph.constant(f"{tensor}.scale", np.array([1 << term.shift]))
        limits = self._limits(replace(layer, terms=(term,)), pixels=pixels)
        return self.graph.node("Mul", [tensor, factor], f"{tensor}.scaled", shape, limits)

    def _unscaled_limits(self, layer, term, pixels=1):
        return self._limits(replace(layer, terms=(replace(term, shift=0),)), pixels=pixels)

    def _seen(self, term):
        """Name of what the convolution sees of its source: all of it, or its upper bits, times 2**drop."""
        source, drop = self.names[term.source], term.drop
        if not drop or (source, drop) in self.upper:
            return self.upper.get((source, drop), source)
        graph, shape, largest = self.graph, self.shapes[term.source], self.bounds[term.source]
        name, limits = f"{term.source}.upper", (0, term.seen(largest))
        if self.standard:
            scale = graph.constant(f"{name}.scale", np.array([1 << drop]))
            tensor = graph.node("Div", [source, scale], f"{name}.quotient")
            tensor = graph.node("Floor", [tensor], f"{name}.floor", shape, (0, largest >> drop))
            tensor = graph.node("Mul", [tensor, scale], name, shape, limits)
        else:
            steps = graph.constant(f"{name}.thresholds", np.arange(1, (largest >> drop) + 1)[None] << drop)
            tensor = graph.node("MultiThreshold", [source, steps], name, shape, limits, domain=QONNX,
                                out_dtype=datatype(*limits), out_scale=float(1 << drop), out_bias=0.0,
                                data_layout="NCHW")
        self.upper[source, drop] = tensor
        return tensor

    def _term(self, layer, term, name):
        """Name of the term's tensor (N, OC, H, W)."""
        shape = term.output_shape(self.shapes[term.source])
        if isinstance(term, Skip):
            source = self.names[term.source]
            gain = self.graph.constant(f"{name}.gain", term.gain[:, None, None][None])
            return self.graph.node("Mul", [source, gain], name, shape, self._limits(replace(layer, terms=(term,))))
        kernel = term.codes.shape[2]
        weights = self.graph.constant(f"{name}.weight", term.weights() >> term.shift)
        tensor = self.graph.node("Conv", [self._seen(term), weights], name, shape, self._unscaled_limits(layer, term),
                                 kernel_shape=[kernel] * 2, strides=[term.stride] * 2, pads=[term.padding] * 4,
                                 dilations=[1, 1], group=1)
        return self._scaled(layer, term, tensor, shape)

    def _sum(self, layer, tensors, shape, pixels=1):
        """Name of the sum of the terms' tensors."""
        total = tensors[0]
        for count, tensor in enumerate(tensors[1:], 2):
            total = self.graph.node("Add", [total, tensor], f"{layer.name}.sum{count}", shape,
                                    self._limits(layer, count, pixels))
        return total

    # Layers

    def _require_exact(self, layer, *sums):
        largest = max(abs(value) for value in sums)
        if largest >= EXACT_FLOAT32:
            raise UserError(f"layer {layer.name}: sums of up to {largest} are not exact in float32, whose limit is "
                            f"{EXACT_FLOAT32 - 1}")

    def _layer(self, layer):
        self._require_exact(layer, *self._limits(layer))
        tensors = [self._term(layer, term, f"{layer.name}.term{index}") for index, term in enumerate(layer.terms)]
        first = layer.terms[0]
        shape = first.output_shape(self.shapes[first.source])
        acc = self._sum(layer, tensors, shape)
        low, high = channel_ranges(replace(layer, bias=0 * layer.bias), self.bounds)
        steps = layer.thresholds.astype(np.int64) - layer.bias[:, None]
        # beyond what the accumulator reaches all thresholds mean the same, and these are exact in float32
        steps = np.clip(steps, low[:, None], high[:, None] + 1)
        self.names[layer.name] = self._thresholds(layer, acc, steps, shape)
        self.shapes[layer.name] = shape

    def _thresholds(self, layer, acc, steps, shape):
        """Name of the codes, #{k : acc >= steps[c][k]}."""
        graph, name, limits = self.graph, layer.name, (0, self.bounds[layer.name])
        if not self.standard:
            return graph.node("MultiThreshold", [acc, graph.constant(f"{name}.thresholds", steps)], name, shape, limits,
                              domain=QONNX, out_dtype=datatype(*limits), out_scale=1.0, out_bias=0.0,
                              data_layout="NCHW")
        last = graph.axes(4)
        steps = graph.constant(f"{name}.thresholds", steps[:, None, None])          # (C, 1, 1, T)
        acc = graph.node("Unsqueeze", [acc, last], f"{name}.acc")                   # (N, C, H, W, 1)
        reached = graph.node("GreaterOrEqual", [acc, steps], f"{name}.reached")     # (N, C, H, W, T)
        ones = graph.node("Cast", [reached], f"{name}.ones", to=TensorProto.FLOAT)
        return graph.node("ReduceSum", [ones, last], name, shape, limits, keepdims=0)

    def _max_pool(self, layer):
        self.shapes[layer.name] = layer.output_shape(self.shapes[layer.source])
        self.names[layer.name] = self.graph.node(
            "MaxPool", [self.names[layer.source]], layer.name, self.shapes[layer.name], (0, self.bounds[layer.name]),
            kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, dilations=[1, 1], ceil_mode=0)

    def _pooled_term(self, layer, term, name, pixels):
        """Name of the term's tensor summed over its pixels, (N, OC); a 1x1 convolution sums its source instead."""
        graph, axes = self.graph, self.graph.axes(2, 3)
        pointwise = not isinstance(term, Skip) and (term.codes.shape[2], term.stride, term.padding) == (1, 1, 0)
        if not pointwise:
            tensor = self._term(layer, term, name)
            limits = self._limits(replace(layer, terms=(term,)), pixels=pixels)
            return graph.node("ReduceSum", [tensor, axes], f"{name}.pooled", (len(layer.bias),), limits, keepdims=0)
        largest = term.seen(self.bounds[term.source]) * pixels
        self._require_exact(layer, largest)
        source = graph.node("ReduceSum", [self._seen(term), axes], f"{name}.pooled",
                            self.shapes[term.source][:1], (0, largest), keepdims=0)
        weights = graph.constant(f"{name}.weight", (term.weights() >> term.shift)[:, :, 0, 0].T)
        shape = (len(layer.bias),)
        tensor = graph.node("MatMul", [source, weights], name, shape, self._unscaled_limits(layer, term, pixels))
        return self._scaled(layer, term, tensor, shape, pixels)

    def _logits(self, layer):
        """The description of the graph's output."""
        graph, shape = self.graph, (len(layer.bias),)
        first = layer.terms[0]
        pixels = int(np.prod(first.output_shape(self.shapes[first.source])[1:]))
        low, high = self._limits(layer, pixels=pixels)
        low, high = low + min(0, int(layer.bias.min())), high + max(0, int(layer.bias.max()))
        self._require_exact(layer, low, high)
        tensors = [self._pooled_term(layer, term, f"{layer.name}.term{index}", pixels)
                   for index, term in enumerate(layer.terms)]
        total = self._sum(layer, tensors, shape, pixels)
        bias = graph.constant(f"{layer.name}.bias", layer.bias)
        if self.standard:
            total = graph.node("Add", [total, bias], f"{layer.name}.biased", shape, (low, high))
            graph.nodes.append(helper.make_node("Cast", [total], [LOGITS], name=layer.name, to=TensorProto.INT32))
            return helper.make_tensor_value_info(LOGITS, TensorProto.INT32, [graph.batch, *shape])
        graph.nodes.append(helper.make_node("Add", [total, bias], [LOGITS], name=layer.name))
        return graph.value(LOGITS, shape, np.iinfo(np.int32).min, np.iinfo(np.int32).max)


def model_of(net, *, standard=False):
    """The net as an `onnx.ModelProto`.

    QONNX (`standard` False): `image` float32 (1, C, H, W), annotated UINT8; `logits` float32 (1, classes), annotated
    INT32. Standard: `image` uint8 (N, C, H, W); `logits` int32 (N, classes). In both, the codes of a layer are the
    tensor of the layer's name. UserError: sums that float32 does not hold exactly.
    """
    exporter = _Exporter(net, standard)
    graph = exporter.graph_proto()
    graph.doc_string = ("Integer net: pixels 0 .. 255 in, integer logits out, every tensor in between integers. "
                        "The lowest index wins ties of the logits.")
    opsets = [helper.make_opsetid("", OPSET)]
    if not standard:
        graph.quantization_annotation.extend(exporter.graph.annotations)
        opsets.append(helper.make_opsetid(QONNX, 1))
    model = helper.make_model(graph, producer_name="uniqore", opset_imports=opsets, ir_version=IR_VERSION,
                              doc_string=f"{net.name}, {'standard ONNX' if standard else 'QONNX'}")
    properties = {"name": net.name, "digest": digest(net), "graph": graph_digest(model),
                  "classes": json.dumps(list(net.classes)), "header": json.dumps(net.header)}
    helper.set_model_props(model, {METADATA + key: value for key, value in properties.items()})
    return model


def graph_digest(model):
    """SHA-256 of the model's graph, hex: what the metadata are about."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def save(net, path, *, standard=False):
    """Writes `model_of(net)`; path ends up as the old file or the complete new one."""
    content = model_of(net, standard=standard).SerializeToString()
    with replacing(path) as file:
        file.write(content)
