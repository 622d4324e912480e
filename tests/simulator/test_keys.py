"""Keys and tokens in the Authorization header."""

from __future__ import annotations

import time

import jwt
import pytest

from batchkit.simulator.keys import refused_key

KEY = "name.0123456789abcdef0123456789abcdef"
NOW = 1_790_000_000.0


def token(key: str = KEY, exp: float = (NOW + 60) * 1000, sign_type: str = "SIGN") -> str:
    name, secret = key.split(".")
    claims = {"api_key": name, "exp": int(exp), "timestamp": int(NOW * 1000)}
    headers = {"sign_type": sign_type}
    return "Bearer " + jwt.encode(claims, secret, algorithm="HS256", headers=headers)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "1001"),
        ("", "1002"),
        ("Bearer", "1002"),
        ("Bearer ", "1002"),
        ("Bearer name", "1002"),
        ("Bearer name.", "1002"),
        ("Bearer .secret", "1002"),
        ("Bearer  name.secret", "1002"),
        ("Bearer name.secret\n", "1002"),
        ("Bearer 名.secret", "1002"),
        ("Basic name.secret", "1002"),
        ("name.secret", "1002"),
        ("Bearer a.b.c", "1002"),
        ("Bearer a.b.c.d", "1002"),
        ("Bearer name.secret", None),
        ("bearer name.secret", None),
    ],
)
def test_a_key_is_a_name_and_a_secret(header: str | None, code: str | None) -> None:
    assert refused_key(header, (), NOW) == code


def test_only_listed_keys_are_accepted_if_any_is_listed() -> None:
    assert refused_key(f"Bearer {KEY}", (KEY,), NOW) is None
    assert refused_key("Bearer name.other", (KEY,), NOW) == "1000"


def test_a_signed_token_is_accepted_until_it_expires() -> None:
    assert refused_key(token(), (), NOW) is None
    assert refused_key(token(exp=(NOW - 1) * 1000), (), NOW) == "1003"


def test_an_expiry_in_seconds_has_expired() -> None:
    assert refused_key(token(exp=time.time() + 3600), (), NOW) == "1003"


def test_a_token_is_checked_against_the_secret_of_its_key() -> None:
    assert refused_key(token(), (KEY,), NOW) is None
    assert refused_key(token(KEY.upper().replace("NAME", "name")), (KEY,), NOW) == "1000"
    assert refused_key(token(KEY.replace("name", "other")), (KEY,), NOW) == "1000"


def test_a_token_of_another_kind_is_malformed() -> None:
    assert refused_key(token(sign_type="NONE"), (), NOW) == "1002"
