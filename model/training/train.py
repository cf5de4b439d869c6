"""Training: one loop for float and quantization-aware runs, on CPU (bfloat16, channels_last) or CUDA, in one process
or in several (`torchrun`).

The data set lies on the device as uint8 and is augmented there, a batch at a time. A stage is one checkpoint file,
written after every epoch, with its log beside it as .csv and .json. On a CPU it resumes from the checkpoint exactly:
batches, crops, flips and noise of epoch e come from generators seeded with (seed, e). Several processes share each
batch; they reach what one would, but for the rounding of sums.
"""
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from model.common.errors import UserError
from model.common.files import replacing, write_text
from model.common.tools import torch_compiles
from model.zoo.card import log_table

from .distributed import add_over_processes, rank, world_size
from .folded import folded
from .network import BatchNorm, of_quantizer

__all__ = ["Schedule", "Crops", "Trainer", "fit", "accuracy"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Training in `cycles` equal parts. Learning rates are peaks, reached after the share `warmup` of a part's steps,
    and zero at its end; `quantizer_rate` is for the quantizers' own few parameters, which are not decayed. batch:
    pictures a step, of all processes together. smoothing: of the labels, the share of the target that all classes have
    alike (arXiv 1512.00567, 7). distill: the share of the loss that the teacher's answers at `temperature` make.
    gradual: the share of the training in which layer after layer is turned over from smooth through noisy to rounded
    (`Network.set_stage`); 0: all round from the start. freeze: a layer that rounds learns no more. cutout: side in
    pixels of the square that is blackened (arXiv 1708.04552). In the last `settle` epochs batch-norm's running
    statistics average over some 100 batches instead of 10. (Training on frozen statistics instead diverges: batch-norm
    no longer hides that a few changed weight codes move the mean of a channel by much.)"""
    epochs: int
    rate: float
    quantizer_rate: float = 0.0
    weight_decay: float = 3e-4
    batch: int = 128
    warmup: float = 0.15
    cycles: int = 1
    smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 2.0
    settle: int = 0
    gradual: float = 0.0
    freeze: bool = False
    cutout: int = 0
    seed: int = 1


def parameter_groups(net, schedule):
    """Convolution and linear weights are decayed; norms, gains and quantizers are not."""
    groups = {"weights": [], "norms": [], "quantizers": []}
    for name, parameter in net.named_parameters():
        kind = "quantizers" if of_quantizer(name) else "weights" if parameter.dim() > 1 else "norms"
        groups[kind].append(parameter)
    rates = {"weights": schedule.rate, "norms": schedule.rate, "quantizers": schedule.quantizer_rate}
    return [{"params": parameters, "lr": rates[kind], "peak": rates[kind],
             "weight_decay": schedule.weight_decay if kind == "weights" else 0.0}
            for kind, parameters in groups.items() if parameters]


def compiled(net):
    """The net through torch.compile, which needs a C++ compiler and Python's headers; without them, as it is."""
    return torch.compile(net) if torch_compiles() else net


def one_cycle(progress, warmup):
    """Share of the peak rate at `progress` in 0 .. 1: a linear rise, then half a cosine down to zero."""
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


class Crops:
    """Random 32x32 crops of the pictures padded by 4, random flips, and cutout, on `device`; everything stays uint8.

    The random numbers come from the CPU, so that every device sees the same pictures.
    """
    def __init__(self, pictures, *, pad=4, cutout=0, device="cpu"):
        padded = F.pad(torch.as_tensor(pictures).to(device), (pad,) * 4)
        self.side, self.cutout, self.device = pictures.shape[-1], cutout, device
        self.windows = padded.unfold(2, self.side, 1).unfold(3, self.side, 1)   # (N, C, 2*pad+1, 2*pad+1, side, side)
        self.offsets = 2 * pad + 1

    def batch(self, index, generator, part=slice(None)):
        """Pictures `index[part]`, uint8 (n, C, side, side): random numbers are drawn for all of `index`."""
        dy, dx = torch.randint(self.offsets, (2, len(index)), generator=generator)
        flip = torch.rand(len(index), generator=generator) < 0.5
        centre = torch.randint(self.side, (2, len(index)), generator=generator) if self.cutout else None
        index, dy, dx, flip = (t[part].to(self.device, non_blocking=True) for t in (index, dy, dx, flip))
        crops = self.windows[index, :, dy, dx]
        crops = torch.where(flip[:, None, None, None], crops.flip(-1), crops)
        if self.cutout:
            centre = centre[:, part].to(self.device, non_blocking=True)
            distance = (torch.arange(self.side, device=self.device) - centre[..., None]) * 2 + 1
            hidden = (distance > -self.cutout) & (distance <= self.cutout)      # (2, n, side)
            crops = crops * ~(hidden[0, :, None, :, None] & hidden[1, :, None, None, :])
        return crops


def loss_of(logits, labels, soft, schedule):
    """Cross-entropy, mixed with the divergence from the teacher's softened logits (arXiv 1503.02531)."""
    hard = F.cross_entropy(logits, labels, label_smoothing=schedule.smoothing)
    if soft is None:
        return hard
    t = schedule.temperature
    divergence = F.kl_div(F.log_softmax(logits / t, 1), F.log_softmax(soft / t, 1),
                          reduction="batchmean", log_target=True) * t * t
    return (1 - schedule.distill) * hard + schedule.distill * divergence


@torch.no_grad()
def accuracy(net, data, device="cpu", exact=False, batch=250, advance=None):
    """Share of pictures classified right, in inference mode; bfloat16, or float32 if `exact`. advance: called with the
    number of pictures of each batch."""
    net.eval()
    right = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(rank() * batch, len(data.pictures), batch * world_size()):
        x = torch.as_tensor(data.pictures[start:start + batch]).to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=not exact), \
             torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            labels = net(x).argmax(1)
        right += (labels == torch.as_tensor(data.labels[start:start + batch]).to(device)).sum()
        if advance:
            advance(len(labels))
    return add_over_processes(right).item() / len(data.pictures)


