"""python -m model train"""
from model.common.extras import with_extra

__all__ = ["run"]


def run(args):
    recipes = with_extra("train", "model.training.recipes")
    recipes.train_named(
        recipes.with_quantizer(args.net, args.quantizer), args.runs, data_dir=args.data, device=args.device,
        threads=args.threads, float_epochs=args.float_epochs, epochs=args.epochs, rate=args.rate,
        cutout=args.cutout, distill=args.distill, teacher=args.teacher, start=args.start, freeze=args.freeze)
    with_extra("train", "model.training.distributed").leave()
