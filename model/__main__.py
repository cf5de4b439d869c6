"""python -m model train | eval | bench | export | import | card | plot"""
import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from . import card, data, integer, store
from .command import Parser, run_command
from .errors import UserError
from .files import refuse_unwritable, write_text
from .inputs import onnx_module, positive, training_module
from .plot_command import plot_parser
from .selection import dataset_of, range_of, refuse_other_shape

RUNS = Path("runs")


def bench(args):
    if args.data and args.dataset == "synthetic":
        raise UserError("--data needs --dataset: which data set it is")
    train_set = data.load(args.dataset, "train", args.data)
    bench_module = training_module("bench")
    if args.threads:
        training_module("recipes").torch.set_num_threads(args.threads)
    device = training_module("distributed").device_of(args.device)
    if args.profile:
        if args.json:
            raise UserError("--json is not a form of --profile, which is a table")
        print(bench_module.step_profile(args.arch, train_set, device=device))
        return
    rows = bench_module.measure(args.arch, train_set, device=device, steps=args.steps)
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print("{loop:32} {images_per_second:8,} images/s  {over_float:5.2f} x the float step".format(**row))


def right_of(net, images, labels, engine="integer", device="cpu"):
    """How many of the pictures an integer net classifies right; argmax takes the lowest index of equals."""
    if engine == "torch":
        device = training_module("distributed").device_of(device)
        logits = training_module("torch_integer").forward(net, images, device)
    else:
        logits = integer.forward(net, images)
    return int((logits.argmax(1) == labels).sum())


def train(args):
    recipes = training_module("recipes")
    recipes.train_named(
        recipes.with_quantizer(args.net, args.quantizer), args.runs, data_dir=args.data, device=args.device,
        threads=args.threads, float_epochs=args.float_epochs, epochs=args.epochs, rate=args.rate,
        cutout=args.cutout, distill=args.distill, teacher=args.teacher, start=args.start, freeze=args.freeze)
    training_module("distributed").leave()


def eval_command(args):
    if args.net.endswith(".pt"):
        if args.engine:
            raise UserError(f"--engine is for integer nets; {args.net} is a checkpoint, evaluated in float32")
        checkpoint, header = training_module("checkpoints").load_checkpoint(args.net)
        name, engine = header["name"], "float32"
    else:
        net = store.load(args.net)
        name, header, engine = net.name, net.header, args.engine or "integer"
        if engine == "integer" and args.device != "cpu":
            raise UserError(f"--device {args.device} is for --engine torch and for checkpoints")
    dataset = dataset_of(name, header, args.data)
    if header.get("dataset", dataset.name) != dataset.name:
        raise UserError(f"{name} is a net for {header['dataset']}: on {dataset.name} it has no accuracy")
    chosen = range_of(dataset, args.start, args.images)
    images, labels = dataset.images[chosen], dataset.labels[chosen]
    if engine == "float32":
        device = training_module("distributed").device_of(args.device)
        part = replace(dataset, images=images, labels=labels)
        share = training_module("train").accuracy(checkpoint.to(device), part, device, exact=True)
        correct = round(share * len(images))
    else:
        refuse_other_shape(net, images, f"the pictures of {dataset.name}")
        correct = right_of(net, images, labels, engine, args.device)
    result = {"net": name, "dataset": dataset.name, "engine": engine, "images": len(images),
              "correct": correct, "accuracy": correct / len(images)}
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{name} on {dataset.name} ({engine}): {correct} of {len(images)} right, "
              f"{100 * correct / len(images):.2f} %")


def integer_net(checkpoint, data_dir):
    """(IntegerNet, training log) of a 02_qat.pt, evaluated on its whole test set."""
    recipes, integerize, checkpoints = map(training_module, ("recipes", "integerize", "checkpoints"))
    net, header = checkpoints.load_checkpoint(checkpoint)
    if header["stage"] != "quantized":
        raise UserError(f"{checkpoint}: a float net; export takes a 02_qat.pt")
    checkpoints.refuse_unfinished(checkpoint, header)
    log = header.pop("log")
    header["command"] = (
        recipes.command_of(header) + f" && python -m model export {RUNS / header['name'] / Path(checkpoint).name}")
    header["seconds"] = round(sum(epoch["seconds"] for epoch in log))
    exported = integerize.integerize(net, header["name"], header["classes"], header)
    test = data.load(header["dataset"], "test", data_dir)
    images = len(test.images)
    exported.header.update(images=images, accuracy=right_of(exported, test.images, test.labels) / images)
    return exported, log


def export_onnx(args):
    if args.output:
        raise UserError("--onnx FILE is the output; leave out -o")
    onnx_export, source = onnx_module("onnx_export"), args.net or store.DEFAULT
    refuse_unwritable(args.onnx)
    if args.data and not source.endswith(".pt"):
        raise UserError(f"--data is for a checkpoint, which is evaluated; {source} is not one")
    net = integer_net(Path(source), args.data)[0] if source.endswith(".pt") else store.load(source)
    onnx_export.save(net, args.onnx, standard=args.standard)
    print(f"{args.onnx}: {net.name} as {'standard ONNX' if args.standard else 'QONNX'}")


def export(args):
    if args.onnx:
        return export_onnx(args)
    if args.standard:
        raise UserError("--standard is a form of --onnx FILE")
    checkpoint = Path(args.net or args.runs / store.DEFAULT / "02_qat.pt")
    output = Path(args.output or checkpoint.with_name("03_net.npz"))
    if output.suffix != ".npz":
        raise UserError(f"{output}: the net is an .npz; its card and log get the same name with .json and .csv")
    if not args.net and not checkpoint.exists():
        raise UserError(f"no {checkpoint}: python -m model train {store.DEFAULT} makes it; or name a checkpoint")
    refuse_unwritable(output)
    exported, log = integer_net(checkpoint, args.data)
    store.save(exported, output)
    write_text(output.with_suffix(".json"), card.dump(card.card(exported)))
    write_text(output.with_suffix(".csv"), card.log_table(log))
    print(f"{output}: {100 * exported.header['accuracy']:.2f} % of {exported.header['images']} images right")


