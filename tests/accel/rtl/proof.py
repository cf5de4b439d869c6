"""Proofs by induction, by the solver in yosys: assertions that hold in runs of any length."""
import subprocess

from amaranth.back import rtlil

from model.common.tools import find_tool

__all__ = ["holds"]


def holds(harness, ports, folder, *, platform=None, refute=0, depth=1):
    """True where the assertions of `harness` hold at its start and, where they hold for `depth` cycles, or fewer, in
    the next; False where a run from its start breaks one. AssertionError where neither is found.

    ports: its inputs, free in every cycle but for assumptions, and clock. platform: that it is elaborated for. refute:
    cycles in which a fault is sought; 0: a proof is.
    """
    (folder / "top.il").write_text(rtlil.convert(harness, name="top", platform=platform, ports=ports, emit_src=False))
    way = f"-tempinduct-baseonly -maxsteps {refute}" if refute else f"-tempinduct -maxsteps {depth}"
    (folder / "top.ys").write_text(
        f"read_rtlil top.il\nprep -top top -flatten\nmemory_map\nchformal -lower\nasync2sync\n"
        f"formalff -clk2ff\nopt_clean\nsat -verify -prove-asserts -set-assumes {way} top\n")
    done = subprocess.run([find_tool("yosys"), "top.ys"], cwd=folder, capture_output=True, text=True)
    proved, refuted = "Induction step proven: SUCCESS!" in done.stdout, "model found for base case" in done.stdout
    assert proved != refuted and proved == (done.returncode == 0), done.stdout[-5000:] + done.stderr
    return proved
