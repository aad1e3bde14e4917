"""Names of months: `ls` writes them in the language of whoever started the server."""

from __future__ import annotations

# Short forms as C libraries have them, without dots. None means one month here and another there.
_LANGUAGES = (
    "jan feb mar apr may jun jul aug sep oct nov dec",  # English
    "jän feb mär apr mai jun jul aug sep okt nov dez",  # German
    "janv févr mars avr mai juin juil août sept oct nov déc",  # French
    "ene feb mar abr may jun jul ago sep oct nov dic",  # Spanish
    "gen feb mar apr mag giu lug ago set ott nov dic",  # Italian
    "jan fev mar abr mai jun jul ago set out nov dez",  # Portuguese
    "jan feb mrt apr mei jun jul aug sep okt nov dec",  # Dutch
    "jan feb mars april maj juni juli aug sep okt nov dec",  # Danish, Swedish
    "jan feb mars april mai juni juli aug sep okt nov des",  # Norwegian
)
_NUMBERS = {
    name.encode(charset): number
    for language in _LANGUAGES
    for number, name in enumerate(language.split(), 1)
    for charset in ("utf-8", "latin-1")
}
_MONTH_SIGN = "月".encode()  # after the month's number, in Chinese and Japanese


def month_number(name: bytes) -> int | None:
    """1 to 12; None for a word that is no month here."""
    if name.endswith(_MONTH_SIGN) and name.removesuffix(_MONTH_SIGN).isdigit():
        return int(name.removesuffix(_MONTH_SIGN))
    return _NUMBERS.get(name.rstrip(b".").lower())
