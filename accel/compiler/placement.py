"""Shape of every tensor of a net, and where it lives in the activation memory."""
from dataclasses import dataclass, replace

from model.common.errors import UserError
from model.integer.net import PICTURE, PIXEL_MAX, MaxPool, Skip

__all__ = ["DoesNotFit", "Tensor", "is_logits", "place", "sources"]


class DoesNotFit(UserError):
    """A net that an accelerator cannot run: which layer, what of it, its need, the limit. What `compile_net` adds: net
    and config, names, and room, a function: which shipped configuration the net fits, in words, or None. It compiles
    the net for several of them, so it is called where the message is read."""

    def __init__(self, layer, what, need, limit):
        super().__init__(layer, what, need, limit)
        self.layer, self.what, self.need, self.limit = layer, what, need, limit
        self.net = self.config = self.room = None

    def __str__(self):
        return (f"{self.net} does not fit {self.config}: layer {self.layer}: {self.what}: needs {self.need}, "
                f"the limit is {self.limit}; it fits {self.room() or 'no shipped configuration'}")


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Codes (C, H, W) from bank row `base` on; the picture's base counts from its buffer's.

    pitch: bank rows per picture row. largest: the largest code.
    """
    name: str
    shape: tuple
    pitch: int
    largest: int
    base: int = 0

    @property
    def plane(self):
        """Bank rows of one channel tile, or of one digit plane of the picture."""
        return self.shape[1] * self.pitch


def is_logits(layer):
    return not isinstance(layer, MaxPool) and layer.thresholds is None


def sources(layer):
    """Names of the tensors that a layer reads."""
    return {layer.source} if isinstance(layer, MaxPool) else {term.source for term in layer.terms}


def place(net, config):
    """{name: `Tensor`} of the picture and every layer. The logits take no room."""
    shape = channels, height, width = tuple(net.input_shape)
    if channels != 3 or height > config.picture_height or width > config.picture_width:
        raise DoesNotFit(PICTURE, "shape of the picture", shape,
                         (3, config.picture_height, config.picture_width))
    tensors = {PICTURE: _tensor(PICTURE, shape, PIXEL_MAX, config)}
    rows, last_reader = {}, {}
    for index, layer in enumerate(net.layers):
        if (not sources(layer) <= tensors.keys() or layer.name in tensors
                or is_logits(layer) != (layer is net.layers[-1])):
            raise UserError(f"layer {layer.name}: not in execution order up to one logits layer")
        if isinstance(layer, MaxPool):
            shape, largest = _max_pool_output(layer, tensors)
        else:
            shape, largest = _output(layer, tensors, config)
        groups = shape[1] * -(-shape[2] // config.pixels_per_cycle)
        if groups > config.accumulator_depth:
            raise DoesNotFit(layer.name, "pixel groups of its feature map", groups,
                             config.accumulator_depth)
        tensor = tensors[layer.name] = _tensor(layer.name, shape, largest, config)
        last_reader |= dict.fromkeys(sources(layer), index)
        if not is_logits(layer):
            rows[layer.name] = -(-shape[0] // config.rows) * tensor.plane
            last_reader[layer.name] = index
    bases = _allocate(rows, last_reader, 2 * config.picture_rows, config.activation_depth)
    return {name: replace(tensor, base=bases.get(name, 0)) for name, tensor in tensors.items()}


def _tensor(name, shape, largest, config):
    return Tensor(name=name, shape=shape, pitch=-(-shape[2] // config.banks), largest=largest)


def _max_pool_output(layer, tensors):
    """Shape and largest code."""
    if layer.source == PICTURE:
        raise DoesNotFit(layer.name, "max-pool", "the picture", "codes")
    _, height, width = tensors[layer.source].shape
    if min(height, width) < 2:
        raise UserError(f"layer {layer.name}: no 2x2 window in {height}x{width} pixels")
    return layer.output_shape(tensors[layer.source].shape), tensors[layer.source].largest


def _output(layer, tensors, config):
    """Shape and largest code."""
    if layer.a_bits > config.a_bits:
        raise DoesNotFit(layer.name, "a_bits", layer.a_bits, config.a_bits)
    shapes = {_term_output(layer.name, term, tensors[term.source], config) for term in layer.terms}
    if len(shapes) != 1:
        raise UserError(f"layer {layer.name}: its terms give outputs of shapes {sorted(shapes)}")
    return shapes.pop(), (1 << layer.a_bits) - 1


def _term_output(layer, term, source, config):
    """Output shape of one term. Refuses what the array's addressing cannot do."""
    channels = source.shape[0]
    weights = len(term.gain) if isinstance(term, Skip) else term.codes.shape[1]
    if weights != channels:
        raise UserError(f"layer {layer}: weights for {weights} channels "
                        f"cannot read {source.name} of {channels}")
    if isinstance(term, Skip):
        if source.name == PICTURE:
            raise DoesNotFit(layer, "residual", "the picture", "codes")
        return term.output_shape(source.shape)
    _, _, *size = term.codes.shape
    if size not in ([1, 1], [3, 3]):
        raise DoesNotFit(layer, "kernel", "x".join(map(str, size)), "1x1 or 3x3")
    if size != [3, 3] and source.name == PICTURE and config.picture_taps == 3:
        raise DoesNotFit(layer, "kernel over the picture", "1x1", "3x3")
    if term.padding != size[0] // 2:
        raise DoesNotFit(layer, "padding", term.padding, size[0] // 2)
    if term.stride not in (1, 2):
        raise DoesNotFit(layer, "stride", term.stride, 2)
    if term.drop and source.name == PICTURE:
        raise DoesNotFit(layer, "low bits dropped of the picture", term.drop, 0)
    if term.drop >= config.a_bits:
        raise DoesNotFit(layer, "low bits dropped", term.drop, config.a_bits - 1)
    if term.alpha not in (1, 2):
        raise DoesNotFit(layer, "alpha", term.alpha, "1 or 2")
    return term.output_shape(source.shape)


def _allocate(rows, last_reader, start, depth):
    """First bank row of each tensor: {name: base}, each at the lowest place that is free.

    rows: {name: bank rows} of every layer in order. last_reader: {name: index of a layer}. Rows are
    free again after the last reader, so a layer never writes over what it reads.
    """
    bases = {}
    for index, (name, size) in enumerate(rows.items()):
        live = sorted((bases[n], bases[n] + rows[n]) for n in bases if last_reader[n] >= index)
        base = start
        for low, high in live:
            if base + size <= low:
                break
            base = max(base, high)
        if base + size > depth:
            raise DoesNotFit(name, "bank rows of activation memory", base + size, depth)
        bases[name] = base
    return bases
