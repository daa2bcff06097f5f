"""Debian's Postfix as a peer: an instance of its own in a temporary folder, on a loopback address.

Rule: nothing of the system's Postfix is read or written, and `stop` ends all that was started.
Domains: `*.good.test` are kept in Maildirs, `*.bounce.test` are accepted and then found to have no such
user, so that a real DSN goes to the return path.
"""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("postfix", path="/usr/sbin:/usr/bin:/sbin:/bin")

_MASTER = """\
{address}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.good.test
mydomain = good.test
mydestination = bounce.test, user.bounce.test
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = good.test, user.good.test
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
inet_interfaces = all
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtputf8_enable = yes
smtpd_tls_security_level = {tls_level}
smtpd_tls_cert_file = {root}/cert.pem
smtpd_tls_key_file = {root}/key.pem
smtpd_tls_loglevel = 1
transport_maps = {transport_maps}
maillog_file = {root}/log/mail.log
maillog_file_prefixes = {root}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C
smtp_dns_support_level = disabled
smtp_host_lookup = native
minimal_backoff_time = 1s
queue_run_delay = 1s
{extra}
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running instance."""

    root: Path
    address: str
    port: int

    def messages(self) -> Iterator[bytes]:
        """Yield what was delivered to `*.good.test`."""
        inbox = self.root / "mail" / "inbox" / "new"
        for name in sorted(inbox.iterdir()) if inbox.is_dir() else ():
            yield name.read_bytes()

    def log(self) -> str:
        path = self.root / "log" / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        subprocess.run([PROGRAM or "", "-c", str(self.root / "etc"), "stop"], check=False, capture_output=True)
        # `postfix stop` waits for the master; make sure, by its own pid file, that it is gone.
        pid_file = self.root / "queue" / "pid" / "master.pid"
        for _ in range(100):
            if not pid_file.exists() or not _alive(pid_file):
                return
            time.sleep(0.05)


def _alive(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text().strip() or "0")
    except (OSError, ValueError):
        return False
    return pid > 0 and Path(f"/proc/{pid}").exists()


def _certificate(root: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=mx.good.test", "-keyout", str(root / "key.pem"), "-out", str(root / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip


def start(root: Path, address: str, port: int, *, transports: str = "", tls: bool = False, extra: str = "") -> Postfix:
    """Start an instance in the folder `root`; `transports`: `{ DOMAIN = smtp:[HOST]:PORT }, …` for what it sends on."""
    owner = pwd.getpwnam("postfix")
    root.chmod(0o755)
    for name in ("etc", "queue", "data", "mail", "log"):
        (root / name).mkdir()
    os.chown(root / "data", owner.pw_uid, -1)
    os.chown(root / "mail", owner.pw_uid, owner.pw_gid)
    _certificate(root)
    (root / "etc" / "main.cf").write_text(
        _MAIN.format(
            root=root,
            address=address,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            transport_maps=f"inline:{{ {transports} }}" if transports else "",
            extra=extra,
            tls_level="may" if tls else "none",
        )
    )
    (root / "etc" / "master.cf").write_text(_MASTER.format(address=address, port=port))
    done = subprocess.run(
        [PROGRAM or "", "-c", str(root / "etc"), "start"], check=False, capture_output=True, text=True
    )
    postfix = Postfix(root, address, port)
    if done.returncode != 0:
        raise RuntimeError(f"postfix did not start: {done.stdout}{done.stderr}{postfix.log()}")
    return postfix
