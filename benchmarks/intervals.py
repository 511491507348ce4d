"""How often intervals hold the true value: of a shift between two models, and of a mean Dice.

Subjects are drawn from known distributions and each interval is computed, again and again; a 95 %
interval should hold the true value in 95 % of the draws or more. Beside ours: the percentile
bootstrap over subjects, and for means Student's interval. Exits with 1 where an interval of ours
misses its level by more than the error of the simulation and the allowance of its table.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from holohisto.statistics.intervals import mean_interval, mean_of_means_interval, shift_interval

NUMBERS = (5, 6, 8, 12, 20)
CONFIDENCE = 0.95
Draw = Callable[[np.random.Generator, int], np.ndarray]
Interval = Callable[[np.ndarray], tuple[float, float]]

SHIFTS: dict[str, Draw] = {
    "normal": lambda r, n: r.normal(0, 1, n),
    "heavy tails (t, 2 degrees)": lambda r, n: r.standard_t(2, n),
    "two skewed Dice": lambda r, n: r.beta(9, 1, n) - r.beta(9, 1, n),
    "two Dice that fail at times": lambda r, n: failing(r, n) - failing(r, n),
    "40 % equal pairs": lambda r, n: np.where(r.random(n) < 0.4, 0, r.normal(0, 1, n)),
    "not symmetric (exponential)": lambda r, n: r.exponential(1, n),
}
MEANS: dict[str, Draw] = {
    "Beta(9, 1)": lambda r, n: r.beta(9, 1, n),
    "Beta(2, 0.2)": lambda r, n: r.beta(2, 0.2, n),
    "0.9, one in six fails": lambda r, n: failing(r, n),
    "0.9, one in twenty is 0": lambda r, n: np.where(r.random(n) < 0.05, 0, r.beta(45, 5, n)),
    "uniform": lambda r, n: r.random(n),
    "0 or 1": lambda r, n: (r.random(n) < 0.8).astype(float),
}
LARGE = 2_000_000


def failing(random: np.random.Generator, n: int) -> np.ndarray:
    """Dice about 0.9, but one in six anywhere below."""
    return np.where(random.random(n) < 1 / 6, 0.9 * random.random(n), random.beta(45, 5, n))


def pseudomedian(draw: Draw) -> float:
    """Median of the mean of two independent values, which the Hodges-Lehmann shift estimates."""
    random = np.random.default_rng(99)
    return float(np.median((draw(random, LARGE) + draw(random, LARGE)) / 2))


def bootstrap(
    values: np.ndarray, estimates: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Percentile bootstrap interval, 500 resamples; `estimates` gives one a row."""
    drawn = np.random.default_rng(0).integers(len(values), size=(500, len(values)))
    low, high = np.quantile(estimates(values[drawn]), [0.025, 0.975])
    return float(low), float(high)


def shifts(samples: np.ndarray) -> np.ndarray:
    """Hodges-Lehmann estimate of every row, (rows,)."""
    first, second = np.triu_indices(samples.shape[1])
    return np.median((samples[:, first] + samples[:, second]) / 2, axis=1)


