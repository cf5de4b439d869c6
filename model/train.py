"""Training: one loop for float and quantization-aware runs, on CPU (bfloat16, channels_last) or CUDA.

A stage is one checkpoint file, written after every epoch, with its log beside it as .csv and .json. It resumes from
the checkpoint exactly: batches, crops and flips of epoch e come from a generator seeded with (seed, e).
"""
import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from .card import log_table
from .network import BatchNorm

__all__ = ["Schedule", "fit", "accuracy", "save_atomic"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One-cycle training. Learning rates are peaks; `quantizer_rate` is for the quantizers' own few parameters, which
    are not decayed. In the last `settle` epochs batch-norm's running statistics average over some 100 batches
    instead of 10. (Training on frozen statistics instead diverges: batch-norm no longer hides that a few changed weight
    codes move the mean of a channel by much.)"""
    epochs: int
    rate: float
    quantizer_rate: float = 0.0
    weight_decay: float = 3e-4
    batch: int = 128
    warmup: float = 0.15
    distill: float = 0.0
    temperature: float = 2.0
    settle: int = 0
    seed: int = 1


def save_atomic(state, path):
    """torch.save that leaves either the old file or the new one."""
    temporary = Path(f"{path}.tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def parameter_groups(net, schedule):
    """Convolution and linear weights are decayed; norms, gains and quantizers are not."""
    groups = {"weights": [], "norms": [], "quantizers": []}
    for name, parameter in net.named_parameters():
        quantizer = "quantizer" in name or "activation" in name or "log_gain" in name
        kind = "quantizers" if quantizer else "weights" if parameter.dim() > 1 else "norms"
        groups[kind].append(parameter)
    rates = {"weights": schedule.rate, "norms": schedule.rate, "quantizers": schedule.quantizer_rate}
    return [{"params": parameters, "lr": rates[kind], "peak": rates[kind],
             "weight_decay": schedule.weight_decay if kind == "weights" else 0.0}
            for kind, parameters in groups.items() if parameters]


def compiled(net):
    """The net through torch.compile, which on a CPU needs a C++ compiler; without one, as it is."""
    compilers = os.environ.get("CXX", "g++"), "clang++"
    return torch.compile(net) if any(map(shutil.which, compilers)) else net


def one_cycle(progress, warmup):
    """Share of the peak rate at `progress` in 0 .. 1: a linear rise, then half a cosine down to zero."""
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


class Crops:
    """Random 32x32 crops of the images padded by 4, and random flips; everything stays uint8."""
    def __init__(self, images, pad=4):
        padded = F.pad(torch.as_tensor(images), (pad,) * 4)
        side = images.shape[-1]
        self.windows = padded.unfold(2, side, 1).unfold(3, side, 1)       # (N, C, 2*pad+1, 2*pad+1, side, side)
        self.offsets = 2 * pad + 1

    def batch(self, index, generator):
        dy, dx = torch.randint(self.offsets, (2, len(index)), generator=generator)
        crops = self.windows[index, :, dy, dx]
        flip = torch.rand(len(index), generator=generator) < 0.5
        return torch.where(flip[:, None, None, None], crops.flip(-1), crops)


def loss_of(logits, labels, soft, schedule):
    """Cross-entropy, mixed with the divergence from the teacher's softened logits (arXiv 1503.02531)."""
    hard = F.cross_entropy(logits, labels)
    if soft is None:
        return hard
    t = schedule.temperature
    divergence = F.kl_div(F.log_softmax(logits / t, 1), F.log_softmax(soft / t, 1),
                          reduction="batchmean", log_target=True) * t * t
    return (1 - schedule.distill) * hard + schedule.distill * divergence


@torch.no_grad()
def accuracy(net, data, device="cpu", exact=False, batch=250):
    """Share of images classified right, in inference mode; bfloat16, or float32 if `exact`."""
    net.eval()
    right = 0
    for start in range(0, len(data.images), batch):
        x = torch.as_tensor(data.images[start:start + batch]).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=not exact):
            labels = net(x).argmax(1).cpu()
        right += (labels == torch.as_tensor(data.labels[start:start + batch])).sum().item()
    return right / len(data.images)


def fit(net, train, test, schedule, path, *, header, teacher=None, device="cpu", compile_net=True):
    """Trains `net` in place until `schedule` is done and returns the log, one dict per epoch.

    path: the checkpoint; if it exists, training goes on from there. header: JSON-able, kept in the checkpoint.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(parameter_groups(net, schedule), momentum=0.9, nesterov=True, fused=True)
    log = []
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        log = state["log"]
    crops, labels = Crops(train.images), torch.as_tensor(train.labels)
    forward = compiled(net) if compile_net else net
    teach = None
    if teacher is not None and schedule.distill:
        teach = compiled(teacher.eval().to(device, memory_format=torch.channels_last))
    for epoch in range(len(log), schedule.epochs):
        started = time.time()
        net.train()
        set_momentum(net, 0.01 if epoch >= schedule.epochs - schedule.settle else 0.1)
        loss = train_epoch(forward, teach, optimizer, crops, labels, schedule, epoch, device)
        log.append({"epoch": epoch + 1, "loss": round(loss, 5), "accuracy": accuracy(net, test, device),
                    "seconds": round(time.time() - started, 1)})
        save_atomic({"header": header, "net": net.state_dict(), "optimizer": optimizer.state_dict(), "log": log}, path)
        write_log(path, log, header)
        tqdm.write("epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}, {seconds} s".format(**log[-1]))
    return log


def set_momentum(net, momentum):
    """The weight of a batch in batch-norm's running statistics."""
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.momentum = momentum


def train_epoch(forward, teach, optimizer, crops, labels, schedule, epoch, device):
    """One pass over the data; returns the mean loss."""
    generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
    order = torch.randperm(len(labels), generator=generator)
    steps, total = len(labels) // schedule.batch, 0.0
    for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{schedule.epochs}", mininterval=10, leave=False):
        rate = one_cycle((epoch + step / steps) / schedule.epochs, schedule.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        index = order[step * schedule.batch:(step + 1) * schedule.batch]
        x, y = crops.batch(index, generator).to(device), labels[index].to(device)
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                soft = None if teach is None else teach(x).float()
            logits = forward(x)
        loss = loss_of(logits.float(), y, soft, schedule)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / steps


def write_log(path, log, header):
    """One row per epoch as .csv; the same with the header as .json."""
    path.with_suffix(".csv").write_text(log_table(log))
    path.with_suffix(".json").write_text(json.dumps({"header": header, "log": log}, indent=1) + "\n")
