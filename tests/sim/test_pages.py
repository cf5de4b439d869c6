"""Pages for a browser: what stands in them is what was computed, and text of others stays text."""
import base64
import io
import json
import os
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles, layer_cycles
from model import zoo
from model.data import datasets
from model.integer import golden
from model.zoo.workload import FILES, Workload
from sim import __main__ as command
from sim import report_page
from sim.pages import bars, png_of, rendered
from sim.report_page import write_page
from sim.results import Record, summarize
from tests.nets import random_net, random_pictures

pytest.importorskip("matplotlib")
EVIL = "<script>alert('x')</script> & \"$\\frac{\" 猫"
SYNTHETIC = ("classify", "--data", "synthetic", "--engine", "interp", "--jobs", "1")
EMPTY = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """elements: (tag, attributes, all text inside), in the order in which they begin."""
    def __init__(self, path):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(path.read_text())
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        element = SimpleNamespace(tag=tag, attributes=dict(attributes), text="", inside=[e for e in self._open])
        self.elements.append(element)
        if tag not in EMPTY:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag

    def handle_data(self, text):
        for element in self._open:
            element.text += text

    def all(self, tag, name=None, inside=None):
        return [e for e in self.elements if e.tag == tag and (inside is None or inside in e.inside)
                and (name is None or name in e.attributes.get("class", "").split())]

    def by_id(self, name):
        [element] = [e for e in self.elements if e.attributes.get("id") == name]
        return element

    def pictures(self):
        return self.all("article")

    def rows(self, table):
        """Texts of the cells of its body."""
        return [[e.text for e in self.all("td", inside=row)] for row in self.all("tr", inside=table)[1:]]

    def figures(self):
        table = self.all("table", "figures")[0]
        return dict(zip([e.text for e in self.all("th", inside=table)], [e.text for e in self.all("td", inside=table)],
                        strict=True))

    def counts(self):
        [table] = self.all("table", "counts")
        return np.array([[int(count or 0) for count in row[:-1]] for row in self.rows(table)])


def pixels(element):
    """uint8 (C, H, W) of an image that the page holds."""
    kind, _, data = element.attributes["src"].partition(";base64,")
    assert kind == "data:image/png"
    array = np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))))
    return array.transpose(2, 0, 1) if array.ndim == 3 else array[None]


@pytest.fixture(scope="module")
def net():
    return random_net(0, TINY)


def job(net, count, *, start=0, labelled=True, wrong=(), names=None, classes=None, logits=None):
    """(workload, summary) of a run of which the pictures `wrong` are so."""
    count_logits = len(net.layers[-1].bias)
    logits = np.random.default_rng(count).integers(-9999, 9999, (count, count_logits)) if logits is None else logits
    predictions = logits.argmax(1)
    labels = np.array([(p + (k in wrong)) % count_logits for k, p in enumerate(predictions)])
    workload = Workload(
        net=net, dataset="random" if labelled else FILES, start=start, pictures=random_pictures(net, count),
        labels=labels if labelled else None, classes=classes or tuple(f"class{k}" for k in range(count_logits)),
        names=names or tuple(str(start + k) for k in range(count)))
    records = [Record(index=start + k, label=int(labels[k]) if labelled else None, prediction=int(predictions[k]),
                      logits=logits[k].tolist(), cycles=1000 + k, program_cycles=1000 + k, exact=True, seconds=0.1,
                      simulated_cycles=1)
               for k in range(count)]
    return workload, summarize(records, None) | {"results": [record.for_json() for record in records]}


def page_of(tmp_path, net, workload, summary, **options):
    path = tmp_path / "page.html"
    write_page(path, workload, compile_net(net, TINY), summary, place="the core", command="run it", **options)
    return Page(path)


