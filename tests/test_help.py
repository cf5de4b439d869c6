"""The help of every command: what it does, what each argument is, and examples that the command itself takes."""
import argparse
import shlex

import pytest

import accel.__main__
import model.__main__
import sim.__main__
from boards import icepi_zero, icesugar_pro, ulx3s


def _parsers():
    yield from (model.__main__.parser(), accel.__main__.parser(), sim.__main__.parser())
    for family in (ulx3s, icesugar_pro, icepi_zero):
        yield family.parser(f"python -m {family.__name__}")


PARSERS = {parser.prog: parser for parser in _parsers()}


def _verbs(parser):
    """The parsers of all its verbs, and of theirs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield verb
                yield from _verbs(verb)


VERBS = {verb.prog: verb for parser in PARSERS.values() for verb in _verbs(parser)}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_verb_says_what_it_does_and_shows_examples(verb):
    assert verb.description.endswith(".") and verb.description[0].isupper()
    assert any(example.startswith(verb.prog) for example in verb.examples)
    assert all(example in verb.format_help() for example in verb.examples)


EXAMPLES = [example for verb in VERBS.values() for example in verb.examples]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_command(example):
    program = next(prog for prog in PARSERS if example.startswith(prog + " "))
    PARSERS[program].parse_args(shlex.split(example.removeprefix(program)))


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_argument_says_what_it_is(verb):
    assert not [action.dest for action in verb._actions
                if not action.help and not isinstance(action, argparse._SubParsersAction)]
    verb.format_help()                                  # with every % in it


def test_values_have_one_name():
    """A file is FILE in all commands, a folder DIR, and so on; a value of few choices is named by them or NAME."""
    metavars = {action.metavar for verb in VERBS.values() for action in verb._actions
                if action.nargs != 0 and action.help != argparse.SUPPRESS and not action.choices}
    assert metavars == {"NET", "FILE", "DIR", "N", "I", "NAME", "NAME,...", "NET | FILES", "LOG", "PORT", "PATH", "C",
                        "Q", "ARCH", "ARCH-DATASET", "RATE", "SHARE", "RATIO", "SECONDS", "MINUTES"}


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_the_version_is_told(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--version"])
    assert capsys.readouterr().out.startswith("uniqore ")
