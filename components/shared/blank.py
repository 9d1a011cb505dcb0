"""What is around a text and never part of it: the one definition for tables, SQL, training and serving."""

import unicodedata

from components.shared.sql import literal

BLANKS = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff"
)
"""Every character that Python counts as white space, the zero-width space and joiner, and the byte order mark."""


def clean(text: str) -> str:
    r"""Return a text without blanks around it, its letters composed (Unicode's normal form C).

    >>> clean(" Male\t"), clean("\u00a0"), clean("Zu\u0308rich") == "Z\u00fcrich"
    ('Male', '', True)
    """
    return unicodedata.normalize("NFC", text.strip(BLANKS))


def clean_sql(text: str) -> str:
    """Return DuckDB's SQL for ``clean`` of a text expression.

    Trimming is slow and few texts need it: those between two visible ASCII characters are left alone.
    """
    visible = f"{text} > '!' AND {text} < chr(127) AND {text}[-1] BETWEEN '!' AND '~'"
    return f"nfc_normalize(CASE WHEN {visible} THEN {text} ELSE trim({text}, {literal(BLANKS)}) END)"
