"""The key vault; implements the kernel's ``Vault``: an encrypted file for ``local``, a PKCS#11 token for everywhere."""

from fintokenx.adapters.vault.local import LocalVault
from fintokenx.adapters.vault.pkcs11 import Pkcs11Vault
from fintokenx.adapters.vault.uri import TokenLocation

__all__ = ["LocalVault", "Pkcs11Vault", "TokenLocation"]
