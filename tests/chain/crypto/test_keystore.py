import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import (
    MAX_FILE_BYTES,
    KdfStrength,
    KeyHeader,
    KeyRole,
    KeystoreError,
    KeystoreReason,
    read_key_file,
    read_key_header,
    write_key_file,
)

SECRET = SecretKey(bytes(range(32)))
PASSWORD = "Mühlgraben".encode()
ENTROPY = bytes(range(100, 140))


def write(
    path: Path, *, role: KeyRole = KeyRole.CONSENSUS, kdf: KdfStrength = KdfStrength.LIGHT
) -> KeyHeader:
    return write_key_file(path, SECRET, role=role, password=PASSWORD, kdf=kdf, entropy=ENTROPY)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def refusal(call: Callable[[], object]) -> tuple[KeystoreReason, str]:
    with pytest.raises(KeystoreError) as caught:
        call()
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("role", KeyRole)
def test_a_key_reads_back_under_its_password(tmp_path: Path, role: KeyRole) -> None:
    header = write(tmp_path / "key", role=role)
    secret, read = read_key_file(tmp_path / "key", PASSWORD)
    assert (secret.seed, secret.public_key) == (SECRET.seed, SECRET.public_key)
    assert read == header == read_key_header(tmp_path / "key")
    assert header == KeyHeader(
        role=role,
        public_key=SECRET.public_key,
        operations=1,
        memory=1 << 20,
        salt=ENTROPY[:16],
        nonce=ENTROPY[16:],
    )


def test_the_format_is_pinned(tmp_path: Path) -> None:
    # Files written by this version must be readable for ever.
    write(tmp_path / "key")
    assert json.loads((tmp_path / "key").read_text()) == {
        "format": "headrace-key",
        "version": 1,
        "id": "75f0d6135fc4c209",
        "role": "consensus",
        "public_key": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "kdf": {
            "name": "argon2id",
            "operations": 1,
            "memory": 1048576,
            "salt": "6465666768696a6b6c6d6e6f70717273",
        },
        "cipher": {
            "name": "xchacha20-poly1305",
            "nonce": "7475767778797a7b7c7d7e7f808182838485868788898a8b",
        },
        "ciphertext": (
            "96098c023db61ad91728890bf0f58a01be6aad295ce73d523b1e14e56f3122c64a1fe91507ea66ee07faeaab11568997"
        ),
    }


def test_the_secret_is_not_in_the_file(tmp_path: Path) -> None:
    write(tmp_path / "key")
    text = (tmp_path / "key").read_text()
    assert SECRET.seed.hex() not in text
    assert PASSWORD.decode() not in text


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(0o640)
    reason, message = refusal(lambda: read_key_file(tmp_path / "key", PASSWORD))
    assert reason is KeystoreReason.PERMISSIONS
    assert message.endswith("key has mode 0640, expected 0600: others can use the key")


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path: Path) -> None:
    write(tmp_path / "key")
    content = (tmp_path / "key").read_bytes()
    reason, message = refusal(lambda: write(tmp_path / "key", role=KeyRole.MINER))
    assert reason is KeystoreReason.EXISTS
    assert message.endswith("key exists, and keys are never overwritten")
    assert (tmp_path / "key").read_bytes() == content
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert refusal(lambda: write(tmp_path / "dangling"))[0] is KeystoreReason.EXISTS
    assert refusal(lambda: write(tmp_path / "absent" / "key"))[0] is KeystoreReason.IO


@pytest.mark.parametrize("password", [b"", PASSWORD[:-1], PASSWORD + b"\x00"])
def test_a_wrong_password_is_refused(tmp_path: Path, password: bytes) -> None:
    write(tmp_path / "key")
    reason, message = refusal(lambda: read_key_file(tmp_path / "key", password))
    assert reason is KeystoreReason.WRONG_PASSWORD
    assert message.endswith("the password is wrong, or the file was altered")


def relabel(document: dict[str, Any]) -> None:
    """Turn a consensus key into an account key, with the id that belongs to it."""
    document["role"] = "account"
    document["id"] = "41973234a68ec835"


