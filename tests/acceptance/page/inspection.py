"""What a browser knows about the page: colours, places, frames, cut texts and violated rules."""

import json
import os
from pathlib import Path
from typing import Any

from playwright.async_api import Page, WebSocket

from livebalance.stack.build.node import WEB

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"

# Functions of an element
COLOUR = "element => getComputedStyle(element).color"
TOP = "element => element.getBoundingClientRect().top"
HEIGHT = "element => element.getBoundingClientRect().height"
ROW_ID = "element => element.dataset.id"

# Later animations stay at their first frame. A slow machine could miss all others.
HOLD_ANIMATIONS = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('*, ::before, ::after { animation-play-state: paused !important; }');
  document.adoptedStyleSheets.push(sheet);
}"""

# The colour in which the balance flashes, and the colours of credits.
FLASH = """() => {
  const digits = document.querySelector('[data-testid=balance] .digits');
  const sample = document.createElement('span');
  const themeColour = name => {
    sample.style.color = `var(--${name})`;
    document.body.append(sample);
    const {color} = getComputedStyle(sample);
    sample.remove();
    return color;
  };
  return {count: digits.getAnimations().length, shown: getComputedStyle(digits).color,
          greens: ['accent', 'credit'].map(themeColour)};
}"""

# The amounts that are wider than their card, or overlap another text of their row or card.
CUT_AMOUNTS = """() => {
  const overlap = (a, b) => b.width > 0 && b.left < a.right - 1 && b.right > a.left + 1
    && b.top < a.bottom - 1 && b.bottom > a.top + 1;
  const isCut = amount => {
    const box = amount.getBoundingClientRect();
    const card = amount.closest('.card').getBoundingClientRect();
    const texts = [...amount.closest('.row, .card').querySelectorAll('lb-amount, time, .id')];
    const others = texts.filter(text => text !== amount).map(text => text.getBoundingClientRect());
    return box.width > 1 && (box.left < card.left || box.right > card.right
      || amount.scrollWidth > amount.clientWidth + 1 || others.some(other => overlap(box, other)));
  };
  return [...document.querySelectorAll('.card lb-amount')].filter(isCut).map(amount => amount.textContent);
}"""


def record_frames(tab: Page) -> list[list[dict[str, Any]]]:
    """Returns a list that receives the frames of each later connection, as a list of its own."""
    connections: list[list[dict[str, Any]]] = []

    def record(socket: WebSocket) -> None:
        frames: list[dict[str, Any]] = []
        connections.append(frames)
        socket.on("framereceived", lambda text: frames.append(json.loads(text)))

    tab.on("websocket", record)
    return connections


def first_of(type_: str, frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the first frame of a type."""
    return next(frame for frame in frames if frame["type"] == type_)


async def violations(tab: Page, **options: Any) -> list[Any]:
    """Returns the rules of accessibility that the page violates, each with its elements."""
    await tab.evaluate(AXE.read_text())
    # A report that names every element that violates nothing takes five times as long.
    report = await tab.evaluate("options => axe.run({resultTypes: ['violations'], ...options})", options)
    return [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in report["violations"]]


async def keep_picture(tab: Page, name: str) -> None:
    """Writes a picture of the page into the directory PAGE_PICTURES, if it is set."""
    if directory := os.environ.get("PAGE_PICTURES"):
        await tab.screenshot(path=Path(directory) / f"{name}.png", full_page=True)