@pytest.mark.parametrize("count, wrong", [(1, {0}), (30, {3, 7, 29}), (30, set())])
def test_wrong_pictures_come_first_and_are_marked_in_words(tmp_path, net, count, wrong):
    workload, summary = job(net, count, start=100, wrong=wrong)
    page = page_of(tmp_path, net, workload, summary)
    articles, images = page.pictures(), page.all("img", "pixels")
    order = sorted(wrong) + [k for k in range(count) if k not in wrong]
    assert [a.attributes["id"] for a in articles] == [f"picture-{100 + k}" for k in order]
    for k, article, image in zip(order, articles, images, strict=True):
        assert article.attributes["class"] == ("picture wrong" if k in wrong else "picture right")
        result = summary["results"][k]
        assert [e.text for e in page.all("p", inside=article)] == [
            f"picture {100 + k}", "✗ wrong" if k in wrong else "✓ right", f"label: class{result['label']}",
            f"prediction: class{result['prediction']}", f"{1000 + k:,} cycles"]
        assert [e.text for e in page.all("td", "value", inside=article)] == [f"{v:,}" for v in result["logits"]]
        np.testing.assert_array_equal(pixels(image), workload.pictures[k])
    assert [e.text for e in page.all("label")] == [
        f"all ({count})", f"wrong ({len(wrong)})", f"right ({count - len(wrong)})"]


def test_the_matrix_counts_every_picture_by_label_and_prediction(tmp_path, net):
    workload, summary = job(net, 50, wrong=set(range(0, 50, 3)))
    page = page_of(tmp_path, net, workload, summary)
    expected = np.zeros((len(workload.classes),) * 2, int)
    for result in summary["results"]:
        expected[result["label"], result["prediction"]] += 1
    np.testing.assert_array_equal(page.counts(), expected)
    assert page.counts().sum() == 50 and "all 50 pictures" in page.all("body")[0].text
    found = [int(count) for _, count in page.rows(page.by_id("mistakes"))]
    assert sum(found) == 17 and found == sorted(found, reverse=True)
    assert page.figures()["accuracy"] == "66.00% (33 of 50)"


def test_the_page_shows_a_part_of_many_pictures_and_says_so(tmp_path, net, monkeypatch):
    monkeypatch.setattr(report_page, "PICTURES", 8)
    workload, summary = job(net, 40, wrong={5, 20, 39})
    page = page_of(tmp_path, net, workload, summary)
    assert [a.attributes["id"] for a in page.pictures()] == [f"picture-{k}" for k in (5, 20, 39, 0, 1, 2, 3, 4)]
    assert "8 of 40 pictures are shown" in page.all("body")[0].text
    assert page.counts().sum() == 40 and page.figures()["accuracy"] == "92.50% (37 of 40)"
    monkeypatch.setattr(report_page, "OCTETS", 1)           # one that is too large alone is shown
    assert len(page_of(tmp_path, net, workload, summary).pictures()) == 1


def test_of_many_logits_the_largest_are_shown(tmp_path, net, monkeypatch):
    monkeypatch.setattr(report_page, "LOGITS", 3)
    workload, summary = job(net, 2)
    page = page_of(tmp_path, net, workload, summary)
    for result, article in zip(summary["results"], page.pictures(), strict=True):
        largest = sorted(result["logits"], reverse=True)[:3]
        assert [e.text for e in page.all("td", "value", inside=article)] == [f"{v:,}" for v in largest]
    assert f"the 3 largest of {len(result['logits'])}" in page.all("body")[0].text


def test_pictures_that_differ_from_the_integer_model_come_before_all(tmp_path, net):
    workload, summary = job(net, 6, start=10, wrong={2})
    page = page_of(tmp_path, net, workload, summary | {"exact": 5}, differing=[14])
    assert [a.attributes["id"] for a in page.pictures()][:2] == ["picture-14", "picture-12"]
    assert ["differs from the integer model" in a.text for a in page.pictures()] == [True] + 5 * [False]
    assert page.figures()["equal to the integer model"] == "5 of 6"


def test_a_page_without_labels_has_neither_verdicts_nor_confusion(tmp_path, net):
    workload, summary = job(net, 2, labelled=False, names=("a.png", "b.png"))
    page = page_of(tmp_path, net, workload, summary)
    assert [a.attributes["class"].strip() for a in page.pictures()] == ["picture", "picture"]
    assert not page.all("input") and not page.all("table", "counts") and "accuracy" not in page.figures()
    text = page.all("body")[0].text
    assert "✓" not in text and "✗" not in text and "label" not in text
    assert "a.png" in page.pictures()[0].text and "picture a.png" not in page.pictures()[0].text


