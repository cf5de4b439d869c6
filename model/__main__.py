"""python -m model train | eval | bench | export | import | card | plot: the parser; `model.commands` has the verbs."""
import argparse
import sys
from pathlib import Path

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from model import zoo
from model.common.command import add_verb, command_line, positive, run_command, verb
from model.common.files import RUNS
from model.data.datasets import DATASETS

__all__ = ["main", "parser"]

PROGRAM = "python -m model"


def parser(program=PROGRAM):
    main_parser, verbs = command_line(program, "Train, evaluate, export nets.")

    def command(name, module, purpose, *examples, more=""):
        return add_verb(verbs, name, purpose, run=verb(f"model.commands.{module}"), more=more,
                        examples=[f"{program} {example}" for example in examples])

    def common(sub, also=""):
        sub.add_argument("--data", metavar="DIR", help=f"folder with the data set{also}")

    sub = command("train", "train", "train a net, or resume it: its float parent's 01_float.pt, then its 02_qat.pt",
                  "train resnet8-w4a4-cifar10 --epochs 30", "train resnet8-w3a3-uniform-cifar10 --threads 1",
                  more="The name says architecture, bits, quantizer and data set (docs/training.md). Ctrl-C loses no "
                       "more than the epoch that it interrupts.")
    common(sub)
    sub.add_argument("net", nargs="?", default=zoo.DEFAULT, metavar="NET",
                     help="ARCH-wBaB[rB][-QUANTIZER][-median][-seedN]-DATASET (default: %(default)s)")
    sub.add_argument("--quantizer", metavar="Q", help="uniq, plain, learned, companded, uniform: instead of the name's")
    sub.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="folder of runs (default: runs)")
    sub.add_argument("--distill", type=float, metavar="SHARE",
                     help="of the loss that a float net's answers make; 0: none (default: the recipe's)")
    sub.add_argument("--teacher", default="", metavar="ARCH-DATASET", help="trained float net whose answers these are "
                                                                           "(default: the float parent)")
    sub.add_argument("--start", default="", metavar="NET", help="trained quantized net to start from, by name or "
                                                                "as the .npz of an integer net (default: the float "
                                                                "parent)")
    sub.add_argument("--freeze", action="store_true", help="uniq: a layer learns no more once it is quantized; equal "
                                                           "shares of the epochs for each of them and for the head")
    sub.add_argument("--float-epochs", type=positive, metavar="N", help="of the float stage (default: the recipe's)")
    sub.add_argument("--epochs", type=positive, metavar="N", help="of the quantized stage (default: the recipe's)")
    sub.add_argument("--cutout", type=positive, metavar="N", help="blacken a square of N x N pixels of every picture "
                                                                  "(default: none); with --start, in the quantized "
                                                                  "stage alone")
    sub.add_argument("--rate", type=float, metavar="RATE",
                     help="peak learning rate of the quantized stage; the quantizers' own goes "
                     "with it (default: the recipe's)")
    sub.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of torch (default: %(default)s)")

    sub = command("bench", "bench", "speed of training: float, each quantizer, and a plain loop",
                  "bench --threads 1 --steps 20", "bench resnet20 --profile")
    common(sub)
    sub.add_argument("arch", nargs="?", default="resnet8", metavar="ARCH", help="architecture (default: %(default)s)")
    sub.add_argument("--dataset", choices=DATASETS, default="synthetic", metavar="NAME",
                     help="its pictures: %(choices)s (default: %(default)s)")
    sub.add_argument("--steps", type=positive, default=30, metavar="N", help="of a loop (default: %(default)s)")
    sub.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of torch (default: %(default)s)")
    sub.add_argument("--profile", action="store_true", help="where the time of a `learned` step goes")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")

    sub = command("eval", "evaluate", "accuracy of an integer net, or of a checkpoint in float32, on its test set",
                  "eval resnet8-w4a4-cifar10", "eval runs/resnet8-w4a4-cifar10/02_qat.pt --images 1000")
    common(sub, also="; or the word synthetic")
    sub.add_argument("net", nargs="?", default=zoo.DEFAULT, metavar="NET",
                     help="zoo name, a 03_net.npz or a checkpoint (default: %(default)s)")
    sub.add_argument("--images", type=int, metavar="N", help="pictures of the test set (default: all)")
    sub.add_argument("--start", type=int, default=0, metavar="I", help="first of them (default: 0)")
    sub.add_argument("--engine", choices=("torch", "integer"), metavar="NAME",
                     help="of an integer net: %(choices)s (default: integer)")
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of torch")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")

    sub = command("export", "export", "a checkpoint as an integer net, 03_net.npz, with its card (.json) and log "
                  "(.csv); or a net as an ONNX file",
                  "export runs/resnet8-w4a4-cifar10/02_qat.pt", "export resnet8-w4a4-cifar10 --onnx net.onnx")
    common(sub)
    sub.add_argument("net", nargs="?", metavar="NET", help="a 02_qat.pt (default: that of the default recipe); with "
                                            f"--onnx also a zoo name (default: {zoo.DEFAULT}) or a 03_net.npz")
    sub.add_argument("-o", "--output", metavar="FILE", help="file to write (default: 03_net.npz beside the checkpoint)")
    sub.add_argument("--onnx", metavar="FILE", help="write QONNX (docs/onnx.md) instead")
    sub.add_argument("--standard", action="store_true", help="with --onnx: operators of standard ONNX alone")
    sub.add_argument("--runs", type=Path, default=RUNS, help=argparse.SUPPRESS)

    sub = command("import", "import_net", "a QONNX file as an integer net, 03_net.npz",
                  "import net.onnx -o net.npz", more="docs/onnx.md lists the operators.")
    sub.add_argument("file", metavar="FILE", help="a QONNX graph of what docs/onnx.md lists")
    sub.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write, an .npz")
    sub.add_argument("--name", metavar="NAME", help="name of the net (default: the one in the file, or the file's)")

    sub = command("card", "cards", "model card of a net, or of all",
                  "card", "card resnet8-w4a4-cifar10",
                  more="What the net is, what it reaches and the command that made it.")
    sub.add_argument("net", nargs="?", metavar="NET",
                     help="zoo name or .npz of an integer net (default: all of the zoo)")
    sub.add_argument("-o", "--output", metavar="FILE", help="write it as JSON here")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")

    plot_parser(add_verb(verbs, "plot", "pictures of nets and runs; needs matplotlib", examples=[
        f"{program} plot figure1 -o figure1.png"]), program)
    return main_parser


