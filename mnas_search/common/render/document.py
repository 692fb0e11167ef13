"""The shell of a page: one file without scripts, links or images from elsewhere."""

from mnas_search.common.render.markup import escaped

_STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b2530; --soft: #556372; --rule: #d7dee5; --code: #f1f4f7;
  --dot: #8496a8; --front: #1f6fb2; --winner: #bf3f0a; --baseline: #6b2fbf;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12171d; --ink: #e3e9ef; --soft: #9dadbd; --rule: #303b47; --code: #1c242d;
    --dot: #71879c; --front: #6cb4f0; --winner: #fb923c; --baseline: #c4a5fb;
  }
}
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 1rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1rem 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
code { font: .86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--code); padding: .7rem .9rem; border-radius: 6px; margin: .8rem 0;
  white-space: pre-wrap; }
.wide { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0;
  border-bottom: 1px solid var(--rule); }
thead th { white-space: nowrap; }
.figures { text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); }
.facts th { white-space: nowrap; }
figure { margin: 0; }
figure svg { display: block; width: 100%; min-width: 30rem; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .4rem; }
svg text { font-size: 13px; fill: var(--ink); paint-order: stroke; stroke: var(--page);
  stroke-width: 4px; stroke-linejoin: round; }
svg path { fill: none; }
svg .grid { stroke: var(--rule); }
svg .axis { stroke: var(--soft); }
svg path.target { stroke: var(--soft); stroke-dasharray: 5 4; }
svg .dot { fill: var(--dot); fill-opacity: .75; }
svg .front { stroke: var(--front); stroke-width: 2; }
svg circle.winner, svg path.baseline { stroke: var(--page); stroke-width: 1.5; }
svg .winner { fill: var(--winner); font-weight: 600; }
svg .baseline { fill: var(--baseline); font-weight: 600; }
@media print {
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; }
  .wide { overflow: visible; }
  figure svg { min-width: 0; }
}
"""


def document(title: str, body: str) -> str:
    """A whole page; the title is text, the body markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
