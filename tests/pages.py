"""Pages of HTML, read strictly."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta"}


class Checked(HTMLParser):
    """Raises where tags do not balance; keeps texts and tags."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.said = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert len({name for name, _ in attrs}) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self):
        return " ".join("".join(self.said).split())


def checked(text):
    """The page, once it is found to be sound and to load nothing."""
    parsed = Checked(text)
    assert not {"script", "img", "link", "a", "iframe", "object"} & set(parsed.tags)
    assert not re.search(r"url\(|@import|\bon\w+=|javascript:", text)
    assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", text, re.S)[0])
    return parsed, svg
