"""Names and texts inside SQL that we write: always quoted, because a column may be called anything."""


def identifier(name: str) -> str:
    """Quote a name of a table or column.

    >>> print(identifier('mean "radius"'))
    "mean ""radius\"""
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text.

    >>> print(literal("O'Brien"))
    'O''Brien'
    """
    return "'" + text.replace("'", "''") + "'"
