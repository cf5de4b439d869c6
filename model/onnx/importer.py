"""QONNX files in: a graph of integer convolutions, thresholds, pooling and residual adds as an integer net.

The nodes are read in order. Every tensor is a constant or a `Value`, an exact sum of terms over tensors of codes;
thresholds close such a sum into a layer. The first node that does not fit is refused by name. docs/onnx.md lists what
is understood.
"""
import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from model.common.errors import UserError
from model.common.nearest import similar_file
from model.integer.golden import EXACT_FLOAT32
from model.integer.net import PICTURE, PIXEL_MAX, IntegerNet, Layer, MaxPool, channel_ranges
from model.nets.shapes import convolved, pooled

from .exporter import METADATA, QONNX, graph_digest
from .values import (
    FOLDS,
    INT32,
    Refusal,
    Term,
    Value,
    attributes_of,
    constant_of,
    integers,
    per_channel,
    quantized,
    require,
)

__all__ = ["load"]

DOMAINS = ("", "ai.onnx")
QONNX_DOMAINS = (QONNX, "finn.custom_op.general", "onnx.brevitas")
QONNX_OPERATORS = ("MultiThreshold", "Quant", "IntQuant")
MAX_CODE = 255                   # a code is a byte
MAX_SIDE = 1 << 16               # of the picture; so many channels, too
CONTAINERS = {                   # the integers that a type holds exactly
    TensorProto.FLOAT: (-EXACT_FLOAT32, EXACT_FLOAT32), TensorProto.DOUBLE: (-(1 << 53), 1 << 53),
    TensorProto.UINT8: (0, 255), TensorProto.INT8: (-128, 127), TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767), TensorProto.INT32: (INT32.min, INT32.max),
    TensorProto.INT64: (-(1 << 63), (1 << 63) - 1)}
