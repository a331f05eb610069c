r"""The grammar of HTTP/1.1: one compiled pattern for each ABNF rule, with the rule next to it.

Bytes from the wire are decoded as latin-1 (one byte, one character) before matching, so patterns
are over `str`. `NEXT_CHUNK` is the only exception. No pattern uses a class such as ``\d`` or
``\s``, which match more than ASCII. Use each pattern with `fullmatch` unless its comment names
another method.

These decisions apply where the RFCs leave a choice to the recipient:

* A line ends with CRLF. A bare LF is an error, although RFC 9112 section 2.2 allows a recipient
  to accept it, and so is a bare CR. If two parties disagree about the end of a line, an attacker
  can make them disagree about where a response ends.
* There is no white space between a field name and its colon (section 5.1), and no empty name.
* A field value contains no control character except HTAB. Bytes from 0x80 are kept unchanged.
* The space after the status code may be missing if there is no reason phrase. Many servers omit
  it, and it causes no ambiguity.
* Nothing may precede a status line, not even an empty line.

Every pattern takes time linear in the length of its input, for any input. If two adjacent parts of
a pattern can match the same white space, the first is possessive, so there is no backtracking.
"""

from __future__ import annotations

import re

from .limits import MAX_CHUNK_SIZE_DIGITS, MAX_LENGTH_DIGITS

# token = 1*tchar   (RFC 9110 section 5.6.2)
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN = re.compile(_TOKEN)

# quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE   (RFC 9110 section 5.6.4)
_QUOTED_STRING = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'

# status-line = HTTP-version SP status-code SP [ reason-phrase ]   (RFC 9112 section 4)
# reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )
STATUS_LINE = re.compile(r"HTTP/([0-9])\.([0-9]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?\r\n")

# field-line = field-name ":" OWS field-value OWS   (RFC 9112 section 5)
# FIELD_LINES is a block of lines, each with its CRLF. FIELD_LINE is for findall over a block: a
# match is exactly one line, so the block is valid if it has as many matches as LFs. Neither matches
# a line with OWS at its end. Few lines have any: TRAILING_SPACE (with sub) removes it if necessary.
FIELD_LINES = re.compile(rf"(?:{_TOKEN}:[\t -~\x80-\xff]*+(?<![\t ])\r\n)*+")
FIELD_LINE = re.compile(rf"^({_TOKEN}+):[ \t]*+([\t -~\x80-\xff]*+)(?<![\t ])\r\n", re.MULTILINE)
TRAILING_SPACE = re.compile(r"(?<![\t ])[\t ]++\r\n")

# obs-fold = OWS CRLF RWS   (RFC 9112 section 5.2), or several in a row. Use with sub.
OBS_FOLD = re.compile(r"(?<![ \t])[ \t]*+(?:\r\n[ \t]+)+")

# The first line of a framing field that continues on the next. Use with search.
FOLDED_FRAMING = re.compile(
    r"^(content-length|transfer-encoding)(?::[^\r\n]*|[ \t]*)\r\n[ \t]",
    re.MULTILINE | re.IGNORECASE,
)

# field-value = *field-content   (RFC 9110 section 5.5), as we send it. The recipient ignores white
# space around it.
FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")

# request-line = method SP request-target SP HTTP-version   (RFC 9112 section 3)
# method = token
# A request target is visible ASCII without "#", because a fragment is never sent.
# ORIGIN_FORM_LINE is a whole line with the usual form of target:
# origin-form = absolute-path [ "?" query ]   (section 3.2.1)
_VISIBLE = r"[!-\"$-~]"
TARGET = re.compile(rf"{_VISIBLE}+")
ORIGIN_FORM_LINE = re.compile(rf"(?!CONNECT ){_TOKEN} /{_VISIBLE}* HTTP/1\.1\r\n")

# authority = [ userinfo "@" ] host [ ":" port ]   (RFC 3986 section 3.2), without user information.
# `authority.check_host` validates the host.
_AUTHORITY = r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?"

# authority-form = uri-host ":" port   (section 3.2.3); absolute-form = absolute-URI   (3.2.2)
AUTHORITY_FORM = re.compile(rf"({_AUTHORITY})")
ABSOLUTE_FORM = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://({_AUTHORITY})(?:[/?]{_VISIBLE}*)?")

# A host name: labels of letters, digits and hyphens (RFC 1123 section 2.1), and of underscores,
# which the DNS allows and some names contain.
HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")

# Text that the system's resolver may accept as an IPv4 address: decimal, octal and hexadecimal
# numbers separated by dots.
NUMBERS = re.compile(r"(?:(?:0[xX][0-9A-Fa-f]*|[0-9]+)(?:\.|\Z))+")

