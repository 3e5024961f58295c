"""Generated parts of documents."""

from __future__ import annotations

from pipelines.common.markers import replace_between

PAGE = "a\n<!-- one -->\nold\n<!-- end of one -->\nz\n"


def test_only_the_text_between_the_markers_is_replaced() -> None:
    new = replace_between(PAGE, "one", "new\n")
    assert new == "a\n<!-- one -->\n\nnew\n\n<!-- end of one -->\nz\n"
    assert replace_between(new, "one", "new\n") == new, "a second time changes nothing"


def test_a_document_without_markers_is_refused() -> None:
    assert replace_between(PAGE, "two", "new") is None
    assert replace_between("<!-- one -->", "one", "new") is None