WINDOW = {"auto_pad": "NOTSET", "kernel_shape": None, "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)


def _pads(attributes, kernel, size):
    """[top, left, bottom, right]: zeros around a map of `size` that a window of `kernel` meets, (H, W) both."""
    mode = attributes["auto_pad"]
    require(mode in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"), f"auto_pad {mode} is not supported")
    if mode == "NOTSET":
        return attributes["pads"]
    totals = [max(0, (-(-side // stride) - 1) * stride + extent - side) if mode != "VALID" else 0
              for side, extent, stride in zip(size, kernel, attributes["strides"], strict=True)]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    pads = more + less if mode == "SAME_LOWER" else less + more
    require(attributes["pads"] in ([0] * 4, pads),
            f"auto_pad {mode} beside pads {attributes['pads']}: ONNX has one or the other")
    return pads


def _window(attributes, kernel, size):
    """(kernel, stride, padding) of a square window of that kernel (H, W), undilated, over a map of that size."""
    sizes = {"kernel_shape": attributes["kernel_shape"] or kernel, "strides": attributes["strides"],
             "dilations": attributes["dilations"]}
    for name, values in sizes.items():
        require(len(values) == 2 and len(set(values)) == 1, f"{name} {list(values)} is not that of a square")
    require(list(sizes["kernel_shape"]) == list(kernel),
            f"kernel_shape {list(sizes['kernel_shape'])} and weights of {'x'.join(map(str, kernel))}")
    require(sizes["dilations"] == [1, 1], "dilations are not supported")
    pads = _pads(attributes, kernel, size)
    require(len(pads) == 4 and len(set(pads)) == 1,
            f"pads {pads}{'' if attributes['auto_pad'] == 'NOTSET' else ', from auto_pad ' + attributes['auto_pad']}, "
            "are not the same on all sides")
    return kernel[0], attributes["strides"][0], pads[0]


def _weights(node, array):
    """The node's weights, its second input, as int64."""
    return integers(array, f"its weights {node.input[1]!r}")


class _Importer:
    """Reads one graph; `tensors`, `layers` and `bounds` (largest code of every tensor) grow with it."""

    def __init__(self, graph):
        self.graph = graph
        self.tensors, self.layers, self.bounds, self.names = {}, [], {PICTURE: PIXEL_MAX}, {PICTURE}

    def read(self):
        """(layers, input shape, how many times the graph's logits the net's are)."""
        for tensor in self.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                raise UserError(f"initializer {tensor.name!r} is kept in another file")
            self.tensors[tensor.name] = numpy_helper.to_array(tensor)
        input_shape = self._read_input()
        for node in self.graph.node:
            self._refusing(node, self._read_node)
        factor = self._read_output()
        return tuple(self.layers), input_shape, factor

    def _refusing(self, node, action):
        """action(node), its refusals as errors that name the node."""
        try:
            return action(node)
        except Refusal as refusal:
            reason = str(refusal)
        except MALFORMED:
            reason = "it is malformed"
        raise UserError(f"node {node.name or ','.join(node.output)!r} ({node.op_type}): {reason}")

    def _read_input(self):
        """Shape (C, H, W) of the picture."""
        inputs = [value for value in self.graph.input if value.name not in self.tensors]
        if len(inputs) != 1:
            raise UserError(f"the graph has {len(inputs)} inputs, not 1")
        name, kind = inputs[0].name, inputs[0].type.tensor_type
        annotated = [entry.value for annotation in self.graph.quantization_annotation
                     if annotation.tensor_name == name
                     for entry in annotation.quant_parameter_tensor_names if entry.key == "finn_datatype"]
        if kind.elem_type != TensorProto.UINT8 and annotated != ["UINT8"]:
            raise UserError(f"input {name!r} is neither uint8 nor annotated UINT8: it must be pixels, 0 .. 255")
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        if len(shape) != 4 or min(shape[1:]) < 1 or max(shape[1:]) > MAX_SIDE:
            raise UserError(f"input {name!r} is not (N, C, H, W) with C, H and W given, each at most {MAX_SIDE}")
        self.tensors[name] = self._codes(PICTURE, shape[1], shape[2:])
        return shape[1:]

    def _read_node(self, node):
        domains = QONNX_DOMAINS if node.op_type in QONNX_OPERATORS else DOMAINS
        require(node.domain in domains, f"operators of domain {node.domain!r} are not supported")
        for name in node.input:
            require(not name or name in self.tensors, f"nothing before it gives its input {name!r}")
        inputs = [self.tensors[name] if name else None for name in node.input]
        if node.op_type == "Constant":
            result = constant_of(node)
        elif node.op_type in FOLDS and all(isinstance(value, np.ndarray) for value in inputs):
            result = FOLDS[node.op_type](node, *inputs)
        else:
            require(node.op_type in self.OPERATORS, "this operator is not supported")
            require(node.op_type in ("Add", "Mul") or isinstance(inputs[0], Value), "its first input is a constant")
            result = self.OPERATORS[node.op_type](self, node, *inputs)
        require(len(node.output) == 1, "only its first output is supported")
        self.tensors[node.output[0]] = result

    def _read_output(self):
        """Adds the logits layer; how many times the graph's logits its logits are."""
        if len(self.graph.output) != 1:
            raise UserError(f"the graph has {len(self.graph.output)} outputs, not 1")
        name = self.graph.output[0].name
        node = next((node for node in self.graph.node if name in node.output), None)
        if node is None or not isinstance(self.tensors[name], Value):
            raise UserError(f"no node gives the output {name!r}")
        self._refusing(node, self._logits)
        return self.tensors[name].scale.denominator

    def _logits(self, node):
        value = self.tensors[self.graph.output[0].name]
        require(value.codes is None, "the graph ends in codes, not in logits")
        require(value.pooled or value.pixels == 1, f"the graph ends in a map of {value.size}, not in logits")
        value = value.in_units(Fraction(1, value.scale.denominator))
        layer = self._layer(self._name(node), value)
        low, high = channel_ranges(replace(layer, bias=0 * layer.bias), self.bounds) * value.pixels + value.bias
        require(INT32.min <= low.min() and high.max() <= INT32.max, "its logits exceed 32 bits")
        self.layers.append(layer)

    # Layers

    def _codes(self, name, channels, size, flat=False):
        """The tensor of codes of that name."""
        gain = Term(source=name, weights=np.ones(channels, np.int64))
        return Value(size=size, terms=(gain,), bias=np.zeros(channels, np.int64), codes=name, flat=flat)

    def _name(self, node):
        """A layer's name: that of the node which ends it."""
        name = node.name or node.output[0]
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def _layer(self, name, value):
        """The layer, without thresholds, that computes the value."""
        require(np.abs(value.bias).max() <= INT32.max, "its bias exceeds 32 bits")
        return Layer(name=name, terms=tuple(term.integer() for term in value.terms), bias=value.bias.astype(np.int32))

    def _multi_threshold(self, node, value, thresholds):
        attributes = attributes_of(node, out_dtype="", out_scale=1.0, out_bias=0.0, data_layout="")
        upper = value.codes is not None and not value.pooled and attributes["out_scale"] > 1
        require(upper or attributes["out_scale"] == 1 and attributes["out_bias"] == 0,
                f"out_scale {attributes['out_scale']:g} and out_bias {attributes['out_bias']:g}, not 1 and 0")
        require(attributes["data_layout"] in ("", "NC", "NCHW"), f"data_layout {attributes['data_layout']}, not NCHW")
        require(isinstance(thresholds, np.ndarray), "its thresholds are not constant")
        require(not value.pooled, "thresholds after the global pool are not supported")
        require(thresholds.ndim == 2 and len(thresholds) in (1, value.channels)
                and 1 <= thresholds.shape[1] <= MAX_CODE,
                f"thresholds of shape {thresholds.shape}, not ({value.channels}, 1 .. {MAX_CODE})")
        require(thresholds.dtype.kind in "iuf" and not np.isnan(thresholds).any(), "its thresholds are no numbers")
        if upper:
            return self._upper_bits(value, thresholds, attributes)
        layer = self._layer(self._name(node), value)
        low, high = channel_ranges(layer, self.bounds)
        require(INT32.min <= low.min() and high.max() < INT32.max, "its sums exceed 32 bits")
        # sums are integers, so a ceiling makes the same comparison, and so does what lies just beyond their range
        steps = np.sort(np.clip(np.ceil(thresholds.astype(np.float64)), low[:, None], high[:, None] + 1), axis=1)
        a_bits = max(2, thresholds.shape[1].bit_length())
        never = np.repeat(high[:, None] + 1, (1 << a_bits) - 1 - steps.shape[1], axis=1)
        steps = np.concatenate([steps, never], axis=1).astype(np.int32)
        self.layers.append(replace(layer, thresholds=steps, a_bits=a_bits))
        self.bounds[layer.name] = steps.shape[1]
        return self._codes(layer.name, value.channels, value.size, value.flat)

    def _upper_bits(self, value, thresholds, attributes):
        """The codes without their low bits: thresholds at all multiples of a power of two, which is the scale."""
        scale, largest = attributes["out_scale"], self.bounds[value.codes]
        drop = int(scale).bit_length() - 1
        require(scale == 1 << drop <= largest and attributes["out_bias"] == 0 and value.codes != PICTURE
                and value.drop == 0,
                f"out_scale {scale:g} and out_bias {attributes['out_bias']:g} are not supported on {value.codes}")
        codes = np.arange(largest + 1)
        reached = (codes[:, None, None] >= thresholds).sum(2) << drop               # (codes, channels or 1)
        require((reached == (codes >> drop << drop)[:, None]).all(),
                f"its thresholds are not the multiples of {scale:g} up to {largest}")
        gain = Term(source=value.codes, weights=np.ones(value.channels, np.int64), drop=drop)
        return replace(value, terms=(gain,), drop=drop)

    def _max_pool(self, node, value):
        attributes = attributes_of(node, ceil_mode=0, storage_order=0, **WINDOW)
        require(_window(attributes, attributes["kernel_shape"], value.size) == (2, 2, 0)
                and not attributes["ceil_mode"], "only windows of 2x2 at stride 2 are supported")
        require(value.codes is not None and not value.drop and not value.pooled and not value.flat,
                "it does not read a map of codes")
        size = tuple(map(pooled, value.size))
        require(min(size) > 0, f"no 2x2 window in a map of {value.size}")
        pool = MaxPool(name=self._name(node), source=value.codes)
        self.layers.append(pool)
        self.bounds[pool.name] = self.bounds[value.codes]
        return self._codes(pool.name, value.channels, size)

    # Sums

    def _linear(self, node, value, weights, bias, *, size=None, **fields):
        """Integer weights (OC, IC, K, K) applied to the value's codes, plus a constant bias (OC,), the node's third
        input, where there is one."""
        require(value.codes is not None, "it reads a sum that no thresholds follow")
        require(weights.shape[1] == value.channels, f"weights for {weights.shape[1]} channels, not {value.channels}")
        term = Term(source=value.codes, weights=weights, drop=value.drop, **fields)
        result = replace(value, size=size or value.size, terms=(term,), bias=np.zeros(len(weights), np.int64),
                         codes=None, drop=0)
        if bias is None:
            return result
        require(isinstance(bias, np.ndarray), "its bias is not constant")
        return result.plus(per_channel(bias, result, flat=True), f"its bias {node.input[2]!r}")

    def _conv(self, node, value, weights, bias=None):
        attributes = attributes_of(node, group=1, **WINDOW)
        require(isinstance(weights, np.ndarray), "its weights are not constant")
        require(not value.flat and weights.ndim == 4, "only two-dimensional convolutions are supported")
        require(attributes["group"] == 1, "groups are not supported")
        require(weights.shape[2:] in ((1, 1), (3, 3)),
                f"a kernel of {'x'.join(map(str, weights.shape[2:]))}, not 1x1 or 3x3")
        kernel, stride, padding = _window(attributes, weights.shape[2:], value.size)
        require(stride in (1, 2), f"stride {stride}, not 1 or 2")
        require(padding in (0, kernel // 2), f"padding {padding}, not {' or '.join(map(str, {0, kernel // 2}))}")
        require(not value.pooled or (kernel, stride, padding) == (1, 1, 0),
                "after the global pool only plain 1x1 convolutions are supported")
        size = tuple(convolved(side, kernel, stride, padding) for side in value.size)
        require(min(size) > 0, f"a {kernel}x{kernel} kernel does not fit into a map of {value.size}")
        return self._linear(node, value, _weights(node, weights), bias, size=size, stride=stride, padding=padding)

    def _dense(self, node, value, weights, bias=None, *, transposed=False):
        require(isinstance(weights, np.ndarray), "its weights are not constant")
        require(value.flat and weights.ndim == 2, "it does not read (N, C)")
        weights = _weights(node, weights)
        return self._linear(node, value, (weights if transposed else weights.T)[:, :, None, None], bias)

    def _gemm(self, node, value, weights, bias=None):
        attributes = attributes_of(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        require(attributes["alpha"] == attributes["beta"] == 1 and not attributes["transA"],
                "only alpha 1, beta 1 and transA 0 are supported")
        return self._dense(node, value, weights, bias, transposed=attributes["transB"])

    def _matmul(self, node, value, weights):
        return self._dense(node, value, weights)

    def _operands(self, first, second):
        """(value, constant or value) of two operands."""
        first, second = (second, first) if isinstance(first, np.ndarray) else (first, second)
        require(isinstance(first, Value), "its inputs are both constants")
        return first, second

    def _constant_name(self, node):
        """Name of the constant of two operands."""
        return next(name for name in node.input if isinstance(self.tensors[name], np.ndarray))

    def _mul(self, node, first, second):
        value, constant = self._operands(first, second)
        require(isinstance(constant, np.ndarray), "neither of its inputs is a constant")
        factors = per_channel(constant, value, value.flat)
        if value.pooled and constant.size == 1 and factors[0] > 0:
            return replace(value, scale=value.scale * Fraction(factors[0].item()))
        return value.times(integers(factors, f"its factors {self._constant_name(node)!r}"))

    def _add(self, node, first, second):
        value, other = self._operands(first, second)
        if isinstance(other, np.ndarray):
            return value.plus(per_channel(other, value, value.flat), f"its constant {self._constant_name(node)!r}")
        require(value.shape == other.shape, f"its inputs have shapes {value.shape} and {other.shape}")
        require((value.size, value.pooled) == (other.size, other.pooled), "its inputs are not over the same pixels")
        numerator = math.gcd(*(a.scale.numerator * b.scale.denominator for a, b in ((value, other), (other, value))))
        unit = Fraction(numerator, value.scale.denominator * other.scale.denominator)
        value, other = value.in_units(unit), other.in_units(unit)
        return replace(value, codes=None, terms=value.terms + other.terms, bias=value.bias + other.bias)

    # The global pool

    def _sum_pixels(self, value, scale, flat=False):
        """The value summed over all its pixels, times scale."""
        require(not value.pooled and not value.flat, "its input has no pixels to sum")
        if value.pixels == 1:
            return replace(value, flat=flat)
        return replace(value, pooled=True, flat=flat, bias=value.bias * value.pixels, scale=Fraction(scale))

    def _global_average_pool(self, node, value):
        return self._sum_pixels(value, Fraction(1, value.pixels))

    def _average_pool(self, node, value):
        attributes = attributes_of(node, ceil_mode=0, count_include_pad=0, **WINDOW)
        kernel = tuple(attributes["kernel_shape"])
        require(kernel == value.size and not any(_pads(attributes, kernel, value.size))
                and attributes["dilations"] == [1, 1],
                f"only a window over the whole map of {value.size} is supported")
        return self._sum_pixels(value, Fraction(1, value.pixels))

    def _reduce(self, node, value, axes=None):
        attributes = attributes_of(node, axes=None, keepdims=1, noop_with_empty_axes=0)
        axes = attributes["axes"] if axes is None else axes
        require(axes is not None and not isinstance(axes, Value), "its axes are not constant")
        require(not value.flat and sorted(int(axis) % 4 for axis in axes) == [2, 3], "only axes 2 and 3 are supported")
        scale = 1 if node.op_type == "ReduceSum" else Fraction(1, value.pixels)
        return self._sum_pixels(value, scale, flat=not attributes["keepdims"])

    # Operators that change no number

    def _identity(self, node, value):
        return value

    def _cast(self, node, value):
        target = attributes_of(node, to=0, saturate=1)["to"]
        pixels = value.pixels if value.pooled else 1
        low, high = value.bias.copy(), value.bias.copy()
        for term in value.terms:
            products = (term.weights * self.bounds[term.source] * pixels).reshape(value.channels, -1)
            low += products.clip(max=0).sum(1)
            high += products.clip(min=0).sum(1)
        least, most = CONTAINERS.get(target, (0, -1))
        require(value.scale.denominator == 1 and least <= low.min() * value.scale and high.max() * value.scale <= most,
                "its type does not hold every number that its input can be")
        return value

    def _quant(self, node, value, scale, zero, bits):
        parameters = scale, zero, bits
        require(all(isinstance(array, np.ndarray) and array.size == 1 for array in parameters),
                "its scale, zero point and bit width are not one constant each")
        require(value.codes is not None and not value.pooled,
                "quantizers of sums are not supported: convert them to MultiThreshold")
        codes = np.arange(self.bounds[value.codes] + 1)
        require(np.array_equal(quantized(node, codes, *(array.reshape(()) for array in parameters)), codes),
                "it changes its input: convert it to MultiThreshold")
        return value

    def _flatten(self, node, value):
        axis = attributes_of(node, axis=1)["axis"]
        require(axis in (1, -len(value.shape)) and value.shape in ((value.channels,), (value.channels, 1, 1)),
                f"flattening {value.shape} from axis {axis} is not supported")
        return replace(value, flat=True)

    def _reshape(self, node, value, shape):
        require(isinstance(shape, np.ndarray) and not attributes_of(node, allowzero=0)["allowzero"],
                "its shape is not constant")
        batch, *sizes = shape.tolist()
        sizes = [old if size == 0 else size for size, old in zip(sizes, (*value.shape, 0, 0), strict=False)]
        unknown = sizes.index(-1) if -1 in sizes and batch != -1 else None
        if unknown is not None:
            sizes[unknown] = int(np.prod(value.shape)) // max(1, int(np.prod([size for size in sizes if size != -1])))
        require(batch in (-1, 0, 1) and value.shape in ((value.channels,), (value.channels, 1, 1))
                and sizes in ([value.channels], [value.channels, 1, 1]),
                f"reshaping {value.shape} to {shape.tolist()} is not supported")
        return replace(value, flat=len(sizes) == 1)

    OPERATORS = {
        "Add": _add, "AveragePool": _average_pool, "Cast": _cast, "Conv": _conv, "Flatten": _flatten, "Gemm": _gemm,
        "GlobalAveragePool": _global_average_pool, "Identity": _identity, "IntQuant": _quant, "MatMul": _matmul,
        "MaxPool": _max_pool, "Mul": _mul, "MultiThreshold": _multi_threshold, "Quant": _quant,
        "ReduceMean": _reduce, "ReduceSum": _reduce, "Reshape": _reshape}


def _net(model, name):
    """(IntegerNet, factor) of a model; its metadata count only as far as they are those of such a net."""
    layers, input_shape, factor = _Importer(model.graph).read()
    count = len(layers[-1].bias)
    found = {entry.key.removeprefix(METADATA): entry.value for entry in model.metadata_props}
    try:
        classes = json.loads(found.get("classes", "[]"))
    except ValueError:
        classes = []
    if not (isinstance(classes, list) and len(classes) == count and all(isinstance(item, str) for item in classes)):
        classes = map(str, range(count))
    net = IntegerNet(name=found.get("name", name), layers=layers, input_shape=input_shape, classes=tuple(classes))
    if found.get("graph") == graph_digest(model):       # else the header tells about another net
        net = replace(net, header=json.loads(found["header"]))
    return net, factor


def load(path, name=None):
    """(IntegerNet, factor) of a QONNX file: the net's logits are `factor`, 1 or more, times the graph's.

    name: the net's; by default the one in the file if `onnx_export` wrote it, else the file's. UserError: the file is
    not ONNX, or its graph is not an integer net.
    """
    path = Path(path)
    try:
        net, factor = _net(onnx.load_model_from_string(path.read_bytes()), path.stem)
    except UserError as error:
        raise UserError(f"{path}: {' '.join(str(error).splitlines())}") from None       # names in it are the file's
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}{similar_file(path)}") from None
    except (DecodeError, *MALFORMED):
        raise UserError(f"{path}: not an ONNX file, or one that is cut off or damaged") from None
    return replace(net, name=name) if name else net, factor
