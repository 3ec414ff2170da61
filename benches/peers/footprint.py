"""What a package costs before it computes anything: seconds to import it, bytes on the disk with everything that it needs."""

import statistics
import subprocess
import sys
import time
from importlib import metadata

from packaging.requirements import Requirement

IMPORT, SIZE = "import time", "installed size"


def import_seconds(packages, rounds):
    """Medians over fresh processes, in turns; a bare interpreter's time is taken away."""

    def start(code):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - begin

    times = {name: [] for name in packages}
    for turn in range(rounds + 1):
        bare = start("pass")
        for name in packages:
            seconds = start(f"import {name}") - bare
            if turn > 0:  # The first one reads from the disk.
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def installed_bytes(package):
    """Bytes of a distribution and of all that it requires."""
    seen, waiting, total = set(), [package], 0
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for file in found.files or ():
            path = found.locate_file(file)
            total += path.stat().st_size if path.is_file() and "__pycache__" not in path.parts else 0
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return total


def lines(packages, titles, rounds):
    """Two rows of a Markdown table."""
    seconds, sizes = import_seconds(packages, rounds), {name: installed_bytes(name) for name in packages}
    head = "| row | " + " | ".join(titles) + " |\n|" + "---|" * (len(packages) + 1)
    imports = " | ".join(f"{seconds[n]:.2f} s" for n in packages)
    return f"{head}\n| {IMPORT} | {imports} |\n| {SIZE} | " + " | ".join(f"{sizes[n] / 1e6:.0f} MB" for n in packages) + " |\n"
