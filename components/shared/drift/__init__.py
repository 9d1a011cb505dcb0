"""Statistics of drift between two samples. Only numpy is needed, so that every step can import this folder.

``univariate`` compares one column, ``association`` two columns of numbers, ``relation`` a column with the label.
"""
