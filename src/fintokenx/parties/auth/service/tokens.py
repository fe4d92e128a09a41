"""Access tokens: JWTs (RFC 7519) signed EdDSA (RFC 8037) in the vault, verified strictly (AU-08)."""

from __future__ import annotations

import warnings
from base64 import urlsafe_b64encode
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from fintokenx.kernel.caller import Role
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import Vault
from fintokenx.parties.auth.types import AdminSession, Claims
from fintokenx.parties.auth.types.refusals import TokenRefused

# RFC 9864 renames the algorithm to "Ed25519"; clients in the field know it as "EdDSA" and it is the same one.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)

AUDIENCE: Final = "fintokenx-api"
ALGORITHM: Final = "EdDSA"
VAULT_KEY: Final = "auth/jwt/1"
_LENGTH_MAX: Final = 4096


class Tokens:
    """Signs and verifies the access tokens of one installation."""

    def __init__(self, vault: Vault, clock: Clock, *, environment: Environment, issuer: str) -> None:
        self._vault = vault
        self._clock = clock
        self._environment = environment
        self._issuer = issuer
        self._key: OKPKey | None = None

    async def sign(
        self,
        *,
        tenant_id: str,
        session_id: str,
        subject_id: str,
        role: Role,
        aal: int,
        start: Instant,
        end: Instant,
        admin: AdminSession | None = None,
    ) -> str:
        """The token of a session: the same session always has the same token, since EdDSA is deterministic.

        With ``admin`` it is the token of that admin session, in that session's tenant.

        :raises VaultUnavailable: nothing can be signed just now
        """
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": (await self._public_key()).thumbprint()}
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject_id,
            "tnt": tenant_id,
            "role": role,
            "sid": session_id,
            "jti": session_id,
            "iat": int(start.timestamp()),
            "nbf": int(start.timestamp()),
            "exp": int(end.timestamp()),
            "aal": aal,
            "env": self._environment,
        }
        if admin is not None:
            claims |= {"jti": admin.id, "adm": admin.id, "obo": admin.on_behalf_of}
        signed = _base64url(canonical_json(header)) + b"." + _base64url(canonical_json(claims))
        return (signed + b"." + _base64url(await self._vault.sign_ed25519(VAULT_KEY, signed))).decode()

    async def verify(self, raw: str) -> Claims:
        """What a token says, if it is one of ours, for us and for now. Whether its session lives is another question.

        :raises TokenRefused: anything else
        :raises VaultUnavailable: the public key cannot be had
        """
        key = await self._public_key()
        if len(raw) > _LENGTH_MAX:
            raise TokenRefused
        try:
            token = jwt.decode(raw, key, algorithms=[ALGORITHM])
            if token.header.get("kid") != key.thumbprint():
                raise TokenRefused
            self._expected.validate(token.claims)
            claims = token.claims
            admin = (str(claims["adm"]), str(claims["obo"])) if "adm" in claims else (None, None)
            return Claims(str(claims["tnt"]), str(claims["sub"]), Role(claims["role"]), str(claims["sid"]), *admin)
        except (JoseError, ValueError, KeyError, TypeError) as fault:
            raise TokenRefused from fault

    @property
    def _expected(self) -> jwt.JWTClaimsRegistry:
        present: jwt.ClaimsOption = {"essential": True}
        return jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.now().timestamp()),
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": AUDIENCE},
            env={"essential": True, "value": self._environment.value},
            exp=present,
            nbf=present,
            iat=present,
            sub=present,
            tnt=present,
            role=present,
            sid=present,
        )

    async def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517); ``kid`` is the RFC 7638 thumbprint."""
        key = await self._public_key()
        public = key.as_dict(private=False, kid=key.thumbprint(), alg=ALGORITHM, use="sig")
        return {"keys": [public]}

    async def _public_key(self) -> OKPKey:
        if self._key is None:
            public = await self._vault.ensure_ed25519(VAULT_KEY)
            self._key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _base64url(public).decode()})
        return self._key


def _base64url(value: bytes) -> bytes:
    return urlsafe_b64encode(value).rstrip(b"=")
