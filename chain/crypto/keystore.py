"""Key files: one secret key, encrypted under a password.

The file is JSON. Its header tells the role, the public key and how the password becomes a key, and is
readable without the password; it is bound to the ciphertext as associated data, so that nobody can relabel a
key. The parameters of the key derivation are checked against bounds before they are used: a hostile file can
cost a gigabyte of memory for some seconds, no more.

Entropy is an argument, as everywhere: 40 bytes from the operating system, never used twice.
"""

import enum
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import Aead

from chain.crypto.ed25519 import PUBLIC_KEY_BYTES, SEED_BYTES, SecretKey
from chain.json_text import read_json

VERSION: Final = 1
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 24
ENTROPY_BYTES: Final = SALT_BYTES + NONCE_BYTES
MAX_FILE_BYTES: Final = 4096

_FORMAT: Final = "headrace-key"
_KDF_NAME: Final = "argon2id"
_CIPHER_NAME: Final = "xchacha20-poly1305"
_TAG_BYTES: Final = 16
_MAX_OPERATIONS: Final = 8
_MIN_MEMORY_BYTES: Final = 8 << 10
_MAX_MEMORY_BYTES: Final = 1 << 30


class KeyRole(enum.Enum):
    """What a key may be used for. Each role has its own key, so that losing one loses only its powers."""

    ACCOUNT = "account"
    """Spends an account's coins."""
    CONSENSUS = "consensus"
    """Signs proposals and votes."""
    PEER = "peer"
    """Proves a node's identity to other nodes."""
    MINER = "miner"
    """Signs work."""


class KdfStrength(enum.Enum):
    """What guessing a password costs: argon2id passes and bytes of memory."""

    LIGHT = (1, 1 << 20)
    """A millisecond: local testnets, whose keys are worth nothing."""
    MODERATE = (3, 256 << 20)
    """Half a second: the default for a node."""
    SENSITIVE = (4, 1 << 30)
    """Three seconds and a gigabyte: keys that hold much."""


class KeystoreReason(enum.Enum):
    """Why a key file was not read or written."""

    WRONG_PASSWORD = "wrong_password"  # noqa: S105 a reason, not a password
    """The password is wrong, or the file was altered: the cipher cannot tell which."""
    NOT_A_KEY_FILE = "not_a_key_file"
    """Not the JSON of a key file."""
    UNSUPPORTED_VERSION = "unsupported_version"
    """A key file of a version, key derivation or cipher that this program does not know."""
    KDF_OUT_OF_BOUNDS = "kdf_out_of_bounds"
    """The file asks for more memory or time than any honest one."""
    EXISTS = "exists"
    """There already is something at the path, and a key is never overwritten."""
    MISSING = "missing"
    """There is no file at the path."""
    PERMISSIONS = "permissions"
    """Others than the owner can read or write the file."""
    IO = "io"
    """The operating system or the disk failed."""


