"""Records the picture of the README: two tabs of a running chat, side by side, in which two people talk.

    picture.py ADDRESS FILE.webp
"""

import io
import json
import sys

from PIL import Image, ImageDraw, ImageFont
from webdriver import ENTER, Browser

# The size of a page in CSS pixels, and the pixels of the picture for each CSS pixel: the README shows the picture at
# half its width, so that it is sharp on screens of twice the density.
WIDTH, HEIGHT, SCALE = 400, 400, 2
# The window around a page, in pixels of the picture.
BAR, GAP, BORDER, RADIUS = 64, 32, 2, 20

SHOWN_ADDRESS = "127.0.0.1:8080/#tea"
ANN, BEN = 0, 1
TALK = [
    (ANN, "Is anybody in the tea room?"),
    (BEN, "I am. This is my first visit."),
    (ANN, "Welcome! The kettle is on."),
]
CHARACTERS_A_FRAME = 2

# How long a frame is shown, in milliseconds.
TYPED, SENT, BEFORE, END = 110, 900, 500, 3_000

SHOWN = "Array.from(document.querySelectorAll('#messages .text'), text => text.textContent).join('\\n')"


def main(address, file):
    with Browser() as browser:
        tabs = [enter(browser, address, name) for name in ("Ann", "Ben")]
        frames = list(record(tabs))
    pictures, milliseconds = zip(*frames)
    first, *others = pictures
    first.save(
        file, save_all=True, append_images=others, duration=milliseconds, loop=0,
        lossless=True, quality=100, method=6, minimize_size=True,
    )
    print(f"{file}: {len(frames)} frames of {first.width} x {first.height}, {sum(milliseconds) / 1000:.1f} s")


def enter(browser, address, name):
    tab = browser.open(f"http://{address}/#tea")
    tab.set_size(WIDTH, HEIGHT, SCALE)
    tab.eventually("document.querySelector('#state').dataset.state === 'open'")
    # A blinking caret would make equal frames differ.
    tab.run("document.body.style.caretColor = 'transparent'; document.querySelector('#name').value = ''")
    tab.type("#name", name)
    return tab


def record(tabs):
    """Yields frames and how long each is shown. Takes a screenshot of a tab only if the tab may have changed."""
    pages = [page(tab) for tab in tabs]
    yield window_pair(pages), BEFORE
    said = []
    for speaker, text in TALK:
        for start in range(0, len(text), CHARACTERS_A_FRAME):
            tabs[speaker].type("#text", text[start : start + CHARACTERS_A_FRAME])
            pages[speaker] = page(tabs[speaker])
            yield window_pair(pages), TYPED
        tabs[speaker].type("#text", ENTER)
        said.append(text)
        for tab in tabs:
            tab.eventually(f"{SHOWN} === {json.dumps(chr(10).join(said))}")
        pages = [page(tab) for tab in tabs]
        yield window_pair(pages), END if len(said) == len(TALK) else SENT


def page(tab):
    return Image.open(io.BytesIO(tab.screenshot())).convert("RGB")


def window_pair(pages):
    width, height = WIDTH * SCALE + 2 * BORDER, HEIGHT * SCALE + BAR + BORDER
    picture = Image.new("RGBA", (2 * width + GAP, height), (0, 0, 0, 0))
    for number, content in enumerate(pages):
        window = window_around(content, width, height)
        picture.paste(window, (number * (width + GAP), 0), window)
    return picture


def window_around(content, width, height):
    window = Image.new("RGBA", (width, height), "#c9c9c4")
    draw = ImageDraw.Draw(window)
    draw.rounded_rectangle((BORDER, BORDER, width - BORDER - 1, height), RADIUS - BORDER, "#e6e6e2")
    for number in range(3):
        left = 24 + 30 * number
        draw.ellipse((left, BAR // 2 - 8, left + 16, BAR // 2 + 8), "#c9c9c4")
    draw.rounded_rectangle((128, 11, width - 24, BAR - 11), (BAR - 22) // 2, "#ffffff")
    draw.text((152, BAR // 2), SHOWN_ADDRESS, "#55554f", ImageFont.load_default(26), anchor="lm")
    window.paste(content, (BORDER, BAR))
    window.putalpha(corners(width, height))
    return window


def corners(width, height):
    """Returns a mask with round corners, drawn large and then reduced so that the edges are smooth."""
    mask = Image.new("L", (4 * width, 4 * height), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * RADIUS, 255)
    return mask.resize((width, height), Image.Resampling.LANCZOS)


main(*sys.argv[1:])