def student(values: np.ndarray) -> tuple[float, float]:
    """Student's interval of the mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def coverage(draw: Draw, truth: float, n: int, repeats: int, interval: Interval) -> list[float]:
    """Share of draws whose interval holds the truth, and the mean width; NaN without interval."""
    random = np.random.default_rng([n, repeats])
    ends = np.array([interval(draw(random, n)) for _ in range(repeats)])
    if np.isnan(ends).any():
        return [float("nan"), float("nan")]
    within = (ends[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= ends[:, 1])
    return [float(within.mean()), float((ends[:, 1] - ends[:, 0]).mean())]


def table(
    title: str,
    draws: dict[str, Draw],
    truth: Callable[[Draw], float],
    contenders: dict[str, tuple[int, Interval]],
    allowance: dict[str, float],
) -> list[str]:
    """Print coverage (and width) of every contender; the misses of the first one."""
    print(f"\n{title}: share of draws within the interval (mean width)")
    missed = []
    for name, draw in draws.items():
        target = truth(draw)
        for method, (repeats, interval) in contenders.items():
            cells = [coverage(draw, target, n, repeats, interval) for n in NUMBERS]
            text = " | ".join("none" if np.isnan(c) else f"{c:.3f} ({w:.2f})" for c, w in cells)
            print(f"| {name} | {method} | {text} |", flush=True)
            if method == "ours":
                error = 3 * np.sqrt(0.05 * 0.95 / repeats)
                least = CONFIDENCE - error - allowance.get(name, 0)
                missed += [
                    f"{name}, n = {n}" for n, c in zip(NUMBERS, cells, strict=True) if c[0] < least
                ]
    return missed


def clustered(repeats: int) -> list[str]:
    """Three slides a subject, which resemble each other: intervals over slides or subjects."""
    print("\nthree slides for each subject: share of draws within the interval")
    missed = []
    for subjects in (6, 8, 12, 20):
        random, within = np.random.default_rng(subjects), np.zeros(2)
        names = np.repeat([str(k) for k in range(subjects)], 3)
        for _ in range(repeats):
            own = random.normal(0, 1, (subjects, 1)) + random.normal(0, 0.5, (subjects, 3))
            values = own.ravel()
            for k, clusters in enumerate((names, [str(i) for i in range(len(values))])):
                low, high = shift_interval(values, list(clusters), CONFIDENCE)
                within[k] += low <= 0 <= high
        ours, alone = within / repeats
        print(f"| {subjects} subjects | ours {ours:.3f} | as if independent {alone:.3f} |")
        if ours < CONFIDENCE - 3 * np.sqrt(0.05 * 0.95 / repeats):
            missed.append(f"{subjects} subjects")
    return missed


def groups(repeats: int) -> list[str]:
    """The mean of the means of four groups of n subjects."""
    print("\nmean of four groups' means: share of draws within the interval (mean width)")
    missed, draws = [], list(MEANS.values())[:4]
    truth = np.mean([draw(np.random.default_rng(99), LARGE).mean() for draw in draws])
    for n in NUMBERS:
        random = np.random.default_rng(n)
        ends = np.array(
            [
                mean_of_means_interval([draw(random, n) for draw in draws], CONFIDENCE)
                for _ in range(repeats)
            ]
        )
        share = float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
        print(f"| {n} each | {share:.3f} ({(ends[:, 1] - ends[:, 0]).mean():.2f}) |", flush=True)
        if share < CONFIDENCE - 3 * np.sqrt(0.05 * 0.95 / repeats):
            missed.append(f"All, n = {n}")
    return missed


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    few = max(1, repeats // 4)
    print("distribution | interval |", " | ".join(f"n = {n}" for n in NUMBERS))
    missed = table(
        "shift between two models",
        SHIFTS,
        pseudomedian,
        {
            "ours": (
                repeats,
                lambda x: shift_interval(x, [str(k) for k in range(len(x))], CONFIDENCE),
            ),
            "bootstrap": (few, lambda x: bootstrap(x, shifts)),
        },
        # the test assumes differences that are symmetric about the shift
        {"not symmetric (exponential)": 0.01},
    )
    missed += table(
        "mean Dice",
        MEANS,
        lambda draw: float(draw(np.random.default_rng(99), LARGE).mean()),
        {
            "ours": (few, lambda x: mean_interval(x, CONFIDENCE)),
            "Student": (repeats, student),
            "bootstrap": (few, lambda x: bootstrap(x, lambda y: y.mean(axis=1))),
        },
        {},
    )
    missed += clustered(few) + groups(max(1, few // 2))
    if missed:
        sys.exit("misses its level: " + "; ".join(missed))


if __name__ == "__main__":
    main()
