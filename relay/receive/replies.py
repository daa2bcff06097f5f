"""What the listeners say: reply code, enhanced code (RFC 3463), and a sentence for people.

Rule: 4xx where the same may work later or the trouble is ours, 5xx where it is the client's; no text of a client.
"""

from typing import Final

from storage.model import Reply

# Connections.
TIMED_OUT: Final = Reply(421, "4.4.2", "Timeout, closing connection")
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Service is shutting down, try again later")
TOO_MANY_CONNECTIONS: Final = Reply(421, "4.7.0", "Too many connections, try again later")
TOO_MUCH_JUNK: Final = Reply(421, "4.7.0", "Too many commands without a message, closing connection")

# Commands and transactions.
OK: Final = Reply(250, "2.0.0", "Ok")
SENDER_OK: Final = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient ok")
BYE: Final = Reply(221, "2.0.0", "Bye")
NO_ARGUMENT: Final = Reply(501, "5.5.4", "This command takes no argument")
HELO_SYNTAX: Final = Reply(501, "5.5.4", "Your name is missing")
HELP: Final = Reply(214, "2.0.0", "Commands: AUTH DATA EHLO HELO MAIL NOOP QUIT RCPT RSET STARTTLS VRFY (RFC 5321)")
CANNOT_VRFY: Final = Reply(252, "2.0.0", "Cannot verify, but will try to deliver")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.1", "Command not recognized")
FOREIGN_PROTOCOL: Final = Reply(421, "4.7.0", "This is an SMTP server, closing connection")
LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Line too long")
EHLO_FIRST: Final = Reply(503, "5.5.1", "Send EHLO first")
NESTED_MAIL: Final = Reply(503, "5.5.1", "There is a sender already, send RSET first")
MAIL_FIRST: Final = Reply(503, "5.5.1", "Send MAIL first")
RCPT_FIRST: Final = Reply(554, "5.5.1", "No valid recipients")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients")
TOO_BIG: Final = Reply(552, "5.3.4", "Message is too big")
NO_ROOM: Final = Reply(452, "4.3.1", "Too much mail at once, try again later")
BARE_CR: Final = Reply(550, "5.6.0", "Message holds a carriage return that ends no line")
TLS_READY: Final = Reply(220, "2.0.0", "Ready to start TLS")
NO_TLS: Final = Reply(454, "4.7.0", "TLS is not available")
TLS_ALREADY: Final = Reply(503, "5.5.1", "TLS is there already")
OUR_FAULT: Final = Reply(451, "4.3.0", "Our error, try again later")

# AUTH and who may send.
TLS_FIRST: Final = Reply(530, "5.7.0", "Authentication required: send STARTTLS, then AUTH")
AUTH_FIRST: Final = Reply(530, "5.7.0", "Authentication required")
NOT_ALLOWED: Final = Reply(530, "5.7.0", "This client may not send mail here")
NEEDS_TLS: Final = Reply(538, "5.7.11", "Encryption required for authentication")
EXTENDED_ONLY: Final = Reply(503, "5.5.1", "Send EHLO before AUTH")
AUTH_ALREADY: Final = Reply(503, "5.5.1", "Already authenticated")
AUTH_IN_TRANSACTION: Final = Reply(503, "5.5.1", "No AUTH inside of a transaction")
UNKNOWN_MECHANISM: Final = Reply(504, "5.5.4", "Authentication mechanism not recognized")
NOT_BASE64: Final = Reply(501, "5.5.2", "Cannot decode base64")
MALFORMED_CREDENTIALS: Final = Reply(501, "5.5.2", "Malformed credentials")
AUTH_ABORTED: Final = Reply(501, "5.7.0", "Authentication aborted")
NOT_FOR_OTHERS: Final = Reply(535, "5.7.8", "Cannot act for another user")
AUTH_OK: Final = Reply(235, "2.7.0", "Authentication successful")
AUTH_UNAVAILABLE: Final = Reply(454, "4.7.0", "Authentication is not possible now, try again later")
LOGIN_LATER: Final = Reply(454, "4.7.0", "Too many failed logins, try again later")
TOO_MANY_LOGINS: Final = Reply(421, "4.7.0", "Too many failed logins, closing connection")
AUTH_LINE_TOO_LONG: Final = Reply(500, "5.5.6", "Authentication exchange line is too long")
WRONG_CREDENTIALS: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
READS_ONLY: Final = Reply(535, "5.7.1", "This user may read the log, not send mail")
AUTH_BUSY: Final = Reply(454, "4.7.0", "Too many logins at once, try again later")

# The message.
NOT_YOUR_SENDER: Final = Reply(553, "5.7.1", "You may not send from this address")
LOOP: Final = Reply(554, "5.4.6", "Too many hops: the message is going round in circles")
STORE_FULL: Final = Reply(452, "4.3.1", "Insufficient system storage, try again later")
NOT_STORED: Final = Reply(451, "4.3.0", "Cannot store the message, try again later")

# Return paths.
NO_RETURN_PATH: Final = Reply(550, "5.1.1", "Only return paths of mail that we sent are taken here")
RETURN_PATH_FULL: Final = Reply(552, "5.2.2", "Enough has come back to this address")
