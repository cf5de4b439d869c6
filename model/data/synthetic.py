"""Procedural pictures: ten shapes at any place, size, angle and pair of colours, under noise.

Our own data set, so that everything runs where CIFAR is not. Shape is all that tells the classes apart: a shape may be
lighter or darker than its background, which leaves a linear classifier little above chance.
"""
import numpy as np

__all__ = ["CLASSES", "make"]

CLASSES = ("disc", "ring", "square", "frame", "triangle", "cross", "stripes", "checkers", "crescent", "arrow")
COUNTS = {"train": 20_000, "test": 2_000}
SEEDS = {"train": 1811, "test": 10869}
SIDE = 32
CHUNK = 1000


def box(x, y, half_width, half_height):
    """Signed distance to a rectangle around the origin, about in pixels; negative inside."""
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def triangle(x, y, size):
    """Signed distance to an equilateral triangle pointing up."""
    return np.maximum(np.abs(x) * 0.866 + y * 0.5, -y) - size / 2


def distance(name, x, y, r):
    """Signed distance to the shape of that class and radius r, in its own rotated coordinates."""
    radius = np.hypot(x, y)
    match name:
        case "disc":
            return radius - r
        case "ring":
            return np.abs(radius - 0.8 * r) - 0.2 * r
        case "square":
            return box(x, y, 0.85 * r, 0.85 * r)
        case "frame":
            return np.abs(box(x, y, 0.7 * r, 0.7 * r)) - 0.2 * r
        case "triangle":
            return triangle(x, y, 1.2 * r)
        case "cross":
            return np.minimum(box(x, y, r, 0.25 * r), box(x, y, 0.25 * r, r))
        case "stripes":
            return np.maximum(box(x, y, r, r), np.abs((y / r * 2.5) % 2 - 1) * r / 2.5 - 0.2 * r)
        case "checkers":
            cells = np.floor(x / r * 1.5 + 0.5) + np.floor(y / r * 1.5 + 0.5)
            return np.maximum(box(x, y, r, r), np.where(cells % 2 == 0, -1.0, 1.0))
        case "crescent":
            return np.maximum(radius - r, 0.85 * r - np.hypot(x - 0.55 * r, y))
        case "arrow":
            return np.minimum(box(x, y + 0.4 * r, 0.2 * r, 0.6 * r), triangle(x, y - 0.4 * r, 0.75 * r))
    raise ValueError(f"no such shape: {name!r}")


def chunk(rng, count):
    """(pictures uint8 (count, 3, SIDE, SIDE), labels int64 (count,))."""
    labels = rng.integers(len(CLASSES), size=count)
    r = rng.uniform(7.0, 12.0, (count, 1, 1))
    slack = SIDE / 2 - r
    center = SIDE / 2 - 0.5 + rng.uniform(-1, 1, (2, count, 1, 1)) * slack
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    grid = np.arange(SIDE, dtype=np.float64)
    dy, dx = grid[:, None] - center[0], grid - center[1]
    x, y = np.cos(angle) * dx - np.sin(angle) * dy, np.sin(angle) * dx + np.cos(angle) * dy
    cover = np.empty((count, SIDE, SIDE))
    for label, name in enumerate(CLASSES):
        chosen = labels == label
        cover[chosen] = np.clip(0.5 - distance(name, x[chosen], y[chosen], r[chosen]), 0, 1)

    back = rng.uniform(30, 225, (count, 3, 1, 1))
    away = rng.uniform(60, 110, (count, 3, 1, 1)) * rng.choice([-1, 1], (count, 1, 1, 1))
    front = np.where(np.abs(back + away - 127.5) > 127.5, back - away, back + away)
    slope = rng.uniform(-1, 1, (2, count, 3, 1, 1)) * 0.8
    shade = slope[0] * (grid - SIDE / 2) + slope[1] * (grid[:, None] - SIDE / 2)
    pictures = back + shade + (front - back) * cover[:, None] + rng.normal(0, 14, (count, 3, SIDE, SIDE))
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8), labels.astype(np.int64)


def make(split):
    """(pictures uint8 (N, 3, 32, 32), labels int64 (N,)) of "train" or "test", the same on every call."""
    rng = np.random.default_rng(SEEDS[split])
    pictures, labels = zip(*(chunk(rng, CHUNK) for _ in range(COUNTS[split] // CHUNK)), strict=True)
    return np.concatenate(pictures), np.concatenate(labels)
