"""`headrace tokens` makes, lists and revokes the tokens by which clients ask endpoints."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    return empty


def test_a_token_is_shown_once_and_listed_without_its_secret(shell: Shell) -> None:
    assert "there is no token yet" in shell("tokens").err
    made = shell("tokens", "make", "the website", "--endpoint", "delays", "--endpoint", "rents", "--within", "90d")
    prefix, identity, secret = made.out.strip().split("_", 2)
    assert prefix == "headrace"
    assert len(secret) == 43
    (found,) = shell("tokens", "--json").json["tokens"]
    assert (found["id"], found["name"], found["endpoints"]) == (identity, "the website", ["delays", "rents"])
    assert found["scopes"] == ["predict", "feedback"]
    assert found["expires"] - found["at"] == 90 * 86_400
    assert found["valid"]
    listed = shell("tokens").out
    assert "delays rents" in listed
    assert "valid until" in listed
    assert secret not in listed
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db:
        assert secret not in str(list(db.iterdump()))


def test_a_token_is_revoked_by_its_id_or_by_its_text(shell: Shell) -> None:
    first = shell("tokens", "make", "one", "--json").json
    second = shell("tokens", "make", "two", "--json").json
    assert shell("tokens", "revoke", first["id"]).code == 0
    assert shell("tokens", "revoke", second["token"]).code == 0
    assert [each["valid"] for each in shell("tokens", "--json").json["tokens"]] == [False, False]
    assert shell("tokens").out.count("revoked") == 2
    (later, _) = shell("tokens", "--json").json["tokens"]
    assert shell("tokens", "revoke", second["id"]).code == 0
    assert shell("tokens", "--json").json["tokens"][0] == later  # it was revoked before


def test_a_token_is_for_what_it_was_made_for(shell: Shell) -> None:
    shell("tokens", "make", "one", "--scope", "feedback")
    assert shell("tokens", "--json").json["tokens"][0]["scopes"] == ["feedback"]
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db, db:
        db.execute("UPDATE tokens SET scopes = NULL")  # as those that are older than scopes are
    assert shell("tokens", "--json").json["tokens"][0]["scopes"] == ["predict"]


def test_tokens_of_another_ledger_let_nobody_in_here(shell: Shell) -> None:
    shell("tokens", "make", "one")
    shell("ledger", "export", "there")
    (shell.folder / ".headrace" / "ledger.db").unlink()
    assert shell("ledger", "import", "there").code == 0
    (found,) = shell("tokens", "--json").json["tokens"]
    assert (found["name"], found["valid"]) == ("one", False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("make", " "), "a token needs a name"),
        (("make", "x", "--endpoint", "a/b"), "an endpoint can't be called `a/b`"),
        (("make", "x", "--endpoint", "a b"), "`a b` can't be the name of an endpoint"),
        (("make", "x", "--endpoint", ""), "`` can't be the name of an endpoint"),
        (("make", "x", "--endpoint", "a\tb"), "can't be the name of an endpoint"),
        (("make", "x", "--within", "soon"), "`--within` is"),
        (("make", "x", "--scope", "operate"), "--scope"),
        (("make", "x", "--within", "0s"), "the token would expire at once"),
        (("revoke", "nobody"), "there is no token `nobody`"),
        (("make",), "missing argument"),
    ],
)
def test_a_wrong_word_is_told(shell: Shell, words: tuple[str, ...], told: str) -> None:
    done = shell("tokens", *words)
    assert (done.code, told in done.err) == (2, True), done.err
    assert "Traceback" not in done.err


def test_a_settings_file_counts_wherever_it_is_given(shell: Shell) -> None:
    shell.write("other.toml", '[ledger]\nurl = "sqlite:///other.db"\n')
    for words in (("--config", "other.toml", "make", "a"), ("make", "b", "--config", "other.toml")):
        assert shell("tokens", *words).code == 0
    assert "there is no token yet" in shell("tokens").err
    found = shell("--config", "other.toml", "tokens", "--json").json["tokens"]
    assert {each["name"] for each in found} == {"a", "b"}
    assert shell("tokens", "--config", "missing.toml", "make", "c").code == 2
