"""python -m model plot KIND: what each kind of picture is drawn from."""
from pathlib import Path

from model import zoo
from model.common.errors import UserError
from model.common.extras import with_extra
from model.data.selection import dataset_of, range_of, refuse_other_shape
from model.plots import results

__all__ = ["run"]


def run(args):
    canvas, plots = with_extra("train", "model.plots.canvas"), with_extra("train", "model.plots.drawings")
    canvas.refuse_unwritable(args.output)
    figure = FIGURES[args.kind](plots, args)
    canvas.save(figure, args.output)
    print(args.output)


def curves(plots, args):
    return plots.curves(list(map(results.read_log, args.logs or [zoo.DEFAULT])))


def weights(plots, args):
    distributions = with_extra("train", "model.plots.distributions")
    if Path(args.net).suffix != ".pt":
        net = zoo.load(args.net)
        return plots.weights(net.name, distributions.integer_weights(net, args.layer))
    net, header = with_extra("train", "model.training.checkpoints").load_checkpoint(args.net)
    if header["stage"] != "quantized":
        raise UserError(f"{args.net}: a float net has no bins; weights takes a 02_qat.pt")
    return plots.weights(header["name"], distributions.master_weights(net, args.layer, header["name"]))


def accumulators(plots, args):
    distributions = with_extra("train", "model.plots.distributions")
    if args.channel is not None and args.layer is None:
        raise UserError("--channel needs --layer")
    net = zoo.load(args.net)
    distributions.quantized_layers(net, args.layer)         # an unknown layer is refused before data is fetched
    dataset = dataset_of(net.name, net.header, args.data)
    pictures = dataset.pictures[range_of(dataset, 0, args.images)]
    refuse_other_shape(net, pictures, f"the pictures of {dataset.name}")
    if args.all:
        return plots.accumulators(distributions.channel_of_each_layer(net, pictures))
    return plots.accumulators([distributions.channel_of(net, pictures, args.layer, args.channel)])


def figure1(plots, args):
    return plots.figure1(with_extra("train", "model.plots.distributions").published())


def bits(plots, args):
    return plots.bits(results.accuracy_by_bits(map(zoo.load, args.nets or zoo.names()), args.dataset))


FIGURES = {"curves": curves, "weights": weights, "accumulators": accumulators, "figure1": figure1, "bits": bits}