def test_foreign_text_stays_text(tmp_path, net):
    count = len(net.layers[-1].bias)
    workload, summary = job(net, 2, wrong={1}, names=(EVIL, "b"), classes=tuple(f"{EVIL}{k}" for k in range(count)))
    path = tmp_path / "page.html"
    write_page(path, workload, compile_net(net, TINY), summary, place=EVIL, command=EVIL)
    page = Page(path)
    assert not page.all("script") and "<script" not in path.read_text()
    assert page.figures()["computed by"] == page.figures()["command"] == EVIL
    assert page.all("img", "pixels")[1].attributes["alt"] == f"picture {EVIL}"
    assert f"prediction: {EVIL}{summary['results'][1]['prediction']}" in page.pictures()[0].text
    [table] = page.all("table", "counts")
    assert [e.text for e in page.all("th", inside=table)][:count] == list(workload.classes)


def test_a_file_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path, net):
    page = page_of(tmp_path, net, *job(net, 1, labelled=False, names=(os.fsdecode(b"caf\xe9.png"),)))
    assert page.all("p", inside=page.pictures()[0])[0].text == "caf?.png"


def test_the_page_fetches_nothing(tmp_path, net):
    page = page_of(tmp_path, net, *job(net, 3))
    addresses = [e.attributes[name] for e in page.elements for name in ("src", "href") if name in e.attributes]
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not page.all("link") and not page.all("script") and "url(" not in page.all("style")[0].text
    [policy] = [e for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_layers_of_the_page_are_those_of_the_cycle_model(tmp_path, net):
    page = page_of(tmp_path, net, *job(net, 1))
    image = compile_net(net, TINY)
    rows, layers = page.rows(page.by_id("layers")), layer_cycles(image)
    assert [(row[3], row[4]) for row in rows] == [(str(layer.passes), f"{layer.cycles:,}") for layer in layers]
    assert sum(int(row[4].replace(",", "")) for row in rows) == cycles(image)


def test_grey_and_oblong_pictures_keep_every_pixel():
    for shape in [(1, 5, 9), (3, 9, 5), (3, 1, 1)]:
        picture = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        array = np.asarray(Picture.open(io.BytesIO(png_of(picture))))
        np.testing.assert_array_equal(array.transpose(2, 0, 1) if shape[0] == 3 else array[None], picture)


def test_bars_begin_at_zero_and_span_all_logits():
    rows = bars([-100, 300, 0], str, label=2)
    assert [(row["left"], row["width"], row["role"]) for row in rows] == [
        (0, 25, ""), (25, 75, "prediction"), (25, 0, "label")]
    assert [(row["left"], row["width"]) for row in bars([5, 10], str)] == [(0, 50), (0, 100)]
    assert [(row["left"], row["width"]) for row in bars([-5, -10], str)] == [(50, 50), (0, 100)]
    assert [row["width"] for row in bars([0, 0], str)] == [0, 0]
    largest = bars(list(range(100)), str, label=95, most=10)
    assert [row["name"] for row in largest] == [str(k) for k in range(99, 89, -1)]
    assert [row["role"] for row in largest] == ["prediction", "", "", "", "label", "", "", "", "", ""]


def test_a_template_that_lacks_a_value_is_no_page():
    with pytest.raises(Exception, match="'command' is undefined|'title' is undefined"):
        rendered("report_page.html")


def test_classify_writes_the_page_of_its_results(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert command.main([*SYNTHETIC, "--images", "3", "--start", "7", "--json", "--html", str(path)]) == 0
    results, page = json.loads(capsys.readouterr().out)["results"], Page(path)
    pictures = datasets.load("synthetic", "test").pictures
    assert [a.attributes["id"] for a in page.pictures()] == ["picture-7", "picture-8", "picture-9"]
    for result, article, image in zip(results, page.pictures(), page.all("img", "pixels"), strict=True):
        assert [e.text for e in page.all("td", "value", inside=article)] == [f"{v:,}" for v in result["logits"]]
        np.testing.assert_array_equal(pixels(image), pictures[result["index"]])
    assert page.figures()["pictures"] == "3 pictures of synthetic, from number 7 on"
    assert page.figures()["equal to the integer model"] == "3 of 3" and page.figures()["cycles a picture"] == "27,854"
    assert "4,487.7 pictures/s at 125 MHz" in page.figures()["projected"]


def test_a_continued_run_has_a_page_of_all_pictures(tmp_path, capsys):
    results, path = str(tmp_path / "results"), tmp_path / "page.html"
    assert command.main([*SYNTHETIC, "--images", "2", "--results", results]) == 0
    assert command.main([*SYNTHETIC, "--images", "4", "--results", results, "--html", str(path)]) == 0
    assert f"written: {path}\n" in capsys.readouterr().out
    assert len(Page(path).pictures()) == Page(path).counts().sum() == 4


def test_feature_maps_are_what_the_engine_wrote(tmp_path, monkeypatch, capsys):
    """Not what the integer model says: another net than that one's is loaded here. Of the first picture of the run."""
    from model.plots import features
    net, data = zoo.load(zoo.SYNTHETIC), datasets.load("synthetic", "test")
    first = net.layers[0]
    loaded = replace(net, layers=(replace(first, bias=first.bias + 3000), *net.layers[1:]))
    monkeypatch.setattr("sim.classify.compile_net", lambda net, config, batch: compile_net(loaded, config, batch))
    drawn, mosaic = [], features.mosaic
    monkeypatch.setattr(features, "mosaic", lambda codes, columns: drawn.append(codes) or mosaic(codes, columns))
    folder = tmp_path / "maps"
    assert command.main([*SYNTHETIC, "--images", "3", "--start", "5", "--trace", "--plot", str(folder)]) == 1
    assert f"written: {folder}\n" in capsys.readouterr().out
    expected = golden.trace(loaded, data.pictures[5:6])
    assert len(expected) == 7 and (expected[first.name] != golden.trace(net, data.pictures[5:6])[first.name]).any()
    for tensor, codes in zip(drawn, expected.values(), strict=True):
        np.testing.assert_array_equal(tensor, codes[0])
    names = [f"{k:02}-{name}.png" for k, name in enumerate(expected, 1)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "index.html"]
    page = Page(folder / "index.html")
    np.testing.assert_array_equal(pixels(page.all("img", "pixels")[0]), data.pictures[5])
    assert [e.text for e in page.all("h2")] == [*expected, "Logits"]
    for name, image in zip(names, page.all("img")[1:], strict=True):
        assert base64.b64decode(image.attributes["src"].partition("base64,")[2]) == (folder / name).read_bytes()
    logits = golden.forward(loaded, data.pictures[5:6])[0]
    assert [e.text for e in page.all("td", "value")] == [f"{v:,}" for v in logits]


@pytest.mark.parametrize("arguments, sentence", [
    (["--plot", "{0}/maps"], "--plot draws the codes that --trace reads: add --trace"),
    (["--trace", "--plot", "{0}/no/maps"], "/no/maps: not a folder, nor one that can be made in an existing folder"),
    (["--trace", "--plot", "{0}/file"], "/file: not a folder, nor one that can be made in an existing folder"),
    (["--html", "{0}/file"], "/file: a page is a .html"), (["--html", "{0}/x.png"], "/x.png: a page is a .html"),
    (["--html", "{0}/no/x.html"], "/no/x.html: not a file in an existing folder"),
    (["--html", "{0}/x.html", "--output", "{0}/x.html"], "--output and --html must be different files")])
def test_what_cannot_be_drawn_is_refused_before_the_run(tmp_path, monkeypatch, capsys, arguments, sentence):
    (tmp_path / "file").write_text("kept")
    monkeypatch.setattr("sim.classify.choose_workload", None)
    assert command.main([*SYNTHETIC, *(argument.format(tmp_path) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("option", [["--html", "x.html"], ["--trace", "--plot", "x"]])
def test_without_matplotlib_the_extra_is_named_before_the_run(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim.classify.choose_workload", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for module in ("canvas", "drawings", "features"):
        monkeypatch.delitem(sys.modules, f"model.plots.{module}", raising=False)
    assert command.main([*SYNTHETIC, *option]) == 2
    assert ".[train]" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_results_file_that_has_all_pictures_has_no_codes_to_draw(tmp_path, capsys):
    arguments = [*SYNTHETIC, "--images", "1", "--trace", "--results", str(tmp_path / "results")]
    assert command.main(arguments) == 0
    assert command.main([*arguments, "--plot", str(tmp_path / "maps")]) == 2
    assert "all pictures are in" in capsys.readouterr().err and not (tmp_path / "maps").exists()
