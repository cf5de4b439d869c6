"""python -m model export"""
from pathlib import Path

from model import zoo
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.files import RUNS, refuse_unwritable, write_text
from model.data import datasets
from model.integer import store
from model.zoo import card

from .evaluate import right_of

__all__ = ["run"]


def integer_net(checkpoint, data_dir):
    """(IntegerNet, training log) of a 02_qat.pt, evaluated on its whole test set."""
    recipes, integerize, checkpoints = (with_extra("train", f"model.training.{name}")
                                        for name in ("recipes", "integerize", "checkpoints"))
    net, header = checkpoints.load_checkpoint(checkpoint)
    if header["stage"] != "quantized":
        raise UserError(f"{checkpoint}: a float net; export takes a 02_qat.pt")
    checkpoints.refuse_unfinished(checkpoint, header)
    log = header.pop("log")
    header["command"] = (
        recipes.command_of(header) + f" && python -m model export {RUNS / header['name'] / Path(checkpoint).name}")
    header["seconds"] = round(sum(epoch["seconds"] for epoch in log))
    exported = integerize.integerize(net, header["name"], header["classes"], header)
    test = datasets.load(header["dataset"], "test", data_dir)
    count = len(test.pictures)
    exported.header.update(images=count, accuracy=right_of(exported, test.pictures, test.labels) / count)
    return exported, log


def export_onnx(args):
    if args.output:
        raise UserError("--onnx FILE is the output; leave out -o")
    exporter, source = with_extra("onnx", "model.onnx.exporter"), args.net or zoo.DEFAULT
    refuse_unwritable(args.onnx)
    if args.data is not None and not source.endswith(".pt"):
        raise UserError(f"--data is for a checkpoint, which is evaluated; {source} is not one")
    net = integer_net(Path(source), args.data)[0] if source.endswith(".pt") else zoo.load(source)
    exporter.save(net, args.onnx, standard=args.standard)
    print(f"{args.onnx}: {net.name} as {'standard ONNX' if args.standard else 'QONNX'}")


def run(args):
    if args.onnx:
        return export_onnx(args)
    if args.standard:
        raise UserError("--standard is a form of --onnx FILE")
    checkpoint = Path(args.net or args.runs / zoo.DEFAULT / "02_qat.pt")
    output = Path(args.output or checkpoint.with_name("03_net.npz"))
    if output.suffix != ".npz":
        raise UserError(f"{output}: the net is an .npz; its card and log get the same name with .json and .csv")
    if not args.net and not checkpoint.exists():
        raise UserError(f"no {checkpoint}: python -m model train {zoo.DEFAULT} makes it; or name a checkpoint")
    refuse_unwritable(output)
    exported, log = integer_net(checkpoint, args.data)
    store.save(exported, output)
    write_text(output.with_suffix(".json"), card.dump(card.card(exported)))
    write_text(output.with_suffix(".csv"), card.log_table(log))
    print(f"{output}: {100 * exported.header['accuracy']:.2f} % of {exported.header['images']} images right")
