"""The console as a browser meets it: who may see it, what it shows, what it changes, and what it never tells."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from db.service_records import image_sha256
from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from studies.service.console.routes import COOKIE
from studies.service.keys import Key, KeyFile
from tests.studies.pages import Elements
from tests.studies.service.conftest import images_of
from tests.studies.service.console.desk import ORIGIN, TOKEN, Desk, desk
from tests.studies.service.served import provider

PAGES = ("/console", "/console/keys/aaaaaaaa", "/console/pictures/" + "0" * 64 + ".png")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "' or 1=1 --",
    "é" * 100,
    "&lt;b&gt;",
)


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path, keep=10**6) as made:
        yield made


def key_of(desk: Desk, key: Key) -> Key:
    return next(one for one in KeyFile(desk.keys).all() if one.id == key.id)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_seen_without_a_login(open_desk: Desk, path: str) -> None:
    for cookie in ({}, {COOKIE: "x"}, {COOKIE: ""}, {COOKIE: TOKEN}):
        open_desk.client.cookies = cookie
        reply = open_desk.client.get(path)
        assert (reply.status_code, reply.headers["location"]) == (303, "/console/login")
    assert "Admin token" in open_desk.page("/console/login")
    assert open_desk.client.get("/console/").headers["location"] == "/console"


def test_the_right_token_opens_and_its_cookie_is_for_this_site_alone(open_desk: Desk) -> None:
    reply = open_desk.client.post("/console/login", data={"token": TOKEN}, headers=ORIGIN)
    cookie = reply.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "Secure" not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=28800"):
        assert part in cookie
    assert "Keys and models" in open_desk.page()
    assert open_desk.client.get("/console/login").headers["location"] == "/console"


def test_behind_https_the_cookie_is_for_https_alone(tmp_path: Path) -> None:
    with desk(tmp_path, secure=True) as made:
        assert (
            "Secure" in made.client.post("/console/login", data={"token": TOKEN}, headers=ORIGIN).headers["set-cookie"]
        )
    (tmp_path / "other").mkdir()
    with desk(tmp_path / "other") as made:
        client = TestClient(made.app, base_url="https://testserver", follow_redirects=False)
        reply = client.post("/console/login", data={"token": TOKEN}, headers={"origin": "https://testserver"})
        assert "Secure" in reply.headers["set-cookie"]


@pytest.mark.parametrize(
    "token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ü", "\ud800".encode("utf-8", "surrogatepass")]
)
def test_a_wrong_token_opens_nothing(open_desk: Desk, token: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    reply = open_desk.client.post("/console/login", data={"token": token}, headers=ORIGIN)
    assert (reply.status_code, "set-cookie" in reply.headers) == (401, False)
    assert "not the admin token" in reply.text
    assert open_desk.client.get("/console").status_code == 303
    assert [record.getMessage() for record in caplog.records] == ["console: a wrong admin token from testclient"]


def test_after_ten_wrong_tokens_not_even_the_right_one_is_looked_at(open_desk: Desk) -> None:
    for _ in range(10):
        assert open_desk.client.post("/console/login", data={"token": "x"}, headers=ORIGIN).status_code == 401
    reply = open_desk.client.post("/console/login", data={"token": TOKEN}, headers=ORIGIN)
    assert reply.status_code == 429
    assert 0 < int(reply.headers["retry-after"]) <= 61


FOREIGN: list[dict[str, str]] = [
    {},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver:81"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://testserver"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_forms_of_other_sites_log_nobody_in_and_change_nothing(open_desk: Desk, headers: dict[str, str]) -> None:
    assert open_desk.client.post("/console/login", data={"token": TOKEN}, headers=headers).status_code == 403
    open_desk.login()
    key = open_desk.key(budget=10)
    for change in ("revoke", "pardon", "top-up"):
        assert open_desk.post(f"/console/keys/{key.id}/{change}", headers, queries="5").status_code == 403
    assert open_desk.post("/console/logout", headers).status_code == 403
    assert key_of(open_desk, key) == key
    assert "Keys and models" in open_desk.page()


def test_a_revoked_key_is_not_changed_further_and_the_page_says_why(open_desk: Desk) -> None:
    key = open_desk.login().key(budget=10)
    assert open_desk.post(f"/console/keys/{key.id}/revoke").status_code == 303
    revoked = key_of(open_desk, key)
    for change in ("top-up", "pardon"):
        refused = open_desk.post(f"/console/keys/{key.id}/{change}", queries="5")
        assert (refused.status_code, "A revoked key stays revoked; make another one" in refused.text) == (400, True)
        assert "Top up" not in refused.text
    assert key_of(open_desk, key) == revoked


@pytest.mark.parametrize("form", ["", "wrong", "ü"])
def test_a_form_without_the_token_of_its_session_changes_nothing(open_desk: Desk, form: str) -> None:
    key = open_desk.login().key(budget=10)
    assert open_desk.post(f"/console/keys/{key.id}/revoke", form=form).status_code == 403
    assert key_of(open_desk, key) == key


def test_the_form_token_of_another_session_changes_nothing(open_desk: Desk) -> None:
    key = open_desk.key()
    other = open_desk.login().page().split('name="form" value="')[1].split('"')[0]
    open_desk.client.cookies.clear()
    assert open_desk.login().post(f"/console/keys/{key.id}/revoke", form=other).status_code == 403


@pytest.mark.parametrize(
    "headers", [ORIGIN, {"sec-fetch-site": "same-origin"}, ORIGIN | {"sec-fetch-site": "same-origin"}]
)
def test_a_key_is_topped_up_pardoned_and_revoked(open_desk: Desk, headers: dict[str, str]) -> None:
    key = open_desk.login().key(budget=10)
    open_desk.asked(key)
    open_desk.alarm(key)
    assert "banned" in open_desk.page(f"/console/keys/{key.id}")
    for change, state in (("top-up", "banned"), ("pardon", "valid"), ("revoke", "revoked")):
        reply = open_desk.post(f"/console/keys/{key.id}/{change}", headers, queries="90")
        assert (reply.status_code, reply.headers["location"]) == (303, f"/console/keys/{key.id}?done={change}")
        assert f'<span class="badge {state}">' in open_desk.page(reply.headers["location"])
    changed = key_of(open_desk, key)
    assert (changed.cap, changed.revoked, changed.pardoned is not None) == (100, True, True)
    assert "98" in open_desk.page(f"/console/keys/{key.id}")


@pytest.mark.parametrize("queries", ["", "0", "-5", "1.5", "1e3", "x", "٣", "9" * 13, "9" * 400, "1000000000001"])
def test_a_top_up_that_is_no_number_is_told_and_changes_nothing(open_desk: Desk, queries: str) -> None:
    key = open_desk.login().key(budget=10)
    reply = open_desk.post(f"/console/keys/{key.id}/top-up", queries=queries)
    assert reply.status_code == 400
    assert "The budget was not changed" in reply.text
    assert key_of(open_desk, key) == key


def test_a_key_without_a_budget_is_offered_no_top_up(open_desk: Desk) -> None:
    key = open_desk.login().key()
    assert "Top up" not in open_desk.page(f"/console/keys/{key.id}")
    assert open_desk.post(f"/console/keys/{key.id}/top-up", queries="5").status_code == 400


def test_changes_are_logged_by_the_keys_id(open_desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    key = open_desk.login().key(name="<b>a lab</b>")
    with caplog.at_level(logging.WARNING):
        open_desk.post(f"/console/keys/{key.id}/revoke")
    assert [record.getMessage() for record in caplog.records] == [f"console: revoke of key {key.id}"]


def test_logging_out_ends_the_session_also_for_a_copied_cookie(open_desk: Desk) -> None:
    copied = dict(open_desk.login().client.cookies)
    assert open_desk.post("/console/logout").headers["location"] == "/console/login"
    open_desk.client.cookies.update(copied)
    assert open_desk.client.get("/console").status_code == 303


@pytest.mark.parametrize(
    "path", ["/console/keys/aaaaaaaa", "/console/keys/%3Cscript%3E", *PAGES[2:], "/console/pictures/x.png"]
)
def test_what_is_not_there_is_a_page_that_says_so(open_desk: Desk, path: str) -> None:
    assert "<h1>No such" in open_desk.login().page(path, 404)
    key = open_desk.key()
    assert open_desk.post(f"/console/keys/{key.id}/delete").status_code == 404
    assert open_desk.post("/console/keys/aaaaaaaa/revoke").status_code == 404


def test_an_empty_ledger_has_pages(open_desk: Desk) -> None:
    page = open_desk.login().page()
    for words in ("nobody", "No call was refused", "No detector has raised an alarm", "top_k = 3", "used up"):
        assert words in page
    key = open_desk.key()
    page = open_desk.page(f"/console/keys/{key.id}")
    assert "It has not been answered yet" in page
    assert "None is noted" in page
    assert Elements(page).open == []


def test_a_key_shows_what_it_spent_what_is_left_and_what_it_costs(open_desk: Desk) -> None:
    key = open_desk.login().key(budget=100, price_per_thousand=2500.0, currency="EUR", rate="50/second")
    assert "50/second, unused" in open_desk.page()
    open_desk.asked(key, 8)
    open_desk.asked(key, 4, model="other")
    open_desk.asked(key, 100)
    page = open_desk.page()
    for words in ("88", "30.00 EUR", "50/second: ", "m: ", "too_large", ">100<"):
        assert words in page
    page = open_desk.page(f"/console/keys/{key.id}")
    assert Elements(page).open == []
    for words in ("of a budget of 100", "30.00 EUR", "2500 EUR for 1,000 queries", "one bar for 1 minute"):
        assert words in page


def test_looking_at_a_key_opens_no_run_for_it(open_desk: Desk) -> None:
    key = open_desk.login().key(rate="50/second")
    open_desk.page(f"/console/keys/{key.id}")
    open_desk.asked(open_desk.key())
    import db.reads

    assert len(db.reads.runs(open_desk.db)) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_on_every_page(open_desk: Desk, name: str) -> None:
    with pytest.raises(ConfigError, match="models"):  # a name that no model can have reaches no page
        open_desk.key(name=name, models=(name, "m"))
    key = open_desk.login().key(name=name, currency=name[:10], price_per_thousand=1.0, models=("m",))
    open_desk.asked(key)
    open_desk.alarm(key, detector=name)
    for page in (open_desk.page(), open_desk.page(f"/console/keys/{key.id}")):
        elements = Elements(page)
        assert elements.open == []
        assert not [tag for tag, _ in elements.found if tag in {"script", "style", "b"}]
        assert not [
            given for _, given in elements.found if any(each.startswith("on") or each == "style" for each in given)
        ]
        assert "7 * 7" in page or "49" not in name


def test_many_keys_are_shown_by_the_page_those_that_asked_first(open_desk: Desk) -> None:
    lines = open_desk.keys.read_text()
    many = "".join(
        f'\n[[key]]\nid = "{number:08d}"\nname = "lab {number}"\nsha256 = "{"0" * 64}"\n'
        "created = 2026-11-29T00:00:00+00:00\n"
        for number in range(350)
    )
    open_desk.keys.write_text(lines + many)
    open_desk.asked(next(key for key in KeyFile(open_desk.keys).all() if key.id == "00000349"))
    first = open_desk.login().page()
    assert first.index("lab 349") < first.index("nobody") < first.index("lab 0<")
    assert "Page 1 of 4" in first
    assert first.count("/console/keys/") == 100
    last = open_desk.page("/console?page=4")
    assert last.count("/console/keys/") == 51
    for odd in ("99", "0", "-1", "x", "9" * 30, "%00"):
        assert "Page" in open_desk.page(f"/console?page={odd}")


def test_the_images_asked_are_shown_newest_first_as_pngs(open_desk: Desk) -> None:
    key = open_desk.login().key()
    for seed in range(30):
        open_desk.asked(key, 2, seed)
    page = open_desk.page(f"/console/keys/{key.id}")
    assert page.count("/console/pictures/") == 48
    assert page.index("m 58<") < page.index("m 59<") < page.index("m 12<")
    older = page.split("?before=")[1].split("#")[0]
    rest = open_desk.page(f"/console/keys/{key.id}?before={older}")
    assert rest.count("/console/pictures/") == 12
    assert "Earlier images" not in rest
    image = images_of(2, 3)[1]
    reply = open_desk.client.get(f"/console/pictures/{image_sha256(image)}.png")
    shown = np.asarray(Image.open(io.BytesIO(reply.content), formats=("PNG",)))
    assert np.array_equal(shown, np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0))
    assert reply.headers["content-type"] == "image/png"


def test_images_beyond_the_cap_are_noted_as_not_kept(tmp_path: Path) -> None:
    with desk(tmp_path, keep=1) as made:
        key = made.login().key()
        made.asked(key, 60)
        page = made.page(f"/console/keys/{key.id}")
    assert (page.count("not kept"), page.count("<img")) == (48, 0)
    assert "12 more images of these calls" in page


def test_a_mistake_in_the_file_of_keys_is_told_without_what_stands_there(open_desk: Desk) -> None:
    open_desk.login().page()
    open_desk.keys.write_text(open_desk.keys.read_text() + "\nwhat = 1\n")
    assert "The file of keys has a mistake" in open_desk.page()


def test_a_ledger_that_cannot_be_read_is_told_without_a_traceback(
    open_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_desk.login()
    from db.errors import StorageError
    from studies.service.console import views

    def fail(*_: object, **__: object) -> None:
        raise StorageError("/a/secret/path: broken")

    monkeypatch.setattr(views, "activity", fail)
    page = open_desk.page("/console", 503)
    assert "cannot be read for now" in page
    assert "/a/secret" not in page


@pytest.mark.parametrize(
    "body", [b"x" * 5000, b"&".join(b"a=1" for _ in range(100)), b"\xff=%ff", b"token", b"=", b"%"]
)
def test_odd_forms_are_refused(open_desk: Desk, body: bytes) -> None:
    too_large = len(body) > 4096
    reply = open_desk.client.post("/console/login", content=body, headers=ORIGIN)
    assert reply.status_code == (413 if too_large else 401)
    key = open_desk.login().key()
    for path in ("/console/logout", f"/console/keys/{key.id}/revoke"):
        reply = open_desk.client.post(path, content=body, headers=ORIGIN)
        assert reply.status_code == (413 if too_large else 403)
    assert key_of(open_desk, key) == key


def test_every_reply_forbids_scripts_of_others_frames_and_caches(open_desk: Desk) -> None:
    key = open_desk.login().key()
    open_desk.asked(key, 1)
    sha256 = image_sha256(images_of(1)[0])
    for path in (
        "/console",
        f"/console/keys/{key.id}",
        f"/console/pictures/{sha256}.png",
        "/console/style.css",
        "/console/x",
    ):
        reply = open_desk.client.get(path)
        if path == "/console/x":
            assert reply.status_code == 404
            continue
        assert reply.status_code == 200
        policy = reply.headers["content-security-policy"]
        for part in ("default-src 'none'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'"):
            assert part in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"


def test_the_console_stands_beside_the_routes_of_a_service(tmp_path: Path) -> None:
    from studies.service.console.routes import Console, add_console

    with provider(tmp_path, OracleSpec()) as made:
        app = made.client.app
        add_console(app, Console(TOKEN, made.db, KeyFile(made.keys), (), made.gate.seen_rates))  # type: ignore[arg-type]
        assert made.client.get("/health").status_code == 200
        assert "Admin token" in made.client.get("/console").text
        assert made.client.get("/console", headers={"host": "evil.example"}).status_code == 400
