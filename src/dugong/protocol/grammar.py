r"""The grammar of HTTP/1.1: one ABNF rule, one compiled pattern, the rule quoted beside it.

Bytes from the wire are decoded as latin-1 (one byte, one character) before they meet a pattern,
so all patterns are over `str`. None of them uses a class such as ``\d`` or ``\s`` that means more
than ASCII, and each is to be used as named: `fullmatch` unless the comment says otherwise.

Decided here, once, where the RFCs leave a decision to the recipient:

* A line ends with CRLF. A bare LF (RFC 9112 section 2.2 would let us take it) or a bare CR is
  an error: what one party takes for a line end and another does not is how responses get mixed.
* No white space between a field name and its colon (section 5.1), no empty name.
* A field value has no control characters but HTAB. Bytes from 0x80 are kept as they are.
* The space after the status code may be missing when there is no reason phrase: many servers
  leave it out, and nothing can be misread.
* Nothing may stand before a status line, not even an empty line.

Every pattern takes time linear in what it looks at, whatever that is: where two parts of one
could share a run of white space, the first is possessive.
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
# To be used with findall over a block of lines, each with its CRLF. A match is exactly one
# line, so the block is valid if there are as many matches as there are LFs in it.
# The OWS at the end has to be taken away beforehand, by TRAILING_SPACE: few lines have any.
FIELD_LINE = re.compile(rf"^({_TOKEN}+):[ \t]*+([\t -~\x80-\xff]*+)(?<![\t ])\r\n", re.MULTILINE)
TRAILING_SPACE = re.compile(r"(?<![\t ])[\t ]++\r\n")

# obs-fold = OWS CRLF RWS   (RFC 9112 section 5.2), or several in a row. To be used with sub.
OBS_FOLD = re.compile(r"(?<![ \t])[ \t]*+(?:\r\n[ \t]+)+")

# field-value as we send it; surrounding white space is the sender's business   (section 5.5)
FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")

# request-line = method SP request-target SP HTTP-version   (RFC 9112 section 3)
# method = token, with a target that is visible ASCII without a fragment. ORIGIN_FORM_LINE is the
# usual one:
# origin-form = absolute-path [ "?" query ]   (section 3.2.1)
_VISIBLE = r"[!-\"$-~]"
TARGET = re.compile(rf"{_VISIBLE}+")
ORIGIN_FORM_LINE = re.compile(rf"(?!CONNECT ){_TOKEN} /{_VISIBLE}* HTTP/1\.1\r\n")

# authority = [ userinfo "@" ] host [ ":" port ]   (RFC 3986 section 3.2), without user information.
# The host is checked like that of an argument.
_AUTHORITY = r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?"

# authority-form = uri-host ":" port   (section 3.2.3); absolute-form = absolute-URI   (3.2.2)
AUTHORITY_FORM = re.compile(rf"({_AUTHORITY})")
ABSOLUTE_FORM = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://({_AUTHORITY})(?:[/?]{_VISIBLE}*)?")

# A host name as users give it: letters, digits and hyphens (RFC 1123 section 2.1), and underscores,
# which the DNS allows and users have.
HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")

# What the system's resolver may take for an IPv4 address: numbers, also octal and hexadecimal ones
NUMBERS = re.compile(r"(?:(?:0[xX][0-9A-Fa-f]*|[0-9]+)(?:\.|\Z))+")

# IPv4address = dec-octet "." dec-octet "." dec-octet "." dec-octet   (RFC 3986 section 3.2.2)
_DEC_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rf"(?:{_DEC_OCTET}\.){{3}}{_DEC_OCTET}")

# ZoneID = 1*( unreserved / pct-encoded )   (RFC 6874 section 2), of which we take no pct-encoded
ZONE = re.compile(r"[A-Za-z0-9._~-]+")

# What users give in place of a host name. LOOKS_LIKE_URL is to be used with match.
LOOKS_LIKE_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//|[^/]*@|https?:", re.IGNORECASE)
HOST_AND_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:@\[\]]+)):([0-9]*)")

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )   (RFC 3986 section 3.1). With match.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

# The URL of a proxy: "http://" authority [ "/" ]   (RFC 3986 section 3.2). User information may
# contain "@", as in names that are mail addresses. The parts are checked once they are decoded.
PROXY_URL = re.compile(
    r"http://(?:([^/?#]*)@)?(?:\[([^\[\]@/?#]*:[^\[\]@/?#]*)\]|([^\[\]@:/?#]+))(?::([0-9]{0,5}))?/?",
    re.IGNORECASE,
)

# Host = uri-host [ ":" port ]   (RFC 9110 section 7.2)
HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?"
)

# Content-Length = 1*DIGIT   (RFC 9110 section 8.6), bounded
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

# What is between the data of two chunks without extensions: CRLF chunk-size CRLF, of bytes, so that
# it can be looked for in a buffer. To be used with match.
NEXT_CHUNK = re.compile(rb"\r\n([0-9A-Fa-f]{1,%d})\r\n" % MAX_CHUNK_SIZE_DIGITS)

# parameter = token "=" ( token / quoted-string )   (RFC 9110 section 5.6.6). With finditer.
PARAMETER = re.compile(rf";[ \t]*({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|{_QUOTED_STRING})")

# quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text )   (RFC 9110 section 5.6.4). With sub.
QUOTED_PAIR = re.compile(r"\\(.)")

# timeout = delta-seconds, a parameter of the Keep-Alive field   (RFC 2068 section 19.7.1.1)
KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*([0-9]{1,9})", re.IGNORECASE)

# dict-member = member-key "=" sf-binary parameters   (RFC 9651 sections 3.2 and 3.3.5), which is
# all that a digest field may have (RFC 9530 section 2). With finditer, once DIGESTS has matched.
_KEY = r"[a-z*][a-z0-9_\-.*]*"
_DIGEST_PARAMETERS = (
    rf"(?:; *{_KEY}(?:=(?:{_QUOTED_STRING}|:[A-Za-z0-9+/=]*:|[^\x00-\x20\",;:]+))?)*+"
)
DIGEST = re.compile(rf"({_KEY})=:([A-Za-z0-9+/=]*):{_DIGEST_PARAMETERS}")

# sf-dictionary = dict-member *( OWS "," OWS dict-member )   (RFC 9651 section 3.2)
DIGESTS = re.compile(rf" *+{DIGEST.pattern}(?:[ \t]*+,[ \t]*+{DIGEST.pattern})* *")

# basic-credentials: what user-id and password may not have   (RFC 7617 section 2)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def split_list(value: str) -> list[str]:
    """Split a list: ``#element``, separated by OWS "," OWS (RFC 9110 section 5.6.1).

    Empty elements stay: whether they may be is decided where the list is used.
    """
    return [element.strip(" \t") for element in value.split(",")]
