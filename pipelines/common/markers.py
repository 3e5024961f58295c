"""Generated parts of documents, between two markers."""

from __future__ import annotations


def replace_between(document: str, name: str, text: str) -> str | None:
    """Replace the text between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Returns
    -------
    str or None
        The new document; None if it has no markers of that name.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n{end}{after}" if found and closed else None
