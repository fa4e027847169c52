"""Reports in a real browser: nothing is fetched, nothing overflows, both themes are readable, no
name is run as a script.
"""

from __future__ import annotations

import pytest

from srnn import report

pytestmark = pytest.mark.browser

CONTRAST = """() => {
  const linear = v => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const lum = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const parse = s => {
    const v = s.match(/[\\d.]+/g).map(Number);
    return [v.slice(0, 3), v.length > 3 ? v[3] : 1];
  };
  const behind = e => {
    let layers = [];
    for (let n = e; n; n = n.parentElement) layers.push(parse(getComputedStyle(n).backgroundColor));
    const over = (below, [c, a]) => below.map((v, k) => a * c[k] + (1 - a) * v);
    return layers.reverse().reduce(over, [255, 255, 255]);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, style = getComputedStyle(e);
    if (!walk.currentNode.textContent.trim() || !e.getClientRects().length) continue;
    if (e.closest('title, desc, style')) continue;
    const svg = e.closest('svg');
    // names on the colour of their class, the same in both themes
    if (svg && style.fill === 'rgb(16, 16, 16)') continue;
    const [colour] = parse(svg ? style.fill : style.color);
    const [a, b] = [lum(colour), lum(behind(svg ? svg.parentElement : e))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), walk.currentNode.textContent.trim().slice(0, 30)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def files(sim, lstm, hostile, simulated, injected, tmp_path_factory):
    """A report with simulated data, one with hostile names, a comparison."""
    root = tmp_path_factory.mktemp("pages")
    made = {
        "sim": simulated[0],
        "hostile": injected[0],
        "several": report.compose([sim, lstm, hostile]),
    }
    return {name: one.write(root / f"{name}.html") for name, one in made.items()}


def opened(chromium, path, width, scheme, media="screen"):
    """Open a page; return it with what it said and asked for."""
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("dialog", lambda d: (said.append(d.message), d.dismiss()))
    page.on("request", lambda r: asked.append(r.url))
    page.emulate_media(media=media, color_scheme=scheme)
    page.goto(path.as_uri())
    return page, said, asked


@pytest.mark.parametrize("name", ["sim", "hostile", "several"])
def test_nothing_is_said_fetched_or_overflows(chromium, files, name):
    for width in (390, 1280):
        page, said, asked = opened(chromium, files[name], width, "light")
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [files[name].as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        out = page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => !e.closest('svg, .scroll "
            "> *, pre > *')"
            " && e.getBoundingClientRect().right > innerWidth + 1).map(e => "
            "e.outerHTML.slice(0, 80))"
        )
        assert out == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) > 10
        assert len(set(ids)) == len(ids)
        assert (
            page.evaluate(
                "document.scripts.length + document.querySelectorAll('body img, [onerror]').length"
            )
            == 0
        )
        page.close()


@pytest.mark.parametrize("name", ["sim", "hostile", "several"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_themes(chromium, files, name, scheme):
    page, _, _ = opened(chromium, files[name], 1280, scheme)
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5] == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


def test_paper_is_white_and_tables_are_whole(chromium, files):
    page, said, _ = opened(chromium, files["sim"], 794, "dark", media="print")
    assert said == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    )
    assert page.evaluate("getComputedStyle(document.querySelector('table')).breakInside") == "avoid"
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
