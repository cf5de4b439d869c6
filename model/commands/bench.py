"""python -m model bench"""
import json
import sys

from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.progress import Progress
from model.data import datasets

__all__ = ["run"]


def run(args):
    if args.data is not None and args.dataset == "synthetic":
        raise UserError("--data needs --dataset: which data set it is")
    train_set = datasets.load(args.dataset, "train", args.data)
    bench = with_extra("train", "model.training.bench")
    if args.threads:
        with_extra("train", "model.training.recipes").torch.set_num_threads(args.threads)
    device = with_extra("train", "model.training.distributed").device_of(args.device)
    if args.profile:
        if args.json:
            raise UserError("--json is not a form of --profile, which is a table")
        print(bench.step_profile(args.arch, train_set, device=device))
        return
    rows = []
    with Progress(bench.steps_of(args.steps), unit="steps") as progress:
        for row in bench.measure(args.arch, train_set, device=device, steps=args.steps, advance=progress.advance):
            rows.append(row)
            if not args.json:
                progress.write("{loop:32} {images_per_second:8,} images/s  {over_float:5.2f} x the float step"
                               .format(**row), file=sys.stdout)
    if args.json:
        print(json.dumps(rows))
