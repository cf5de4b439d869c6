"""python -m model eval"""
import json
from dataclasses import replace
from functools import partial

from model import zoo
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.progress import Progress
from model.data.selection import dataset_of, range_of, refuse_other_shape
from model.integer import golden

__all__ = ["right_of", "run"]

BATCH = 100                     # pictures between two looks at the clock


def right_of(net, pictures, labels, engine="integer", device="cpu"):
    """How many of the pictures an integer net classifies right; argmax takes the lowest index of equals."""
    if engine == "torch":
        device = with_extra("train", "model.training.distributed").device_of(device)
        forward = partial(with_extra("train", "model.training.torch_integer").forward, device=device)
    else:
        forward = golden.forward
    right = 0
    with Progress(len(pictures)) as progress:
        for start in range(0, len(pictures), BATCH):
            batch = slice(start, start + BATCH)
            right += int((forward(net, pictures[batch]).argmax(1) == labels[batch]).sum())
            progress.advance(len(labels[batch]))
    return right


def run(args):
    if args.net.endswith(".pt"):
        if args.engine:
            raise UserError(f"--engine is for integer nets; {args.net} is a checkpoint, evaluated in float32")
        checkpoint, header = with_extra("train", "model.training.checkpoints").load_checkpoint(args.net)
        name, engine = header["name"], "float32"
    else:
        net = zoo.load(args.net)
        name, header, engine = net.name, net.header, args.engine or "integer"
        if engine == "integer" and args.device != "cpu":
            raise UserError(f"--device {args.device} is for --engine torch and for checkpoints")
    dataset = dataset_of(name, header, args.data)
    if header.get("dataset", dataset.name) != dataset.name:
        raise UserError(f"{name} is a net for {header['dataset']}: on {dataset.name} it has no accuracy")
    chosen = range_of(dataset, args.start, args.images)
    pictures, labels = dataset.pictures[chosen], dataset.labels[chosen]
    if engine == "float32":
        device = with_extra("train", "model.training.distributed").device_of(args.device)
        part = replace(dataset, pictures=pictures, labels=labels)
        accuracy = with_extra("train", "model.training.train").accuracy
        with Progress(len(pictures)) as progress:
            share = accuracy(checkpoint.to(device), part, device, exact=True, advance=progress.advance)
        correct = round(share * len(pictures))
    else:
        refuse_other_shape(net, pictures, f"the pictures of {dataset.name}")
        correct = right_of(net, pictures, labels, engine, args.device)
    result = {"net": name, "dataset": dataset.name, "engine": engine, "images": len(pictures),
              "correct": correct, "accuracy": correct / len(pictures)}
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{name} on {dataset.name} ({engine}): {correct} of {len(pictures)} right, "
              f"{100 * correct / len(pictures):.2f} %")