class KeystoreError(Exception):
    """A key file that could not be read or written."""

    def __init__(self, reason: KeystoreReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """What a key file says without its password. Only `read_key_file` checks that it is true."""

    role: KeyRole
    public_key: bytes
    operations: int
    """Passes of argon2id."""
    memory: int
    """Bytes of memory of argon2id."""
    salt: bytes
    nonce: bytes

    @property
    def id(self) -> str:
        """A short name for the key: 16 hexadecimal digits that follow from role and public key."""
        return hashlib.sha256(self.role.value.encode() + b"\x00" + self.public_key).hexdigest()[:16]


def write_key_file(
    path: Path, secret: SecretKey, *, role: KeyRole, password: bytes, kdf: KdfStrength, entropy: bytes
) -> KeyHeader:
    """Write a secret key to a new file that only its owner can read (mode 0600), durably and all at once.

    Args:
        path: Where; its directory exists, and nothing lies there yet.
        secret: The key.
        role: What it is for.
        password: Encrypts the file.
        kdf: How much guessing the password costs.
        entropy: 40 fresh random bytes from the operating system.

    Raises:
        KeystoreError: EXISTS or IO.
        ValueError: The entropy is not 40 bytes long.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a key file needs {ENTROPY_BYTES} bytes of entropy, got {len(entropy)}")
    operations, memory = kdf.value
    header = KeyHeader(
        role=role,
        public_key=secret.public_key,
        operations=operations,
        memory=memory,
        salt=entropy[:SALT_BYTES],
        nonce=entropy[SALT_BYTES:],
    )
    fields = _header_fields(header)
    sealed = _cipher(header, password).encrypt(secret.seed, _associated(fields), header.nonce)
    document = {**fields, "ciphertext": sealed.ciphertext.hex()}
    _create(path, (json.dumps(document, indent=2) + "\n").encode(), unique=header.nonce.hex())
    return header


def read_key_file(path: Path, password: bytes) -> tuple[SecretKey, KeyHeader]:
    """Read and decrypt a key file.

    Raises:
        KeystoreError: MISSING, PERMISSIONS, IO, NOT_A_KEY_FILE, UNSUPPORTED_VERSION, KDF_OUT_OF_BOUNDS or
            WRONG_PASSWORD.
    """
    header, ciphertext = _parsed(path)
    try:
        seed = _cipher(header, password).decrypt(
            ciphertext, _associated(_header_fields(header)), header.nonce
        )
    except CryptoError as error:
        raise KeystoreError(
            KeystoreReason.WRONG_PASSWORD, f"{path}: the password is wrong, or the file was altered"
        ) from error
    secret = SecretKey(seed)
    if secret.public_key != header.public_key:
        raise KeystoreError(
            KeystoreReason.NOT_A_KEY_FILE,
            f"{path}: holds key {secret.public_key.hex()}, its header says {header.public_key.hex()}",
        )
    return secret, header


def read_key_header(path: Path) -> KeyHeader:
    """Read what a key file says about itself; the password is not needed, and nothing is proven.

    Raises:
        KeystoreError: MISSING, PERMISSIONS, IO, NOT_A_KEY_FILE, UNSUPPORTED_VERSION or KDF_OUT_OF_BOUNDS.
    """
    return _parsed(path)[0]


def _cipher(header: KeyHeader, password: bytes) -> Aead:
    key = pwhash.argon2id.kdf(
        Aead.KEY_SIZE, password, header.salt, opslimit=header.operations, memlimit=header.memory
    )
    return Aead(key)


def _header_fields(header: KeyHeader) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "version": VERSION,
        "id": header.id,
        "role": header.role.value,
        "public_key": header.public_key.hex(),
        "kdf": {
            "name": _KDF_NAME,
            "operations": header.operations,
            "memory": header.memory,
            "salt": header.salt.hex(),
        },
        "cipher": {"name": _CIPHER_NAME, "nonce": header.nonce.hex()},
    }


def _associated(fields: dict[str, object]) -> bytes:
    """The header as bytes, the same however the file is laid out."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _parsed(path: Path) -> tuple[KeyHeader, bytes]:
    """Read a file's header and ciphertext, checking everything but the cipher."""
    try:
        document = read_json(_read(path))
    except ValueError as error:
        raise _not_a_key_file(path, "it is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _not_a_key_file(path, f'it has no "format": "{_FORMAT}"')
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise KeystoreError(
            KeystoreReason.UNSUPPORTED_VERSION,
            f"{path}: version {document.get('version')!r}, expected {VERSION}",
        )
    kdf = _part(path, document, "kdf", _KDF_NAME)
    cipher = _part(path, document, "cipher", _CIPHER_NAME)
    operations = _bounded(path, kdf, "operations", low=1, high=_MAX_OPERATIONS)
    memory = _bounded(path, kdf, "memory", low=_MIN_MEMORY_BYTES, high=_MAX_MEMORY_BYTES)
    try:
        role = KeyRole(document.get("role"))
    except ValueError as error:
        raise _not_a_key_file(path, f"its role is {document.get('role')!r}") from error
    header = KeyHeader(
        role=role,
        public_key=_hex(path, document, "public_key", PUBLIC_KEY_BYTES),
        operations=operations,
        memory=memory,
        salt=_hex(path, kdf, "salt", SALT_BYTES),
        nonce=_hex(path, cipher, "nonce", NONCE_BYTES),
    )
    ciphertext = _hex(path, document, "ciphertext", SEED_BYTES + _TAG_BYTES)
    if document != {**_header_fields(header), "ciphertext": ciphertext.hex()}:
        raise _not_a_key_file(path, "it has fields missing, altered or added")
    return header, ciphertext


def _part(path: Path, document: dict[str, object], field: str, name: str) -> dict[str, object]:
    part = document.get(field)
    if not isinstance(part, dict):
        raise _not_a_key_file(path, f"its {field} is {type(part).__name__}, expected an object")
    if part.get("name") != name:
        raise KeystoreError(
            KeystoreReason.UNSUPPORTED_VERSION, f"{path}: {field} {part.get('name')!r}, expected {name!r}"
        )
    return part


def _bounded(path: Path, part: dict[str, object], field: str, *, low: int, high: int) -> int:
    number = part.get(field)
    if type(number) is not int:
        raise _not_a_key_file(path, f"its {field} is {type(number).__name__}, expected an integer")
    if not low <= number <= high:
        raise KeystoreError(
            KeystoreReason.KDF_OUT_OF_BOUNDS, f"{path}: {field} {number}, expected {low} to {high}"
        )
    return number


def _hex(path: Path, part: dict[str, object], field: str, size: int) -> bytes:
    text = part.get(field)
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        found = b""
    if len(found) != size:
        raise _not_a_key_file(path, f"its {field} is not {size} bytes in hexadecimal")
    return found


def _not_a_key_file(path: Path, why: str) -> KeystoreError:
    return KeystoreError(KeystoreReason.NOT_A_KEY_FILE, f"{path} is not a key file: {why}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeystoreError(
                    KeystoreReason.PERMISSIONS,
                    f"{path} has mode {mode:04o}, expected 0600: others can use the key",
                )
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise KeystoreError(KeystoreReason.MISSING, f"there is no file {path}") from error
    except OSError as error:
        raise KeystoreError(KeystoreReason.IO, f"reading {path}: {error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _not_a_key_file(path, f"it has more than {MAX_FILE_BYTES} bytes")
    return content


def _create(path: Path, content: bytes, *, unique: str) -> None:
    """Create a file whole or not at all, never over another: write beside it, sync, link into place."""
    temporary = path.with_name(f".{path.name}.{unique}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)  # unlike a rename, a link fails where something exists
        finally:
            temporary.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError as error:
        raise KeystoreError(
            KeystoreReason.EXISTS, f"{path} exists, and keys are never overwritten"
        ) from error
    except OSError as error:
        raise KeystoreError(KeystoreReason.IO, f"writing {path}: {error}") from error
