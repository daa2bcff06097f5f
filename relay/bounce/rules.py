"""The table behind `classify`: providers' own codes, phrases, enhanced codes, SMTP codes.

Rule: data only. Phrases are literals in lower case with single blanks; the first row that occurs in a
text decides, so the order of rows is the order of authority. A changed table gets a new VERSION.
"""

import re
from types import MappingProxyType
from typing import Final

from relay.bounce.category import Category
from relay.bounce.phrases import phrases

VERSION: Final = 1

Phrases = tuple[tuple[Category, tuple[str, ...]], ...]
"""Rows of a category and its phrases, in order of authority."""


def _table(*rows: tuple[Category, str]) -> Phrases:
    return tuple((category, phrases(lines)) for category, lines in rows)


# What providers write to be read by programs, before all phrases. Microsoft: learn.microsoft.com, "Email
# non-delivery reports in Exchange Online"; Yahoo and AOL: senders.yahooinc.com/smtp-error-codes; Cloudmark
# (Comcast, Charter, Cox, OVH): csi.cloudmark.com; then the lists that gateways quote by zone.
PROVIDER_CODES: Final[Phrases] = _table(
    (
        Category.RATE_LIMITED,
        """
        adr.recipientlimit|message receive limit from specific sender
        """,
    ),
    (
        Category.MAILBOX_FULL,
        """
        quotaexceededexception|overquotaperm|overquotatemp
        """,
    ),
    (
        Category.USER_UNKNOWN,
        """
        resolver.adr.recip|resolver.adr.exrecip|resolver.adr.ambiguous|resolver.adr.badprimary|resolver.adr.invalid
        """,
    ),
    (
        Category.MESSAGE_TOO_LARGE,
        """
        recipsizelimit|sendersizelimit
        """,
    ),
    (
        Category.POLICY,
        """
        resolver.rst.|transport.rules.
        """,
    ),
    (
        Category.REPUTATION,
        """
        (s3140)|(s3150)|(s775)|[s3140]|[s3150]|[s775]|block list (s|oacs-fail|550 ou-00|550 sc-00|550 dy-00
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        (as780090)|421 rp-00|as(4810)|(as42004)
        """,
    ),
    (
        Category.SPAM,
        """
        as(201806281)|as(8550)
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        [tss0|[tss1|[ts01]|[ts02]|[ts03]
        """,
    ),
    (
        Category.REPUTATION,
        """
        [bl21]|[bl22]|[bl23]|[ipts|[gl01]|(dyn:t|(rly:b|(rtr:b|rtr:d
        """,
    ),
    (
        Category.SPAM,
        """
        (hvu:b|(con:b|[ph01]
        """,
    ),
    (
        Category.REPUTATION,
        """
        bl000000|bl000001|bl000010|bl000100|bl001000|aup#in-|aup#out-|aup#blk
        """,
    ),
    (
        Category.SPAM,
        """
        aup#cnt|aup#snd
        """,
    ),
    (
        Category.MAILBOX_FULL,
        """
        quota@
        """,
    ),
    (
        Category.REPUTATION,
        """
        spamhaus.org|spamcop.net|barracudacentral|sorbs.net|abuseat.org|uceprotect|surriel.com|njabl.org|
        proofpoint.com/dnsbl|ipcheck.proofpoint|senderbase.org|senderscore|dsbl.org|mail-abuse.org|bl.spam|rbl.|
        dnsbl.|hotmail.com/postmaster|mail.live.com/mail/trouble|invaluement
        """,
    ),
)

# What a provider means by its words, by the end of its host's name.
PROVIDER_WORDS: Final[tuple[tuple[str, str, Category], ...]] = (
    # Said of unknown users, and to senders whom the recipient's own settings refuse.
    (".docomo.ne.jp", "unknown user", Category.POLICY),
)

