"""Passwords and key files: from a prompt or a file, never from arguments or the environment."""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import KeyRole, KeystoreError, KeystoreReason, read_key_file
from tools.cli.errors import CliError, Exit
from tools.cli.options import account_of

if TYPE_CHECKING:
    from tools.testnet.record import TestnetRecord

MAX_PASSWORD_BYTES: Final = 1024

_NEXT: Final = {
    KeystoreReason.WRONG_PASSWORD: "try the password again; if it is lost, so is the key",
    KeystoreReason.NOT_A_KEY_FILE: "name a file that `headrace key new` made",
    KeystoreReason.UNSUPPORTED_VERSION: "open it with the version that made it",
    KeystoreReason.KDF_OUT_OF_BOUNDS: "do not trust this file",
    KeystoreReason.EXISTS: "choose another path; a key is never overwritten",
    KeystoreReason.MISSING: "make one: `headrace key new --out FILE`",
    KeystoreReason.PERMISSIONS: "make it yours alone: `chmod 600 FILE`",
    KeystoreReason.IO: "check the disk and the folder's permissions",
}
_SAFETY: Final = frozenset(
    {KeystoreReason.EXISTS, KeystoreReason.PERMISSIONS, KeystoreReason.KDF_OUT_OF_BOUNDS}
)


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """A key file and where its password is."""

    path: Path
    password_file: Path | None

    @classmethod
    def of(cls, name: str | None, password_file: Path | None, testnet: "TestnetRecord | None") -> "KeyChoice":
        """From `--key`: a file, or with `--testnet` an account's name (the first one's, if none is given).

        Raises:
            CliError: Nothing names a key.
        """
        entry = account_of(testnet, name)
        if entry is not None:
            return cls(Path(entry.key_file), password_file or Path(entry.password_file))
        if name is None:
            raise click.UsageError("name the sender's key file with --key, or a local testnet with --testnet")
        return cls(Path(name), password_file)

    def open(self, *roles: KeyRole) -> SecretKey:
        """Decrypt the key.

        Raises:
            CliError: The file or the password is wrong, or the key is for something else.
        """
        password = read_password(self.password_file, f"Password of {self.path}")
        try:
            secret, header = read_key_file(self.path, password)
        except KeystoreError as error:
            raise keystore_failure(error) from None
        if header.role not in roles:
            wanted = " or ".join(role.value for role in roles)
            raise CliError(
                f"{self.path} is a {header.role.value} key, {wanted} was due",
                code="WRONG_KEY_ROLE",
                next_step=f"use a key made with `headrace key new --role {roles[0].value}`",
                exit_code=Exit.REFUSED,
            )
        return secret


def keystore_failure(error: KeystoreError) -> CliError:
    """A key file's failure as a command's."""
    exit_code = Exit.REFUSED if error.reason in _SAFETY else Exit.ERROR
    return CliError(str(error), code=error.reason.name, next_step=_NEXT[error.reason], exit_code=exit_code)


def read_password(path: Path | None, question: str, *, confirm: bool = False) -> bytes:
    """A password from the first line of a file, or from the terminal.

    Raises:
        CliError: The file cannot be read, others can read it, or there is no terminal to ask on.
    """
    if path is not None:
        return _password_in(path)
    if not sys.stdin.isatty():
        raise CliError(
            "there is no terminal to ask for the password on", code="NO_PASSWORD",
            next_step="give --password-file FILE",
        )  # fmt: skip
    text: str = click.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
    return text.encode()


def _password_in(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            line = file.readline(MAX_PASSWORD_BYTES + 2).rstrip(b"\r\n")
    except OSError as error:
        raise CliError(
            f"the password file {path} cannot be read: {error.strerror}",
            code="NO_PASSWORD",
            next_step="check the path",
        ) from None
    if mode & 0o077:
        raise CliError(
            f"{path} has mode {mode:04o}: others can read the password", code="PERMISSIONS",
            next_step=f"make it yours alone: `chmod 600 {path}`", exit_code=Exit.REFUSED,
        )  # fmt: skip
    if not 0 < len(line) <= MAX_PASSWORD_BYTES:
        raise CliError(
            f"{path} has {len(line)} bytes of password, 1 to {MAX_PASSWORD_BYTES} may be", code="NO_PASSWORD",
            next_step="write the password into its first line",
        )  # fmt: skip
    return line
