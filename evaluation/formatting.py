"""Numbers as the report writes them: true minus signs, points for differences, p values in one style."""

from evaluation.statistics import Estimate

MISSING = "\u2013"
"""What stands where there is nothing to say."""
_MINUS = "\u2212"
_NBSP = "\u00a0"


def score(value: float | None, digits: int = 3) -> str:
    """A score in [0, 1] ("0.406")."""
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


def points(value: float | None) -> str:
    """A difference of scores in points, hundredths of the scale, with its sign ("+9.1")."""
    if value is None:
        return MISSING
    return _signed(100 * value)


def interval(found: Estimate | None) -> str:
    """A 95% interval in points ("[3.2, 5.0]")."""
    return MISSING if found is None else f"[{_plain(100 * found.low)},{_NBSP}{_plain(100 * found.high)}]"


def effect(found: Estimate | None) -> str:
    """An effect in points with its interval."""
    return MISSING if found is None else f"{points(found.effect)}{_NBSP}{interval(found)}"


def p_value(value: float | None, name: str = "p") -> str:
    """A p or q value with its name ("p = .27", "p < .001")."""
    text = f"{name} {MISSING}" if value is None else f"{name} {'' if value < 0.001 else '= '}{bare_p(value)}"
    return text.replace(" ", _NBSP)


def bare_p(value: float | None) -> str:
    """A p or q value without a name (".27", "< .001")."""
    if value is None:
        return MISSING
    if value < 0.001:
        return "< .001"
    return f"{value:.3f}".removeprefix("0") if value < 0.1 else f"{value:.2f}".removeprefix("0")


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage ("13.2%")."""
    return MISSING if value is None else f"{100 * value:.{digits}f}%"


def count(value: float | None) -> str:
    """A whole number with thousands separated by thin spaces."""
    return MISSING if value is None else f"{value:,.0f}".replace(",", "\u2009")


def large(value: float | None) -> str:
    """A large quantity in powers of ten ("3.1 × 10¹²")."""
    if value is None:
        return MISSING
    if value < 1e6:
        return count(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    superscript = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{superscript}"


def seconds(value: float | None) -> str:
    """A duration ("41 s", "6 min 12 s", "3 h 05 min")."""
    if value is None:
        return MISSING
    if value < 90:
        return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def plural(number: int, noun: str) -> str:
    """A count with its noun ("1 seed", "3 seeds")."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def label(name: str) -> str:
    """A name from the data as words ("trait:power_asymmetry" becomes "power asymmetry")."""
    return name.rsplit(":", 1)[-1].replace("_", " ").replace("-", " ")


def _signed(value: float) -> str:
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", _MINUS) if rounded else "0.0"


def _plain(value: float) -> str:
    return _signed(value).removeprefix("+")
