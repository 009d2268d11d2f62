"""Reader of e-mails: subject, sender and text."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import MIMEPart
from pathlib import Path

from embexp.data.readers.encoding import clean
from embexp.data.readers.html import count_left_out, html_text, parse_html
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.text import document_of, one_line
from embexp.data.records import Document


def read_mail(path: Path, reading: Reading) -> Iterator[Document]:
    """Read an e-mail's text, plain if it has both forms; its title is the subject. Attachments are counted.

    Raises:
        UnreadableError: The file has neither headers nor text.
    """
    import email
    from email import policy

    message = email.message_from_bytes(stream_of(path).getvalue(), policy=policy.default)
    body = message.get_body(preferencelist=("plain", "html"))
    text = _content(body, path, reading.problems) if body is not None else ""
    if not message.keys():
        raise UnreadableError("broken file", f"{path}: not an e-mail, since it has no headers; leave it out.")
    for attachment in message.iter_attachments():
        name = attachment.get_filename() or attachment.get_content_type()
        reading.problems.count("attachment of an e-mail", f"{path.name}: {name}")
    subject = one_line(clean(str(message.get("subject", ""))))
    yield document_of(path, clean(text).replace("\r\n", "\n"), title=subject)


def _content(part: MIMEPart, path: Path, problems: Problems) -> str:
    try:
        content = part.get_content()
    except (LookupError, KeyError, AttributeError):  # an unknown charset, or no text
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    if part.get_content_type() == "text/html":
        page = parse_html(content)
        if page is None:
            return ""
        count_left_out(page, "e-mail", path.name, problems)
        return html_text(page)
    return str(content)