class Trainer:
    """One stage of training of `net` on `train`: a step, an epoch.

    teacher: for distillation, or None. compile_net: through torch.compile where that can be.
    """
    def __init__(self, net, train, schedule, *, teacher=None, device="cpu", compile_net=True):
        if schedule.batch % world_size():
            raise UserError(f"{world_size()} processes cannot share batches of {schedule.batch}")
        self.net, self.schedule, self.device = net, schedule, device
        net.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(parameter_groups(net, schedule), momentum=0.9, nesterov=True, fused=True)
        self.crops = Crops(train.pictures, cutout=schedule.cutout, device=device)
        self.labels = torch.as_tensor(train.labels).to(device)
        # The processes have the same running statistics already: they share every batch's.
        forward = net if world_size() == 1 else DistributedDataParallel(net, forward_sync_buffers=False)
        self.forward = compiled(forward) if compile_net else forward
        self.teacher = None
        if teacher is not None and schedule.distill:
            self.teacher = compiled(folded(teacher).to(device, memory_format=torch.channels_last))

    @property
    def steps(self):
        """Batches of an epoch."""
        return len(self.labels) // self.schedule.batch

    def step(self, index, generator, progress):
        """One update with the pictures `index`; returns this process's loss, a tensor on the device.

        progress: 0 .. 1 of the stage done.
        """
        schedule = self.schedule
        rate = one_cycle(progress * schedule.cycles % 1, schedule.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        if schedule.gradual:
            self.net.set_stage(progress / schedule.gradual)
        share = schedule.batch // world_size()
        part = slice(rank() * share, (rank() + 1) * share)
        x = self.crops.batch(index, generator, part)
        y = self.labels[index[part].to(self.device, non_blocking=True)]
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            with torch.no_grad():
                soft = None if self.teacher is None else self.teacher(x).float()
            logits = self.forward(x)
        loss = loss_of(logits.float(), y, soft, schedule)
        self.optimizer.zero_grad()
        loss.backward()
        if schedule.freeze:
            self.net.freeze_rounded()
        self.optimizer.step()
        return loss.detach()

    def epoch(self, epoch):
        """One pass over the data; returns the mean loss."""
        schedule, steps = self.schedule, self.steps
        self.net.train()
        set_momentum(self.net, 0.01 if epoch >= schedule.epochs - schedule.settle else 0.1)
        seed = schedule.seed * 10_000 + epoch
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)                                             # of the weights' noise
        order = torch.randperm(len(self.labels), generator=generator)
        total = torch.zeros((), device=self.device)
        for step in tqdm(range(steps), desc=f"epoch {epoch + 1}/{schedule.epochs}", mininterval=10, leave=False,
                         disable=rank() > 0):
            index = order[step * schedule.batch:(step + 1) * schedule.batch]
            total += self.step(index, generator, (epoch + step / steps) / schedule.epochs)
        return add_over_processes(total).item() / steps / world_size()


def fit(net, train, test, schedule, path, *, header, teacher=None, device="cpu", compile_net=True):
    """Trains `net` in place until `schedule` is done and returns the log, one dict per epoch.

    path: the checkpoint, in a folder that exists; if there is one, training goes on from it. header: JSON-able, kept in
    the checkpoint, which says after a resume what it said at its start.
    """
    path = Path(path)
    trainer = Trainer(net, train, schedule, teacher=teacher, device=device, compile_net=compile_net)
    log = []
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        log, header = state["log"], state["header"]
        if len(log) < schedule.epochs:
            if "optimizer" not in state:
                raise UserError(f"{path}: no state of the optimizer in it, without which its training cannot go on")
            trainer.optimizer.load_state_dict(state["optimizer"])
    if add_over_processes(torch.tensor(len(log))) != len(log) * world_size():
        raise UserError(f"{path}: not the same for all processes; --runs must be a folder that all of them share")
    if log and rank() == 0:
        write_log(path, log, header)            # a run may have been killed between checkpoint and log
    for epoch in range(len(log), schedule.epochs):
        started = time.time()
        loss = trainer.epoch(epoch)
        log.append({"epoch": epoch + 1, "loss": round(loss, 5), "accuracy": accuracy(net, test, device),
                    "seconds": round(time.time() - started, 1)})
        if rank() > 0:
            continue
        with replacing(path) as file:
            torch.save({"header": header, "net": net.state_dict(), "optimizer": trainer.optimizer.state_dict(),
                        "log": log}, file)
        write_log(path, log, header)
        tqdm.write("epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}, {seconds} s".format(**log[-1]))
    return log


def set_momentum(net, momentum):
    """The weight of a batch in batch-norm's running statistics."""
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.momentum = momentum


def write_log(path, log, header):
    """One row per epoch as .csv; the same with the header as .json."""
    write_text(path.with_suffix(".csv"), log_table(log))
    write_text(path.with_suffix(".json"), json.dumps({"header": header, "log": log}, indent=1) + "\n")
