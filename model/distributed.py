"""Training in several processes that `torchrun` started: what the rest of the package needs to know of it."""
import os
from contextlib import contextmanager

import torch
import torch.distributed as dist

__all__ = ["world_size", "rank", "add_over_processes", "process_group", "device_of"]


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
    """The device of this process: with several GPUs on a node, one each."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextmanager
def process_group(device):
    """Joins the group of processes that torchrun described in the environment; without torchrun does nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
