"""How far a long run is: a bar on a terminal, a line now and then in a log file."""
import shutil
import sys
import time

from tqdm import tqdm

__all__ = ["Progress", "Stages", "duration"]

SECONDS_A_LINE = 30


def duration(seconds):
    """"3 min 31 s", for people: whole seconds, and above an hour whole minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return "{} h {} min".format(*divmod(minutes, 60))
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Progress:
    """On stderr: pictures, or another unit, done, how many a second and the time that is left. The speed is that of the
    whole run so far, so it does not jump where many are done at once.

    total: of the unit, its name in the plural; done: how many of them were done before this run, at no cost. task: what
    is being done, where that is not plain. clock: seconds that only grow.
    """

    def __init__(self, total, done=0, *, unit="pictures", task="", clock=time.monotonic):
        self._total, self._before, self._done, self._unit, self._task = total, done, done, unit, task
        self._clock = clock
        self._started = self._said = clock()
        self._terminal = sys.stderr.isatty()
        # smoothing 0: tqdm, too, divides all by all. miniters: a burst may be smaller than the one before it.
        self._bar = tqdm(total=total, initial=done, unit=f" {unit}", desc=task, leave=False, smoothing=0,
                         miniters=1, disable=not self._terminal)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def seconds(self):
        """Since the beginning."""
        return self._clock() - self._started

    @property
    def per_second(self):
        """Of this run, in its unit; None before the first."""
        done = self._done - self._before
        return done / self.seconds if done > 0 else None

    def advance(self, count, note=""):
        """So many more are done; below 0 where some have to be done again. note: what has come of all that are done,
        in a few words."""
        self._done += count
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)
        now = self._clock()
        if (not self._terminal and self._done < self._total and now - self._said >= SECONDS_A_LINE
                and (speed := self.per_second)):
            self._said = now
            print(f"{self._task}{': ' * bool(self._task)}{self._done:,} of {self._total:,} {self._unit}, "
                  f"{speed:.1f} {self._unit}/s, {duration((self._total - self._done) / speed)} left"
                  f"{', ' * bool(note)}{note}", file=sys.stderr, flush=True)

    def write(self, line, file):
        """Prints a line, above the bar where there is one."""
        self._bar.write(line, file=file)

    def close(self):
        self._bar.close()


class Stages:
    """On stderr: what tools of which nobody knows how long they take are at. On a terminal one line that changes; in a
    log file a line where a tool comes to another stage, and now and then.

    clock: seconds that only grow.
    """

    def __init__(self, *, clock=time.monotonic):
        self._clock, self._said = clock, {}
        self._line = tqdm(bar_format="{desc}", leave=False, disable=not sys.stderr.isatty())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._line.close()

    def show(self, tools):
        """tools: {name: (stage, detail)}, strings; a detail changes often, as a count does, and alone is not worth a
        line of a log."""
        texts = {name: f"{name}: {', '.join(filter(None, at))}" for name, at in tools.items()}
        if not self._line.disable:
            # tqdm does not cut it, and a line that goes on in the next one is not overwritten.
            self._line.set_description_str("; ".join(texts.values())[:shutil.get_terminal_size().columns - 1])
            return
        now = self._clock()
        for name, (stage, _) in tools.items():
            last, when = self._said.get(name, (None, 0))
            if stage != last or now - when >= SECONDS_A_LINE:
                self._said[name] = stage, now
                self.write(texts[name])

    def write(self, sentence):
        """Prints a line that stays, above the changing one."""
        self._line.write(sentence, file=sys.stderr)
        sys.stderr.flush()
