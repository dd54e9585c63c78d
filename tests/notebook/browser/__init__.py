"""Tests of the notebooks as they are seen in a browser, and what drives it."""
