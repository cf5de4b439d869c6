"""python -m model plot KIND: what each kind of picture is drawn from."""
from pathlib import Path

from . import results, store
from .errors import UserError
from .inputs import training_module
from .selection import dataset_of, range_of, refuse_other_shape

__all__ = ["plot_parser"]


def plot(args):
    canvas, plots = training_module("canvas"), training_module("plot")
    canvas.refuse_unwritable(args.output)
    figure = args.figure(plots, args)
    canvas.save(figure, args.output)
    print(args.output)


def curves(plots, args):
    return plots.curves(list(map(results.read_log, args.logs or [store.DEFAULT])))


def weights(plots, args):
    distributions = training_module("distributions")
    if Path(args.net).suffix != ".pt":
        net = store.load(args.net)
        return plots.weights(net.name, distributions.integer_weights(net, args.layer))
    net, header = training_module("checkpoints").load_checkpoint(args.net)
    if header["stage"] != "quantized":
        raise UserError(f"{args.net}: a float net has no bins; weights takes a 02_qat.pt")
    return plots.weights(header["name"], distributions.master_weights(net, args.layer, header["name"]))


def accumulators(plots, args):
    distributions = training_module("distributions")
    if args.channel is not None and args.layer is None:
        raise UserError("--channel needs --layer")
    net = store.load(args.net)
    distributions.quantized_layers(net, args.layer)         # an unknown layer is refused before data is fetched
    dataset = dataset_of(net.name, net.header, args.data)
    images = dataset.images[range_of(dataset, 0, args.images)]
    refuse_other_shape(net, images, f"the pictures of {dataset.name}")
    if args.all:
        return plots.accumulators(distributions.channel_of_each_layer(net, images))
    return plots.accumulators([distributions.channel_of(net, images, args.layer, args.channel)])


def figure1(plots, args):
    return plots.figure1(training_module("distributions").published())


def bits(plots, args):
    return plots.bits(results.accuracy_by_bits(map(store.load, args.nets or store.zoo_names()), args.dataset))


def plot_parser(command):
    """Subcommands of `plot`, one a kind of picture."""
    kinds = command.add_subparsers(required=True, metavar="KIND")

    def kind(name, figure, text):
        sub = kinds.add_parser(name, help=text, description=text)
        sub.set_defaults(run=plot, figure=figure)
        sub.add_argument("-o", "--output", required=True, metavar="FILE", help="a .png or .svg")
        return sub

    sub = kind("curves", curves, "loss and accuracy by epoch")
    sub.add_argument("logs", nargs="*", metavar="LOG", help="names of the zoo, or .csv or .json logs of runs")

    sub = kind("weights", weights, "weights of every convolution, bin edges, shares of the codes")
    sub.add_argument("net", nargs="?", default=store.DEFAULT, help="name of the zoo, 03_net.npz or 02_qat.pt")
    sub.add_argument("--layer", metavar="NAME", help="this layer alone, large")

    sub = kind("accumulators", accumulators, "accumulators of a channel, its thresholds and those of the paper's rule")
    sub.add_argument("net", nargs="?", default=store.DEFAULT, help="name of the zoo or a 03_net.npz")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--layer", metavar="NAME", help="default: that with the most normal channel")
    which.add_argument("--all", action="store_true", help="one channel of every layer, small")
    sub.add_argument("--channel", type=int, metavar="C", help="default: the most normal one")
    sub.add_argument("--images", type=int, default=100, metavar="N", help="of the test set (default: 100)")
    sub.add_argument("--data", metavar="DIR", help="folder with the data set; or the word synthetic")

    kind("figure1", figure1, "the paper's Figure 1, from our thresholds")

    sub = kind("bits", bits, "accuracy against bits, from model cards")
    sub.add_argument("nets", nargs="*", metavar="NET", help="names of the zoo or 03_net.npz (default: the zoo)")
    sub.add_argument("--dataset", metavar="NAME", help="nets of this data set alone")