# Phrases that leave no doubt. The sender's own identity comes first: "does not exist" and kin are also said
# of senders.
STRONG: Final[Phrases] = _table(
    (
        Category.AUTHENTICATION,
        """
        dmarc|unauthenticated|sender policy framework|spf check|spf fail|spf record|fails spf|failed spf|spf softfail|
        spf validation|spf: |(spf)|an spf|spf or dkim|spf and dkim|spf/dkim|spf [|dkim|not authorized to send from|
        not allowed to send mail from this domain|sender id (pra)|domain authentication|email authentication|
        does not designate|sender authentication|message fails authentication|doesn't pass authentication|
        not permitted sender|spoof|is not allowed to send
        """,
    ),
    (
        Category.POLICY,
        """
        sender address rejected|backscatter|(sender)|malformed sender|unroutable sender|senderfilter|
        third-party dsn|email address is not verified|from: domain|sender rejected|sender verify failed|
        sender verification failed|sender verify|
        verify sender|sender domain|domain of sender|sender's domain|invalid sender|sender denied|unknown sender|
        sender unknown|sender address has|sender is not|sender not|sender address is|bad sender|from address|
        return path|return-path|envelope sender|helo|ehlo|mail from:|sender domain must|the sender is|refused sender|
        sender refused|sender blocked|sender is blocked|not accept mail from|not accepting mail|
        does not accept mail from|
        don't accept mail from|you are not allowed to|only accepts mail from|not permitted to post|
        may not have permission to post|restricted to accept|must be a member|not on the allowed|allowed senders|
        access only for|delivery not authorized|only authenticated|requires that all senders|not subscribed|
        members only
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        too many invalid|too many bad|too many unknown|too many rejected|number of invalid|excessive userid
        """,
    ),
    (
        Category.REPUTATION,
        """
        ptr record|no ptr|(ptr)|reverse dns|rdns|reverse lookup|cannot resolve your|dns a-data|relay host name|
        mismatches host|
        hostname not found|helo name|client host rejected|cannot find your|can't find your|unable to find your|
        could not find your
        """,
    ),
    (
        Category.RELAY_DENIED,
        """
        relay access denied|relaying denied|relay denied|relay not permitted|unable to relay|not permitted to relay|
        do not relay|not relay|relaying not|relaying is|rcpthosts|no relaying|relaying mail|cannot relay|
        configured to relay|relaying to|as a relay|can't relay|
        relay prohibited|relaying prohibited|not a relay|mail relay|relay for|relay is not|relay operation|
        relay this message|insecure mail relay|relay to|relay from
        """,
    ),
    (
        Category.AUTHENTICATION,
        """
        authentication required|authentication failed|must authenticate|not authenticated|smtp auth|
        authenticate first|check for mail before sending
        """,
    ),
    (
        Category.MAILBOX_FULL,
        """
        mailbox full|exceeded storage allocation|storage full|quotaexceeded|shutoffquota|mailbox limit ex|
        exhausted allowed storage|zuviele mails|ueberfuellt|überfüllt|is full> queue|mailbox is full|
        mailbox would exceed|over quota|overquota|over-quota|overdrawn|quota exceeded|
        exceeded quota|quota exceed|exceed quota|exceeds quota|quota violation|disk quota|storage quota|mailbox quota|
        user quota|quota limit|out of quota|beyond quota|quota is full|mail quota|allotted quota|allowed quota|
        is out of storage|out of storage space|storage limit|exceeded its storage|exceeded storage|maximum storage|
        mailfolder is full|mail folder is full|mailfolder over|inbox is full|inbox full|mailbox has exceeded|
        mailbox exceed|exceeded the space|mailbox size limit|exceeds allowed size|not enough storage|not enough space|
        mailbox space|insufficient storage in|too much mail data|full mailbox|box is full|account is full|
        mailbox for user is full|user's mailbox|mailbox limit|has no disk space|exceeded the limit on|is over disk|
        over the maximum allowed|maildir over|maildir full|message store size|size limit on recipient|mailbox_full|
        mail box full|mailbox_quota|mailboxfull|boîte pleine|boite pleine|boîte aux lettres est pleine|quota dépassé|
        messagerie est pleine|buzón lleno|buzon lleno|excede la cuota|cuota excedida|quota excedida|está lleno|
        postfach ist voll|
        postfach voll|postfach des empfängers ist voll|speicherplatz|kontingent|skrzynka jest pełna|
        skrzynka pocztowa jest pełna|przepełnion|przekroczon|caixa postal cheia|caixa cheia|
        caixa de entrada está cheia|casella piena|переполнен|quota d'utilisation|メールボックスがいっぱい|
        メールボックスの容量|容量を超|容量オーバー|
        邮箱空间不足|邮箱已满|容量不足|超出配额|信箱已滿|용량 초과|용량이 초과
        """,
    ),
    (
        Category.MOVED,
        """
        has moved to|user has moved|address has changed|has changed to|changed address|new address is|no longer uses|
        moved to |recipient has moved|user not local; please try|please use the new address|address change|
        has been replaced
        """,
    ),
    (
        Category.DISABLED,
        """
        account disabled|account is disabled|has been terminated|disabled with|disableduser|no longer employed|
        administratively disabled|blocked due to inactivity|mailbox locked|account has been disabled|
        mailbox disabled|mailbox is disabled|
        mailbox has been disabled|user disabled|user is disabled|recipient disabled|address disabled|disabled mailbox|
        disabled recipient|disabled account|disabled user|account that you tried to reach is disabled|is disabled|
        account inactive|account is inactive|mailbox is inactive|mailbox inactive|inactive user|user is inactive|
        inactive account|inactive mailbox|mailbox is not active|not an active|not active|inactive recipient|
        is inactive|
        no longer active|account suspended|account is suspended|account has been suspended|mailbox suspended|
        mailbox currently suspended|user suspended|user is suspended|suspended account|is suspended|
        has been suspended|deactivated|discontinued|account closed|account has been closed|account expired|
        account has expired|account is locked|account locked|mailbox locked|no longer working|blocked account|
        account blocked|account is blocked|account has been blocked|mailbox is frozen|
        mailbox frozen|compte désactivé|cuenta desactivada|cuenta inactiva|ist deaktiviert|gesperrt|deaktiviert|
        désactivée|desactivee|inactivo|ha expirado|disattivat|bloccato|zablokowane|nieaktywn|konto zablokowane|
        конто|аккаунт отключен|отключен|被禁用|已停用|已被停用|已冻结|no longer on server|out of commission
        """,
    ),
    (
        Category.NETWORK,
        """
        delivery temporarily suspended|could not find a gateway|host not found, try again|host name lookup failure|
        hostname lookup failure|temporary lookup failure|servfail|
        name server timeout|temporary dns|dns timeout|dns temporarily
        """,
    ),
    (
        Category.DOMAIN_UNKNOWN,
        """
        host unknown|unknown host|unknown mail host|host not found)|host not found"|domain not found|nxdomain|
        domain does not exist|domain doesn't exist|domain name not found|no such domain|bad destination host|
        bad destination system|unknown domain|couldn't find any host|cannot find a mail exchanger|
        unrouteable mail domain|unrouteable domain|nullmx|null mx|does not accept mail|doesn't accept mail|
        doesn't accept email|does not accept email|no such host|no route to domain|non-existent domain|
        nonexistent domain|domain must exist|invalid domain|no mail server|no mx record|no valid mx|no mx host|
        dns error|name or service not known|all relevant mx records point to non-existent|
        mail domain mentioned in the recipient|domain name system|domain was not found|domain wasn't found|
        no answer from dns|dns failure|unresolvable host|host name lookup failure|illegal host/domain|
        host doesn't exist|lookup did not return|domain isn't in my list|
        can't find the domain|couldn't be found or is unable to receive|could not be resolved|
        host does not exist|no smtp service|cannot resolve|domain has no|no such domain|no dns|
        unknown_host|host name is unknown|hostnotfound|host not found|dns lookup failure: host|no relevant answers
        """,
    ),
    (
        Category.USER_UNKNOWN,
        """
        user unknown|unknown user|mail-box not found|no mail box|no mail-box|badrcptto|domino directory|
        domino-verzeichnis|annuaire domino|directorio domino|name & address book|pas répertorié|non-local user|
        not in our user list|unable to locate|missing home directory|name is not recognized|userunknown|
        receiver not found|destination mailbox|recipient not allowed|recipient is not allowed|
        no route found to domain|no one with that|server doesn't handle mail for|incorrectly addressed|
        no such mail drop|account is unavailable|cannot deliver mail for|user path no exist|
        mailbox unavailable or access denied|recipient address rejected: access denied|
        unknown address|unknown local|unknown account|unknown mailbox|unknown recipient|
        unknown rcpt|unknown email|unknown to address|unknown customer|recipient unknown|address unknown|
        addressee unknown|mailbox unknown|account unknown|user is unknown|no such user|no such recipient|
        no such address|no such mailbox|no such account|no such person|no such local|no such email|no such id|
        no such subscriber|no such alias|no such name|invalid recipient|invalid mailbox|invalid user|invalid address|
        invalid rcpt|invalid email|invalid local|invalid final delivery|recipient invalid|user invalid|nonexistent|
        non-existent|non existent|not exist|doesn't exist|doesnt exist|unexist|no existe|does not have an account|
        does not have a mailbox|doesn't have a |does not have a |no mailbox here|no mailbox by that name|no mailbox|
        no account|no user|no recipient|mailbox not found|user not found|recipient not found|address not found|
        account not found|mailbox name not|was not found|wasn't found|were not found|not found at|not found in|
        not found on|not in directory|isn't in directory|not listed in|not listed|not our customer|not a known user|
        not known here|not known at|is not known|not a valid mailbox|not a valid user|not a valid recipient|
        not a valid address|isn't a valid|is not a valid|not a valid|is not valid|no valid recipient|
        not valid recipient|bad destination mailbox|bad mailbox|bad address|bad recipient|bad user|there is no one|
        there is no user|there's no|is not here|no one here by that|no longer valid|no longer available|
        no longer exists|no longer works|no longer with|no longer an employee|no longer have an account|
        no longer have a mailbox|no longer accept|no longer at|no longer in use|no longer here|unrouteable address|
        unroutable address|undeliverable address|address error|recipnotfound|recipientnotfound|resolver.adr|
        could not be found|couldn't be found|cannot be found|can't be found|ambiguous|
        delivery to that address is prohibited|isn't in my validrcptto|not in my validrcptto|user doesn't|
        user does not|unable to find|unable to validate recipient|unable to verify|can't find|cannot find|
        could not find|couldn't find|could not locate|user lookup|lookup failed|no matches to|no match for|
        has been removed|has been deleted|has left|mailbox does|not registered|not a registered|nosuchuser|
        unknown e-mail|unknown email|unregistered|is misspelled|
        verify address|verify the recipient|recipient verification|recipient verify|callout verification|
        address verification failed|verification failed|alias not|not a local|user not known|user not local|
        dead account|not have an email|user reject|recipient reject|can't open mailbox|not deliverable|
        utilisateur inconnu|destinataire inconnu|errato|no valido|no válido|no encontrad|nie ma takiego|
        такого пользователя нет|адресат не|adresse inconnue|adresse d au moins un destinataire invalide|
        n'existe pas|invalide|introuvable|desconocid|no encontrado|no se encuentra|no ha sido encontrad|unbekannt|
        existiert nicht|nicht gefunden|nicht bekannt|nie istnieje|nieznany|niepoprawn|nie znaleziono|não existe|
        nao existe|inexistente|não encontrado|inesistente|non esiste|sconosciuto|bestaat niet|onbekend|finns inte|
        findes ikke|не существует|не найден|нет такого|неизвестн|недоступен|存在しません|見つかりません|
        宛先不明|宛先が|ユーザーがいません|
        ご使用になられておりません|用户不存在|不存在|无此用户|找不到|查無此|존재하지 않|사용자가 없
        """,
    ),
)

