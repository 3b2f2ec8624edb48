"""The console in a real browser, without JavaScript: it logs in, changes a key, and nothing is wider than a phone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette

from tests.studies.service.console.desk import TOKEN, Desk, desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NAME = "a-name-without-any-break-" * 4
ENDS = """[...document.querySelectorAll('p, h1, h2, dd, dt, caption, figcaption, input, button')]
    .filter(text => !text.closest('.scroll')).map(text => text.getBoundingClientRect().right)"""


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The address at which the application is served by a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    bound = server.config.bind_socket()
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, str]]:
    """A console of keys in every state, with long names, and its address."""
    with desk(tmp_path_factory.mktemp("desk"), keep=10**6) as made, served(made.app) as address:
        soon = datetime.now(UTC) + timedelta(days=1)
        long = made.key(name=NAME, budget=10**12, rate="1000000/minute", price_per_thousand=9e9, currency="EURO")
        made.key(name="ended", expires=soon - timedelta(days=2), models=("m", NAME[:50]))
        made.key(name="<script>document.title = 'taken'</script>", budget=10, expires=soon)
        for seed in range(20):
            made.asked(long, 8, seed, model="other" if seed % 3 else "m")
        made.asked(long, 200)
        made.alarm(long, detector=NAME)
        yield made, address


def entered(browser: Browser, address: str, width: int, **options: object) -> tuple[Page, list[str], list[str]]:
    """The overview after a login without JavaScript, warnings and errors in its console, and what it asked for.

    What is for information is left out: a test that types before the page has focused its field hears of that.
    """
    size = {"width": width, "height": 800}
    page = browser.new_page(viewport=size, java_script_enabled=False, **options)  # type: ignore[arg-type]
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.extend([] if message.type == "info" else [message.text]))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/console")
    page.fill("#token", TOKEN)
    page.click("text=Log in >> nth=-1")
    page.wait_for_url(f"{address}/console")
    return page, said, asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_overflows_and_nothing_is_asked_elsewhere(
    browser: Browser, busy: tuple[Desk, str], width: int, scheme: str
) -> None:
    _, address = busy
    page, said, asked = entered(browser, address, width, color_scheme=scheme)
    for place in ("/console/login", "/console", "a[href^='/console/keys']", "/console/keys/aaaaaaaa"):
        if place.startswith("/"):
            page.goto(f"{address}{place}")
        else:
            page.goto(f"{address}/console")
            page.click(f"{place} >> nth=0")
            page.wait_for_load_state("networkidle")
            page.click("text=Revoke this key")
            assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            assert min(page.evaluate("[...document.images].map(i => i.getBoundingClientRect().width)")) > 40
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert max(page.evaluate(ENDS)) <= width, place
        assert (
            page.evaluate("getComputedStyle(document.body).color")
            == {
                "light": "rgb(27, 31, 36)",
                "dark": "rgb(230, 233, 237)",
            }[scheme]
        )
    assert [text for text in said if "404" not in text] == []
    assert [url for url in asked if not url.startswith((f"{address}/console", "data:"))] == []
    page.close()


def test_a_key_is_topped_up_pardoned_and_revoked_without_javascript(browser: Browser, busy: tuple[Desk, str]) -> None:
    made, address = busy
    key = made.key(name="to be changed", budget=10)
    made.asked(key)
    made.alarm(key)
    page, said, _ = entered(browser, address, 390)
    page.click("text=to be changed")
    page.fill("#queries", "90")
    page.click("text=Top up")
    assert "larger now" in page.inner_text("main")
    assert "a budget of 100" in page.inner_text("main")
    page.click("button:has-text('Pardon')")
    assert page.inner_text(".badge") == "valid"
    page.click("text=Revoke this key")
    page.click("button.danger")
    assert page.inner_text(".badge") == "revoked"
    page.click("text=Log out")
    assert page.inner_text("h1") == "Log in"
    page.go_back()
    assert "to be changed" not in page.inner_text("body")  # no page is kept after the end of the session
    assert said == []
    page.close()


def test_no_script_of_a_name_runs_where_scripts_may(browser: Browser, busy: tuple[Desk, str]) -> None:
    _, address = busy
    page = browser.new_page()
    page.goto(f"{address}/console")
    page.fill("#token", TOKEN)
    page.click("button.main")
    page.wait_for_url(f"{address}/console")
    assert page.title() == "Keys and models: simkit console"
    assert "document.title" in page.inner_text("main")
    refused = page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); return window.ran === undefined; }"
    )
    assert refused
    page.close()
