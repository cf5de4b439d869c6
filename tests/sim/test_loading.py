"""The back door: what a load stream would write is where it would be, and the rest of it is left."""
import numpy as np

from accel.isa import LoadKind
from sim.loading import through_back_door


def stream(*pieces):
    kinds = np.concatenate([np.full(len(words), kind.value, np.uint8) for kind, words in pieces])
    return kinds, np.concatenate([np.array(words, np.uint16) for _, words in pieces])


def test_words_go_where_begin_says():
    memory = np.full((8, 512), 7, np.uint16)
    first, second = np.arange(1200), np.arange(5000, 5512)
    kinds, words = through_back_door(*stream(
        (LoadKind.BEGIN, [0]), (LoadKind.WORD, first), (LoadKind.BEGIN, [5]), (LoadKind.WORD, second),
        (LoadKind.CHECK, [11, 12]), (LoadKind.PLAY, [5])), memory.__getitem__)
    assert kinds.tolist() == [kind.value for kind in (
        LoadKind.BEGIN, LoadKind.BEGIN, LoadKind.CHECK, LoadKind.CHECK, LoadKind.PLAY)]
    assert (kinds.dtype, words.dtype, words.tolist()) == (np.uint8, np.uint16, [0, 5, 11, 12, 5])
    expected = np.full(8 * 512, 7)
    expected[:1200], expected[5 * 512:6 * 512] = first, second
    np.testing.assert_array_equal(memory.reshape(-1), expected)


def test_a_stream_without_words_writes_nothing():
    memory = np.zeros((8, 512), np.uint16)
    kinds, words = through_back_door(*stream((LoadKind.TEST, [99])), memory.__getitem__)
    assert (kinds.tolist(), words.tolist()) == ([LoadKind.TEST.value], [99])
    assert not memory.any()
