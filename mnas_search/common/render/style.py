"""The style of charts; colours are the page's variables, else those of a light page."""

STYLE = """
.chart text { font: 13px system-ui, sans-serif; fill: var(--ink, #1b2530);
  paint-order: stroke; stroke: var(--page, #ffffff); stroke-width: 4px; stroke-linejoin: round; }
.chart .page { fill: var(--page, #ffffff); }
.chart .grid { stroke: var(--rule, #d7dee5); fill: none; }
.chart .axis { stroke: var(--soft, #556372); fill: none; }
.chart .band { fill: var(--rule, #d7dee5); fill-opacity: .5; }
.chart .blue { --colour: var(--blue, #1f6fb2); }
.chart .orange { --colour: var(--orange, #bf3f0a); }
.chart .violet { --colour: var(--violet, #6b2fbf); }
.chart .green { --colour: var(--green, #2f7d32); }
.chart .brown { --colour: var(--brown, #8a5a00); }
.chart .grey { --colour: var(--grey, #8496a8); }
.chart circle, .chart .diamond { fill: var(--colour); stroke: var(--page, #ffffff); }
.chart .hollow { fill: var(--page, #ffffff); stroke: var(--colour); stroke-width: 1.8; }
.chart .line, .chart .bar, .chart .tick { fill: none; stroke: var(--colour); stroke-width: 1.8; }
.chart .dashed { fill: none; stroke: var(--colour); stroke-width: 1.4; stroke-dasharray: 5 4; }
.chart .strong { font-weight: 600; }
@media (max-width: 480px) { .chart text { font-size: 15.5px; } }
"""
