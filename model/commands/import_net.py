"""python -m model import"""
from model.common.extras import with_extra
from model.common.files import refuse_unwritable
from model.integer import store

__all__ = ["run"]


def run(args):
    refuse_unwritable(args.output)
    net, factor = with_extra("onnx", "model.onnx.importer").load(args.file, args.name)
    store.save(net, args.output)
    note = "" if factor == 1 else f", logits {factor} times the graph's"
    print(f"{args.output}: {net.name}, {len(net.layers)} layers, {len(net.classes)} classes{note}")