# Reasons of the sender's side that gateways put under any enhanced code, 5.1.1 too.
BEFORE_CODES: Final[Phrases] = _table(
    (
        Category.VIRUS,
        """
        virus|malware|infected|a worm|trojan|phishing|hoax
        """,
    ),
    (
        Category.REPUTATION,
        """
        blacklist|black list|black-list|blocklist|block list|block-list|blocked using|reputation|dnsbl| rbl|(rbl|
        client host rejected|listed in dns|is listed|is on a list|are listed|banned sending|
        ptr record|no ptr|(ptr)|reverse lookup|reverse hostname|reverse host name|from your network|open relay|
        open proxy|dynamic ip|dynamic/|residential|known spam source|too many spam|blocked by spam|
        your ip address is|ip has been blocked|ip address has been blocked|bad helo|poor domain|ips blocked|
        ip blocked|due to abuse|abusive|bad ip profile|ip name lookup failed
        """,
    ),
    (
        Category.SPAM,
        """
        spam|unsolicited|bulk mail|bulk email|junk|uribl|surbl|content filter|content-filter|banned content|
        undesirable|objectionable|high probability
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        rate limit|rate-limit|ratelimit|too many messages from|too many messages sent|too many messages in|
        too many connections|too many sessions|too many concurrent|
        too many emails|too many mails|too many recipients|too many errors|too many rcpt|too many invalid|throttl|
        unusual rate|exceeded the rate|sending limit|sending quota|too quickly|at a rate|message rate|
        temporarily deferred|permanently deferred|greylist|graylist|grey-list|gray-list|connection limit|
        user complaints|daily limit|
        hourly limit|per hour|this hour|per day
        """,
    ),
)