def plot_parser(command, program):
    """Subcommands of `plot`, one a kind of picture."""
    kinds = command.add_subparsers(required=True, metavar="KIND")

    def kind(name, purpose):
        sub = add_verb(kinds, name, purpose, run=verb("model.commands.plot"),
                       examples=[f"{program} plot {name} -o {name}.png"])
        sub.set_defaults(kind=name)
        sub.add_argument("-o", "--output", required=True, metavar="FILE", help="a .png or .svg")
        return sub

    sub = kind("curves", "loss and accuracy by epoch")
    sub.add_argument("logs", nargs="*", metavar="LOG", help="names of the zoo, or .csv or .json logs of runs")

    sub = kind("weights", "weights of every convolution, bin edges, shares of the codes")
    sub.add_argument("net", nargs="?", default=zoo.DEFAULT, metavar="NET",
                     help="zoo name, 03_net.npz or 02_qat.pt (default: %(default)s)")
    sub.add_argument("--layer", metavar="NAME", help="this layer alone, large")

    sub = kind("accumulators", "accumulators of a channel, its thresholds and those of the paper's rule")
    sub.add_argument("net", nargs="?", default=zoo.DEFAULT, metavar="NET", help="zoo name or a 03_net.npz")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--layer", metavar="NAME", help="default: that with the most normal channel")
    which.add_argument("--all", action="store_true", help="one channel of every layer, small")
    sub.add_argument("--channel", type=int, metavar="C", help="default: the most normal one")
    sub.add_argument("--images", type=int, default=100, metavar="N", help="of the test set (default: 100)")
    sub.add_argument("--data", metavar="DIR", help="folder with the data set; or the word synthetic")

    kind("figure1", "the paper's Figure 1, from our thresholds")

    sub = kind("bits", "accuracy against bits, from model cards")
    sub.add_argument("nets", nargs="*", metavar="NET", help="names of the zoo or 03_net.npz (default: the zoo)")
    sub.add_argument("--dataset", metavar="NAME", help="nets of this data set alone")


def main(argv=None, program=PROGRAM):
    """Exit code, see `model.common.command`."""
    return run_command(parser(program), argv)


if __name__ == "__main__":
    sys.exit(main())
