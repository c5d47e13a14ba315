"""One-time codes (TOTP): seeds, sealed as they are stored, and which step of time a code is of.

Whether a code was used before is not known here: a step is handed out, and who stores it lets it rise only.
"""

import base64
import hashlib
import hmac

import pyotp

from dispatcher.errors import Unavailable

STEP_SECONDS = 30
_ISSUER = "Branchline"


def new_seed() -> str:
    """A seed for an authenticator, in base32: 160 bits."""
    return pyotp.random_base32()


def address(seed: str, *, user: str) -> str:
    """What an authenticator reads: ``otpauth://totp/…``."""
    return pyotp.TOTP(seed).provisioning_uri(name=user, issuer_name=_ISSUER)


def step_of(code: str, *, seed: str, now: float) -> int | None:
    """The step whose code this is: the present one, the one before or the one after; else None."""
    totp = pyotp.TOTP(seed)
    plain = code.replace(" ", "")
    step = int(now // STEP_SECONDS)
    for each in (step, step - 1, step + 1):
        if hmac.compare_digest(totp.generate_otp(each).encode(), plain.encode()):
            return each
    return None


class Seal:
    """Encrypts what has to be read again. ``key``: any text of high entropy that only dispatchers hold."""

    def __init__(self, key: str) -> None:
        from cryptography.fernet import Fernet  # only who has one-time codes waits for it

        made = hashlib.sha256(b"branchline seal " + key.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(made))

    def close(self, plain: str) -> str:
        """Encrypted, with a check of its own."""
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was closed. Raises Unavailable when it was closed with another key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Unavailable("One-time codes cannot be checked: BRANCHLINE_SEAL_KEY was changed.") from None