# A noun and what is said of it, in either order, a few words apart: for what no list of phrases can hold.
_NOUN: Final = (
    r"(?<!ip )(?<!your )(?<!sender )(?<!from )(?<!sender's )(?<!host )"
    r"\b(?:user(?:name|id)?|mail ?box|mail drop|account|recipients?|rcpt|address(?:es|ee)?|alias|customer|e-?mail)\b"
)
_UNKNOWN: Final = (
    r"\b(?:unknown|invalid|incorrect|wrong|illegal|bad|non-?exist\w*|unrecogni[sz]ed|not recogni[sz]ed"
    r"|not found|undefined|no such|not valid|no valid|not ok|not exist|no exist|not a member"
    r"|(?:cannot|could not|can't) be verified)"
)
_DISABLED: Final = (
    r"\b(?:disabled|inactiv\w*|suspended|deactivated|closed|expired|locked|not activated|terminated|cancell?ed"
    r"|deleted|removed|frozen|not currently being accepted)"
)
_FULL: Final = (
    r"(?:is full|full\b|exceed\w*|exhausted|overflow|too many messages|over (?:the |its |their )?(?:quota|limit))"
)
_STORE: Final = r"\b(?:mail ?box|storage|quota|allocation|store|folder|inbox)\b"
NOUNS: Final = phrases(
    """
    user|mail|account|recipient|rcpt|address|alias|customer|storage|quota|allocation|store|folder|inbox
    """
)
"""What LOOSE cannot match without: asked first, since a literal costs little."""
LOOSE: Final[tuple[tuple[Category, re.Pattern[str]], ...]] = tuple(
    (category, re.compile(f"{first}[^.;:]{{0,40}}?{second}|{second}[^.;:]{{0,30}}?{first}"))
    for category, first, second in (
        (Category.MAILBOX_FULL, _STORE, _FULL),
        (Category.MAILBOX_FULL, _NOUN, r"(?:too many messages on|allowed storage|storage space|over (?:the )?quota)"),
        (Category.DISABLED, _NOUN, _DISABLED),
        (Category.USER_UNKNOWN, _NOUN, _UNKNOWN),
    )
)

