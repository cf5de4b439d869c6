"""Batch-norm and activation quantizer in one pass over memory, for training on a CPU: fused.c, called through ctypes.

Training is bound by memory traffic: written as torch operations, batch-norm, erf and the straight-through floor take
twice as long as the convolutions between them, compiled or not. `available()` is False without a C compiler; the
caller then uses the torch operations, which give the same codes but where float32 rounds otherwise.
"""
import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import torch

from model.common.cache import cache_folder
from model.common.tools import find_c_compiler
from model.quantizers.base import edge_gradient

from .distributed import add_over_processes, world_size

__all__ = ["available", "norm_compand", "norm_segment"]

SOURCE = Path(__file__).with_name("fused.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")


@functools.cache
def library():
    """The compiled library, cached by content in the user's cache folder; None where it cannot be built."""
    compiler = find_c_compiler()
    if not compiler:
        return None
    try:
        return ctypes.CDLL(built_with(compiler))
    except OSError:                             # a compiler that does not start, a folder that is not to be written
        return None


def built_with(compiler):
    """Path of the library, built if need be. OSError where it cannot be."""
    key = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, FLAGS, platform.node())).encode())
    path = cache_folder() / f"fused-{key.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / "fused.so"
            subprocess.run([*compiler, *FLAGS, SOURCE, "-o", built], capture_output=True)
            os.replace(built, path)
    return str(path)


def available(x):
    """Whether x (N, C, H, W) can go through the fused kernels."""
    return (x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.shape[1] % 16 == 0
            and library() is not None)


def pointer(t):
    return ctypes.c_void_p(t.data_ptr())


class Statistics:
    """Mean and variance that a batch-norm divides by, and the way its gradient takes through them.

    size: pixels and channels of x (N, C, H, W), channels last, for the kernels.
    """
    def __init__(self, x, norm):
        channels = x.shape[1]
        self.pixels = x.numel() // channels
        self.size = ctypes.c_int64(self.pixels), ctypes.c_int64(channels)
        self.batch, self.total = norm.training, self.pixels * world_size()
        if not self.batch:
            self.mean, var = norm.running_mean, norm.running_var.double()
        else:
            total = torch.zeros(2, channels, dtype=torch.float64)
            library().moments(pointer(x), *self.size, pointer(total[0]), pointer(total[1]))
            self.mean, square = add_over_processes(total) / self.total
            var = square - self.mean.square()
            norm.track(self.mean.float(), var.float() * (self.total / (self.total - 1)))
        self.rstd = (var.clamp_min(0) + norm.eps).rsqrt()

    def parameters(self, *rows):
        """The kernels' `par`: mean, 1 / std and `rows`, each (C,)."""
        return torch.stack([self.mean.float(), self.rstd.float(), *rows]).contiguous()

    def backward(self, x, dx, par, k, dk, db):
        """Turns dL/dxhat in `dx` into dL/dx, given the sums of dL/dk and dL/db over this process's pixels."""
        offset, slope = torch.zeros(2, len(k))
        if self.batch:
            slope, offset = (add_over_processes(torch.stack([dk, db])) * k / self.total).contiguous()
        library().backward_norm(pointer(x), pointer(dx), *self.size, pointer(par), pointer(offset), pointer(slope))


class NormCompand(torch.autograd.Function):
    """y = unit * floor(clamp(a * erf(k * xhat + b) + o, 0, top + 0.5)), xhat = (x - mean) / std; a, k, b, o (C,).
    Where it does not round: unit * (clamp(..., 0.5, top + 0.5) - 0.5)."""

    @staticmethod
    def forward(ctx, x, a, k, b, o, norm, top, unit, rounds):
        x = x.contiguous(memory_format=torch.channels_last)
        statistics = Statistics(x, norm)
        par = statistics.parameters(a, k, b, o)
        y = torch.empty_like(x)
        scale = ctypes.c_float(top), ctypes.c_float(unit), int(rounds)
        library().compand_forward(pointer(x), pointer(y), *statistics.size, pointer(par), *scale)
        ctx.save_for_backward(x, par)
        ctx.rest = statistics, scale
        return y

    @staticmethod
    def backward(ctx, dy):
        x, par = ctx.saved_tensors
        statistics, scale = ctx.rest
        dy = dy.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        sums = torch.zeros(4, par.shape[1], dtype=torch.float64)
        library().compand_backward(pointer(x), pointer(dy), pointer(dx), *statistics.size, pointer(par), *scale,
                                   pointer(sums))
        da, do, dk, db = sums.float()
        statistics.backward(x, dx, par, par[3], dk, db)
        return dx, da, dk, db, do, *(None,) * 4


class NormSegment(torch.autograd.Function):
    """y = unit * #{j : z >= edges[j], 0 < j < n}, z = k * (x - mean) / std + b; k, b (C,), edges (n + 1,)."""

    @staticmethod
    def forward(ctx, x, k, b, edges, norm, unit):
        x = x.contiguous(memory_format=torch.channels_last)
        statistics = Statistics(x, norm)
        par, edges = statistics.parameters(k, b), edges.float().contiguous()
        y = torch.empty_like(x)
        scale = ctypes.c_int64(len(edges) - 1), ctypes.c_float(unit)
        library().segment_forward(pointer(x), pointer(y), *statistics.size, pointer(par), pointer(edges), *scale)
        ctx.save_for_backward(x, y, par, edges)
        ctx.rest = statistics, scale
        return y

    @staticmethod
    def backward(ctx, dy):
        x, y, par, edges = ctx.saved_tensors
        statistics, scale = ctx.rest
        dy = dy.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        sums = torch.zeros(2, par.shape[1], dtype=torch.float64)
        bins = torch.zeros(len(edges) - 1, 2, dtype=torch.float64)
        library().segment_backward(pointer(x), pointer(y), pointer(dy), pointer(dx), *statistics.size, pointer(par),
                                   pointer(edges), *scale, pointer(sums), pointer(bins))
        dk, db = sums.float()
        statistics.backward(x, dx, par, par[2], dk, db)
        return dx, dk, db, edge_gradient(*bins.float().T), None, None


def norm_compand(x, a, k, b, o, norm, top, unit, rounds=True):
    """Codes times `unit`, bfloat16, of accumulators x. norm: the BatchNorm, for its statistics and mode; rounds:
    False gives what the floor is on average."""
    return NormCompand.apply(x, a, k, b, o, norm, float(top), float(unit), rounds)


def norm_segment(x, k, b, edges, norm, unit):
    """Codes times `unit`, bfloat16, of accumulators x. norm: the BatchNorm, for its statistics and mode."""
    return NormSegment.apply(x, k, b, edges, norm, float(unit))
