"""How well texts stand out from what is behind them, from the colours that the browser computed."""

from __future__ import annotations

from typing import NamedTuple

from playwright.sync_api import Locator

# Contrast as WCAG 2.2 defines it. A canvas turns every notation of a colour into numbers.
_MEASURE = """
root => {
  const ink = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
  const numbers = colour => {
    ink.clearRect(0, 0, 1, 1)
    ink.fillStyle = colour
    ink.fillRect(0, 0, 1, 1)
    const [red, green, blue, alpha] = ink.getImageData(0, 0, 1, 1).data
    return {rgb: [red, green, blue], alpha: alpha / 255}
  }
  const over = (colour, opacity, below) =>
    colour.rgb.map((part, i) => part * colour.alpha * opacity + below[i] * (1 - colour.alpha * opacity))
  const luminance = rgb => {
    const [red, green, blue] = rgb.map(part => part / 255).map(
      part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const contrast = element => {
    const line = []
    for (let one = element; one; one = one.parentElement) line.unshift(getComputedStyle(one))
    let below = [255, 255, 255], opacity = 1
    for (const style of line) {
      opacity *= Number(style.opacity)
      below = over(numbers(style.backgroundColor), opacity, below)
    }
    const text = over(numbers(line.at(-1).color), opacity, below)
    const [dark, light] = [luminance(text), luminance(below)].sort((one, other) => one - other)
    return (light + 0.05) / (dark + 0.05)
  }
  const found = []
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement
    const words = texts.currentNode.data.trim()
    if (/[\\p{L}\\p{N}]/u.test(words) && element.checkVisibility() && !element.closest('style, [disabled]'))
      found.push([words.slice(0, 40), contrast(element)])
  }
  return found
}
"""


class Shown(NamedTuple):
    """A text and its contrast to its background, between 1 and 21."""

    text: str
    contrast: float


def contrasts(box: Locator) -> list[Shown]:
    """The contrast of every text that is visible in the box; not of signs, nor of buttons switched off."""
    return [Shown(*found) for found in box.evaluate(_MEASURE)]
