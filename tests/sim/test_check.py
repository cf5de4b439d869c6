"""Pictures checked against the golden model: the same records from one process, from several, and from many lanes."""
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from model.integer import golden
from model.zoo.workload import Workload
from sim.check import classify_checked
from tests.nets import random_net, random_pictures
from tests.sim.four_lanes import open_four_lanes

COUNT, START = 9, 100
CHOSEN = np.array([0, 2, 3, 4, 5, 6, 8])            # the others are in a results file, say


@pytest.fixture(scope="module")
def workload():
    net = random_net(0, TINY)
    return Workload(net=net, dataset="random", start=START, pictures=random_pictures(net, COUNT),
                    labels=np.arange(COUNT), classes=tuple(map(str, range(COUNT))), names=tuple(map(str, range(COUNT))))


def checked(workload, *, net=None, **options):
    """(records, differences); the core computes `net`."""
    image = compile_net(net or workload.net, TINY)
    both = [pair for batch in classify_checked(workload, image, CHOSEN, kind="interp", **options) for pair in batch]
    return [record for record, _ in both], [difference for _, difference in both]


def without_seconds(records):
    return [replace(record, seconds=0) for record in records]


@pytest.mark.parametrize("trace", [False, True])
def test_records_do_not_depend_on_processes(workload, trace):
    one, two = (checked(workload, jobs=jobs, trace=trace) for jobs in (1, 2))
    assert without_seconds(one[0]) == without_seconds(two[0]) and one[1] == two[1] == 7 * [None]
    expected = golden.forward(workload.net, workload.pictures[CHOSEN])
    assert [record.logits for record in one[0]] == expected.tolist()
    assert [record.prediction for record in one[0]] == expected.argmax(axis=1).tolist()
    assert [record.index - START for record in one[0]] == [record.label for record in one[0]] == CHOSEN.tolist()
    assert all(record.exact for record in one[0])


def test_records_of_many_lanes_are_shares_of_their_run(workload, monkeypatch):
    one, _ = checked(workload, jobs=1, trace=True)
    engines = open_four_lanes(monkeypatch)
    many, differences = checked(workload, jobs=1, lanes=4, trace=True)
    [engine] = engines
    assert engine.runs == [7] and differences == 7 * [None]
    assert sum(record.simulated_cycles for record in many) == engine.simulated_cycles
    assert sum(record.seconds for record in many) == pytest.approx(engine.seconds)
    shares = [record.simulated_cycles for record in many]
    assert max(shares[:4]) - min(shares[:4]) <= 1 and max(shares[4:]) - min(shares[4:]) <= 1
    alike = [replace(record, seconds=0, simulated_cycles=0) for record in one]
    assert [replace(record, seconds=0, simulated_cycles=0) for record in many] == alike


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_differs_is_said_of_its_picture(workload, jobs):
    last = workload.net.layers[-1]
    other = replace(workload.net, layers=(*workload.net.layers[:-1], replace(last, bias=last.bias + 1)))
    records, differences = checked(workload, net=other, jobs=jobs)
    expected = golden.forward(workload.net, workload.pictures[CHOSEN])[:, 0]
    assert differences == [f"logit 0: expected {e}, got {e + 1}" for e in expected]
    assert not any(record.exact for record in records)


@pytest.mark.parametrize("jobs", [1, 2])
def test_codes_of_the_first_picture_are_those_that_the_engine_wrote(workload, jobs):
    """Not the integer model's: here the core computes another net."""
    first = workload.net.layers[0]
    other = replace(workload.net, layers=(replace(first, bias=first.bias + 1000), *workload.net.layers[1:]))
    calls = []
    checked(workload, net=other, jobs=jobs, trace=True, on_first_codes=calls.append)
    [codes] = calls
    expected = golden.trace(other, workload.pictures[CHOSEN[:1]])
    assert list(codes) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(codes[name], tensor[0])
    assert (codes[first.name] != golden.trace(workload.net, workload.pictures[CHOSEN[:1]])[first.name][0]).any()


def test_no_codes_without_a_trace(workload):
    checked(workload, on_first_codes=pytest.fail)
