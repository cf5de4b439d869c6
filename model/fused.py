"""Batch-norm and companding in one pass over memory, for training on a CPU: fused.c, called through ctypes.

Training is bound by memory traffic: written as torch operations, batch-norm, erf and the straight-through floor take
twice as long as the convolutions between them, compiled or not. `available()` is False without a C compiler; the
caller then uses the torch operations, which give the same codes.
"""
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from .download import cache_folder

__all__ = ["available", "norm_compand"]

SOURCE = Path(__file__).with_name("fused.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")


@functools.cache
def library():
    """The compiled library, cached by content in the user's cache folder; None where it cannot be built."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        return None
    key = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, FLAGS, platform.node())).encode())
    path = cache_folder() / f"fused-{key.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / "fused.so"
            if subprocess.run([compiler, *FLAGS, SOURCE, "-o", built], capture_output=True).returncode:
                return None
            os.replace(built, path)
    return ctypes.CDLL(str(path))


def available(x):
    """Whether x (N, C, H, W) can go through the fused kernels."""
    return (x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.shape[1] % 16 == 0
            and library() is not None)


def pointer(t):
    return ctypes.c_void_p(t.data_ptr())


class NormCompand(torch.autograd.Function):
    """y = unit * floor(clamp(a * erf(k * xhat + b) + o, 0, top + 0.5)), xhat = (x - mean) / std; a, k, b, o (C,)."""

    @staticmethod
    def forward(ctx, x, a, k, b, o, running_mean, running_var, use_batch, momentum, eps, top, unit):
        x = x.contiguous(memory_format=torch.channels_last)
        n, channels, height, width = x.shape
        pixels = n * height * width
        size = ctypes.c_int64(pixels), ctypes.c_int64(channels)
        if use_batch:
            total = torch.zeros(2, channels, dtype=torch.float64)
            library().moments(pointer(x), *size, pointer(total[0]), pointer(total[1]))
            mean = total[0] / pixels
            var = total[1] / pixels - mean.square()
            running_mean.lerp_(mean.float(), momentum)
            running_var.lerp_(var.float() * (pixels / (pixels - 1)), momentum)
        else:
            mean, var = running_mean.double(), running_var.double()
        par = torch.stack([mean.float(), (var.clamp_min(0) + eps).rsqrt().float(), a, k, b, o]).contiguous()
        y = torch.empty_like(x)
        scale = ctypes.c_float(top), ctypes.c_float(unit)
        library().forward(pointer(x), pointer(y), *size, pointer(par), *scale)
        ctx.save_for_backward(x, par)
        ctx.rest = size, scale, use_batch
        return y

    @staticmethod
    def backward(ctx, dy):
        x, par = ctx.saved_tensors
        size, scale, use_batch = ctx.rest
        pixels, channels = size[0].value, size[1].value
        dy = dy.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        sums = torch.zeros(4, channels, dtype=torch.float64)
        library().backward(pointer(x), pointer(dy), pointer(dx), *size, pointer(par), *scale, pointer(sums))
        da, do, dk, db = sums.float()
        k = par[3]
        offset = (db * k / pixels if use_batch else torch.zeros(channels)).contiguous()
        slope = (dk * k / pixels if use_batch else torch.zeros(channels)).contiguous()
        library().backward_norm(pointer(x), pointer(dx), *size, pointer(par), pointer(offset), pointer(slope))
        return dx, da, dk, db, do, *(None,) * 7


def norm_compand(x, a, k, b, o, norm, top, unit):
    """Codes times `unit`, bfloat16, of accumulators x. norm: the BatchNorm, for its statistics and mode."""
    return NormCompand.apply(x, a, k, b, o, norm.running_mean, norm.running_var, norm.training,
                             norm.momentum, norm.eps, float(top), float(unit))
