"""The explorer in an output of a notebook, as its user handles it."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

WAITING = "as soon as it is free"
"""What stands in a tab until the kernel has sent it."""


class ExplorerView:
    """The first explorer among these outputs: its tabs, the open panel, the list of calls in that."""

    def __init__(self, outputs: Locator) -> None:
        self.box = outputs.locator(".cl-root.jupyter-widgets").first
        self.tabs = self.box.get_by_role("tab")
        self.panel = self.box.locator(".widget-tab-contents > :not(.lm-mod-hidden)")
        self.calls = self.panel.get_by_role("listbox")
        self.options = self.calls.locator("option")

    def titles(self) -> list[str]:
        """The titles of the tabs."""
        expect(self.tabs.first).to_be_visible()
        return self.tabs.all_inner_texts()

    def show(self, title: str) -> Locator:
        """Click the tab of this title, or that begins so; return its panel when it is there."""
        return self.show_tab(self.titles().index(self.title(title)))

    def show_tab(self, position: int) -> Locator:
        """Click the tab at this position; return its panel when it is there."""
        tab = self.tabs.nth(position)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        return self.opened()

    def title(self, start: str) -> str:
        """The whole title that begins so."""
        return next(title for title in self.titles() if title.startswith(start))

    def opened(self) -> Locator:
        """The open panel, as soon as the kernel has sent it."""
        expect(self.panel).not_to_contain_text(WAITING)
        return self.panel
