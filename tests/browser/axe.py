"""What axe-core finds in what a window shows, as lines that a failure can be mended by."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_SETTLED = """
() => Promise.all(
  document.getAnimations()
    .filter((moving) => moving.effect.getTiming().iterations !== Infinity)
    .map((moving) => moving.finished.catch(() => 0)))
"""


def faults(page: Page) -> list[str]:
    """One line for each element that breaks a rule, when everything that moves has arrived."""
    page.evaluate(_SETTLED)
    found = Axe().run(page, context={"exclude": [["iframe"]]})
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:160]}: {node['failureSummary']}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]