# After the enhanced codes that are sure, before those that gateways choose carelessly.
MIDDLE: Final[Phrases] = _table(
    (
        Category.REPUTATION,
        """
        blocked by|listed at|listed by|listed on|listed in|client host|your ip|ip address|sending ip|source ip|
        ip name|cannot find your|can't find your|your host|your server|your mail server|bad dns|connection rejected|
        connections from|not accepted from|mail from your|email from your|mail server ip|has been blocked|
        has been temporarily rejected|untrusted|blocked due to|not a trusted|dynamic
        """,
    ),
    (
        Category.SPAM,
        """
        looks like|suspicious|suspected|offensive|filtered as|scored|score of|message filtered|probably contains|
        mail contains a url|rejected by content|rule imposed mailbox|considered|classified
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        too fast|exceeded the maximum number|concurrent|limit exceeded|exceeded the allowed|resources temporarily|
        deferred due to|hourly|temporarily rate|excessive|sent too
        """,
    ),
    (
        Category.MESSAGE_TOO_LARGE,
        """
        too large|too big|size exceeds|message size|maximum size|exceeds maximum|exceeds the maximum|larger than|
        size limit|exceeds fixed|exceeding the|max message size|message length exceeds|over the size|is too long|
        exceeds limit|maximum message|zu groß|trop volumineux|demasiado grande|サイズ
        """,
    ),
    (
        Category.TLS,
        """
        starttls|tls |certificate|encryption needed|encryption required|must use tls|ssl handshake|cipher
        """,
    ),
    (
        Category.EXPIRED,
        """
        delivery time expired|retry time|attempts:|aborted after|retry timeout|message expired|queue too long|
        queue lifetime|time expired|
        has expired|gave up|giving up|too long|maximum time|could not be delivered for|could not be delivered within|
        unable to deliver|undelivered for|not been delivered for|retries exceeded|retry count|delivery expired|
        message timed out|for more than|allocated time|exceeded maximum retry|expiration|unsuccessfully for|expired|
        delivery attempts
        """,
    ),
    (
        Category.NETWORK,
        """
        connection timed out|connection refused|connection reset|connection dropped|connection closed|connection lost|
        connection died|connection failed|connection was|connect to|no route to host|network is unreachable|
        network unreachable|network error|lost connection|could not connect|couldn't connect|cannot connect|
        unable to connect|unable to contact|timed out|time-out|timeout|operation timed|conversation with|
        not responding|did not respond|not reachable|unreachable|establish an smtp|establish an connection|
        connection attempt|remote host|no hosts|host unreachable|all hosts|deferred|try again|server did not|
        while talking to|failed to connect|no connection|not answering|no answer|name service error|bad connection|
        connexion|network
        """,
    ),
    (
        Category.CONTENT,
        """
        attachment|invalid header|malformed|mail content|eight bit|content presents|content rejected|
        message content|bare lf|bare cr|
        line feed|8bit|8-bit|rfc 5322|rfc5322|rfc 2822|
        rfc2822|rfc 822|rfc822|rfc 5321|rfc compliant|not rfc|multiple from|message header|header field|headers|
        missing from|missing date|duplicate|line too long|line length|mime|encoding|character set|charset|executable|
        file type|file name|encrypted|html|subject|smtputf8|message-id|links
        """,
    ),
    (
        Category.SYSTEM,
        """
        mail loop|loop|too many hops|hop count|system error|mailer error|transport unavailable|local error|
        configuration|disk full|disk space|no space|
        insufficient|internal error|internal server|temporary failure|temporarily unavailable|out of memory|
        command died|i/o error|cannot create|can't create|unable to create|cannot open|can't open|unexpected|
        server error|system failure|service unavailable|service not available|unable to process|error processing|
        cannot execute|permission denied|software|failure writing|data format error|system problem|command rejected|
        bad command|bad sequence|improper sequence|syntax error|not implemented|protocol
        """,
    ),
    (
        Category.POLICY,
        """
        policy|policies|not allowed|not permitted|prohibited|access denied|permission|rejected by administrator|
        administrative|not authorized|unauthorized|refused|rejected by|blocked|restricted|denied|security|violat|
        forbidden|moderat|refuse
        """,
    ),
)

