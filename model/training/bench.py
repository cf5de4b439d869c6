"""Training speed: pictures a second of a float step, of each quantizer's step, and of a plain loop.

The plain loop is what a torchvision-style script does: a DataLoader that crops, flips and normalizes one picture at a
time, float32, no compilation, and torch's own fake quantization (min-max, per channel for weights) in every layer.
"""
import itertools
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.profiler import ProfilerActivity, profile

from model.nets.specs import arch as arch_of

from .convert import quantize
from .network import Conv, Layer, Network, QuantConfig
from .recipes import CALIBRATION_PICTURES, GRADUAL, QUANTIZED, STAGES
from .train import Trainer

__all__ = ["measure", "step_profile", "steps_of"]

WARM_UP = 3
MEAN, STD = (torch.tensor(t).reshape(3, 1, 1) for t in ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)))
BITS = 4
QUANTIZERS = ("uniform", "plain", "uniq", "learned")


class PlainPictures(torch.utils.data.Dataset):
    """Normalized float32 (3, H, W), augmented one at a time."""
    def __init__(self, train):
        self.pictures, self.labels = torch.as_tensor(train.pictures), torch.as_tensor(train.labels)

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        picture = F.pad(self.pictures[index], (4,) * 4)
        dy, dx = torch.randint(9, (2,)).tolist()
        picture = picture[:, dy:dy + 32, dx:dx + 32]
        if torch.rand(()) < 0.5:
            picture = picture.flip(-1)
        return (picture / 255 - MEAN) / STD, self.labels[index]


class FakeWeights(nn.Module):
    """Min-max fake quantization per output channel."""
    def forward(self, w):
        scale = w.detach().abs().amax((1, 2, 3)) / (2 ** (BITS - 1) - 1) + 1e-12
        return torch.fake_quantize_per_channel_affine(w, scale, torch.zeros_like(scale), 0, -2 ** (BITS - 1),
                                                      2 ** (BITS - 1) - 1)


class FakeCodes(nn.Module):
    """Fake quantization of what a layer gives, by a moving average of its largest value."""
    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.ones(()))
        self.register_buffer("zero", torch.zeros((), dtype=torch.int32))

    def forward(self, x):
        self.largest.lerp_(x.detach().amax(), 0.1)
        return torch.fake_quantize_per_tensor_affine(x, self.largest / (2 ** BITS - 1), self.zero, 0, 2 ** BITS - 1)


def plain_steps(arch, classes, train, schedule, device, steps, advance):
    """Seconds of `steps` steps of the plain loop. advance: as of `timed`."""
    net = Network(arch, classes).to(device)
    for module in list(net.modules()):
        if isinstance(module, Conv):
            parametrize.register_parametrization(module, "weight", FakeWeights())
        elif isinstance(module, Layer):
            fake = FakeCodes().to(device)
            module.register_forward_hook(lambda _module, _inputs, output, fake=fake: fake(output))
    optimizer = torch.optim.SGD(net.parameters(), schedule.rate, momentum=0.9, weight_decay=schedule.weight_decay)
    loader = torch.utils.data.DataLoader(PlainPictures(train), schedule.batch, shuffle=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def step():
        x, y = (t.to(device) for t in next(batches))
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return timed(step, steps, device, advance)


def timed(step, steps, device, advance):
    """Seconds of `steps` calls of `step` after a few to warm up. advance: called with 1 after each call."""
    for _ in range(WARM_UP):
        step()
        advance(1)
    synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
        advance(1)
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device):
    if device != "cpu":
        torch.cuda.synchronize()


def stepper(name, config, train, device, distill):
    """A function that does one training step of the architecture, as half-way through: float where `config` is None."""
    arch, classes = arch_of(name), len(train.classes)
    schedule = STAGES[name][config is not None]
    if config is not None:
        schedule = replace(schedule, distill=QUANTIZED.distill * distill,
                           gradual=GRADUAL * (config.quantizer == "uniq"))
    parent = Network(arch, classes)
    net = parent
    if config is not None:
        net = quantize(parent, torch.as_tensor(train.pictures[:CALIBRATION_PICTURES]), config)
    trainer = Trainer(net, train, schedule, teacher=parent if config else None, device=device,
                      compile_net=config is None or device != "cpu" and not schedule.gradual)
    net.train()
    order = torch.randperm(len(train.labels))
    generator = torch.Generator().manual_seed(0)
    batches = itertools.cycle(order[:len(order) // schedule.batch * schedule.batch].split(schedule.batch))
    return lambda: trainer.step(next(batches), generator, 0.5), schedule.batch


def steps_of(steps):
    """How many steps `measure` does, those to warm up included."""
    return (2 + 2 * len(QUANTIZERS)) * (WARM_UP + steps)


def measure(name, train, *, device="cpu", steps=30, advance):
    """Yields rows {loop, images_per_second, over_float} of the architecture `name`, each once it is measured;
    over_float: time of a step by that of a float step. advance: called with 1 after each step."""
    step, batch = stepper(name, None, train, device, False)
    float_rate = steps * batch / timed(step, steps, device, advance)

    def row(loop, rate):
        return {"loop": loop, "images_per_second": round(rate), "over_float": round(float_rate / rate, 2)}
    yield row("float", float_rate)
    for quantizer in QUANTIZERS:
        config = QuantConfig(quantizer=quantizer, w_bits=BITS, a_bits=BITS)
        for distill in (False, True):
            step, batch = stepper(name, config, train, device, distill)
            yield row(f"{quantizer}{', distilled' * distill}", steps * batch / timed(step, steps, device, advance))
    schedule = STAGES[name][1]
    seconds = plain_steps(arch_of(name), len(train.classes), train, schedule, device, steps, advance)
    yield row("plain loop, fake quantization", steps * schedule.batch / seconds)


def step_profile(name, train, *, device="cpu", quantizer="learned", steps=5, rows=12):
    """torch.profiler's table of where a step's time goes, as text."""
    step, _ = stepper(name, QuantConfig(quantizer=quantizer, w_bits=BITS, a_bits=BITS), train, device, False)
    timed(step, 1, device, lambda _: None)
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device != "cpu")
    with profile(activities=kinds) as profiled:
        for _ in range(steps):
            step()
        synchronize(device)
    self_time = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    spent = sorted(((getattr(event, self_time), event.key) for event in profiled.key_averages()), reverse=True)
    whole = sum(time for time, _ in spent)
    return "\n".join([f"{'ms a step':>9}  {'share':>7}  operation", *(
        f"{time / steps / 1e3:9.2f}  {100 * time / whole:5.1f} %  {key}" for time, key in spent[:rows])])
