"""Weft beside its peers: every contestant in its own process, in turns, on the same inputs with the same number of threads.

    python benches/peers/race.py --rows 'linear*' --json race.json --markdown race.md

A ratio is the best peer's time by Weft's, the median over rounds of the ratios within a round. Machines are shared: only ratios of one run
count. A peer that is not installed is left out, and said to be.
"""

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

import footprint
from rows import ROWS

HERE = Path(__file__).parent
PEERS = {
    "torch": "PyTorch", "compiled": "torch.compile", "jax": "JAX", "onnxruntime": "ONNX Runtime",
    "ctranslate2": "CTranslate2", "numpy": "NumPy",
}  # fmt: skip


class Contestant:
    """A process that runs rows when told to."""

    def __init__(self, name, threads):
        self.name = name
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "contestant.py"), name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment, cwd=HERE,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip

    def ask(self, do, row, **more):
        """The answer to one command, or None when the process has died (a peer that is not installed)."""
        try:
            self.process.stdin.write(json.dumps({"do": do, "row": row, **more}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line else None

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def race_row(row, peers, threads, rounds, seconds):
    """Times [contestant][round] and peaks of one row; every contestant is a fresh process."""
    contestants = [Contestant(name, threads) for name in ("weft", *peers)]
    ready, peaks = [], {}
    for contestant in contestants:
        peak = contestant.ask("peak", row)
        if peak and "bytes" in peak and contestant.ask("prepare", row) == {}:
            peaks[contestant.name] = peak["bytes"]
            ready.append(contestant)
    times = {contestant.name: [] for contestant in ready}
    for turn in range(rounds):
        for contestant in ready if turn % 2 == 0 else reversed(ready):
            times[contestant.name].append(contestant.ask("time", row, seconds=seconds)["seconds"])
    for contestant in contestants:
        contestant.close()
    return times, peaks


def summarize(row, times, peaks):
    """Medians, quartiles, and the ratio against the best peer of each round."""
    result = {"row": row, "peak_bytes": peaks, "milliseconds": {}}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        result["milliseconds"][name] = {"median": middle * 1e3, "low": low * 1e3, "high": high * 1e3}
    peers = [name for name in times if name != "weft"]
    if peers and "weft" in times:
        ratios = [min(times[p][i] for p in peers) / t for i, t in enumerate(times["weft"])]
        result["ratio"] = statistics.median(ratios)
        result["quartiles"] = statistics.quantiles(ratios, n=4)[::2]
    return result


def table(results, threads, versions):
    """A Markdown table, losses left in."""
    names = [n for n in ("weft", *PEERS) if any(n in r["milliseconds"] for r in results)]
    head = ["row", *(f"{PEERS.get(n, 'Weft')}, ms" for n in names), "best peer / Weft", "peak memory Weft; PyTorch, MB"]
    lines = [
        f"{platform.processor() or platform.machine()}, {cpu()}; {date.today()}; {threads} threads; "
        + ", ".join(f"{PEERS.get(n, 'Weft')} {v}" for n, v in versions.items()),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for r in results:
        cells = [r["row"]]
        for n in names:
            t = r["milliseconds"].get(n)
            cells.append("–" if t is None else f"{t['median']:.3g} ({t['low']:.3g}–{t['high']:.3g})")
        ratio = "–" if "ratio" not in r else f"{r['ratio']:.2f} ({r['quartiles'][0]:.2f}–{r['quartiles'][1]:.2f})"
        memory = "; ".join(f"{r['peak_bytes'][n] / 1e6:.0f}" if n in r["peak_bytes"] else "–" for n in ("weft", "torch"))
        lines.append("| " + " | ".join([*cells, ratio, memory]) + " |")
    return "\n".join(lines) + "\n"


def cpu():
    """The processor's name."""
    text = Path("/proc/cpuinfo").read_text()
    return text.split("model name")[1].split("\n")[0].strip("\t :")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", default="*", help="names to run, as a pattern (default: all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="whom to race with, by commas (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a turn runs at least")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    rows = [row for row in ROWS if fnmatch.fnmatchcase(row, options.rows)]
    before = [row for row in (footprint.IMPORT, footprint.SIZE) if fnmatch.fnmatchcase(row, options.rows)]
    if not rows and not before:
        parser.error(f"--rows: no row is named like '{options.rows}'")
    peers = [name for name in options.peers.split(",") if name]
    if unknown := [name for name in peers if name not in PEERS]:
        parser.error(f"--peers: expected some of {', '.join(PEERS)}, got '{unknown[0]}'")
    versions = {}
    for name in ("weft", *peers):
        contestant = Contestant(name, options.threads)
        answer = contestant.ask("version", next(iter(ROWS)))
        if answer is None:
            print(f"{PEERS.get(name, 'Weft')}: left out, it is not installed", file=sys.stderr)
        else:
            versions[name] = answer["version"]
        contestant.close()
    results = []
    for row in rows:
        results.append(summarize(row, *race_row(row, peers, options.threads, options.rounds, options.seconds)))
        print(json.dumps(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "threads": options.threads, "rows": results}, indent=1) + "\n")
    text = table(results, options.threads, versions)
    if before:
        text += "\n" + footprint.lines(list(versions), [PEERS.get(n, "Weft") for n in versions], options.rounds)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
