"""Accounts that a test signs in with, and what it knows of them: passwords, recovery codes, codes of an authenticator."""

import base64
import hashlib
import hmac
import struct
import time

import requests

SIGN_IN_TRIES = 10
STEP_SECONDS = 30


class Account:
    def __init__(self, api, name, password, user_id=None):
        self.api, self.name, self.password, self.id = api, name, password, user_id
        self.token = None
        # Unused recovery codes; none when no second factor is enabled.
        self.recovery = []

    def bearer(self):
        """The token of a session; a new one when the last one has ended."""
        if self.token is None:
            # Made-up passwords for this account slow its sign-in down, as they should: where it has signed in before, by ten seconds at most.
            for _ in range(SIGN_IN_TRIES):
                code = {"totp": self.recovery.pop()} if self.recovery else {}
                answer = requests.post(self.api + "/auth/login", json={"username": self.name, "password": self.password, **code}, timeout=30)
                if answer.status_code != 429:
                    break
                time.sleep(int(answer.headers.get("retry-after", "1")))
            answer.raise_for_status()
            self.token = answer.json()["access_token"]
        return self.token

    def ask(self, method, path, body=None):
        """The answer's body, where it succeeded; the session may have ended meanwhile."""
        for _ in range(2):
            headers = {"authorization": f"Bearer {self.bearer()}"}
            answer = requests.request(method, self.api + path, json=body, headers=headers, timeout=30)
            if "FreshFactorNeeded" in answer.text:
                requests.post(self.api + "/auth/confirm", json={"password": self.password}, headers=headers, timeout=30)
            elif answer.status_code == 401:
                self.token = None
            else:
                break
        if not answer.ok:
            raise NotDone(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def with_factor(self):
        """Sees to it that a second factor is enabled; a recovery code, not used up by this."""
        if not self.recovery:
            code = self.code_of_begun()
            self.recovery = self.ask("POST", "/auth/totp/enable", {"code": code})["recovery_codes"]
        return self.recovery[-1]

    def code_of_begun(self):
        """Begins a second factor; the code that would enable it."""
        if self.recovery:
            self.ask("POST", "/auth/totp/disable", {"password": self.password, "totp": self.recovery.pop()})
            self.recovery = []
        return code_now(self.ask("POST", "/auth/totp/begin", {"password": self.password})["secret"])


class NotDone(Exception):
    """What was to be made beforehand could not be made; the request goes out as it was generated."""


def code_now(secret):
    """RFC 6238 with its defaults: SHA-1, six digits, 30 s."""
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // STEP_SECONDS), hashlib.sha1).digest()
    at = digest[19] & 0xF
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
