"""Quote names and texts in generated SQL, because a column may have any name."""


def identifier(name: str) -> str:
    """Quote the name of a table or column.

    >>> print(identifier('mean "radius"'))
    "mean ""radius\"""
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as a string literal.

    >>> print(literal("O'Brien"))
    'O''Brien'
    """
    return "'" + text.replace("'", "''") + "'"
