"""The DKIM keys of this installation: `state_dir/dkim/DOMAIN/SELECTOR.rsa.pem` and `SELECTOR.ed25519.pem`.

Rules: one selector of a domain signs, with the keys that it has; a file that cannot be what its name says is an
error, so that nobody's mail goes unsigned by a slip. Only this file reads and writes keys.
"""

import base64
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from relay.deliver.dkim import Algorithm, Key
from relay.deliver.settings import DkimSettings
from storage.settings import parse_domain

# RFC 6376, 3.6.2.2 leaves undefined what two records at one name mean, so each key has a name of its own: the RSA
# key the selector's, as nearly all keys of the world, the Ed25519 key this one.
ED25519_SUFFIX: Final = "-ed25519"
# RFC 8301, 3.2: at least 1024, better 2048; verifiers must take 4096, and need not take more.
RSA_BITS: Final = 2048
_LEAST_BITS, _MOST_BITS = 1024, 4096
# RFC 1035, 3.3.14: a TXT record's strings have 255 bytes at most.
_STRING_BYTES: Final = 255

_FOLDER: Final = "dkim"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SELECTOR: Final = re.compile(rf"(?=.{{1,100}}\Z){_LABEL}(?:\.{_LABEL})*")
_FILE: Final = re.compile(r"(.+)\.(rsa|ed25519)\.pem")
_NUMBER: Final = re.compile(r"(\d+)")
_ALGORITHMS: Final = {"rsa": Algorithm.RSA, "ed25519": Algorithm.ED25519}


class DkimKeyError(Exception):
    """A key cannot be used; the message is a sentence."""


Folder = Mapping[str, Mapping[Algorithm, Path]]
"""The key files of a domain by selector."""


@dataclass(frozen=True, slots=True)
class Record:
    """What DNS has to say of a key."""

    name: str
    value: str

    @property
    def zone_line(self) -> str:
        """The record as a line of a zone file, its value in strings as TXT has them."""
        cuts = range(0, len(self.value), _STRING_BYTES)
        strings = " ".join([f'"{self.value[cut : cut + _STRING_BYTES]}"' for cut in cuts])
        return f"{self.name}. IN TXT ( {strings} )"


class KeyRing:
    """The keys that sign, by domain."""

    def __init__(self, keys: Mapping[str, tuple[Key, ...]], subdomains: Iterable[str] = ()) -> None:
        """Take each domain's keys, and the domains whose keys also sign for all below them."""
        self._keys = keys
        self._subdomains = frozenset(subdomains) & keys.keys()

    def __bool__(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    def choose(self, domains: Iterable[str]) -> tuple[Key, ...]:
        """Return the keys for the first of these domains that has any, of its own or of a domain above; () for none."""
        return next((keys for domain in domains if (keys := self._of(domain))), ())

    def _of(self, domain: str) -> tuple[Key, ...]:
        if domain in self._keys:
            return self._keys[domain]
        _, dot, above = domain.partition(".")
        while dot:
            if above in self._subdomains:
                return self._keys[above]
            _, dot, above = above.partition(".")
        return ()


def load(state_dir: Path, settings: DkimSettings) -> KeyRing:
    """Read the keys that sign. Raises DkimKeyError where one cannot be used, or a pinned or parent one is missing."""
    found = folders(state_dir)
    for domain in (*settings.selectors, *settings.subdomains):
        if domain not in found:
            raise DkimKeyError(
                f"[dkim] names {domain}, for which there is no key in {state_dir / _FOLDER / domain}: "
                f"telltale dkim generate {domain}"
            )
    return KeyRing({domain: _signing_keys(domain, found[domain], settings) for domain in found}, settings.subdomains)


def folders(state_dir: Path) -> dict[str, Folder]:
    """Return the key files of each domain that has any. Raises DkimKeyError for what cannot be one."""
    found = {folder.name: _folder(folder) for folder in _listed(state_dir / _FOLDER)}
    return {domain: files for domain, files in sorted(found.items()) if files}


def signing_selector(domain: str, folder: Folder, settings: DkimSettings) -> str:
    """Return the selector that signs: the configured one, else the newest by name, where numbers count as such."""
    pinned = settings.selectors.get(domain)
    if pinned is None:
        return max(folder, key=_by_number)
    if pinned not in folder:
        raise DkimKeyError(
            f'[dkim] selectors names "{pinned}" for {domain}, which has only {", ".join(sorted(folder))}'
        )
    return pinned


def _by_number(selector: str) -> list[tuple[int, str]]:
    parts = _NUMBER.split(selector)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]


