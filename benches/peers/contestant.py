"""One contestant in a process of its own: reads commands as JSON lines, answers with JSON lines.

`prepare` builds a row and runs it twice; `time` runs it for a while and gives the seconds of one call; `peak` gives the growth of the
peak resident size, in bytes, over two calls of a row that is built afresh.
"""

import gc
import importlib
import json
import sys
import time
from pathlib import Path

from rows import ROWS


def memory(field):
    text = Path("/proc/self/status").read_text()
    return int(text.split(field + ":")[1].split()[0]) * 1024


def measure_peak(contestant, kind, sizes):
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    run = getattr(contestant, kind)(**sizes)
    if run is not None:
        run()
        run()
    return memory("VmHWM") - before


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    contestant = importlib.import_module(f"contestants.{name}_")
    getattr(contestant, "threads", lambda n: None)(threads)
    run = None
    for line in sys.stdin:
        command = json.loads(line)
        kind, sizes = ROWS[command["row"]]
        answer = {}
        if command["do"] == "version":
            answer = {"version": contestant.version()}
        elif not hasattr(contestant, kind):
            answer = {"skip": "not offered"}
        elif command["do"] == "prepare":
            run = getattr(contestant, kind)(**sizes)
            if run is None:
                answer = {"skip": "not offered"}
            else:
                run()
                run()
        elif command["do"] == "peak":
            answer = {"bytes": measure_peak(contestant, kind, sizes)}
        else:
            calls, start = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - start < command["seconds"]:
                run()
                calls += 1
            answer = {"seconds": (time.perf_counter() - start) / calls}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