@pytest.mark.parametrize(
    "change",
    [
        relabel,
        lambda document: document["kdf"].update(operations=2),
        lambda document: document["kdf"].update(salt="00" * 16),
        lambda document: document["cipher"].update(nonce="00" * 24),
        lambda document: document.update(ciphertext="00" * 48),
    ],
)
def test_an_altered_file_does_not_open(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    write(tmp_path / "key")
    rewrite(tmp_path / "key", change)
    read_key_header(tmp_path / "key")
    assert refusal(lambda: read_key_file(tmp_path / "key", PASSWORD))[0] is KeystoreReason.WRONG_PASSWORD


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (
            lambda document: document.update(version=2),
            KeystoreReason.UNSUPPORTED_VERSION,
            "version 2, expected 1",
        ),
        (
            lambda document: document.update(version=True),
            KeystoreReason.UNSUPPORTED_VERSION,
            "version True, expected 1",
        ),
        (
            lambda document: document["kdf"].update(name="scrypt"),
            KeystoreReason.UNSUPPORTED_VERSION,
            "kdf 'scrypt', expected 'argon2id'",
        ),
        (
            lambda document: document["cipher"].update(name="none"),
            KeystoreReason.UNSUPPORTED_VERSION,
            "cipher 'none', expected 'xchacha20-poly1305'",
        ),
        (
            lambda document: document["kdf"].update(operations=9),
            KeystoreReason.KDF_OUT_OF_BOUNDS,
            "operations 9, expected 1 to 8",
        ),
        (
            lambda document: document["kdf"].update(operations=0),
            KeystoreReason.KDF_OUT_OF_BOUNDS,
            "operations 0, expected 1 to 8",
        ),
        (
            lambda document: document["kdf"].update(memory=1 << 40),
            KeystoreReason.KDF_OUT_OF_BOUNDS,
            "memory 1099511627776, expected 8192 to 1073741824",
        ),
        (
            lambda document: document["kdf"].update(memory=1.5),
            KeystoreReason.NOT_A_KEY_FILE,
            "its memory is float, expected an integer",
        ),
        (
            lambda document: document.update(kdf=[]),
            KeystoreReason.NOT_A_KEY_FILE,
            "its kdf is list, expected an object",
        ),
        (
            lambda document: document.update(role="admin"),
            KeystoreReason.NOT_A_KEY_FILE,
            "its role is 'admin'",
        ),
        (lambda document: document.update(role=[]), KeystoreReason.NOT_A_KEY_FILE, "its role is []"),
        (
            lambda document: document.update(public_key="00"),
            KeystoreReason.NOT_A_KEY_FILE,
            "its public_key is not 32 bytes in hexadecimal",
        ),
        (
            lambda document: document.update(ciphertext=7),
            KeystoreReason.NOT_A_KEY_FILE,
            "its ciphertext is not 48 bytes in hexadecimal",
        ),
        (
            lambda document: document.update(id="0" * 16),
            KeystoreReason.NOT_A_KEY_FILE,
            "it has fields missing, altered or added",
        ),
        (
            lambda document: document.update(comment="mine"),
            KeystoreReason.NOT_A_KEY_FILE,
            "it has fields missing, altered or added",
        ),
        (
            lambda document: document.pop("format"),
            KeystoreReason.NOT_A_KEY_FILE,
            'it has no "format": "headrace-key"',
        ),
    ],
)
def test_a_bad_header_is_refused_before_the_password_is_used(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: KeystoreReason, message: str
) -> None:
    write(tmp_path / "key")
    rewrite(tmp_path / "key", change)
    for call in (
        lambda: read_key_file(tmp_path / "key", PASSWORD),
        lambda: read_key_header(tmp_path / "key"),
    ):
        found, text = refusal(call)
        assert found is reason
        assert text.endswith(message)


def test_the_public_key_in_the_header_is_checked(tmp_path: Path) -> None:
    # Whoever knows the password can seal a header that lies; the key itself tells the truth.
    class Lying(SecretKey):
        @property
        def public_key(self) -> bytes:
            return bytes(32)

    write_key_file(
        tmp_path / "key",
        Lying(SECRET.seed),
        role=KeyRole.PEER,
        password=PASSWORD,
        kdf=KdfStrength.LIGHT,
        entropy=ENTROPY,
    )
    reason, message = refusal(lambda: read_key_file(tmp_path / "key", PASSWORD))
    assert reason is KeystoreReason.NOT_A_KEY_FILE
    assert message.endswith(f"holds key {SECRET.public_key.hex()}, its header says {'00' * 32}")


def test_missing_and_oversized_files_are_refused(tmp_path: Path) -> None:
    assert refusal(lambda: read_key_header(tmp_path / "key"))[0] is KeystoreReason.MISSING
    assert refusal(lambda: read_key_header(tmp_path))[0] is KeystoreReason.IO
    (tmp_path / "big").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    (tmp_path / "big").chmod(0o600)
    reason, message = refusal(lambda: read_key_header(tmp_path / "big"))
    assert reason is KeystoreReason.NOT_A_KEY_FILE
    assert message.endswith("it has more than 4096 bytes")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["format", "version", "id", "role", "public_key", "kdf", "cipher", "ciphertext"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_files_end_in_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert refusal(lambda: read_key_file(path, PASSWORD))[0] is KeystoreReason.NOT_A_KEY_FILE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FIELDS), JSON)
def test_arbitrary_fields_end_in_a_reason(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "key"
    path.unlink(missing_ok=True)
    write(path)
    original = json.loads(path.read_text())[field]
    rewrite(path, lambda document: document.update({field: value}))
    if value != original:
        assert isinstance(refusal(lambda: read_key_header(path))[0], KeystoreReason)


def test_entropy_has_40_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a key file needs 40 bytes of entropy, got 32"):
        write_key_file(
            tmp_path / "key",
            SECRET,
            role=KeyRole.PEER,
            password=PASSWORD,
            kdf=KdfStrength.LIGHT,
            entropy=bytes(32),
        )
    assert list(tmp_path.iterdir()) == []