def check_selector(selector: str) -> None:
    """Raise DkimKeyError for what cannot be a selector of ours."""
    if not _SELECTOR.fullmatch(selector) or selector.endswith(ED25519_SUFFIX):
        raise DkimKeyError(
            f'"{selector}" is no selector: letters a to z, digits and hyphens, such as "tt202611", '
            f'and not "…{ED25519_SUFFIX}", which is where its Ed25519 key is published'
        )


def key_file(state_dir: Path, domain: str, selector: str, algorithm: Algorithm) -> Path:
    """Return where a key lies."""
    ending = next(ending for ending, each in _ALGORITHMS.items() if each is algorithm)
    return state_dir / _FOLDER / domain / f"{selector}.{ending}.pem"


def generate(algorithm: Algorithm, domain: str, selector: str) -> Key:
    """Make a new key."""
    if algorithm is Algorithm.RSA:
        return Key(domain, selector, generate_private_key(65537, RSA_BITS))
    return Key(domain, selector + ED25519_SUFFIX, Ed25519PrivateKey.generate())


def write(path: Path, key: Key) -> None:
    """Write a key, readable by the owner alone. Raises FileExistsError where there is one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, domain: str, selector: str, algorithm: Algorithm) -> Key:
    """Read a key. Raises DkimKeyError with the file and the reason."""
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise DkimKeyError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except TypeError as error:
        raise DkimKeyError(f"{path}: is locked with a password; write it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DkimKeyError(f"{path}: is no private key in PEM form") from error
    if algorithm is Algorithm.ED25519 and isinstance(private, Ed25519PrivateKey):
        return Key(domain, selector + ED25519_SUFFIX, private)
    if algorithm is not Algorithm.RSA or not isinstance(private, RSAPrivateKey):
        raise DkimKeyError(f"{path}: is a key of another kind than its name says")
    if not _LEAST_BITS <= private.key_size <= _MOST_BITS:
        raise DkimKeyError(
            f"{path}: has {private.key_size} bits; servers verify keys of {_LEAST_BITS} to {_MOST_BITS} bits only"
        )
    return Key(domain, selector, private)


def record(key: Key) -> Record:
    """Return the TXT record that lets others verify what `key` signs (RFC 6376, 3.6.1; RFC 8463, 4)."""
    public = key.private.public_key()
    if key.algorithm is Algorithm.RSA:
        kind = "rsa"
        form = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        kind = "ed25519"
        form = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    value = f"v=DKIM1; k={kind}; p={base64.b64encode(form).decode('ascii')}"
    return Record(f"{key.selector}._domainkey.{key.domain}", value)


def keys_of(domain: str, selector: str, folder: Folder) -> tuple[Key, ...]:
    """Read the keys of a selector, the RSA one first: the first signature is the one that all can verify."""
    return tuple(
        read(folder[selector][algorithm], domain, selector, algorithm)
        for algorithm in Algorithm
        if algorithm in folder[selector]
    )


def _signing_keys(domain: str, folder: Folder, settings: DkimSettings) -> tuple[Key, ...]:
    return keys_of(domain, signing_selector(domain, folder, settings), folder)


def _folder(folder: Path) -> Folder:
    if not _is_domain(folder.name):
        raise DkimKeyError(f'{folder}: is no folder of keys: its name must be a domain such as "example.org"')
    selectors: dict[str, dict[Algorithm, Path]] = {}
    for path in _listed(folder):
        named = _FILE.fullmatch(path.name)
        if named is None:
            raise DkimKeyError(f"{path}: is not named as keys are: SELECTOR.rsa.pem or SELECTOR.ed25519.pem")
        check_selector(named[1])
        selectors.setdefault(named[1], {})[_ALGORITHMS[named[2]]] = path
    return selectors


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, but for hidden files; nothing where there is none."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DkimKeyError(f"{folder}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def _is_domain(name: str) -> bool:
    try:
        return parse_domain(name) == name
    except ValueError:
        return False
