"""The name that was probably meant."""
from model.common.nearest import did_you_mean, similar_file


def test_the_nearest_name():
    known = ["learned", "companded", "uniform", "uniq"]
    assert did_you_mean("uniforn", known) == "; did you mean uniform?"
    assert did_you_mean("UNIQ", known) == "; did you mean uniq?"
    assert did_you_mean("lerned", iter(known)) == "; did you mean learned?"
    assert did_you_mean("zzz", known) == did_you_mean("uniq", []) == ""


def test_the_nearest_file(tmp_path):
    (tmp_path / "cat.png").touch()
    assert similar_file(tmp_path / "cat.pgn") == f"; did you mean {tmp_path / 'cat.png'}?"
    (tmp_path / "car.png").touch()
    assert similar_file(tmp_path / "car.png") == ""         # it is there: what fails is not its name
    assert similar_file(tmp_path / "zebra.bmp") == ""       # the folder is the same, not the name
    assert similar_file(tmp_path / "nowhere" / "cat.png") == similar_file(tmp_path / "cat.png" / "cat.png") == ""
