"""Which pictures a command is asked for: the test set that a net is for, and a range of it."""
from model.common.errors import UserError

from . import datasets

__all__ = ["dataset_of", "range_of", "refuse_other_shape"]


def dataset_of(name, header, folder):
    """The test set that a net of that name and header is for; `folder`, --data, may also be the word `synthetic`."""
    dataset = "synthetic" if folder == "synthetic" else header.get("dataset")
    if dataset is None:
        raise UserError(f"net {name} does not say which data set it was trained on: give --data synthetic, or picture "
                        "files to a command that takes them")
    return datasets.load(dataset, "test", None if dataset == "synthetic" else folder)


def range_of(dataset, start, count):
    """The slice of pictures start .. start + count - 1 of the data set (to its end where `count` is None)."""
    if count is not None and count < 1:
        raise UserError(f"--images must be at least 1, not {count}")
    if start < 0:
        raise UserError(f"--start must be at least 0, not {start}: it counts pictures from the first, 0")
    total = len(dataset.pictures)
    if start >= total:
        raise UserError(f"--start {start}: the test set of {dataset.name} has pictures 0 to {total - 1}")
    count = total - start if count is None else count
    if count > total - start:
        raise UserError(f"--images {count}: from picture {start} on, the test set of {dataset.name} has "
                        f"{total - start}")
    return slice(start, start + count)


def refuse_other_shape(net, pictures, what):
    """Refuses pictures (N, C, H, W), named by `what`, that the net does not take."""
    if pictures.shape[1:] != tuple(net.input_shape):
        shape, expected = (" x ".join(map(str, s)) for s in (pictures.shape[1:], net.input_shape))
        raise UserError(f"{what} are {shape}, net {net.name} takes {expected}")