def import_command(args):
    net, factor = onnx_module("onnx_import").load(args.file, args.name)
    store.save(net, args.output)
    note = "" if factor == 1 else f", logits {factor} times the graph's"
    print(f"{args.output}: {net.name}, {len(net.layers)} layers, {len(net.classes)} classes{note}")


def card_command(args):
    nets = [store.load(args.net)] if args.net else [store.load(name) for name in store.zoo_names()]
    cards = [card.card(net) for net in nets]
    value = cards[0] if args.net else cards
    if args.output:
        write_text(args.output, card.dump(value))
        print(args.output)
    elif args.json:
        print(json.dumps(value))
    else:
        print(card.dump(value) if args.net else card.table(cards))


def parser():
    main_parser = Parser(prog="python -m model", description="Train, evaluate, export nets.")
    commands = main_parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def common(sub, also=""):
        sub.add_argument("--data", metavar="DIR", help=f"folder with the data set{also}")

    sub = command("train", train, "train a net, or resume it: its float parent's 01_float.pt, then its 02_qat.pt")
    common(sub)
    sub.add_argument("net", nargs="?", default=store.DEFAULT,
                     help="ARCH-wBaB[rB][-QUANTIZER][-median][-seedN]-DATASET (default: %(default)s)")
    sub.add_argument("--quantizer", metavar="Q", help="uniq, plain, learned, companded, uniform: instead of the name's")
    sub.add_argument("--runs", type=Path, default=RUNS, help="folder of runs (default: runs)")
    sub.add_argument("--distill", type=float, metavar="SHARE",
                     help="of the loss that a float net's answers make; 0: none (default: the recipe's)")
    sub.add_argument("--teacher", default="", metavar="ARCH-DATASET", help="trained float net whose answers these are "
                                                                           "(default: the float parent)")
    sub.add_argument("--start", default="", metavar="NET", help="trained quantized net to start from, by name or "
                                                                "as the .npz of an integer net (default: the float "
                                                                "parent)")
    sub.add_argument("--freeze", action="store_true", help="uniq: a layer learns no more once it is quantized; equal "
                                                           "shares of the epochs for each of them and for the head")
    sub.add_argument("--float-epochs", type=positive, metavar="N")
    sub.add_argument("--epochs", type=positive, metavar="N", help="of the quantized stage")
    sub.add_argument("--cutout", type=positive, metavar="N", help="blacken a square of N x N pixels of every picture "
                                                                  "(default: none); with --start, in the quantized "
                                                                  "stage alone")
    sub.add_argument("--rate", type=float, help="peak learning rate of the quantized stage; the quantizers' own goes "
                                               "with it (default: the recipe's)")
    sub.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu")

    sub = command("bench", bench, "speed of training: float, each quantizer, and a plain loop")
    common(sub)
    sub.add_argument("arch", nargs="?", default="resnet8")
    sub.add_argument("--dataset", choices=data.DATASETS, default="synthetic")
    sub.add_argument("--steps", type=positive, default=30, metavar="N")
    sub.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    sub.add_argument("--profile", action="store_true", help="where the time of a `learned` step goes")
    sub.add_argument("--json", action="store_true")

    sub = command("eval", eval_command, "accuracy of an integer net, or of a checkpoint in float32, on its test set")
    common(sub, also="; or the word synthetic")
    sub.add_argument("net", nargs="?", default=store.DEFAULT, help="name of the zoo, a 03_net.npz or a checkpoint")
    sub.add_argument("--images", type=int, metavar="N")
    sub.add_argument("--start", type=int, default=0, metavar="I")
    sub.add_argument("--engine", choices=("torch", "integer"), help="of an integer net (default: integer)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of torch")
    sub.add_argument("--json", action="store_true")

    sub = command("export", export, "a checkpoint as an integer net, 03_net.npz, with its card (.json) and log (.csv); "
                                    "or a net as an ONNX file")
    common(sub)
    sub.add_argument("net", nargs="?", help="a 02_qat.pt (default: that of the default recipe); with "
                                            f"--onnx also a name of the zoo (default: {store.DEFAULT}) or a 03_net.npz")
    sub.add_argument("-o", "--output", metavar="FILE")
    sub.add_argument("--onnx", metavar="FILE", help="write QONNX (docs/onnx.md) instead")
    sub.add_argument("--standard", action="store_true", help="with --onnx: operators of standard ONNX alone")
    sub.add_argument("--runs", type=Path, default=RUNS, help=argparse.SUPPRESS)

    sub = command("import", import_command, "a QONNX file as an integer net, 03_net.npz")
    sub.add_argument("file", help="a QONNX graph of what docs/onnx.md lists")
    sub.add_argument("-o", "--output", metavar="FILE", required=True)
    sub.add_argument("--name", help="name of the net (default: the one in the file, or the file's)")

    sub = command("card", card_command, "model card of a net, or of all")
    sub.add_argument("net", nargs="?")
    sub.add_argument("-o", "--output", metavar="FILE")
    sub.add_argument("--json", action="store_true")

    plot_parser(commands.add_parser("plot", help="pictures; needs matplotlib", description="Pictures."))
    return main_parser


def main(argv=None):
    return run_command(parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