# IPv4address = dec-octet "." dec-octet "." dec-octet "." dec-octet   (RFC 3986 section 3.2.2)
_DEC_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rf"(?:{_DEC_OCTET}\.){{3}}{_DEC_OCTET}")

# ZoneID = 1*( unreserved / pct-encoded )   (RFC 6874 section 2), without pct-encoded
ZONE = re.compile(r"[A-Za-z0-9._~-]+")

# Common mistakes in place of a host name. Use LOOKS_LIKE_URL with match.
LOOKS_LIKE_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//|[^/]*@|https?:", re.IGNORECASE)
HOST_AND_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:@\[\]]+)):([0-9]*)")

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )   (RFC 3986 section 3.1). Use with match.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

# The URL of a proxy: scheme "://" authority [ "/" ]   (RFC 3986 section 3.2). User information may
# contain "@", because some user names are mail addresses. The parts are validated after decoding.
PROXY_URL = re.compile(
    r"(https?|socks5h?)://(?:([^/?#]*)@)?"
    r"(?:\[([^\[\]@/?#]*:[^\[\]@/?#]*)\]|([^\[\]@:/?#]+))(?::([0-9]{0,5}))?/?",
    re.IGNORECASE,
)

# Host = uri-host [ ":" port ]   (RFC 9110 section 7.2)
HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?"
)

# The fields that determine where a message and a connection end. Use with findall over valid field
# lines in lower case, with an LF before the first.
FRAMING_FIELD = re.compile(
    r"\n(connection|content-length|transfer-encoding|keep-alive):[ \t]*+([^\r]*+)"
)

# Content-Length = 1*DIGIT   (RFC 9110 section 8.6), with a limit on the digits
CONTENT_LENGTH = re.compile(rf"[0-9]{{1,{MAX_LENGTH_DIGITS}}}")

# transfer-coding = token *( OWS ";" OWS transfer-parameter )   (RFC 9112 section 7)
# transfer-parameter = token BWS "=" BWS ( token / quoted-string )
TRANSFER_CODING = re.compile(
    rf"{_TOKEN}(?:[ \t]*+;[ \t]*+{_TOKEN}[ \t]*+=[ \t]*+(?:{_TOKEN}|{_QUOTED_STRING}))*"
)

# chunk-size [ chunk-ext ] CRLF   (RFC 9112 section 7.1)
# chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS ( token / quoted-string ) ] )
CHUNK_LINE = re.compile(
    rf"([0-9A-Fa-f]{{1,{MAX_CHUNK_SIZE_DIGITS}}})"
    rf"(?:[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_TOKEN}|{_QUOTED_STRING}))?)*\r\n"
)

# CRLF chunk-size CRLF   (RFC 9112 section 7.1), the bytes between the data of two chunks without
# extensions. A pattern over bytes, because it is matched inside the receive buffer. Use with match.
NEXT_CHUNK = re.compile(rb"\r\n([0-9A-Fa-f]{1,%d})\r\n" % MAX_CHUNK_SIZE_DIGITS)

# parameter = token "=" ( token / quoted-string )   (RFC 9110 section 5.6.6). Use with finditer.
PARAMETER = re.compile(rf";[ \t]*({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|{_QUOTED_STRING})")

# quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text )   (RFC 9110 section 5.6.4). Use with sub.
QUOTED_PAIR = re.compile(r"\\(.)")

# "timeout" "=" delta-seconds, a parameter of the Keep-Alive field   (RFC 2068 section 19.7.1.1).
# Use with search.
KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*([0-9]{1,9})", re.IGNORECASE)

# dict-member = member-key "=" sf-binary parameters   (RFC 9651 sections 3.2 and 3.3.5), the only
# form of member in a digest field (RFC 9530 section 2). Use with finditer, after DIGESTS matched.
_KEY = r"[a-z*][a-z0-9_\-.*]*"
_DIGEST_PARAMETERS = (
    rf"(?:; *{_KEY}(?:=(?:{_QUOTED_STRING}|:[A-Za-z0-9+/=]*:|[^\x00-\x20\",;:]+))?)*+"
)
DIGEST = re.compile(rf"({_KEY})=:([A-Za-z0-9+/=]*):{_DIGEST_PARAMETERS}")

# sf-dictionary = dict-member *( OWS "," OWS dict-member )   (RFC 9651 section 3.2)
DIGESTS = re.compile(rf" *+{DIGEST.pattern}(?:[ \t]*+,[ \t]*+{DIGEST.pattern})* *")

# CTL, the characters that user-id and password must not contain   (RFC 7617 section 2). Use with
# search.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def split_list(value: str) -> list[str]:
    """Split a list: ``#element``, separated by OWS "," OWS (RFC 9110 section 5.6.1).

    Empty elements are kept. The caller decides whether they are valid.
    """
    return [element.strip(" \t") for element in value.split(",")]
