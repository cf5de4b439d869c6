"""Training in several processes that `torchrun` started: what the rest of the package needs to know of it."""
import os
import sys
from contextlib import contextmanager

import torch
import torch.distributed as dist

from model.common.errors import UserError

__all__ = ["world_size", "rank", "add_over_processes", "process_group", "device_of", "leave"]


def world_size():
    """Number of processes, 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank():
    """Number of this process, 0 .. world_size() - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


class Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since each process has a share of the loss."""
    @staticmethod
    def forward(ctx, t):
        t = t.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(t)
        return t

    backward = forward


def add_over_processes(t):
    """The sum of t over all processes, differentiable."""
    return t if world_size() == 1 else Sum.apply(t)


def device_of(device):
    """The device of this process: with several GPUs on a node, one each. UserError where there is none."""
    if device != "cuda":
        return device
    index = int(os.environ.get("LOCAL_RANK", 0))
    if index >= torch.cuda.device_count():
        raise UserError(f"no CUDA device for process {index} of this machine; leave --device out to use the CPU"
                        if index else "no CUDA device here; leave --device out to use the CPU")
    return f"cuda:{index}"


def one_of_several():
    """Whether torchrun described a group of processes in the environment."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


@contextmanager
def process_group(device):
    """Joins the group of processes that torchrun described in the environment; without torchrun does nothing."""
    if not one_of_several():
        yield
        return
    if device != "cpu":
        torch.cuda.set_device(device)
    # gloo as well, for what is counted in tensors of the CPU.
    dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        yield
    finally:
        dist.destroy_process_group()


def leave():
    """Ends this process, its work done, if it was one of several. DistributedDataParallel keeps gloo's threads beyond
    the end of the group, and one that still runs while the interpreter shuts down can abort the process then."""
    if one_of_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
