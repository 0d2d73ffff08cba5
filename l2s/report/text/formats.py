"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

MINUS = "−"
NONE = "–"
LEVEL = 0.05  # that p-values are compared with: l2s.evaluation.stats.ALPHA, which is not imported with its libraries


def percent(value: float, digits: int = 1) -> str:
    """0.6234 -> 62.3%."""
    return f"{value * 100:.{digits}f}%"


def percent_bounds(bounds: Sequence[float]) -> str:
    """An interval of rates: 52.1–71.0."""
    return f"{bounds[0] * 100:.1f}–{bounds[1] * 100:.1f}"


def bracketed(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """An interval behind a difference: ` [−3.1, +5.0]`; nothing where there is none."""
    return f" [{signed(bounds[0], digits)}, {signed(bounds[1], digits)}]" if bounds else ""


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign, with a true minus and no negative zero."""
    rounded = round(value, digits) + 0.0
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def points(value: float) -> str:
    """A difference of rates in percentage points."""
    return signed(value * 100)


def p_value(value: float) -> str:
    """Three digits; more where three would hide on which side of LEVEL it is; small values as `<0.001`, never 0."""
    if value < 0.001:
        return "<0.001"
    written = (f"{value:.{digits}f}" for digits in (3, 4, 5))
    return next((text for text in written if float(text) != LEVEL), f"<{LEVEL}" if value < LEVEL else f"≥{LEVEL}")


def count(value: float | None) -> str:
    """1234567 -> 1,234,567."""
    return NONE if value is None else f"{value:,.0f}"


def short_count(value: float | None) -> str:
    """1543714304 -> 1.54 B."""
    if value is None:
        return NONE
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def size(value: float | None) -> str:
    """Bytes in the largest binary unit that leaves a whole number."""
    if value is None:
        return NONE
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float) -> str:
    """3725 -> 1 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(value: float | None) -> str:
    """A speed or a ratio with three significant digits."""
    return NONE if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def nats(value: float) -> str:
    """KL and perplexity: four significant digits, trailing zeros included."""
    return f"{value:#.4g}".rstrip(".") if value else "0"