# Said of unknown users, and of everything else too.
WEAK: Final[Phrases] = _table(
    (
        Category.USER_UNKNOWN,
        """
        mailbox unavailable|mailbox not available|recipient address rejected|recipient rejected|mailbox name invalid|
        user unavailable|address rejected|unavailable mailbox|not our user|illegal alias
        """,
    ),
)

# RFC 3463, 3; the IANA registry "SMTP Enhanced Status Codes"; and what providers add to it.
# Keyed by subject.detail. SURE ones decide before the MIDDLE phrases, the others after them.
SURE_DETAILS: Final = MappingProxyType(
    {
        "1.1": Category.USER_UNKNOWN,
        "1.2": Category.DOMAIN_UNKNOWN,
        "1.3": Category.USER_UNKNOWN,
        "1.4": Category.USER_UNKNOWN,
        "1.6": Category.MOVED,
        "1.7": Category.POLICY,  # bad sender's mailbox address
        "1.8": Category.POLICY,  # bad sender's system address
        "1.9": Category.RELAY_DENIED,
        "1.10": Category.DOMAIN_UNKNOWN,  # null MX (RFC 7505); Microsoft: recipient not found
        "1.351": Category.USER_UNKNOWN,  # Microsoft: remote server returned unknown recipient
        "1.90": Category.RATE_LIMITED,
        "2.2": Category.MAILBOX_FULL,
        "2.3": Category.MESSAGE_TOO_LARGE,
        "2.121": Category.RATE_LIMITED,  # Microsoft: the recipient's limit for mail of one sender, of all
        "2.122": Category.RATE_LIMITED,
        "3.4": Category.MESSAGE_TOO_LARGE,
        "4.4": Category.DOMAIN_UNKNOWN,  # no route by DNS
        "4.310": Category.DOMAIN_UNKNOWN,  # Microsoft: DNS domain does not exist
        "4.312": Category.NETWORK,
        "4.316": Category.NETWORK,
        "4.317": Category.TLS,
        "4.7": Category.EXPIRED,
        "7.5": Category.TLS,
        "7.7": Category.AUTHENTICATION,
        "7.8": Category.AUTHENTICATION,
        "7.9": Category.AUTHENTICATION,
        "7.10": Category.TLS,
        "7.13": Category.DISABLED,  # RFC 5248 registry: user account disabled
        "7.17": Category.MOVED,  # mailbox owner has changed (RFC 7293)
        "7.18": Category.MOVED,  # domain owner has changed
        "7.20": Category.AUTHENTICATION,
        "7.21": Category.AUTHENTICATION,
        "7.22": Category.AUTHENTICATION,
        "7.23": Category.AUTHENTICATION,
        "7.24": Category.AUTHENTICATION,
        "7.25": Category.REPUTATION,  # reverse DNS validation failed (RFC 7372)
        "7.26": Category.AUTHENTICATION,  # RFC 7372
        "7.27": Category.POLICY,  # sender address has null MX
        "7.28": Category.RATE_LIMITED,  # mail flood detected
        "7.29": Category.AUTHENTICATION,  # ARC
        "7.30": Category.TLS,
        "7.32": Category.AUTHENTICATION,
        "7.40": Category.AUTHENTICATION,
        "7.350": Category.SPAM,
        "7.501": Category.REPUTATION,
        "7.502": Category.REPUTATION,
        "7.503": Category.REPUTATION,
        "7.508": Category.RATE_LIMITED,
        "7.509": Category.AUTHENTICATION,
        "7.511": Category.REPUTATION,
        "7.512": Category.CONTENT,
        "7.515": Category.AUTHENTICATION,
        "7.606": Category.REPUTATION,
        "7.650": Category.REPUTATION,
        "7.708": Category.REPUTATION,
        "7.750": Category.REPUTATION,
        "7.23011": Category.AUTHENTICATION,
    }
)
DETAILS: Final = MappingProxyType(
    {
        "1.0": Category.USER_UNKNOWN,
        "1.5": Category.OTHER,
        "2.0": Category.OTHER,
        "2.1": Category.DISABLED,
        "2.4": Category.POLICY,
        "3.0": Category.SYSTEM,
        "3.1": Category.SYSTEM,
        "3.2": Category.SYSTEM,
        "3.3": Category.SYSTEM,
        "3.5": Category.SYSTEM,
        "4.0": Category.NETWORK,
        "4.1": Category.NETWORK,
        "4.2": Category.NETWORK,
        "4.3": Category.NETWORK,
        "4.5": Category.SYSTEM,
        "4.6": Category.SYSTEM,
        "5.0": Category.OTHER,
        "7.0": Category.POLICY,
        "7.1": Category.POLICY,
        "7.2": Category.POLICY,
        "7.4": Category.TLS,  # security features not supported
        "7.11": Category.TLS,  # encryption required for the authentication mechanism
        "7.129": Category.POLICY,
    }
)
SUBJECTS: Final = MappingProxyType(
    {
        "1": Category.USER_UNKNOWN,
        "2": Category.OTHER,
        "3": Category.SYSTEM,
        "4": Category.NETWORK,
        "5": Category.SYSTEM,
        "6": Category.CONTENT,
        "7": Category.POLICY,
    }
)
CODES: Final = MappingProxyType(
    {
        421: Category.SYSTEM,
        450: Category.OTHER,
        451: Category.SYSTEM,
        452: Category.SYSTEM,
        523: Category.MESSAGE_TOO_LARGE,
        525: Category.DISABLED,
        530: Category.AUTHENTICATION,
        535: Category.AUTHENTICATION,
        551: Category.MOVED,
        552: Category.MAILBOX_FULL,
        556: Category.DOMAIN_UNKNOWN,
    }
)
