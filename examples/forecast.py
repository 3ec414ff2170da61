"""Sunspots, or the temperature of days, many steps ahead: a net beside a linear model and beside repeating the last value.

    python examples/forecast.py --series sunspots
    python examples/forecast.py --series temperature

$WEFT_DATA/timeseries/univariate: 2,820 months of sunspots, 3,650 days of lowest temperatures in Melbourne. The last fifth is the test, the
fifth before it chose the sizes; the linear model AR(k) reads as many steps as the net. Root of the mean squared error over the horizon.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import weft
from weft import data, models, train

SERIES = {
    "sunspots": {"file": "monthly-sunspots.csv", "column": "Sunspots", "window": 96, "horizon": 24},
    "temperature": {"file": "daily-min-temperatures.csv", "column": "Temp", "window": 28, "horizon": 7},
}


def main(arguments=None):
    """The command line; returns the errors of net, linear model and last value on the test part, one row a seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "timeseries/univariate")
    parser.add_argument("--series", default="sunspots", choices=list(SERIES))
    parser.add_argument("--mode", default="direct", choices=["direct", "autoregressive"])
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="measure on the part that chose the sizes, not on the test")
    options = parser.parse_args(arguments)
    how = SERIES[options.series]
    series = data.read_column(options.folder / how["file"], how["column"])
    end = len(series) if not options.tune else len(series) * 4 // 5
    cut = end - len(series) // 5
    learn, test = series[:cut], series[cut - how["window"] : end]
    rows, begin = [], time.perf_counter()
    for seed in range(options.seeds):
        weft.manual_seed(seed)
        model = models.Forecaster.from_series(
            [learn],
            window=how["window"],
            horizon=how["horizon"],
            mode=options.mode,
            hidden=options.hidden,
            dropout=options.dropout,
        )
        train.fit(
            model, [learn], valid=0.0, epochs=options.epochs, batch_tokens=how["window"] * 32, lr=options.lr, weight_decay=0.01,
            progress=False,
        )  # fmt: skip
        found = model.measure([test]).metrics
        rows.append([found["rmse"], found["rmse_linear"], found["rmse_last_value"]])
        print(
            f"seed {seed}: net {rows[-1][0]:.3f}, AR({how['window']}) {rows[-1][1]:.3f}, last value {rows[-1][2]:.3f}", flush=True
        )
    mean = np.mean(rows, 0)
    seconds = (time.perf_counter() - begin) / options.seeds
    print(
        f"{options.series}, {how['horizon']} ahead: net {mean[0]:.3f}, AR {mean[1]:.3f}, last {mean[2]:.3f}; {seconds:.0f} s a seed"
    )
    return rows


if __name__ == "__main__":
    main()
